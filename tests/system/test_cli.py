"""The command against a real server, each a process of its own; `tutti chat` at a real terminal."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.patience import limit
from tests.support.server import Server, running_server
from tests.support.terminal import Terminal, at_terminal

from tutti.base.model import Model

Run = Callable[..., str]

CHAT = Model(name="test/chat", type="chat", engine="echo")
SLOW = Model(name="test/slow", type="chat", engine="echo", options={"tokens_per_s": 20})
EMBEDDING = Model(name="test/embedding", type="embedding", engine="echo")
RERANK = Model(name="test/rerank", type="rerank", engine="echo")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([CHAT, SLOW, EMBEDDING, RERANK]) as server:
        yield server


def environment(server: Server, home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm",
        "TOGETHER_BASE_URL": server.url,
        "TOGETHER_API_KEY": "any",
        "TUTTI_DATA_DIR": str(home / "data"),
    }


@pytest.fixture
def tutti(server: Server, tmp_path: Path) -> Run:
    def run(*args: str, status: int = 0) -> str:
        argv = [sys.executable, "-m", "tutti", *args]
        done = subprocess.run(
            argv, env=environment(server, tmp_path), capture_output=True, text=True, timeout=limit(100)
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    return run


def test_chat_completions_stream_and_do_not(tutti: Run) -> None:
    args = ("chat.completions", "--message", "system", "Be brief", "--message", "user", "hello big world")
    streamed = tutti(*args, "--model", "test/chat")
    assert "hello big world" in streamed
    assert tutti(*args, "--model", "test/chat", "--no-stream") == streamed
    chunks = [json.loads(line) for line in tutti(*args, "--model", "test/chat", "--raw").splitlines()]
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_completions_stream_and_do_not(tutti: Run) -> None:
    args = ("completions", "one two three four", "--model", "test/chat", "--max-tokens", "3", "--stop", "zzz")
    streamed = tutti(*args)
    assert streamed.split() == ["one", "two", "three"]
    assert tutti(*args, "--no-stream").split() == streamed.split()


def test_the_first_chat_model_is_the_default(tutti: Run) -> None:
    answer = json.loads(tutti("chat.completions", "--message", "user", "hi", "--no-stream", "--json"))
    assert answer["model"] == "test/chat"


def test_models_embeddings_rerank_and_usage(tutti: Run) -> None:
    names = [model["id"] for model in json.loads(tutti("models", "list", "--json"))]
    assert names[:4] == ["test/chat", "test/slow", "test/embedding", "test/rerank"]
    assert "test/chat" in tutti("models", "list", "--type", "chat")
    assert "test/embedding" not in tutti("models", "list", "--type", "chat")
    assert tutti("models", "list", "--type", "dedicated", "--json") == "[]\n"
    assert json.loads(tutti("models", "retrieve", "test/chat", "--json"))["type"] == "chat"
    assert len(json.loads(tutti("embeddings", "hello", "--model", "test/embedding"))) == 384
    ranked = tutti("rerank", "big dog", "small cat", "big dog", "--model", "test/rerank").splitlines()
    assert ranked[1].split() == ["1.0000", "1", "big", "dog"]
    give_up_at = time.monotonic() + limit(60)
    while not {"embeddings", "rerank"} <= operations(tutti):  # rows are written in batches
        assert time.monotonic() < give_up_at
    assert "test/embedding" in tutti("usage")


def operations(tutti: Run) -> set[str]:
    """Those that have been used, as far as it is written down."""
    report = json.loads(tutti("usage", "--group-by", "operation", "--json"))
    return {row["operation"] for day in report["data"] for row in day["usage"]}


def test_an_unknown_model_is_one_line_with_a_hint(tutti: Run) -> None:
    said = tutti("chat.completions", "--message", "user", "hi", "--model", "test/chut", status=1)
    assert said.startswith("tutti: ")
    assert "test/chat" in said
    assert said.count("\n") == 1


def test_ctrl_c_stops_a_stream_with_status_130(server: Server, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tutti", "completions", "[[tokens 500]]", "--model", "test/slow"]
    with subprocess.Popen(
        argv, env=environment(server, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=limit(60))
    assert process.returncode == 130
    assert b"Traceback" not in out + err


def test_help_is_quick(tutti: Run) -> None:
    """In CPU time: others may be using the machine."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        tutti("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.7


# --- tutti chat ---------------------------------------------------------------------------------------------


@contextmanager
def chatting(server: Server, home: Path, *args: str) -> Iterator[Terminal]:
    argv = [sys.executable, "-m", "tutti", "chat", *args]
    with at_terminal(argv, {**environment(server, home), "PROMPT_TOOLKIT_NO_CPR": "1"}) as terminal:
        yield terminal


def test_chat_talks_at_a_terminal_and_keeps_what_was_typed(server: Server, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    with chatting(server, tmp_path, "--model", "test/chat") as terminal:
        terminal.wait_for("test/chat")
        terminal.wait_for(">>>")
        terminal.type("hello big world\r")
        terminal.wait_for(r"\nhello big world")
        terminal.wait_for(">>>")
        terminal.type("/help\r")
        terminal.wait_for("Ctrl-D quits")
        terminal.wait_for(">>>")
        terminal.type(f"/save {saved}\r")
        terminal.wait_for("saved ")
        terminal.wait_for(">>>")
        terminal.type("\x04")
        assert terminal.end() == 0
    turns = json.loads(saved.read_text())["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"]
    with chatting(server, tmp_path, "--model", "test/chat") as terminal:
        terminal.wait_for(">>>")
        terminal.type("\x1b[A\x1b[A\x1b[A")
        terminal.wait_for("hello big world")


def test_ctrl_c_stops_the_answer_and_not_the_chat(server: Server, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    with chatting(server, tmp_path, "--model", "test/slow") as terminal:
        terminal.wait_for(">>>")
        terminal.type("count [[tokens 500]] slowly\r")
        terminal.wait_for(r"slowly[^>]*\n[^>]*\w+ \w+ \w+ ")
        terminal.type("\x03")
        terminal.wait_for(">>>")
        terminal.type("\x03")
        terminal.wait_for(r"\n>>>")
        terminal.type("hello\r")
        terminal.wait_for(r"\nhello")
        terminal.wait_for(">>>")
        terminal.type(f"/save {saved}\r")
        terminal.wait_for("saved ")
        terminal.wait_for(">>>")
        terminal.type("\x04")
        assert terminal.end() == 0
    turns = json.loads(saved.read_text())["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert 1 < len(turns[1]["content"].split()) < 400
