"""Models of other servers: real servers on the loopback, which the tests allow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.support.http import answered_by

from tutti.features.evaluations.judging import Classify, response_format
from tutti.features.evaluations.voices import EXTERNAL_ATTEMPTS, External, Heard, NotSaid, Voice
from tutti.fetch.fetch import Fetcher

TOKEN = 'sk-"secret"'
MESSAGES = [{"role": "user", "content": "hello"}]
FORM = response_format(Classify(("a", "b")))


class Judge:
    """Answers from a list: a text, or a status with a body."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.paused: list[float] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        self.asked.append({"path": request.path, **await request.json()})
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            return web.json_response({"choices": [{"message": {"content": answer}}]})
        status, body, *headers = answer
        return web.json_response(body, status=status, headers=headers[0] if headers else None)

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def voice(self, max_tokens: int | None = None, base_url: str = "") -> Voice:
        fetcher = Fetcher(allow=lambda address: address.is_loopback)
        line = External(fetcher, base_url or self.url, TOKEN, pause=self.pause)
        return Voice(line, "their/judge", max_tokens, 0.5, 2)

    async def failure(self, **options: Any) -> NotSaid:
        with pytest.raises(NotSaid) as caught:
            await self.voice(**options).say(MESSAGES, FORM)
        return caught.value


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    judge = Judge()
    async with answered_by(judge.handle) as url:
        judge.url = f"{url}/v1/"
        yield judge


async def test_asks_as_an_openai_client_does(judge: Judge) -> None:
    judge.answers = ["good"]
    assert await judge.voice().say(MESSAGES, FORM) == "good"
    assert judge.asked == [
        {
            "path": "/v1/chat/completions",
            "model": "their/judge",
            "temperature": 0.5,
            "max_tokens": 32768,
            "messages": MESSAGES,
            "response_format": FORM,
        }
    ]


async def test_a_server_that_refuses_the_format_is_asked_without_from_then_on(judge: Judge) -> None:
    refusal = (400, {"error": {"message": "no response_format"}})
    judge.answers = [refusal, refusal, "good", "bad"]
    voice = judge.voice()
    assert [await voice.say(MESSAGES, FORM), await voice.say(MESSAGES, FORM)] == ["good", "bad"]
    assert ["response_format" in body for body in judge.asked] == [True, True, False, False]
    assert ["max_tokens" in body for body in judge.asked] == [True, False, False, False]


async def test_a_server_that_refuses_the_limit_that_we_chose_keeps_the_format(judge: Judge) -> None:
    judge.answers = [(400, {"error": {"message": "max_tokens"}}), "good", "bad"]
    voice = judge.voice()
    assert [await voice.say(MESSAGES, FORM), await voice.say(MESSAGES, FORM)] == ["good", "bad"]
    assert ["max_tokens" in body for body in judge.asked] == [True, False, False]
    assert all("response_format" in body for body in judge.asked)


async def test_a_limit_that_was_asked_for_is_kept(judge: Judge) -> None:
    judge.answers = [(422, {}), "good"]
    await judge.voice(max_tokens=9).say(MESSAGES, FORM)
    assert [body["max_tokens"] for body in judge.asked] == [9, 9]


async def test_a_request_that_fails_either_way_is_not_the_formats_fault(judge: Judge) -> None:
    judge.answers = [(400, {"error": {"message": "too long"}})] * 2 + [(400, {"error": "too long"}), "good"]
    voice = judge.voice()
    with pytest.raises(NotSaid, match="400: too long"):
        await voice.say(MESSAGES, FORM)
    assert await voice.say(MESSAGES, FORM) == "good" and "response_format" in judge.asked[3]


async def test_what_passes_is_tried_again_after_a_pause(judge: Judge) -> None:
    judge.answers = [(429, {}, {"retry-after": "7"}), (503, {}), (500, {}, {"Retry-After": "999"}), "good"]
    assert await judge.voice().say(MESSAGES) == "good"
    assert judge.paused == [7, 2, 60]


async def test_what_does_not_pass_is_given_up(judge: Judge) -> None:
    judge.answers = [(503, {})] * EXTERNAL_ATTEMPTS
    failure = await judge.failure()
    assert "answered 503, 6 times" in failure.message and not failure.hopeless
    assert judge.paused == [1, 2, 4, 8, 16]
    assert "cannot be reached" in (await judge.failure(base_url="http://127.0.0.1:1")).message


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_hopeless(judge: Judge, status: int) -> None:
    judge.answers = [(status, {})]
    failure = await judge.failure()
    assert failure.hopeless and failure.whose == "user" and len(judge.asked) == 1


async def test_a_redirect_is_refused_and_the_token_goes_nowhere(judge: Judge) -> None:
    judge.answers = [(307, {}, {"location": "/elsewhere"})]
    assert "redirects" in (await judge.failure()).message
    assert [it["path"] for it in judge.asked] == ["/v1/chat/completions"]


@pytest.mark.parametrize("told", [TOKEN, "Bearer " + TOKEN])
async def test_a_token_that_is_said_back_is_not_shown(judge: Judge, told: str) -> None:
    refusal = (404, {"error": {"message": f"bad {told}"}})
    judge.answers = [refusal, told + " good"]
    assert TOKEN not in (await judge.failure()).message
    assert TOKEN not in await judge.voice().say(MESSAGES)


@pytest.mark.parametrize(
    "body", [[], {}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, {"choices": 5}, "x"]
)
async def test_an_answer_that_is_none_is_a_failure(judge: Judge, body: Any) -> None:
    judge.answers = [(200, body)]
    assert (await judge.failure()).whose == "server"


async def test_no_more_requests_at_a_time_than_workers() -> None:
    line = Counting()
    voice = Voice(line, "m", None, 0, 3)
    await asyncio.gather(*(voice.say(MESSAGES) for _ in range(8)))
    assert line.most == 3


class Counting:
    """A line that knows how many were on it at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def ask(self, body: Any) -> Heard:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        return Heard(200, {}, b'{"choices": [{"message": {"content": "x"}}]}')
