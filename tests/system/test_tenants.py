"""One project does all that it can to a server, while another goes on with its work: all that the other asks
for is answered, in less than twice the time that it takes on a quiet server.

Each attack is a case of the table. What counts is the median of several rounds, since one may take long by
chance. A case that is too slow is tried again after a new look at the quiet server: this machine may have got
something else to do in the meantime.
"""

import asyncio
import base64
import contextlib
import json
import socket
import statistics
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import psutil
import pytest
from tests.support.interpreter import done
from tests.support.server import Server, running_server
from tests.support.weights import SMOLLM2
from websockets.asyncio.client import connect

from tutti.access.keys import create_key, project_named, server_secret
from tutti.app.platform import open_database
from tutti.base.model import Model
from tutti.base.settings import Settings

pytestmark = pytest.mark.long  # it measures times: nothing else may run beside it

EMBEDDING = Model(name="echo-embedding", type="embedding", engine="echo")
RERANK = Model(name="echo-rerank", type="rerank", engine="echo")
SPEECH = Model(name="echo-speech", type="audio", engine="echo", voices=("heart",))
ECHO = Model(name="echo", type="chat", engine="echo")

ROUNDS = 6
MOST_ROUNDS = 60
SLACK_S = 0.1
"""A request that takes ten milliseconds may take a hundred: nobody notices that."""
TRIES = 3
MOST_BYTES = 2 * 1024**3
"""What any process of the server may grow to."""

Json = dict[str, Any]
Seconds = Mapping[str, Sequence[float]]


# --- the victim ---------------------------------------------------------------------------------------------


class Victim:
    """Asks for a bit of everything; each request must be answered."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._session = done(client, "x = 1")["session_id"]
        self._numbers = count()

    def round(self) -> dict[str, float]:
        work = (self.chat, self.embeddings, self.upload, self.interpreter)
        return {it.__name__: _timed(it) for it in work}

    def chat(self) -> None:
        messages = [{"role": "user", "content": f"Count from {next(self._numbers)}."}]
        self._post("/v1/chat/completions", {"model": SMOLLM2, "messages": messages, "max_tokens": 4})

    def embeddings(self) -> None:
        self._post("/v1/embeddings", {"model": EMBEDDING.name, "input": f"text {next(self._numbers)}"})

    def upload(self) -> None:
        upload(self._client, "eval", f"{next(self._numbers)}.jsonl", b'{"a": "x"}\n')

    def interpreter(self) -> None:
        assert done(self._client, "x + 1", self._session)["outputs"][0]["data"]["text/plain"] == "2"

    def _post(self, path: str, body: Json) -> None:
        answer = self._client.post(path, json=body)
        assert answer.status_code == 200, answer.text


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def upload(client: httpx.Client, purpose: str, name: str, content: bytes) -> str:
    """The file's id."""
    said = {"purpose": purpose, "file_name": name, "file_type": name.rpartition(".")[2]}
    answer = client.post("/v1/files/upload", data=said, files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


# --- the attacks --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attacker:
    server: Server
    client: httpx.Client
    victim: httpx.Client
    enough: threading.Event = field(default_factory=threading.Event)
    """Set when the victim has done its rounds: what only waits can end."""

    def post(self, path: str, body: Json) -> int:
        """The status. To be refused is fine; to be told that the server failed is not."""
        status = self.client.post(path, json=body).status_code
        assert status < 500 or status == 503, (path, status)
        return status

    def many(self, work: Callable[[int], object], times: int, at_once: int) -> None:
        with ThreadPoolExecutor(at_once) as threads:
            for _ in threads.map(work, range(times)):
                pass

    @property
    def key(self) -> str:
        return self.client.headers["authorization"]


def chat(a: Attacker, **fields: Any) -> int:
    messages = [{"role": "user", "content": "hi"}]
    return a.post("/v1/chat/completions", {"model": SMOLLM2, "max_tokens": 2, "messages": messages, **fields})


def templates(a: Attacker) -> None:
    """Computed while they are compiled."""
    file = upload(a.client, "eval", "rows.jsonl", b'{"a": "x"}\n')
    for template in (
        "{{ 7 ** (10 ** 7) }}",
        "{{ 'a'|center(1000000000) }}",
        "{{ " + "a<" * 32_000 + "a }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    ):
        judge = {"model": SMOLLM2, "model_source": "serverless", "system_template": template}
        parameters = {
            "judge": judge,
            "input_data_file_path": file,
            "labels": ["a", "b"],
            "pass_labels": ["a"],
            "model_to_evaluate": "a",
        }
        a.post("/v1/evaluation", {"type": "classify", "parameters": parameters})


def schema(**fields: Any) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": fields}}


def large_bounds(a: Attacker) -> None:
    texts = {"type": "array", "items": {"type": "string"}}
    for bound in ({"maxItems": 2**31 - 1}, {"minItems": 2**31 - 1}, {"maxItems": 3_000_000}):
        chat(a, response_format=schema(**texts, **bound))
    for bound in ({"maxLength": 2**31 - 1}, {"minLength": 2**31 - 1}):
        chat(a, response_format=schema(type="string", **bound))
    chat(a, response_format={"type": "regex", "pattern": "(a{1,1000}){1,1000}"})
    parameters = {"type": "object", "properties": {"a": {**texts, "maxItems": 2**31 - 1}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    chat(a, tools=[tool], tool_choice="required")


def large_enum(a: Attacker) -> None:
    for _ in range(3):
        chat(a, response_format=schema(enum=[f"value number {number}" for number in range(10_000)]))


def poison_line(a: Attacker) -> None:
    """Until the batch has ended, however."""
    plain: Json = {"model": SMOLLM2, "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}
    poison = schema(type="array", maxItems=2**31 - 1, items={"type": "string"})
    bodies = [plain, {**plain, "response_format": poison}, plain]
    lines = (json.dumps({"custom_id": str(i), "body": body}) + "\n" for i, body in enumerate(bodies))
    ended(a.client, batch(a.client, "".join(lines).encode()))


def batch(client: httpx.Client, lines: bytes) -> str:
    file = upload(client, "batch-api", "lines.jsonl", lines)
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions"}
    answer = client.post("/v1/batches", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["job"]["id"]


def ended(client: httpx.Client, id: str, within_s: float = 300) -> None:
    give_up_at = time.monotonic() + within_s
    while client.get(f"/v1/batches/{id}").json()["status"] not in ("COMPLETED", "FAILED", "CANCELLED"):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def swelling_file(a: Attacker) -> None:
    for _ in range(3):
        upload(a.client, "fine-tune", "swells.parquet", zlib.decompress(base64.b64decode(SWELLS)))


def one_shot_calls(a: Attacker) -> None:
    a.many(lambda _: a.post("/v1/tci/execute", {"language": "python", "code": "1 + 1"}), 66, 4)


def busy_sessions(a: Attacker) -> None:
    def work(_: int) -> None:
        with contextlib.suppress(httpx.ReadTimeout):
            a.client.post(
                "/v1/tci/execute", json={"language": "python", "code": "while True: pass"}, timeout=8
            )

    a.many(work, 12, 12)


def sockets(a: Attacker) -> None:
    """As many as there may be, and more. The victim gets one all the same."""
    url = f"{a.server.url.replace('http', 'ws')}/v1/audio/speech/websocket?model={SPEECH.name}"

    async def opened(stack: contextlib.AsyncExitStack, key: str) -> Json:
        headers = {"authorization": key}
        connection = await stack.enter_async_context(
            connect(url, additional_headers=headers, open_timeout=60)
        )
        return json.loads(await connection.recv())

    async def hold() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(26):
                await asyncio.gather(*(opened(stack, a.key) for _ in range(10)))
            told = await opened(stack, a.victim.headers["authorization"])
            assert told["type"] == "session.created", told
            await asyncio.to_thread(a.enough.wait)

    asyncio.run(hold())


def many_messages(a: Attacker) -> None:
    assert chat(a, messages=[{"role": "user", "content": "a"}] * 300_000) == 400
    assert chat(a, messages=[{"role": "user", "content": "a b " * 3_000_000}]) == 400


def many_texts(a: Attacker) -> None:
    assert a.post("/v1/embeddings", {"model": EMBEDDING.name, "input": ["a"] * 300_000}) == 400


def many_documents(a: Attacker) -> None:
    body = {"model": RERANK.name, "query": "a", "documents": ["a"] * 200_000}
    assert a.post("/v1/rerank", body) == 400


def stalled(a: Attacker) -> None:
    """Connections that stop in the middle of a head, and of a body."""
    host, port = a.server.url.rpartition("/")[2].split(":")
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = f"Authorization: {a.key}\r\nContent-Length: 1000000\r\n\r\n{{"
    with contextlib.ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
            connection.sendall((head + (body if number % 2 else "")).encode())
        a.enough.wait()


def flood(a: Attacker) -> None:
    a.many(lambda _: chat(a, max_tokens=16), 64, 64)


def small_jobs(a: Attacker) -> None:
    """A batch of the victim's does not wait for all of them."""
    line = json.dumps(
        {"custom_id": "1", "body": {"model": ECHO.name, "messages": [{"role": "user", "content": "a"}]}}
    )
    file = upload(a.client, "batch-api", "line.jsonl", line.encode())
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions"}
    a.many(lambda _: a.post("/v1/batches", body), 300, 4)
    ended(a.victim, batch(a.victim, line.encode()))


@dataclass(frozen=True)
class Case:
    attack: Callable[[Attacker], None]
    times: Mapping[str, float] = field(default_factory=dict[str, float])
    """What may take longer than twice as long, and why."""


CASES = [
    Case(templates),
    Case(large_bounds),
    Case(large_enum),
    Case(poison_line),
    Case(swelling_file),
    Case(one_shot_calls),
    Case(busy_sessions),
    Case(sockets),
    Case(many_messages),
    Case(many_texts),
    Case(many_documents),
    Case(stalled),
    # An engine's slots share its processors: a request is slow among seven others, but waits for none of 64.
    Case(flood, {"chat": 20}),
    Case(small_jobs),  # the last one: they go on
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([SMOLLM2, ECHO, EMBEDDING, RERANK, SPEECH], interpreter=True) as server:
        yield server


async def client_of(server: Server, project: str) -> httpx.Client:
    settings = Settings(data_dir=server.data_dir)
    async with open_database(settings) as database:
        row = await project_named(database, project)
        key = await create_key(database, server_secret(settings), project, project_id=row.id)
    headers = {"authorization": f"Bearer {key.secret}"}
    limits = httpx.Limits(max_connections=None)
    return httpx.Client(base_url=server.url, headers=headers, timeout=120, limits=limits)


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """The attacker's and the victim's."""
    with asyncio.run(client_of(server, "a")) as a, asyncio.run(client_of(server, "b")) as b:
        yield a, b


@pytest.fixture(scope="module")
def victim(clients: tuple[httpx.Client, httpx.Client]) -> Victim:
    victim = Victim(clients[1])
    victim.round()
    return victim


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.attack.__name__)
def test_another_project_notices_nothing(
    server: Server, clients: tuple[httpx.Client, httpx.Client], victim: Victim, case: Case
) -> None:
    for _ in range(TRIES):
        quiet = rounds(victim, lambda: False)
        slow = too_slow(quiet, attacked(Attacker(server, *clients), victim, case), case)
        if not slow:
            return
    pytest.fail(f"{case.attack.__name__}: {slow}")


def attacked(a: Attacker, victim: Victim, case: Case) -> Seconds:
    largest: list[int] = []

    def goes_on() -> bool:
        largest.append(max(map(rss_bytes, a.server.tree())))
        return not attack.done()

    with ThreadPoolExecutor(1) as thread:
        attack = thread.submit(case.attack, a)
        try:
            found = rounds(victim, goes_on, a.enough.set)
        finally:
            a.enough.set()
        attack.result()
    assert max(largest) < MOST_BYTES
    return found


def rounds(victim: Victim, goes_on: Callable[[], bool], enough: Callable[[], None] = lambda: None) -> Seconds:
    found: list[Mapping[str, float]] = []
    while len(found) < ROUNDS or (goes_on() and len(found) < MOST_ROUNDS):
        found.append(victim.round())
        if len(found) == ROUNDS:
            enough()
    return {name: [it[name] for it in found] for name in found[0]}


def too_slow(quiet: Seconds, loaded: Seconds, case: Case) -> list[str]:
    def slow(name: str) -> bool:
        allowed_s = case.times.get(name, 2) * statistics.median(quiet[name]) + SLACK_S
        return statistics.median(loaded[name]) > allowed_s

    return [
        f"{name}: {statistics.median(loaded[name]):.3f} s, {statistics.median(quiet[name]):.3f} s when quiet"
        for name in filter(slow, quiet)
    ]


def rss_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


SWELLS = """
eNrNVMGK00AY/jsJscIiu8KEBCoUwbBid7ctRNZlL3/apivbZdeAbVeQJZsNaW3ajU1qPXjYk1c9evQlfAR9BPEVBA++gIsz06QR
EcWD4BBm/pn5vm+++RJyhE6NynSV3uxQQuE6wPq7rW/lIsKyUaA7tFOhFx9eviowpEKVklbMdvNKhfVfrK6tQap54zMAX5Yuv75n
SgWF1UJTKogB/h8f+gsTNCX2Bv7YpTKYRLs6nESz5GR4FjN7SmeXcUxZk8NhnFDCGLeIdsUP/bE/STj8mpskrByeT07Gbjz6M0cl
ekmvGFBih5ugrOrb+YmCkSHpiipcql8K6mti2Ebx70LQKyxm4OcDy5DA7m2DXPIcdDvLgY0/GvnpLr9z85EYb8i/8KN+klRiFNW3
MuglbQUd57C3s3g/2oW0xdvzwELEB7ho+4hztAK0EQNsBGLNYoADXjQQ74uFfMRFacXLefsJE91mRatrC5KQbgkoL605rw55d9x3
qo96ZtXt3Zv167WBV2cy+03Gv+Nxa0JyIJjH+Xm41HP7Tngq5BsHKR7xIe+a2dyyHQEY5XxBjZfW2uHM2+tW+/Vw5M0XJq0U1BJq
Ac9jj+eSbaYWGq00lOX98ktGZ+1uspgH2BQheSmUN5EMglaO3OnTmZ9seFG04U6n5/PyM38as2+mXL+7Wd2s6ZUSAHvgsQRwxH46
3wFQ+fAI
"""
"""A Parquet file, compressed: one row, whose two columns are 150 million zeros."""
