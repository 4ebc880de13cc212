"""Evaluations as rows: made together with the job that runs them, read, and moved from status to status."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.access.caller import Caller
from tutti.access.keys import sealer
from tutti.base.clock import now
from tutti.base.errors import InvalidRequest
from tutti.base.ids import new_id
from tutti.base.model import TEXT_TYPES
from tutti.features.evaluations import schemas
from tutti.features.evaluations.admission import TemplateChecks
from tutti.features.evaluations.brief import shorter
from tutti.features.evaluations.checks import check
from tutti.features.evaluations.tokens import sealed, without_tokens
from tutti.features.ownership import find_owned, missing
from tutti.features.paging import by_age
from tutti.jobs.args import CallerArgs
from tutti.jobs.queue import check_queue, enqueue
from tutti.platform import Platform
from tutti.store.records import Evaluation
from tutti.store.secrets import Sealer

KIND = "evaluation"
_AT_ONCE = 20
STATUSES: tuple[schemas.EvaluationStatus, ...] = (
    "pending",
    "queued",
    "running",
    "completed",
    "error",
    "user_error",
)
_PARAMETERS: Mapping[str, type[schemas.AnyParameters]] = {
    "classify": schemas.EvaluationClassifyParameters,
    "score": schemas.EvaluationScoreParameters,
    "compare": schemas.EvaluationCompareParameters,
}
_RESULTS: Mapping[str, type[schemas.AnyResults]] = {
    "classify": schemas.EvaluationClassifyResults,
    "score": schemas.EvaluationScoreResults,
    "compare": schemas.EvaluationCompareResults,
}


class EvaluationArgs(CallerArgs, frozen=True, kw_only=True):
    """The caller whose models are called; what is evaluated stands in the evaluation's row."""


async def create(
    platform: Platform, templates: TemplateChecks, caller: Caller, request: schemas.EvaluationTypedRequest
) -> Evaluation:
    await check(platform, templates, caller.project_id, request.parameters)
    seal = sealer(platform.settings).seal
    kept = request.parameters.model_dump(mode="json", exclude_none=True)
    row = Evaluation(
        id=new_id("eval"),
        project_id=caller.project_id,
        key_id=caller.key_id,
        type=request.type,
        status="pending",
        status_updates=[_update("pending", "Accepted.")],
        parameters=sealed(kept, lambda token: seal(token, caller.project_id)),
        results={},
        created_at=now(),
        updated_at=now(),
    )
    async with platform.database.begin() as session:
        await check_queue(session, caller.project_id, platform.settings.project_jobs)
        session.add(row)
        await enqueue(session, KIND, EvaluationArgs.of(caller), project_id=caller.project_id, id=row.id)
    return row


async def find(platform: Platform, project_id: str, evaluation_id: str) -> Evaluation:
    absent = missing("evaluation", evaluation_id)
    return await find_owned(platform.database, Evaluation, project_id, evaluation_id, absent)


async def newest(
    platform: Platform, project_id: str, status: str | None, limit: int
) -> list[schemas.EvaluationJob]:
    """List the newest evaluations, shortened. They are read a few at a time: each may have long templates."""
    if status is not None and status not in STATUSES:
        raise InvalidRequest(f"`status` should be one of {', '.join(STATUSES)}.", param="status")
    query = select(Evaluation).where(Evaluation.project_id == project_id)
    if status is not None:
        query = query.where(Evaluation.status == status)
    query = by_age(query, Evaluation)
    listed: list[schemas.EvaluationJob] = []
    while len(listed) < limit and (some := await _page(platform, query, len(listed), limit)):
        listed += [shown(row, shorter) for row in some]
    return listed


async def _page(platform: Platform, query: Select[Evaluation], start: int, end: int) -> Sequence[Evaluation]:
    query = query.offset(start).limit(min(_AT_ONCE, end - start))
    async with platform.database.read() as session:
        return (await session.scalars(query)).all()


async def model_names(platform: Platform, project_id: str, source: str) -> list[str]:
    """Return the names of models that can judge and be judged. There are no dedicated endpoints yet, and
    nobody knows the models of other servers."""
    if source not in ("all", "serverless", "dedicated", "external"):
        raise InvalidRequest(
            "`model_source` should be one of all, serverless, dedicated, external.", param="model_source"
        )
    if source not in ("all", "serverless"):
        return []
    models = await platform.catalog.models(project_id)
    return [model.name for model in models if model.type in TEXT_TYPES]


async def advance(
    session: AsyncSession,
    evaluation_id: str,
    status: schemas.EvaluationStatus,
    message: str,
    results: Mapping[str, Any] | None = None,
) -> None:
    """Move the evaluation forward to this status. Do nothing if it has come so far already, as on another
    attempt."""
    row = await session.get_one(Evaluation, evaluation_id)
    if STATUSES.index(status) <= STATUSES.index(row.status):
        return
    row.status = status
    row.status_updates = [*row.status_updates, _update(status, message)]
    row.updated_at = now()
    if results is not None:
        row.results = dict(results)


def parameters_of(row: Evaluation, sealer: Sealer) -> schemas.AnyParameters:
    """Return the parameters with their tokens opened. Raise SealBroken."""
    opened = sealed(row.parameters, lambda token: sealer.open(token, row.project_id))
    return _PARAMETERS[row.type].model_validate(opened)


def shown(row: Evaluation, change: Callable[[Any], Any] = lambda it: it) -> schemas.EvaluationJob:
    """Return the evaluation in the API's shape, without tokens. `change` is applied to the parameters."""
    fields: dict[str, Any] = {
        "workflow_id": row.id,
        "type": row.type,
        "status": row.status,
        "status_updates": row.status_updates,
        "parameters": change(without_tokens(row.parameters)),
        "created_at": datetime.fromtimestamp(row.created_at, UTC),
        "updated_at": datetime.fromtimestamp(row.updated_at, UTC),
        "results": results_of(row),
    }
    return schemas.EvaluationJob(**fields)


def results_of(row: Evaluation) -> schemas.AnyResults | None:
    if not row.results:
        return None
    if "error" in row.results:
        return schemas.EvaluationError(error=row.results["error"])
    return _RESULTS[row.type].model_validate(row.results)


def _update(status: str, message: str) -> dict[str, str]:
    return {"status": status, "message": message, "timestamp": datetime.now(UTC).isoformat()}
