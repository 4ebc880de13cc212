"""Exact token counts of training data, by base model, with the model's own tokeniser and chat template."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.errors import InternalError, InvalidRequest, LoadFailed
from tutti.base.model import TEXT_TYPES, Model
from tutti.engines.files import Vocabulary
from tutti.features.files.checks.samples import Uncountable, samples
from tutti.features.files.checks.training import COLUMNS
from tutti.features.files.service import lines
from tutti.platform import Platform
from tutti.process.pipes import lines_of, piped_worker, write_all
from tutti.store.records import File

_PIECE_BYTES = 64 * 1024
_LONGEST_REASON = 300
"""Characters of a reason: a model's template may raise any text."""
log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """The answer of workers/tokens: either `tokens`, or the reason why line `line` can't be counted."""

    tokens: int = 0
    line: int = 0
    refused: str = ""


async def base_models(platform: Platform, project_id: str) -> list[Model]:
    """Return the models on this machine that read text, and have a vocabulary of their own."""
    catalog = platform.catalog
    models = [it for it in await catalog.models(project_id) if it.type in TEXT_TYPES]
    here = [it for it in models if it.adapter_of is None and catalog.is_pulled(it)]
    return [model for model in here if _vocabulary(platform, model)]


async def count_tokens(platform: Platform, file: File, model: Model) -> int:
    """Return how many tokens the model reads when it reads each line once. The number is counted when it is
    first asked for, then kept with the file. Raise InvalidRequest if the file is no sound training data, or
    the model can't read it."""
    report = file.report
    if not (report.get("valid") and report["dataset_format"].lower() in (*COLUMNS, "tokens")):
        message = f"File {file.id} is no training data that passed its check."
        raise InvalidRequest(message, param="training_file")
    known = known_count(report, model.name)
    if known is None:
        answer = await count(platform, file, model)
        async with platform.database.begin() as session:
            await keep(session, file, model.name, answer)
        known = answer.refused or answer.tokens
    if isinstance(known, str):
        raise InvalidRequest(f"{model.name} cannot read file {file.id}: {known}.", param="model")
    return known


def known_count(report: dict[str, Any], name: str) -> int | str | None:
    """Return the count in the report, or the reason why there is none; None if nobody has counted yet."""
    counts = report.get("token_counts", {})
    return counts.get("*", counts.get(name, report.get("token_counts_missing", {}).get(name)))


async def count(platform: Platform, file: File, model: Model) -> Answer:
    """Count the tokens of a sound jsonl file. Raise InternalError if the model's own files can't be used."""
    vocabulary = _vocabulary(platform, model)
    if vocabulary is None:
        raise InvalidRequest(f"{model.name} has no tokeniser on this machine: pull it first.", param="model")
    try:
        async with piped_worker("tokens", *_arguments(vocabulary)) as process:
            async with aclosing(_pieces(platform, file)) as pieces:
                await write_all(process, pieces)
            async for line in lines_of(process):
                return _worded(msgspec.json.decode(line, type=Answer))
            if await process.wait() < 0:
                return Answer(refused="counting it takes more time or memory than there is for it")
    except Uncountable as reason:
        return Answer(refused=str(reason))
    raise InternalError(f"The tokens of {model.name} cannot be counted.")


async def keep(session: AsyncSession, file: File, name: str, answer: Answer) -> None:
    """Write the answer into the file's row, beside those that others have written meanwhile."""
    row = await session.scalar(select(File).where(File.id == file.id).with_for_update())
    if row is None:
        return
    member = "token_counts_missing" if answer.refused else "token_counts"
    value = answer.refused or answer.tokens
    row.report = {**row.report, member: {**row.report.get(member, {}), name: value}}


async def _pieces(platform: Platform, file: File) -> AsyncGenerator[bytes]:
    """Yield lines for the worker, many at once."""
    number, piece = 0, bytearray()
    async for line in lines(platform, file):
        number += 1
        if not line or line.isspace():
            continue
        for sample in samples(msgspec.json.decode(line)):
            piece += msgspec.json.encode({"line": number, **sample}) + b"\n"
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _vocabulary(platform: Platform, model: Model) -> Vocabulary | None:
    """Return the model's tokeniser, if there is one on this machine that can be read without its engine. A
    model whose entry is wrong has none: the file is sound anyway."""
    engine = platform.engines.get(model.engine)
    try:
        return engine and engine.vocabulary(model, platform.catalog.folder(model))
    except LoadFailed as error:
        log.warning("tokens are not counted for a model", extra={"model": model.name, "cause": str(error)})
        return None


def _arguments(vocabulary: Vocabulary) -> list[str]:
    template = [] if vocabulary.template is None else ["--chat-template", str(vocabulary.template)]
    return [str(vocabulary.path), *template]


def _worded(answer: Answer) -> Answer:
    if not answer.refused:
        return answer
    return Answer(line=answer.line, refused=f"line {answer.line}: {answer.refused[:_LONGEST_REASON]}")
