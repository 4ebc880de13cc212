"""Server-sent events over a real socket: what a client sees, and what happens to the generator behind it."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from fastapi import FastAPI, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from tests.support.budget import examples
from tests.support.fleet import until
from tests.support.http import serve
from tests.support.patience import limit

from tutti.base.errors import RateLimited, TuttiError, Unavailable
from tutti.http import errors
from tutti.http.stream import event_stream, while_connected

WAITING = b": waiting\n\n"


@dataclass
class Script:
    """What the generator does, and how it ended. An event is waited for."""

    steps: list[bytes | float | Exception | asyncio.Event] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    cleaned: bool = False
    yielded: int = 0

    async def frames(self) -> AsyncGenerator[bytes, None]:
        self.begun.set()
        try:
            async with asyncio.timeout(limit(60)):
                for step in self.steps:
                    if isinstance(step, bytes):
                        yield step
                        self.yielded += 1
                    elif isinstance(step, Exception):
                        raise step
                    elif isinstance(step, asyncio.Event):
                        await step.wait()
                    else:
                        await asyncio.sleep(step)
        finally:
            self.closed.set()
            await asyncio.sleep(0)  # clean-up may take its time
            self.cleaned = True


def application(script: Script, early_headers_s: float, keep_alive_s: float) -> FastAPI:
    app = FastAPI()
    for kind in (TuttiError, Exception):
        app.add_exception_handler(kind, errors.handle)

    @app.get("/")
    async def stream() -> Response:
        return event_stream(script.frames(), early_headers_s=early_headers_s, keep_alive_s=keep_alive_s)

    return app


@asynccontextmanager
async def client(
    script: Script, early_headers_s: float = 60.0, keep_alive_s: float = 60.0
) -> AsyncIterator[Callable[[], object]]:
    async with (
        serve(application(script, early_headers_s, keep_alive_s)) as url,
        aiohttp.ClientSession() as session,
    ):
        yield lambda: session.get(url)


async def read(script: Script, **options: float) -> tuple[int, bytes, aiohttp.ClientResponse]:
    async with client(script, **options) as get, get() as response:
        return response.status, await response.read(), response


async def test_frames_arrive_as_they_are_under_the_headers_of_an_event_stream():
    status, body, response = await read(Script([b"data: 1\n\n", b"data: 2\n\ndata: [DONE]\n\n"]))
    assert (status, body) == (200, b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"


async def test_an_error_before_the_first_frame_has_its_own_status():
    status, body, response = await read(Script([0.05, RateLimited("full", retry_after_s=3)]))
    assert status == 429
    assert json.loads(body)["error"]["type"] == "rate_limit_error"
    assert response.headers["retry-after"] == "3"
    assert response.headers["x-should-retry"] == "true"


async def test_an_error_after_the_first_frame_is_the_last_event():
    status, body, _ = await read(Script([b"data: 1\n\n", Unavailable("gone")]))
    assert status == 200
    first, error, done = body.decode().strip().split("\n\n")
    assert (first, done) == ("data: 1", "data: [DONE]")
    assert json.loads(error.removeprefix("data: ")) == {
        "error": {"message": "gone", "type": "overloaded_error", "param": None, "code": None}
    }


async def test_an_unforeseen_error_tells_the_client_nothing():
    _, body, _ = await read(Script([b"data: 1\n\n", RuntimeError("secret detail")]))
    assert b"server_error" in body
    assert b"secret" not in body


async def test_headers_and_a_comment_go_out_early_while_nothing_comes():
    something = asyncio.Event()
    script = Script([something, b"data: 1\n\n"])
    async with client(script, early_headers_s=0.05, keep_alive_s=0.05) as get:
        began = time.monotonic()
        async with get() as response:
            assert response.status == 200
            three = await response.content.readexactly(3 * len(WAITING))
            something.set()
            rest = await response.read()
        most = (time.monotonic() - began) / 0.05
    assert three == 3 * WAITING
    assert rest.endswith(b"data: 1\n\n")
    assert 3 + rest.count(WAITING) <= most


async def test_an_error_after_early_headers_is_an_event():
    status, body, _ = await read(Script([0.2, Unavailable("gone")]), early_headers_s=0.05)
    assert status == 200
    assert b'data: {"error":' in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_comments_come_between_frames_that_are_far_apart_only():
    something = asyncio.Event()
    script = Script([b"data: 1\n\n", something, b"data: 2\n\n", *([0.01, b"data: 3\n\n"] * 20)])
    async with client(script, early_headers_s=0.05, keep_alive_s=0.1) as get, get() as response:
        before = await response.content.readuntil(WAITING)
        something.set()
        _, after = (await response.read()).split(b"data: 2\n\n")
    assert before == b"data: 1\n\n" + WAITING
    assert WAITING not in after


@pytest.mark.parametrize(
    "steps",
    [
        [50.0],  # while it waits for the first frame
        [b"data: 1\n\n", 50.0],  # between frames
        [b"data: " + b"x" * 65536 + b"\n\n"] * 1000,  # while a slow reader holds it up
    ],
    ids=["waiting", "between frames", "slow reader"],
)
async def test_the_generator_is_closed_at_once_when_the_client_leaves(steps):
    script = Script(steps)
    async with serve(application(script, 60, 60)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(script.begun.wait(), limit(20))
        await asyncio.sleep(0.1)  # until it is held up
        assert not script.closed.is_set()
        writer.transport.abort()
        await asyncio.wait_for(script.closed.wait(), limit(20))  # all else takes longer
        await until(lambda: script.cleaned)
        del reader


async def test_other_work_is_cancelled_when_the_client_leaves():
    begun, cancelled = asyncio.Event(), asyncio.Event()
    app = FastAPI()

    @app.get("/")
    async def slow(request: Request) -> Response:
        async def work() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()

        try:
            await while_connected(request, work())
        except ClientDisconnect:
            return Response(status_code=499)
        raise AssertionError

    async with serve(app) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(begun.wait(), limit(20))
        writer.transport.abort()
        await asyncio.wait_for(cancelled.wait(), limit(20))


STEPS = st.lists(
    st.one_of(
        st.binary(max_size=8).map(lambda data: b"data: " + data.hex().encode() + b"\n\n"),
        st.sampled_from([0.0, 0.002]),
        st.builds(Unavailable, st.just("u")) | st.builds(RuntimeError, st.just("r")),
    ),
    max_size=8,
)


async def run(script: Script, leave_after: int | None) -> list[dict]:
    """The messages sent, by a client that leaves after so many of them."""
    sent: list[dict] = []
    left = asyncio.Event()

    async def send(message):
        sent.append(message)
        await asyncio.sleep(0)
        if leave_after is not None and len(sent) > leave_after:
            left.set()
            await asyncio.sleep(0)

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    response = event_stream(script.frames(), early_headers_s=0.001, keep_alive_s=0.001)
    async with asyncio.timeout(limit(60)):
        await response({"type": "http"}, receive, send)
    return sent


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, leave_after=st.one_of(st.none(), st.integers(0, 6)))
def test_whatever_happens_the_answer_is_well_formed_and_the_generator_closed(steps, leave_after):
    script = Script(steps)
    failed = None
    sent: list[dict] = []
    try:
        sent = asyncio.run(run(script, leave_after))
    except (TuttiError, RuntimeError, ClientDisconnect) as error:
        failed = error
    assert script.closed.is_set() or script.yielded == 0
    if failed is not None:
        return
    assert [message["type"] for message in sent[:1]] == ["http.response.start"]
    assert all(message["type"] == "http.response.body" for message in sent[1:])
    if leave_after is not None:
        return
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
    body = b"".join(message["body"] for message in sent[1:])
    events = [event for event in body.split(b"\n\n") if event and not event.startswith(b":")]
    error_at = next((i for i, step in enumerate(steps) if isinstance(step, Exception)), len(steps))
    frames = [step.removesuffix(b"\n\n") for step in steps[:error_at] if isinstance(step, bytes)]
    assert events[: len(frames)] == frames
    rest = events[len(frames) :]
    assert rest == [] if error_at == len(steps) else (len(rest) == 2 and rest[1] == b"data: [DONE]")
