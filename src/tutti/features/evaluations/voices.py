"""The models that an evaluation calls: this server's own, and those of others."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec

from tutti.access.caller import Caller
from tutti.base.clock import monotonic_s
from tutti.base.errors import InvalidRequest, Unavailable
from tutti.dispatch.background import PREEMPTED
from tutti.features.evaluations.counting import Whose
from tutti.features.evaluations.schemas import DEFAULT_JUDGE_MAX_TOKENS
from tutti.fetch.fetch import Fetcher
from tutti.http.inside import Inside

Json = dict[str, Any]
OWN_PATIENCE_S = 15 * 60.0
"""How long a row waits for one of this server's models to be ready, before it fails."""
EXTERNAL_ATTEMPTS = 6
MAX_PAUSE_S = 60.0
_MAX_ANSWER_BYTES = 2 * 1024 * 1024
_ANSWER_TIMEOUT_S = 600.0
_LONGEST_LOOK_S = 5.0
NOT_ENFORCED = "not_enforced"
"""Code of an answer that breaks its `response_format`."""
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class NotSaid(Exception):
    """A question that the model did not answer. `hopeless`: it won't answer any other question either."""

    def __init__(self, message: str, whose: Whose, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.whose: Whose = whose
        self.hopeless = hopeless


@dataclass(frozen=True)
class Heard:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Line(Protocol):
    """A place that answers chat completions."""

    async def ask(self, body: Json) -> Heard:
        """Return the final answer, whatever its status. Raise NotSaid if there is none."""
        ...


class Voice:
    """A model under the settings of the evaluation. It gets at most `workers` requests at a time."""

    def __init__(
        self, line: Line, model: str, max_tokens: int | None, temperature: float, workers: int
    ) -> None:
        self._line = line
        self._settings: Json = {"model": model, "temperature": temperature}
        self._limits: list[Json] = [{"max_tokens": DEFAULT_JUDGE_MAX_TOKENS}, {}]
        if max_tokens is not None:
            self._limits = [{"max_tokens": max_tokens}]
        self.workers = workers
        self._turns = asyncio.Semaphore(workers)
        self._refused = 0
        """The number of ways to ask, the first ones, that this model refuses."""

    async def say(self, messages: Sequence[Json], response_format: Json | None = None) -> str:
        """Return the model's text. If it refuses the limit that we chose, or the format, ask again without
        them, now and from then on. Raise NotSaid."""
        ways: list[Json] = list(self._limits)
        if response_format is not None:
            ways = [{**limit, "response_format": response_format} for limit in ways] + ways[-1:]
        body: Json = {**self._settings, "messages": list(messages)}
        async with self._turns:
            first = min(self._refused, len(ways) - 1)
            for way in ways[first:-1]:
                heard = await self._line.ask({**body, **way})
                if heard.status == 500 and _error(heard.body).get("code") == NOT_ENFORCED:
                    break  # only for this question: the text is judged as it is
                if heard.status not in (400, 422):
                    return self._taken(_text(heard), ways.index(way))
            else:
                return self._taken(_text(await self._line.ask({**body, **ways[-1]})), len(ways) - 1)
            return _text(await self._line.ask({**body, **ways[-1]}))

    def _taken(self, text: str, way: int) -> str:
        self._refused = max(self._refused, way)
        return text


class Own:
    """A model of this server, through the same code as a client's request."""

    def __init__(self, inside: Inside, caller: Caller) -> None:
        self._inside = inside
        self._caller = caller

    async def ask(self, body: Json) -> Heard:
        body = {**body, "context_length_exceeded_behavior": "truncate"}
        data = msgspec.json.encode(body)
        until = monotonic_s() + OWN_PATIENCE_S
        while True:
            answer = await self._inside.post("/v1/chat/completions", data, self._caller)
            if _error(answer.body).get("code") == PREEMPTED:
                until = monotonic_s() + OWN_PATIENCE_S  # a client's request went first: that is no failure
            elif answer.headers.get("x-should-retry") == "true" and monotonic_s() < until:
                await asyncio.sleep(min(_LONGEST_LOOK_S, _retry_after_s(answer.headers) or 1.0))
            else:
                return Heard(answer.status, answer.headers, answer.body)


class External:
    """A server that speaks the OpenAI dialect. The token is only here, in memory."""

    def __init__(
        self,
        fetcher: Fetcher,
        base_url: str,
        token: str,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fetcher = fetcher
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._token = token
        self._pause = pause

    async def ask(self, body: Json) -> Heard:
        data = msgspec.json.encode(body)
        failure = ""
        for attempt in range(1, EXTERNAL_ATTEMPTS + 1):
            heard = await self._post(data)
            if heard is not None and heard.status not in _TRANSIENT:
                return self._final(heard)
            failure = "cannot be reached" if heard is None else f"answered {heard.status}"
            if attempt < EXTERNAL_ATTEMPTS:
                asked_s = None if heard is None else _retry_after_s(heard.headers)
                await self._pause(min(MAX_PAUSE_S, asked_s or 2.0 ** (attempt - 1)))
        raise NotSaid(f"The external server {failure}, {EXTERNAL_ATTEMPTS} times.", "user")

    def _final(self, heard: Heard) -> Heard:
        if heard.status in (401, 403):
            reason = f"The external server refused the token ({heard.status})."
            raise NotSaid(reason, "user", hopeless=True)
        return Heard(heard.status, heard.headers, self._without_token(heard.body))

    async def _post(self, data: bytes) -> Heard | None:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        try:
            posted = await self._fetcher.post(
                self._url, data, headers, max_bytes=_MAX_ANSWER_BYTES, timeout_s=_ANSWER_TIMEOUT_S
            )
        except InvalidRequest as error:
            raise NotSaid(error.message, "user") from None
        except Unavailable:
            return None
        return Heard(posted.status, posted.headers, posted.data)

    def _without_token(self, body: bytes) -> bytes:
        """Return the body with the token replaced: a server may repeat it, and clients see what servers
        answer."""
        for spelling in (self._token, json.dumps(self._token)[1:-1]):
            body = body.replace(spelling.encode(), b"***")
        return body


def _text(heard: Heard) -> str:
    if heard.status != 200:
        whose = "user" if heard.status < 500 else "server"
        raise NotSaid(_complaint(heard), whose, hopeless=_error(heard.body).get("code") == "model_not_found")
    try:
        content = msgspec.json.decode(heard.body)["choices"][0]["message"]["content"]
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        raise NotSaid("The answer is not a chat completion.", "server") from None
    if not isinstance(content, str) or not content:
        raise NotSaid("The answer is empty.", "server")
    return content


def _complaint(heard: Heard) -> str:
    message = str(_error(heard.body).get("message") or "").strip()[:500]
    return f"The model answered {heard.status}" + (f": {message}" if message else ".")


def _error(body: bytes) -> Json:
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return {}
    return cast(Json, error) if isinstance(error, dict) else {"message": error}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of the header `retry-after`; None if it is missing, or a date."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
