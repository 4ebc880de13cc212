"""The check of uploaded files by a real server, and token counts beside those of llama.cpp."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.support.engines import Running, running
from tests.support.patience import limit
from tests.support.processes import gone
from tests.support.server import Server, argv_of, running_server
from tests.support.weights import QWEN, SMOLLM2, pulled
from tests.unit.files.cases import CALL, TOOL, assistant, chat, lines, preference, system, table, text, user
from tests.unit.files.test_rows import SWELLS
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tutti.app.platform import open_database, open_platform
from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import shipped_models
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.place import Place
from tutti.features.files.check import examine
from tutti.features.files.checks.report import validation_report
from tutti.features.files.counting import count_tokens
from tutti.features.files.service import find, make
from tutti.platform import Platform
from tutti.store.records import File

Json = dict[str, Any]
CHATS = [
    chat(system(), user("What is the capital of Sweden?"), assistant("Stockholm, of course.")),
    chat(user("1 + 1 = ?", weight=0), assistant("2"), user("And 2 + 2?"), assistant("4 🎉\n\n", weight=1)),
    chat(user("naïve <|im_end|> text\twith\r\nodd    spaces"), assistant("")),
    chat(user([text("In parts")]), assistant([text("of one")])),
]
TOOLS = chat(
    user("How is the weather?"),
    assistant(None, tool_calls=[CALL]),
    {"role": "tool", "content": "It rains.", "tool_call_id": "1"},
    assistant("It rains."),
    tools=[TOOL],
)


# --- by a server ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights() -> dict[str, Path]:
    """Their folders."""
    return {name: pulled(name) for name in (SMOLLM2, QWEN)}


@pytest.fixture(scope="module")
def server(weights: dict[str, Path]) -> Iterator[Server]:
    with running_server([], job_lease_s=2) as server:
        yield server


def upload(server: Server, data: bytes, purpose: str = "fine-tune", name: str = "data.jsonl") -> str:
    form = {"purpose": purpose, "file_name": name, "file_type": name.rpartition(".")[2]}
    response = server.client.post("/v1/files/upload", data=form, files={"file": (name, data)})
    assert response.status_code == 200, response.text
    assert response.json()["processing_status"] == "QUEUED"
    return response.json()["id"]


def until(server: Server, file_id: str, *statuses: str, within_s: float = 60) -> Json:
    give_up_at = time.monotonic() + limit(within_s)
    while True:
        file = server.client.get(f"/v1/files/{file_id}").json()
        if file["processing_status"] in statuses:
            return file
        assert time.monotonic() < give_up_at, server.output
        time.sleep(0.05)


def children(server: Server, module: str) -> list[psutil.Process]:
    return [it for it in server.tree() if module in argv_of(it)]


def test_training_data_is_counted_for_each_base_model_that_is_here(server: Server) -> None:
    report = until(server, upload(server, lines(*CHATS)), "COMPLETED")["validation_report"]
    assert (report["valid"], report["nlines"], report["dataset_format"]) == (True, 4, "CONVERSATION")
    assert {SMOLLM2, QWEN} <= report["token_counts"].keys()
    assert all(count > 80 for count in report["token_counts"].values())


def test_a_wrong_file_is_told_line_by_line(server: Server) -> None:
    file = until(server, upload(server, lines(*CHATS, {"a": 1}, chat(user()))), "INVALID_FORMAT")
    assert file["Processed"] and file["LineCount"] == 6
    report = file["validation_report"]
    assert (report["valid"], report["error_type"]) == (False, "INVALID_FORMAT")
    assert [it["line"] for it in report["errors"]] == [5, 6]


def test_other_purposes_have_their_own_checks(server: Server) -> None:
    request = {"custom_id": "a", "body": {"model": "m"}}
    batch = upload(server, lines(request, request), "batch-api")
    evals = upload(server, b"a,b\n1,2\n", "eval", "data.csv")
    tokens = upload(server, table(input_ids=[[1, 2], [3]]), name="data.parquet")
    wrong = upload(server, b"no parquet", name="data.parquet")
    swells = upload(server, SWELLS.read_bytes(), name="swells.parquet")
    (error,) = until(server, batch, "INVALID_FORMAT")["validation_report"]["errors"]
    assert (error["line"], error["param"]) == (2, "custom_id")
    assert until(server, evals, "COMPLETED")["validation_report"]["fields"] == ["a", "b"]
    assert until(server, tokens, "COMPLETED")["validation_report"]["token_counts"] == {"*": 3}
    assert "Parquet" in until(server, wrong, "INVALID_FORMAT")["validation_report"]["error"]
    assert "Row 1 is too large" in until(server, swells, "INVALID_FORMAT")["validation_report"]["error"]


def test_a_check_whose_worker_is_killed_is_done_by_another_and_nothing_is_left_over(server: Server) -> None:
    file_id = upload(server, lines(*CHATS * 100))
    give_up_at = time.monotonic() + limit(60)
    while not (counting := children(server, "tutti.workers.tokens")):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    (worker,) = children(server, "tutti.app.jobworker")[-1:]
    os.kill(worker.pid, signal.SIGKILL)
    asyncio.run(gone([it.pid for it in counting]))
    file = until(server, file_id, "COMPLETED", "FAILED")
    assert {SMOLLM2, QWEN} <= file["validation_report"]["token_counts"].keys()
    assert not children(server, "tutti.workers.tokens")


def test_a_file_that_is_deleted_while_it_is_checked_is_gone_and_the_next_one_is_checked(
    server: Server,
) -> None:
    file_id = upload(server, lines(*CHATS * 2000))  # so much that it will be seen
    until(server, file_id, "RUNNING")
    assert server.client.delete(f"/v1/files/{file_id}").status_code == 200
    until(server, upload(server, lines({"a": 1}), "eval"), "COMPLETED")
    assert server.client.get(f"/v1/files/{file_id}").status_code == 404


# --- counts -----------------------------------------------------------------------------------------------


def lend(data_dir: Path, folder: Path) -> None:
    (data_dir / "models").mkdir()
    (data_dir / "models" / folder.name).symlink_to(folder)


@asynccontextmanager
async def platform(folder: Path) -> AsyncIterator[Platform]:
    settings = Settings(data_dir=folder, models=[])
    async with open_database(settings) as database, open_platform(settings, database) as platform:
        yield platform


async def stored(platform: Platform, data: bytes) -> File:
    """A file that has been checked."""

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    made = await make(
        platform,
        platform.database.begin,
        project_id="p",
        filename="data.jsonl",
        purpose="fine-tune",
        data=pieces(),
    )
    async with platform.database.begin() as session:
        file = await session.get(File, made.id)
        assert file is not None
        file.report = validation_report(await examine(platform, made))
    return await find(platform, "p", made.id)


class Oracle:
    """A running engine, which counts the way it reads prompts."""

    def __init__(self, engine: Running) -> None:
        self._engine = engine

    async def text(self, text: str) -> int:
        body = {"content": text, "add_special": True, "parse_special": True}
        answer = await self._engine.upstream.post("/tokenize", msgspec.json.encode(body))
        return len(json.loads(answer)["tokens"])

    async def chat(self, messages: Sequence[Json], tools: Any = None) -> int:
        """Of a conversation that goes on, up to where it does: at its end the engine would have the model
        finish the last answer."""
        plain = [{name: it for name, it in message.items() if name != "weight"} for message in messages]
        body = {"messages": [*plain, user("and")], "add_generation_prompt": False}
        answer = await self._engine.upstream.post(
            "/apply-template", msgspec.json.encode({**body, "tools": tools} if tools else body)
        )
        prompt = json.loads(answer)["prompt"]
        return await self.text(prompt[: prompt.rindex("<|im_start|>user")])


@pytest.mark.parametrize("name", [SMOLLM2, QWEN])
async def test_counts_are_those_of_the_running_engine(
    name: str, tmp_path: Path, weights: dict[str, Path]
) -> None:
    lend(tmp_path, weights[name])
    model = shipped_models()[name]
    place = Place(folder=weights[name], port=0, threads=1)
    async with platform(tmp_path) as tutti, running(LlamaCpp(), model, place=place) as engine:
        oracle = Oracle(engine)

        async def counted(*values: Any) -> int:
            return await count_tokens(tutti, await stored(tutti, lines(*values)), model)

        chats = [*CHATS, TOOLS]
        each = [await oracle.chat(it["messages"], it.get("tools")) for it in chats]
        assert await counted(*chats) == sum(each)
        texts = ["", "a", " a", "  two\n\n\nlines ", "日本語 🎉", "<|im_start|>user", "0123456789" * 50]
        assert await counted(*[{"text": it} for it in texts]) == sum([await oracle.text(it) for it in texts])
        assert await counted({"prompt": "An", "completion": "swer"}) == await oracle.text("Answer")
        both = [await oracle.chat([user(), assistant(said)]) for said in ("yes", "no")]
        assert await counted(preference()) == sum(both)


async def test_a_count_is_kept_and_a_template_that_refuses_a_line_is_told(
    tmp_path: Path, weights: dict[str, Path]
) -> None:
    lend(tmp_path, weights[SMOLLM2])
    async with platform(tmp_path) as tutti:
        model = shipped_models()[SMOLLM2]
        picky = Model(name="picky", type="chat", engine="llamacpp", options={"chat_template": "picky.jinja"})
        folder = tutti.catalog.folder(picky)
        folder.mkdir(parents=True)
        (folder / "a.gguf").symlink_to(next(weights[SMOLLM2].glob("*.gguf")))
        (folder / "picky.jinja").write_text(
            "{% if 'Sweden' in messages[-2].content %}{{ raise_exception('not there') }}{% endif %}hi"
        )
        file = await stored(tutti, lines(CHATS[1], CHATS[0]))
        count = await count_tokens(tutti, file, model)
        for _ in range(2):
            with pytest.raises(InvalidRequest, match=r"line 2: .*not there"):
                await count_tokens(tutti, await find(tutti, "p", file.id), picky)
        file = await find(tutti, "p", file.id)
        assert file.report["token_counts"] == {SMOLLM2: count}
        pulled_away = tutti.catalog.folder(model)
        pulled_away.unlink()
        assert await count_tokens(tutti, file, model) == count  # without looking again
        with pytest.raises(InvalidRequest, match="pull it first"):
            await count_tokens(tutti, await stored(tutti, lines(CHATS[0])), model)


def test_a_folder_of_the_hub_counts_as_transformers_would(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE({it: place for place, it in enumerate(["<s>", *LETTERS])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    template = "{{ bos_token }}{% for it in messages %}\n[{{ it.role }}]{{ it.content }}{% endfor %}"
    config = {"bos_token": {"content": "<s>"}, "chat_template": template}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    samples = [{"line": 1, "text": "héllo"}, {"line": 2, **chat(user("hi"))}]
    expected = 1 + len("héllo".encode()) + 1 + len("[user]hi")  # the line end after a tag is none
    argv = [sys.executable, "-m", "tutti.workers.tokens", str(tmp_path)]
    said = subprocess.run(argv, input=lines(*samples), stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(said) == {"tokens": expected}


LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())


# --- much -------------------------------------------------------------------------------------------------


async def test_two_hundred_thousand_lines_are_checked_in_flat_memory(tmp_path: Path) -> None:
    line = lines(chat(user("x" * 200), assistant("y" * 200)))
    async with platform(tmp_path) as tutti:
        before = psutil.Process().memory_info().rss
        file = await stored(tutti, line)
        async with tutti.database.begin() as session:
            await session.merge(file)
        path = next(path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
        with path.open("wb") as blob:
            for _ in range(200):
                blob.write(line * 1000)
        task = asyncio.create_task(examine(tutti, file))
        peak, slowest = before, 0.0
        while not task.done():
            began = time.process_time()  # others may be using the machine
            await asyncio.sleep(0.005)
            slowest = max(slowest, time.process_time() - began)
            peak = max(peak, psutil.Process().memory_info().rss)
        report = await task
    assert (report.sound, report.lines) == (True, 200_000)
    assert peak - before < 48 << 20  # of 90 MB
    assert slowest < 0.5  # others in the process go on meanwhile
