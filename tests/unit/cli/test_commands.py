"""What the commands send, print and exit with. The real server is in tests/system/test_cli.py."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.cli.conftest import Scripted

from tutti.catalog.catalog import shipped_models


def events(*chunks: Any) -> web.Response:
    lines = [": keep-alive\n\n", *(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), "data: [DONE]\n\n"]
    return web.Response(text="".join(lines), content_type="text/event-stream")


def delta(**content: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": content}]}


def answer(*texts: str) -> web.Response:
    choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(texts)]
    return web.json_response({"choices": choices})


def error(status: int, message: str, **headers: str) -> web.Response:
    body = {"error": {"message": message, "type": "t", "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


# --- chat.completions and completions -----------------------------------------------------------------------


async def test_messages_stream_to_stdout(scripted: Scripted) -> None:
    scripted.answers = [events(delta(role="assistant", content="Hel"), delta(content="lo"), {"choices": []})]
    ran = await scripted.run(
        *("chat.completions", "--message", "system", "Be brief", "--message", "user", "Hi", "--model", "m")
    )
    assert (ran.status, ran.out, ran.err) == (0, "Hello\n", "")
    path, body = scripted.asked[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "m",
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}],
    }
    assert scripted.headers[0]["authorization"] == "Bearer a-key"


async def test_every_option_becomes_its_field(scripted: Scripted) -> None:
    scripted.answers = [answer("x")]
    options = (
        "--max-tokens 5 --stop a --stop b --temperature 0 --top-p 0.5 --top-k 3 --min-p 0.1 "
        "--repetition-penalty 1.1 --presence-penalty 0.2 --frequency-penalty 0.3 --seed 0 --n 1 --logprobs 2 "
        '--echo --safety-model guard --response-format {"type":"regex","pattern":"a"} --reasoning-effort low'
    )
    await scripted.run(
        "chat.completions", "--message", "user", "--message", "--model", "m", "--no-stream", *options.split()
    )
    assert scripted.asked[0][1] == {
        "model": "m",
        "messages": [{"role": "user", "content": "--message"}],
        "max_tokens": 5,
        "stop": ["a", "b"],
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 0,
        "n": 1,
        "logprobs": 2,
        "echo": True,
        "safety_model": "guard",
        "response_format": {"type": "regex", "pattern": "a"},
        "reasoning_effort": "low",
    }


async def test_audio_is_attached_to_the_last_message(scripted: Scripted) -> None:
    scripted.answers = [answer("x")]
    await scripted.run(
        *("chat.completions", "--message", "user", "What?", "--audio-url", "http://h/a.wav"),
        *("--model", "m", "--no-stream"),
    )
    assert scripted.asked[0][1]["messages"][0]["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "audio_url", "audio_url": {"url": "http://h/a.wav"}},
    ]


async def test_the_model_defaults_to_the_first_of_the_right_type(scripted: Scripted) -> None:
    scripted.answers = [answer("x"), answer("x")]
    await scripted.run("chat.completions", "--message", "user", "Hi", "--no-stream")
    scripted.models = {"object": "list", "data": [{"id": "openai-shape", "object": "model"}]}
    await scripted.run("chat.completions", "--message", "user", "Hi", "--no-stream")
    assert [body["model"] for _, body in scripted.asked] == ["org/talker", "openai-shape"]


async def test_several_answers_are_printed_one_after_the_other(scripted: Scripted) -> None:
    scripted.answers = [answer("one", "two\n")]
    ran = await scripted.run("chat.completions", "--message", "user", "Hi", "--model", "m", "--n", "2")
    assert ran.out == "===== Completion 0 =====\none\n===== Completion 1 =====\ntwo\n"
    assert "stream" not in scripted.asked[0][1]


async def test_raw_prints_the_servers_json(scripted: Scripted) -> None:
    first = delta(content="é")
    scripted.answers = [events(first, {"choices": [], "usage": {}}), answer("x")]
    args = ("chat.completions", "--message", "user", "Hi", "--model", "m")
    streamed = (await scripted.run(*args, "--raw")).out.splitlines()
    assert [json.loads(line) for line in streamed] == [first, {"choices": [], "usage": {}}]
    whole = await scripted.run(*args, "--json", "--no-stream")
    assert json.loads(whole.out)["choices"][0]["message"]["content"] == "x"


async def test_tool_calls_are_shown(scripted: Scripted) -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": '{"a":1}'}}
    scripted.answers = [events(delta(content=None, tool_calls=[call]))]
    ran = await scripted.run("chat.completions", "--message", "user", "Hi", "--model", "m")
    assert ran.out == 'f{"a":1}\n'


@pytest.mark.parametrize(
    "choice", [{"text": " b"}, {"delta": {"content": " b"}}, {"text": " b", "delta": {}}]
)
async def test_completions_read_both_shapes_of_chunks(scripted: Scripted, choice: Any) -> None:
    scripted.answers = [events({"choices": [choice]})]
    ran = await scripted.run("completions", "a", "--model", "m", "--max-tokens", "512", "--stop", ".")
    assert (ran.status, ran.out) == (0, " b\n")
    assert scripted.asked == [
        (
            "/v1/completions",
            {"model": "m", "prompt": "a", "max_tokens": 512, "stop": ["."], "stream": True},
        )
    ]


# --- other commands -----------------------------------------------------------------------------------------


async def test_lists_models(scripted: Scripted) -> None:
    ran = await scripted.run("models", "list")
    head, first, second = ran.out.splitlines()
    assert head.startswith("ID")
    assert first.split() == ["org/embedder", "available", "embedding"]
    assert second.split() == ["org/talker", "loaded", "chat", "4096"]
    only = await scripted.run("models", "list", "--type", "chat", "--json")
    assert json.loads(only.out) == [MODEL for MODEL in scripted.models if MODEL["type"] == "chat"]


async def test_the_list_of_models_fits_80_columns(scripted: Scripted) -> None:
    scripted.models = [
        {"id": it.name, "status": "downloaded", "type": it.type, "context_length": it.context_length}
        for it in shipped_models().values()
    ]
    ran = await scripted.run("models", "list")
    assert max(len(line.rstrip()) for line in ran.out.splitlines()) <= 80


async def test_nothing_of_a_table_is_cut_in_a_pipe(scripted: Scripted) -> None:
    scripted.models = [{"id": "o/[red]" + "x" * 300, "type": "chat"}]
    ran = await scripted.run("models", "list")
    assert "o/[red]" + "x" * 300 in ran.out


async def test_retrieves_a_model_by_an_encoded_name(scripted: Scripted) -> None:
    scripted.answers = [web.json_response({"id": "a/b", "object": "model", "type": "chat"})]
    ran = await scripted.run("models", "retrieve", "a/b", "--json")
    assert json.loads(ran.out)["id"] == "a/b"
    assert scripted.asked == [("/v1/models/a%2Fb", None)]


async def test_embeddings_are_printed_one_a_line(scripted: Scripted) -> None:
    scripted.answers = [web.json_response({"data": [{"embedding": [0.5, 1]}, {"embedding": [2, 3]}]})]
    ran = await scripted.run("embeddings", "a", "b")
    assert ran.out == "[0.5, 1]\n[2, 3]\n"
    assert scripted.asked[0][1] == {"model": "org/embedder", "input": ["a", "b"]}


async def test_rerank_prints_the_documents_in_order(scripted: Scripted) -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    scripted.answers = [web.json_response({"results": results})]
    ran = await scripted.run("rerank", "query", "first", "second", "--top-n", "2")
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["0.9000", "1", "second"],
        ["0.1000", "0", "first"],
    ]
    assert scripted.asked[0][1]["top_n"] == 2


@pytest.mark.parametrize("name", [".", "/", "a-folder", "a-file/z.wav", "/proc/z.wav"])
async def test_speech_that_cannot_be_written_is_one_line_and_status_1(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-file").touch()
    scripted.answers = [web.Response(body=b"RIFF")]
    ran = await scripted.run("audio", "speech", "Hi", "--model", "m", "-o", name)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert f"{name} cannot be written (" in ran.err and "another place with --output" in ran.err
    assert sorted(it.name for it in tmp_path.iterdir()) == ["a-file", "a-folder"]


async def test_speech_is_written_to_a_file_or_to_stdout(scripted: Scripted, tmp_path: Path) -> None:
    scripted.answers = [web.Response(body=b"RIFF"), web.Response(body=b"RIFF")]
    said = tmp_path / "new" / "said.wav"
    await scripted.run("audio", "speech", "Hi", "--model", "m", "-o", str(said))
    assert (said.read_bytes(), list(said.parent.iterdir())) == (b"RIFF", [said])
    assert (await scripted.run("audio", "speech", "Hi", "--model", "m")).out == "RIFF"


# --- servers, errors and exit statuses ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_have_v1_or_not(scripted: Scripted, suffix: str) -> None:
    ran = await scripted.run("models", "list", TOGETHER_BASE_URL=scripted.url + suffix)
    assert ran.status == 0


async def test_options_win_over_the_environment(scripted: Scripted) -> None:
    ran = await scripted.run(
        *("--base-url", scripted.url, "--api-key", "other", "models", "list"),
        TOGETHER_BASE_URL="http://127.0.0.1:1",
    )
    assert ran.status == 0
    assert scripted.headers[0]["authorization"] == "Bearer other"


async def test_proxies_are_not_asked_for_this_machines_server(scripted: Scripted) -> None:
    ran = await scripted.run("models", "list", http_proxy="http://127.0.0.1:1")
    assert ran.status == 0


async def test_an_error_is_one_line_and_status_1(scripted: Scripted) -> None:
    scripted.answers = [error(404, "There is no\nmodel m.")]
    ran = await scripted.run("completions", "a", "--model", "m")
    assert (ran.status, ran.out, ran.err) == (1, "", "tutti: There is no model m (404)\n")


async def test_an_error_in_a_stream_is_status_1(scripted: Scripted) -> None:
    failed = {"error": {"message": "The engine died.", "type": "t"}}
    scripted.answers = [events(delta(content="Hel"), failed)]
    ran = await scripted.run("chat.completions", "--message", "user", "Hi", "--model", "m")
    assert (ran.status, ran.out) == (1, "Hel")
    assert ran.err == "tutti: The engine died\n"


@pytest.mark.parametrize("command", [("serve",), ("keys", "list"), ("pull", "x"), ("local",)])
@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("DATA_DIR", "{file}", "--data-dir: {file} cannot be a folder: File exists"),
        ("DATA_DIR", "{file}/x", "--data-dir: {file}/x cannot be a folder: Not a directory"),
        ("BLOB_URL", "foo://hunter2", "--blob-url: String should match"),
        ("BLOB_URL", "s3:///hunter2", "(s3://bucket/prefix. Empty: a folder in the data directory.)"),
        ("DATABASE_URL", "mysql://me:hunter2@h/d", "--database-url: String should match"),
        ("JOB_WORKERS", "0", "--job-workers: Input should be greater than or equal to 1"),
    ],
)
async def test_a_setting_that_cannot_be_is_one_line_and_status_1(
    scripted: Scripted, command: tuple[str, ...], setting: str, value: str, says: str
) -> None:
    file = scripted.folder / "file"
    file.touch()
    given = {"TUTTI_DATA_DIR": str(scripted.folder), f"TUTTI_{setting}": value.format(file=file)}
    ran = await scripted.run(*command, **given)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert says.format(file=file) in ran.err
    assert "hunter2" not in ran.err


async def test_a_server_that_is_not_there_is_one_line_and_status_1(scripted: Scripted) -> None:
    ran = await scripted.run("models", "list", TOGETHER_BASE_URL="http://127.0.0.1:1")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("tutti: no server at http://127.0.0.1:1")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("base", ["ftp://127.0.0.1", "http://[", "nonsense", ""])
async def test_a_base_url_that_is_none_is_one_line_and_status_1(scripted: Scripted, base: str) -> None:
    ran = await scripted.run("--base-url", base, "models", "list")
    assert (ran.status, ran.err.count("\n")) == (1, 1)


async def test_something_else_than_the_api_is_one_line_and_status_1(scripted: Scripted) -> None:
    for page in ("<html>", '"text"', "[1]"):
        scripted.answers = [web.Response(text=page, content_type="text/html")]
        ran = await scripted.run("embeddings", "a", "--model", "m")
        assert (ran.status, ran.err.count("\n")) == (1, 1), page
    scripted.answers = [web.Response(text="<html>", content_type="text/html")]
    ran = await scripted.run("completions", "a", "--model", "m")
    assert (ran.status, ran.err.count("\n")) == (1, 1)


async def test_waits_as_long_as_the_server_says_and_tries_again(scripted: Scripted) -> None:
    busy = error(503, "m is being loaded.", **{"retry-after": "1", "x-should-retry": "true"})
    scripted.answers = [busy, answer("done")]
    started = time.monotonic()
    ran = await scripted.run("chat.completions", "--message", "user", "Hi", "--model", "m", "--no-stream")
    assert (ran.status, ran.out) == (0, "done\n")
    assert "m is being loaded" in ran.err
    assert time.monotonic() - started > 1


async def test_does_not_try_again_where_the_server_says_not_to(scripted: Scripted) -> None:
    scripted.answers = [error(429, "The quota is used up.", **{"x-should-retry": "false"})]
    assert (await scripted.run("completions", "a", "--model", "m")).status == 1
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("completions",),
        ("completions", "a", "--max-tokens", "many"),
        ("chat.completions", "--model", "m"),
        ("chat.completions", "--message", "user"),
        ("chat.completions", "--message=user", "--model", "m"),
        ("chat.completions", "--message", "user", "x", "--model", "m", "--response-format", "{"),
        ("models", "list", "--nonsense"),
    ],
)
async def test_wrong_usage_is_status_2(scripted: Scripted, args: tuple[str, ...]) -> None:
    ran = await scripted.run(*args)
    assert (ran.status, ran.out) == (2, "")
    assert scripted.asked == []


async def test_help_and_version(scripted: Scripted) -> None:
    top = await scripted.run("--help")
    assert top.status == 0
    assert "Run a server" in top.out
    for name in ("chat", "chat.completions", "completions", "models", "usage", "embeddings", "rerank"):
        assert name in top.out
        ran = await scripted.run(name, "--help")
        assert (ran.status, ran.err) == (0, "")
    assert (await scripted.run("--version")).out.startswith("tutti 0.")


# --- chat ---------------------------------------------------------------------------------------------------


async def test_chat_answers_the_lines_of_a_pipe_and_remembers(scripted: Scripted) -> None:
    scripted.answers = [
        events(delta(content="Hi"), delta(content="!")),
        error(400, "No."),
        events(delta(reasoning="hm"), delta(content="Yes")),
    ]
    ran = await scripted.run("chat", stdin="Hello\n\n/system Be kind\nBad\n/nothing\nSure?\n/model\n")
    assert (ran.status, ran.out) == (0, "Hi!\nYes\norg/talker\n")
    assert ran.err == "tutti: No (400)\ntutti: there is no command /nothing: /help lists the commands\n"
    assert [body["messages"] for _, body in scripted.asked][2] == [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "Sure?"},
    ]


async def test_chat_goes_on_with_a_model_only_if_there_is_one(scripted: Scripted) -> None:
    scripted.answers = [error(404, "Model nope does not exist."), web.json_response({"id": "an/alias"})]
    ran = await scripted.run("chat", stdin="/model nope\n/model org/embedder\n/model an/alias\n")
    assert ran.out.splitlines() == ["org/talker", "org/embedder", "an/alias"]
    assert ran.err == "tutti: Model nope does not exist (404)\n"
    assert [path for path, _ in scripted.asked] == ["/v1/models/nope", "/v1/models/an%2Falias"]


async def test_chat_saves_and_clears_the_conversation(scripted: Scripted) -> None:
    scripted.answers = [events(delta(content="Hi")), events(delta(content="Again"))]
    saved = scripted.folder / "talk.json"
    ran = await scripted.run("chat", stdin=f"One\n/save {saved}\n/save /nowhere/x\n/save\n/clear\nTwo\n")
    turns = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Hi"}]
    assert json.loads(saved.read_text()) == {"model": "org/talker", "messages": turns}
    said, refused, asked = ran.err.splitlines()
    assert said == f"tutti: saved {saved}"
    assert "/nowhere/x" in refused and "needs the name of a file" in asked
    assert scripted.asked[1][1]["messages"] == [{"role": "user", "content": "Two"}]
