"""What every engine of the table promises, whatever it runs."""

import ast
import inspect
from pathlib import Path

import pytest
from tests.support.engines import model

from tutti.base.errors import TuttiError
from tutti.base.model import Model, ModelFile
from tutti.engines.base import Engine
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal
from tutti.parts.engines import ENGINES

PLACE = Place(folder=Path("/weights/some--model"), port=4321, threads=2, hub_token="secret-token")
EXAMPLES = {
    "llamacpp": model(
        "llamacpp", files=(ModelFile(name="model.gguf", size_bytes=10**8),), context_length=2048
    ),
    "ours": model(
        "ours",
        type="embedding",
        files=(ModelFile(name="model.safetensors", size_bytes=10**8), ModelFile(name="tokenizer.json")),
        context_length=256,
    ),
    "vllm": model("vllm", files=(ModelFile(name="model.safetensors", size_bytes=10**8),)),
    "remote": model("remote", options={"base_url": "http://127.0.0.1:1/v1"}),
    "echo": model("echo"),
}
_SLOTS = b"""[{"is_processing":true,"id_task":1,"n_prompt_tokens_processed":7,"next_token":[{"n_decoded":0}]},
{"is_processing":true,"id_task":2},{"is_processing":false,"id_task":0}]"""
PROGRESS = {  # two requests busy, and a 7 somewhere in what is done
    "llamacpp": _SLOTS,
    "ours": b'{"busy":2,"done":7}',
    "vllm": b"vllm:num_requests_running 2.0\nvllm:generation_tokens_total 7.0\n",
    "echo": b'{"busy":2,"done":7}',
}
engines = pytest.mark.parametrize(("engine", "which"), [(ENGINES[name], it) for name, it in EXAMPLES.items()])
started = pytest.mark.parametrize(
    ("engine", "which"), [(ENGINES[name], it) for name, it in EXAMPLES.items() if name != "remote"]
)
elsewhere = pytest.mark.parametrize(("engine", "which"), [(ENGINES["remote"], EXAMPLES["remote"])])


def test_every_engine_is_tried_here() -> None:
    assert set(EXAMPLES) == {*PROGRESS, "remote"} == set(ENGINES)


@engines
def test_its_key_in_the_table_is_its_name(engine: Engine, which: Model) -> None:
    assert ENGINES[engine.name] is engine
    assert which.engine == engine.name


@started
def test_its_program_is_complete_and_stays_on_the_loopback(engine: Engine, which: Model) -> None:
    program = engine.program(which, PLACE)
    assert program is not None
    assert program.port == PLACE.port
    assert str(PLACE.port) in program.argv
    assert program.health_path.startswith("/")
    assert program.name == which.name
    assert all(isinstance(text, str) for text in (*program.argv, *program.env, *program.env.values()))
    assert "0.0.0.0" not in program.argv


@started
def test_the_same_model_and_place_give_the_same_program(engine: Engine, which: Model) -> None:
    assert engine.program(which, PLACE) == engine.program(which, PLACE)


@started
def test_no_token_shows_in_the_process_list(engine: Engine, which: Model) -> None:
    program = engine.program(which, PLACE)
    assert program is not None
    assert PLACE.hub_token not in " ".join(program.argv)


@elsewhere
def test_its_address_is_a_base_url(engine: Engine, which: Model) -> None:
    assert engine.program(which, PLACE) is None
    address = engine.address(which)
    assert address.startswith("http://127.0.0.1:")
    assert not address.endswith("/")


@engines
def test_its_limits(engine: Engine, which: Model) -> None:
    assert engine.slots(which) >= 1
    assert (engine.memory_bytes(which) > 0) == (engine.program(which, PLACE) is not None)


@engines
def test_an_estimate_of_the_catalogue_counts(engine: Engine, which: Model) -> None:
    told = Model(
        name=which.name, type=which.type, engine=which.engine, files=which.files, memory_bytes=123_456_789
    )
    assert engine.memory_bytes(told) in (0, 123_456_789)


@engines
def test_it_sends_no_credentials_without_a_key(engine: Engine, which: Model) -> None:
    assert set(engine.headers(which)) <= {"connection"}


@engines
def test_it_speaks_at_least_one_dialect(engine: Engine, which: Model) -> None:
    assert engine.text or engine.embedding or engine.rerank


@pytest.mark.parametrize(("name", "body"), PROGRESS.items())
def test_its_progress_counts_what_is_busy_and_marks_what_is_done(name: str, body: bytes) -> None:
    engine = ENGINES[name]
    assert engine.progress_path.startswith("/")
    now, later = engine.progress(body), engine.progress(body.replace(b"7", b"8"))
    assert now.busy == later.busy == 2
    assert now == engine.progress(body)
    assert now.mark != later.mark
    assert hash(now.mark) == hash(engine.progress(body).mark)


BODIES = (b"", b"oops", b"[]", b"{}", b'{"error":null}', b'{"error":{"message":"bad","type":"x","code":400}}')


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 501, 502, 503, 504, 599])
@engines
def test_every_refusal_becomes_an_error_of_ours(engine: Engine, which: Model, status: int) -> None:
    for body in BODIES:
        error = engine.error(Refusal(status, body))
        assert isinstance(error, TuttiError)
        assert error.message
        assert (error.status >= 500) or status in (400, 404, 413, 422, 429)


@engines
def test_a_wrong_request_is_the_clients_fault_and_busy_is_retried(engine: Engine, which: Model) -> None:
    assert engine.error(Refusal(400, b'{"error":{"message":"bad"}}')).status == 400
    assert engine.error(Refusal(503, b"")).should_retry


@engines
def test_it_opens_no_connection_by_itself(engine: Engine, which: Model) -> None:
    tree = ast.parse(inspect.getsource(inspect.getmodule(type(engine)) or engine))  # type: ignore[arg-type]
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        (node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert not imported & {"aiohttp", "httpx", "requests", "socket", "urllib", "subprocess", "asyncio"}
