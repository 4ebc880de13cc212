"""Shared by all of audio: finding the model, leasing a place on an engine, and speaking."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

from tutti.base.errors import InvalidRequest
from tutti.base.languages import FORM, language
from tutti.base.model import Model
from tutti.dispatch.dispatch import Lease
from tutti.engines.audio import SpeechCall
from tutti.engines.upstream import Refusal
from tutti.platform import Platform
from tutti.process import metrics


async def speaker(platform: Platform, name: str, project_id: str) -> Model:
    """Return the model called `name`. Raise NotFound, or InvalidRequest if it cannot speak."""
    model = await platform.dispatch.resolve(name, project_id)
    if model.type != "audio":
        raise InvalidRequest(f"Model {name} is of type {model.type} and cannot speak.", param="model")
    return model


async def listener(platform: Platform, name: str, project_id: str) -> Model:
    """Return the model called `name`. Raise NotFound, or InvalidRequest if it cannot transcribe."""
    model = await platform.dispatch.resolve(name, project_id)
    if model.type != "transcribe":
        raise InvalidRequest(f"Model {name} is of type {model.type} and cannot transcribe.", param="model")
    return model


def language_of(code: str) -> str | None:
    """Return a language as engines take it: two letters if ISO 639 has two, None for `auto`.

    Raises InvalidRequest for an unknown one.
    """
    if code.lower() == "auto":
        return None
    if (known := language(code)) is None:
        raise InvalidRequest(f"`language` should be {FORM}, or `auto`.", param="language")
    return known


@asynccontextmanager
async def leased(
    platform: Platform, model: Model, project_id: str, *, live: bool = False
) -> AsyncGenerator[Lease]:
    """Lease a place for the context. Raise the API's error for whatever the engine refuses."""
    async with platform.dispatch.lease(model, project_id, live=live) as lease:
        metrics.observe_overhead(lease.queued_s)
        try:
            yield lease
        except Refusal as refusal:
            raise lease.engine.error(refusal) from refusal


async def spoken(platform: Platform, call: SpeechCall, project_id: str) -> AsyncGenerator[bytes]:
    """Yield the audio as it is made. Closing this ends the work."""
    async with leased(platform, call.model, project_id) as lease:
        if lease.engine.speech is None:
            raise InvalidRequest(f"The engine of {call.model.name} cannot speak.", param="model")
        pieces = cast(AsyncGenerator[bytes], lease.engine.speech.speak(lease.upstream, call))
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece


async def in_chunks(pieces: AsyncIterator[bytes], most: int, width: int) -> AsyncGenerator[bytes]:
    """Yield the audio in chunks of at most `most` bytes, of whole samples of `width` bytes each.

    Only the last chunk may have a part of a sample.
    """
    rest = b""
    most -= most % width
    async for piece in pieces:
        data = memoryview(rest + piece)
        whole = len(data) - len(data) % width
        for start in range(0, whole, most):
            yield bytes(data[start : min(start + most, whole)])
        rest = bytes(data[whole:])
    if rest:
        yield rest
