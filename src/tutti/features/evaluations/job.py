"""The job of an evaluation: it reads the data, has each row judged, counts, and makes the result file."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.access.keys import sealer
from tutti.base.errors import InvalidRequest, NotFound
from tutti.features.evaluations import service
from tutti.features.evaluations.checks import FILE_TYPES, subjects
from tutti.features.evaluations.counting import Judged, Tally
from tutti.features.evaluations.judging import question
from tutti.features.evaluations.recording import PART, record_all
from tutti.features.evaluations.row import Plan, UserError, evaluated
from tutti.features.evaluations.rows import Read, rows
from tutti.features.evaluations.schemas import (
    DEFAULT_JUDGE_TEMPERATURE,
    AnyParameters,
    Called,
    EvaluationCompareParameters,
    EvaluationJudgeModelConfig,
    EvaluationModelRequest,
    EvaluationStatus,
)
from tutti.features.evaluations.service import EvaluationArgs
from tutti.features.evaluations.templates import Renderer, renderer
from tutti.features.evaluations.voices import External, Line, Own, Voice
from tutti.features.files import service as files
from tutti.http.inside import Inside
from tutti.jobs.errors import Failed
from tutti.jobs.job import Job
from tutti.jobs.kind import Ending, Kind
from tutti.jobs.ledger import Ledger
from tutti.platform import Platform
from tutti.store.records import Evaluation, File
from tutti.store.secrets import SealBroken

EXTERNAL_WORKERS = 4
MOST_WORKERS = 64
_RUNNING = 4
_RUNNING_OF_A_PROJECT = 2

EvaluationJob = Job[EvaluationArgs]


def evaluation(platform: Platform, inside: Inside) -> Kind[EvaluationArgs]:
    return Kind(
        service.KIND,
        EvaluationArgs,
        partial(_run, platform, inside),
        _ended,
        limit=_RUNNING,
        project_limit=_RUNNING_OF_A_PROJECT,
    )


async def _run(platform: Platform, inside: Inside, job: EvaluationJob) -> None:
    """Judge all rows and save the results. This may run again: rows in the ledger are not judged again, the
    id of the result file follows from the job's, and the results are counted from the ledger's rows."""
    if "results" in job.state:
        return
    try:
        results = await _results(platform, inside, job)
    except (InvalidRequest, NotFound, UserError):
        await job.save(user_error=True)
        raise
    await job.save(results=results)


async def _ended(session: AsyncSession, job: EvaluationJob, ending: Ending) -> None:
    if ending.status == "completed":
        await service.advance(session, job.id, "completed", "Every row is judged.", job.state["results"])
        return
    status = "user_error" if job.state.get("user_error") else "error"
    message = ending.error or "It was cancelled."
    await service.advance(session, job.id, status, message, {"error": message})


async def _results(platform: Platform, inside: Inside, job: EvaluationJob) -> dict[str, Any]:
    parameters = await _parameters(platform, job)
    await _advance(job, "queued", "A worker has taken it.")
    file = await _checked_file(platform, job, parameters)
    ledger = await Ledger.open(job, platform.blobs)
    await _advance(job, "running", "Rows are judged.")
    async with renderer() as opened:
        plan = await _plan(platform, inside, job, parameters, opened)
        async with aclosing(_rows(platform, file)) as data:
            await record_all(ledger, data, partial(evaluated, plan), at_once=_at_once(plan))
    tally = await _counted(ledger, parameters)
    if not tally.successful:
        raise _all_failed(tally)
    return {**tally.results(parameters), "result_file_id": await _result_file(platform, job, ledger)}


async def _parameters(platform: Platform, job: EvaluationJob) -> AnyParameters:
    async with platform.database.read() as session:
        row = await session.get_one(Evaluation, job.id)
    try:
        return service.parameters_of(row, sealer(platform.settings))
    except SealBroken:
        raise Failed("The server's secret has changed: it cannot open the token any more.") from None


async def _advance(job: EvaluationJob, status: EvaluationStatus, message: str) -> None:
    async with job.write() as session:
        await service.advance(session, job.id, status, message)


# --- the data ---------------------------------------------------------------------------------------------


async def _checked_file(platform: Platform, job: EvaluationJob, parameters: AnyParameters) -> File:
    """Return the data file, after reading it once to its end: no row is judged if the data are broken. Raise
    UserError if it can't be used."""
    file = await files.find(platform, job.project_id, parameters.input_data_file_path)
    if file.file_type not in FILE_TYPES:
        raise UserError(f"{file.id} is a {file.file_type} file: evaluations read jsonl and csv.")
    found = 0
    async for _ in _rows(platform, file):
        found += 1
    if not found:
        raise UserError(f"{file.id} has no rows.")
    return file


async def _rows(platform: Platform, file: File) -> AsyncGenerator[Read]:
    try:
        async with aclosing(rows(platform, file)) as found:
            async for row in found:
                yield row
    except FileNotFoundError:
        raise UserError(f"{file.id} has been deleted.") from None


# --- judging ----------------------------------------------------------------------------------------------


def _at_once(plan: Plan) -> int:
    """Return how many rows may be under way: so many that a slow one does not stop the others."""
    return 4 * max(voice.workers for voice in (plan.judge, *plan.models.values()))


async def _plan(
    platform: Platform, inside: Inside, job: EvaluationJob, parameters: AnyParameters, renderer: Renderer
) -> Plan:
    judged = subjects(parameters)
    once = isinstance(parameters, EvaluationCompareParameters) and parameters.disable_position_bias_correction
    return Plan(
        question=question(parameters),
        subjects=judged,
        judge_template=parameters.judge.system_template,
        judge=await _voice(platform, inside, job, parameters.judge),
        models={
            name: await _voice(platform, inside, job, subject)
            for name, subject in judged
            if isinstance(subject, EvaluationModelRequest)
        },
        both_orders=not once,
        renderer=renderer,
    )


async def _voice(
    platform: Platform,
    inside: Inside,
    job: EvaluationJob,
    called: EvaluationJudgeModelConfig | EvaluationModelRequest,
) -> Voice:
    temperature = DEFAULT_JUDGE_TEMPERATURE if called.temperature is None else called.temperature
    return Voice(
        _line(platform, inside, job, called),
        called.model,
        called.max_tokens,
        temperature,
        called.num_workers or await _workers(platform, job.project_id, called),
    )


def _line(platform: Platform, inside: Inside, job: EvaluationJob, called: Called) -> Line:
    if called.model_source == "external":
        base_url, token = called.external_base_url or "", called.external_api_token or ""
        return External(platform.fetcher, base_url, token)
    return Own(inside, job.args.caller(job.project_id))


async def _workers(platform: Platform, project_id: str, called: Called) -> int:
    """Return how many requests to make at a time: as many as the model's replicas have slots."""
    if called.model_source == "external":
        return EXTERNAL_WORKERS
    model = await platform.dispatch.resolve(called.model, project_id)
    slots = await platform.dispatch.slots(model)
    return max(1, min(MOST_WORKERS, slots or EXTERNAL_WORKERS))


# --- the results ------------------------------------------------------------------------------------------


async def _counted(ledger: Ledger, parameters: AnyParameters) -> Tally:
    tally = Tally()
    rest = b""
    async for data in ledger.stream(PART):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            tally.add(msgspec.json.decode(line, type=Judged), parameters)
    return tally


def _all_failed(tally: Tally) -> Failed:
    first = tally.first_problem.message if tally.first_problem else "There were no rows."
    message = f"No row could be evaluated. {first}"
    return Failed(message) if tally.ours else UserError(message)


async def _result_file(platform: Platform, job: EvaluationJob, ledger: Ledger) -> str:
    file_id = "file-" + job.id.rpartition("-")[2]
    made = await files.make(
        platform,
        job.write,
        project_id=job.project_id,
        filename=f"{job.id}.jsonl",
        purpose="eval-output",
        data=ledger.stream(PART),
        file_id=file_id,
    )
    return made.id
