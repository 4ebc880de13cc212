"""Models and adapters that clients upload, from a hub and from S3, served by llama.cpp."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import obstore
import pyarrow as pa
import pytest
import pytest_asyncio
from obstore.store import S3Store
from tests.support.adapters import adapter
from tests.support.engines import running
from tests.support.hub import Fault, Hub
from tests.support.numpy_llama import tiny, tokenizer
from tests.support.patience import limit
from tests.support.platform import api
from tests.support.s3 import S3Server, s3_server
from tests.support.server import Server, running_server
from tests.support.weights import SMOLLM2, gguf, pulled
from tests.support.whole import Whole, whole

from tutti.catalog.catalog import shipped_models
from tutti.engines.files import ADAPTER_FILE
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.place import Place

pytestmark = pytest.mark.timeout(180)
PROMPT = "The capital of France is"
BIG = {**adapter(7), "notes.txt": b"n" * (4 << 20)}


# --- from a hub, on a real server -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    repos = {"me/one": adapter(1), "me/two": adapter(2), "me/big": BIG}
    with Hub(repos=repos, token="hf_secret") as hub:
        yield hub


@pytest.fixture(scope="module")
def server(hub: Hub) -> Iterator[Server]:
    settings = {"hub_url": hub.url, "job_lease_s": 2, "threads": 2}
    with running_server([SMOLLM2], lent=[SMOLLM2], **settings) as server:
        yield server


def upload(server: Server, **fields: Any) -> dict[str, Any]:
    body = {"model_type": "adapter", "base_model": SMOLLM2, "hf_token": "hf_secret", **fields}
    answer = server.client.post("/v1/models", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def finished(server: Server, job_id: str, within_s: float = 60) -> dict[str, Any]:
    give_up_at = time.monotonic() + limit(within_s)
    while True:
        job = server.client.get(f"/v1/jobs/{job_id}").json()
        if job["status"] in ("Complete", "Failed"):
            return job
        assert time.monotonic() < give_up_at, job
        time.sleep(0.1)


def text(server: Server, model: str) -> str:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    answer = server.client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


async def alone(*adapters: Path) -> list[str]:
    """What llama.cpp says by itself: without an adapter, then with each."""
    base = shipped_models()[SMOLLM2]
    options = {**base.options, "lora": [str(folder / ADAPTER_FILE) for folder in adapters]}
    place = Place(folder=await asyncio.to_thread(pulled, SMOLLM2), port=0, threads=2)
    which = msgspec.structs.replace(base, options=options)
    said: list[str] = []
    async with running(LlamaCpp(), which, place=place, within_s=120) as engine:
        for chosen in range(-1, len(adapters)):
            scales = [{"id": at, "scale": float(at == chosen)} for at in range(len(adapters))]
            body = {
                "prompt": PROMPT,
                "n_predict": 12,
                "temperature": 0,
                "cache_prompt": False,
                "lora": scales,
            }
            answer = await engine.upstream.post("/completion", json.dumps(body).encode())
            said.append(json.loads(answer)["content"])
    return said


async def test_a_base_and_its_adapters_answer_in_turn_on_one_engine(server: Server) -> None:
    names = [upload(server, model_name=name, model_source=f"me/{name}") for name in ("one", "two")]
    jobs = [finished(server, it["job_id"]) for it in names]
    assert [job["status"] for job in jobs] == ["Complete"] * 2, jobs
    one, two = (it["model_name"] for it in names)
    assert one.endswith("/one")
    folders = {it.name.split("--")[-1]: it for it in (server.data_dir / "models").glob("*--*")}
    said = await alone(folders["one"], folders["two"])
    expected = dict(zip((SMOLLM2, one, two), said, strict=True))
    assert len(set(expected.values())) == 3
    for name in (SMOLLM2, one, SMOLLM2, two, one, SMOLLM2, two):
        assert text(server, name) == expected[name], name
    assert len(server.engines()) == 1
    body = {"model": one, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    chat = server.client.post("/v1/chat/completions", json=body).json()
    assert chat["model"] == one
    assert chat["choices"][0]["finish_reason"] in ("length", "eos")
    assert chat["usage"]["completion_tokens"] > 0
    assert one in server.client.get("/v1/models").text
    assert "hf_secret" not in server.output
    for path in server.data_dir.glob("tutti.db*"):
        assert b"hf_secret" not in path.read_bytes()


def test_job_workers_killed_at_every_stage_are_followed_by_others(server: Server, hub: Hub) -> None:
    """Each time as soon as the stage is seen to be reached, whatever the worker does just then."""
    weights, before = "adapter_model.safetensors", hub.sent("adapter_model.safetensors")
    hub.faults[weights] = Fault(times=1, bytes_per_s=500_000)
    data = upload(server, model_name="big", model_source="me/big")
    models = server.data_dir / "models"
    steps = models / ".uploads" / data["job_id"]
    killed: set[int] = set()
    for reached in (
        lambda: hub.sent(weights) > before + 300_000,
        lambda: (steps / "files").exists() or any(models.glob("*--big")),
        lambda: (steps / "model").exists() or any(models.glob("*--big")),
        lambda: any(models.glob("*--big")),
    ):
        worker = _job_worker(server, killed)
        _until(reached, pause_s=0.001)
        os.kill(worker, signal.SIGKILL)
        killed.add(worker)
    assert finished(server, data["job_id"])["status"] == "Complete"
    assert any("range" in it.headers for it in hub.requests if it.path.endswith(f"me/big/{weights}"))
    assert not list((models / ".uploads").iterdir())
    assert text(server, data["model_name"])


def test_a_request_outlives_the_restart_for_another_adapter(server: Server) -> None:
    name = upload(server, model_name="late", model_source="me/two")
    assert finished(server, name["job_id"])["status"] == "Complete"
    body = {"model": SMOLLM2, "prompt": "Once", "max_tokens": 150, "stream": True, "seed": 1}
    before = set(server.engines())
    with server.client.stream("POST", "/v1/completions", json=body) as long:
        lines = long.iter_lines()
        next(lines)
        with asking(server, name["model_name"]) as another:
            events = [line for line in lines if line.startswith("data: ")]
            assert another.communicate(timeout=limit(60))[0] == "200\n"
    assert events[-1] == "data: [DONE]"
    assert not any('"error"' in line for line in events)
    assert set(server.engines()) != before


ASK = """
import httpx, sys
body = {"model": sys.argv[2], "prompt": "x", "max_tokens": 3}
print(httpx.post(sys.argv[1], json=body, headers={"authorization": "Bearer any"}, timeout=60).status_code)
"""


@contextlib.contextmanager
def asking(server: Server, model: str) -> Iterator[subprocess.Popen[str]]:
    """In another process, at once."""
    argv = [sys.executable, "-c", ASK, f"{server.url}/v1/completions", model]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _job_worker(server: Server, but: set[int]) -> int:
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for pid in server.job_workers() if pid not in but]
        return bool(found)

    _until(look)
    return found[0]


def _until(condition: Any, within_s: float = 60, pause_s: float = 0.02) -> None:
    give_up_at = time.monotonic() + limit(within_s)
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(pause_s)


# --- from S3, in this process -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as s3:
        yield s3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    async with whole(tmp_path_factory.mktemp("data"), lent=[SMOLLM2]) as here:
        yield here


class TestS3:
    pytestmark = pytest.mark.asyncio(loop_scope="module")

    async def test_an_adapter_from_a_presigned_address(self, here: Whole, s3: S3Server) -> None:
        address = put(s3, "adapter.tar.zst", tar({f"mine/{k}": v for k, v in adapter(1).items()}, "zstd"))
        job = await here.upload(
            model_name="mine", model_source=address, model_type="adapter", base_model=SMOLLM2
        )
        assert job["status"] == "Complete", job
        assert job["data"]["model_source"] == "s3"
        assert "X-Amz" in address
        assert "X-Amz" not in json.dumps(job)
        said = [await completed(here, name) for name in (SMOLLM2, job["data"]["model_name"], SMOLLM2)]
        assert said[0] == said[2] != said[1]

    async def test_a_model_in_safetensors_is_converted_and_served(self, here: Whole, s3: S3Server) -> None:
        made = tiny("Qwen2ForCausalLM", seed=9)
        address = put(s3, "tiny.tar.gz", tar(made.files(), "gzip"))
        job = await here.upload(model_name="tiny", model_source=address)
        assert job["status"] == "Complete", job
        body = {"model": job["data"]["model_name"], "prompt": "hello wa", "max_tokens": 1, "temperature": 0}
        ids = tokenizer().encode("hello wa").ids
        best = tokenizer().decode([int(made.logprobs(ids).argmax())])
        answer = (await here.client.post("/v1/completions", json=body)).json()
        assert answer["choices"][0]["text"].strip("\ufffd") == best.strip("\ufffd")
        listed = {it["id"]: it for it in (await here.client.get("/v1/models")).json()}
        assert listed[body["model"]]["type"] == "chat"
        assert listed[body["model"]]["context_length"] == 512
        again = await here.client.post("/v1/models", json={"model_name": "tiny", "model_source": address})
        assert (again.status_code, again.json()["error"]["param"]) == (409, "model_name")

    async def test_what_cannot_be_used_fails_and_says_why(self, here: Whole, s3: S3Server) -> None:
        async def fails(name: str, files: Mapping[str, bytes], fields: dict[str, str]) -> str:
            address = put(s3, f"{name}.tar.gz", tar(files, "gzip"))
            kind = "adapter" if fields else "model"
            job = await here.upload(model_name=name, model_source=address, model_type=kind, **fields)
            assert job["status"] == "Failed", name
            return job["status_updates"][-1]["message"]

        said = await asyncio.gather(*(fails(name, *case[:2]) for name, case in BAD.items()))
        assert {name: BAD[name][2] in text for name, text in zip(BAD, said, strict=True)} == dict.fromkeys(
            BAD, True
        )
        assert not list((here.platform.settings.data_dir / "models" / ".uploads").iterdir())
        assert "/bad" not in (await here.client.get("/v1/models")).text

    async def test_an_expired_or_missing_object_says_what_to_do(self, here: Whole, s3: S3Server) -> None:
        address = put(s3, "gone.gguf", gguf())
        obstore.delete(store(s3), "gone.gguf")
        job = await here.upload(model_name="gone", model_source=address)
        assert (
            job["status_updates"][-1]["message"] == "The file cannot be downloaded: the server answered 404."
        )
        forged = await here.upload(
            model_name="gone", model_source=address.replace("Signature=", "Signature=0")
        )
        assert "a signed URL may have expired" in forged["status_updates"][-1]["message"]

    async def test_a_file_that_is_not_the_one_announced_is_refused(self, here: Whole, s3: S3Server) -> None:
        address = put(s3, "other.gguf", gguf())
        job = await here.upload(model_name="other", model_source=f"{address}#sha256={'0' * 64}")
        assert f"instead of {'0' * 64}" in job["status_updates"][-1]["message"]
        right = hashlib.sha256(gguf()).hexdigest()
        job = await here.upload(model_name="other", model_source=f"{address}#sha256={right}")
        assert job["status"] == "Complete", job

    async def test_an_adapter_that_breaks_the_engine_does_not_take_its_base_along(self, here: Whole) -> None:
        base = await here.platform.catalog.named(SMOLLM2)
        assert base is not None
        broken = msgspec.structs.replace(base, name="me/broken", adapter_of=SMOLLM2, files=(), hub=None)
        folder = here.platform.catalog.folder(broken)
        folder.mkdir()
        (folder / ADAPTER_FILE).write_bytes(gguf())
        await here.platform.catalog.add(broken)
        before = await completed(here, SMOLLM2)
        body = {"model": "me/broken", "prompt": "x", "max_tokens": 1}
        answer = await here.client.post("/v1/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_load_failed")
        assert await completed(here, SMOLLM2) == before


async def test_the_servers_own_network_is_out_of_reach(tmp_path: Path, s3: S3Server) -> None:
    address = put(s3, "x.gguf", gguf())
    async with api(tmp_path, []) as url, httpx.AsyncClient(headers={"authorization": "Bearer any"}) as client:
        answer = await client.post(f"{url}/v1/models", json={"model_name": "x", "model_source": address})
    assert answer.status_code == 400
    assert "not a public address" in answer.json()["error"]["message"]


BAD: Mapping[str, tuple[Mapping[str, bytes], dict[str, str], str]] = {
    "bad-pickle": ({"pytorch_model.bin": b"x"}, {}, "pytorch_model.bin is a pickle"),
    "bad-empty": ({"readme.txt": b"x"}, {}, "no .safetensors or .gguf"),
    "bad-header": ({**tiny().files(), "model.safetensors": b"12345678" * 9}, {}, "not a sound safetensors"),
    "bad-architecture": (
        tiny("GPTJForCausalLM").files(),
        {},
        "taken of LlamaForCausalLM, MistralForCausalLM",
    ),
    "bad-gguf": ({"x.gguf": gguf({"general.architecture": "no"})}, {}, "does not know the architecture no"),
    "bad-several": ({"a.gguf": gguf(), "b.gguf": gguf()}, {}, "a.gguf, b.gguf. Upload them one by one"),
    "bad-type": (adapter(1), {}, "upload it with model_type adapter"),
    "bad-shape": (adapter(1, {"self_attn.q_proj": (64, 64)}, 2), {"base_model": SMOLLM2}, "for another base"),
    "bad-dora": (adapter(1, use_dora=True), {"base_model": SMOLLM2}, "use_dora"),
    "bad-layer": (adapter(1, {"self_attn.no": (8, 8)}, 2), {"base_model": SMOLLM2}, "no layer of the base"),
    "bad-path": ({"../../evil.gguf": gguf()}, {}, "leads out of it"),
}


async def completed(here: Whole, model: str) -> str:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    answer = await here.client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def store(s3: S3Server) -> S3Store:
    config = {name.lower(): value for name, value in s3.credentials.items()}
    return S3Store(s3.bucket, endpoint=s3.endpoint, client_options={"allow_http": True}, **config)


def put(s3: S3Server, key: str, data: bytes) -> str:
    """A presigned address of the object."""
    obstore.put(store(s3), key, data)
    return obstore.sign(store(s3), "GET", key, timedelta(minutes=10))


def tar(files: Mapping[str, bytes], compression: str) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return (
        pa.compress(plain.getvalue(), codec=compression, asbytes=True) if compression == "zstd" else gz(plain)
    )


def gz(plain: io.BytesIO) -> bytes:
    return gzip.compress(plain.getvalue())
