"""Schemas and patterns that clients want enforced: compiled in processes of their own (`workers/grammar`),
never in this one."""

import asyncio
import logging
from collections import OrderedDict
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from tutti.base.errors import InvalidRequest
from tutti.process.child import worker_argv
from tutti.process.questions import Answerer, NoAnswer

PATIENCE_S = 30.0
"""The longest time that a process may take for one question."""
_ARGV = worker_argv("grammar")
_PROCESSES = 2
_KEPT = 128
_KEPT_BYTES = 32 * 1024
_TOO_MUCH = "it takes too much time or memory to compile: make it smaller or simpler"
log = logging.getLogger(__name__)


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A schema, and the request's field that it came in. `name` is the function whose arguments it describes.
    `aside`: llama.cpp may write this instead; other engines have their own way to it."""

    param: str
    schema: Any
    name: str | None = None
    strict: bool = False
    aside: bool = False


class Make(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order for a grammar: for text that any of the parts allows, or that the pattern of the field `param`
    matches. `tokens` is the most that the text can have."""

    tokens: int
    parts: tuple[Part, ...] = ()
    pattern: str | None = None
    param: str = ""


class Made(msgspec.Struct, frozen=True):
    """A compiled grammar. `grammar` is llama.cpp's; `schema` is for engines that make their own. `left_out`
    names the keywords that are not enforced."""

    grammar: str
    schema: dict[str, Any] | None = None
    left_out: tuple[str, ...] = ()


class _Why(msgspec.Struct, frozen=True):
    reason: str
    path: str
    param: str


class _Answer(msgspec.Struct, frozen=True):
    made: Made | None = None
    refused: _Why | None = None
    checked: str | None = None


class Grammars:
    """A few compiler processes, started when they are needed. The requests of a project take turns, so that
    one project never occupies all processes."""

    def __init__(self) -> None:
        self._idle = [Answerer(_ARGV, PATIENCE_S) for _ in range(_PROCESSES)]
        self._room = asyncio.Semaphore(_PROCESSES)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._made: OrderedDict[bytes, _Answer] = OrderedDict()

    async def make(self, wanted: Make, project_id: str) -> Made:
        """Compile a grammar, or return the one compiled before. Raises InvalidRequest."""
        request = msgspec.json.encode({"make": wanted})
        answer = self._made.get(request)
        if answer is None:
            answer = await self._ask(request, project_id)
            self._keep(request, answer)
        if answer is not None and answer.made is not None:
            return answer.made
        fallback = wanted.param or wanted.parts[0].param
        why = (answer and answer.refused) or _Why(_TOO_MUCH, "", fallback)
        place = f" (at {why.path})" if why.path else ""
        param = why.param or fallback
        raise InvalidRequest(f"`{param}` cannot be enforced: {why.reason}{place}.", param=param)

    async def violation(
        self, text: str, schema: dict[str, Any] | None, pattern: str | None, project_id: str
    ) -> str:
        """Return how the text violates the schema or pattern; an empty text if it does not."""
        check = {"text": text, "schema": schema, "pattern": pattern}
        answer = await self._ask(msgspec.json.encode({"check": check}), project_id)
        if answer is None:
            log.warning("an answer could not be checked against its schema: it took too long")
            return ""
        return answer.checked or (answer.refused.reason if answer.refused else "")

    async def close(self) -> None:
        for compiler in self._idle:
            await compiler.close()

    async def _ask(self, request: bytes, project_id: str) -> _Answer | None:
        """Return the answer of a process; None where the process did not survive the question."""
        turn = self._turns.setdefault(project_id, asyncio.Lock())
        async with turn, self._room:
            compiler = self._idle.pop()
            try:
                return msgspec.json.decode(await compiler.ask(request), type=_Answer)
            except NoAnswer:
                return None
            finally:
                self._idle.append(compiler)

    def _keep(self, request: bytes, answer: _Answer | None) -> None:
        if answer is None or len(request) > _KEPT_BYTES:
            return
        self._made[request] = answer
        if len(self._made) > _KEPT:
            self._made.popitem(last=False)
