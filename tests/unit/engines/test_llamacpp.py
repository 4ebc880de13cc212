import contextlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.engines import Canned, chat, collect, completion, model, text_of

from tutti.base.errors import ContextTooLong, InternalError, InvalidRequest, Unavailable
from tutti.base.model import ModelFile
from tutti.engines.answers import Usage
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.llamacpp_answers import NativeReader
from tutti.engines.llamacpp_calls import with_adapter
from tutti.engines.place import Adapter, Place
from tutti.engines.upstream import Refusal

ENGINE = LlamaCpp()
GIB = 1024**3


def _event(**fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


STREAM = (
    _event(content="Hé", tokens=[7], stop=False)
    + _event(content="", tokens=[], stop=False)
    + b": ping\n\n"
    + _event(content="llo", tokens=[8], stop=False)
    + _event(
        content="",
        tokens=[],
        stop_type="word",
        tokens_predicted=3,
        tokens_evaluated=5,
        **{"timings/cache_n": 2},
    )
)


def _model(**fields: Any) -> Any:
    return model("llamacpp", **fields)


# --- answers ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_however_a_stream_is_cut_its_answer_is_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = NativeReader(None, is_json=False)
    deltas = [d for a, b in pairwise(edges) for d in reader.feed(STREAM[a:b])]
    reader.close()
    assert text_of(deltas) == "Héllo"
    assert [token.id for delta in deltas for token in delta.tokens] == [7, 8]
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage == Usage(5, 3, 2)


async def test_a_whole_answer_is_the_stream_put_together() -> None:
    """llama.cpp does not notice when the client of a whole answer leaves, so it always streams."""
    upstream = Canned(streamed=[STREAM])
    (whole,) = await collect(ENGINE.text.complete(upstream, completion(model=_model())))
    assert upstream.asked[0][1]["stream"] is True
    assert (whole.text, [token.id for token in whole.tokens]) == ("Héllo", [7, 8])
    assert (whole.finish_reason, whole.usage) == ("stop", Usage(5, 3, 2))


async def test_a_stream_that_breaks_off_is_an_error() -> None:
    with pytest.raises(Unavailable):
        await collect(ENGINE.text.complete(Canned([STREAM[:60]]), completion(model=_model(), stream=True)))


async def test_an_error_within_a_stream_is_raised() -> None:
    late = _event(content="a") + _event(
        error={"code": 500, "message": "at /secret/path", "type": "server_error"}
    )
    with pytest.raises(InternalError) as failed:
        await collect(ENGINE.text.complete(Canned([late]), completion(model=_model(), stream=True)))
    assert "secret" not in failed.value.message


def test_output_that_is_no_json_shows_that_the_schema_was_not_enforced() -> None:
    for content, stop_type in (("Sure!", None), ("the", None), ("", "eos")):
        with pytest.raises(InvalidRequest):
            NativeReader(None, is_json=True).feed(_event(content=content, stop_type=stop_type))
    reader = NativeReader(None, is_json=True)
    assert reader.feed(_event(content="") + _event(content="{") + _event(content="x"))[2].text == "x"
    for start in ("t", "true", "null\n", "-", '"the'):
        assert text_of(NativeReader(None, is_json=True).feed(_event(content=start))) == start


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 4}, ContextTooLong),
        (400, {"type": "invalid_request_error", "message": "Failed to parse grammar"}, InvalidRequest),
        (501, {"type": "not_supported_error", "message": "no embeddings"}, InvalidRequest),
        (500, {"type": "server_error", "message": "image input is not supported - hint: x"}, InvalidRequest),
        (500, {"type": "server_error", "message": "Jinja Exception: no roles"}, InvalidRequest),
        (500, {"type": "server_error", "message": "Context size has been exceeded."}, Unavailable),
        (503, {"type": "unavailable_error", "message": "Loading model"}, Unavailable),
        (500, {"type": "server_error", "message": "/secret"}, InternalError),
        (404, {"type": "not_found_error", "message": "File Not Found"}, InternalError),
    ],
)
def test_refusals_mean_something_to_the_client(status: int, error: dict[str, Any], kind: type) -> None:
    meant = ENGINE.error(Refusal(status, msgspec.json.encode({"error": error})))
    assert type(meant) is kind
    assert "secret" not in meant.message


def test_a_refusal_that_cannot_be_read_is_an_internal_error() -> None:
    assert isinstance(ENGINE.error(Refusal(500, b"<html>")), InternalError)


# --- requests ---------------------------------------------------------------------------------------------


async def _asked(call: Any) -> list[tuple[str, dict[str, Any]]]:
    posted = msgspec.json.encode({"prompt": "P", "tokens": [1, 2]})
    upstream = Canned([posted], streamed=[_event(content="x", stop_type="eos")])
    speak = ENGINE.text.chat if hasattr(call, "messages") else ENGINE.text.complete
    await collect(speak(upstream, call))
    return upstream.asked


async def test_plain_chats_are_rendered_and_completed() -> None:
    (template, _), (path, body) = await _asked(chat(model=_model()))
    assert (template, path) == ("/apply-template", "/completion")
    assert body["prompt"] == "P"
    assert "n_probs" not in body


async def test_what_fits_for_sure_is_not_tokenised_first() -> None:
    assert len(await _asked(completion("x" * 100, model=_model(), max_tokens=100))) == 1
    assert [path for path, _ in await _asked(completion("x" * 9000, model=_model(), max_tokens=100))] == [
        "/tokenize",
        "/completion",
    ]


async def test_a_seed_is_any_integer_and_turns_the_prefix_cache_off() -> None:
    for seed in (0, -1, 2**32 - 1, 2**70):
        (_, body), = await _asked(completion(model=_model(), sampling=_sampling(seed=seed)))  # fmt: skip
        assert 0 <= body["seed"] < 2**32 - 1
        assert body["cache_prompt"] is False
    (_, body), = await _asked(completion(model=_model()))  # fmt: skip
    assert "seed" not in body
    assert "cache_prompt" not in body


def _sampling(**fields: Any) -> Any:
    return msgspec.structs.replace(completion().sampling, **fields)


# --- running ----------------------------------------------------------------------------------------------


def test_the_program_names_the_weights_and_their_limits() -> None:
    files = (ModelFile("m-00002-of-2.gguf"), ModelFile("mm.gguf"), ModelFile("m-00001-of-2.gguf"))
    options = {"mmproj": "mm.gguf", "slots": 3, "lora": ["a.gguf"], "gpu_layers": 5}
    program = ENGINE.program(
        _model(files=files, options=options, context_length=4096), Place(Path("/w"), 9, 2)
    )
    line = " ".join(program.argv)
    for part in ("--model /w/m-00001-of-2.gguf", "--mmproj /w/mm.gguf", "--lora /w/a.gguf", "--port 9",
                 "--context 4096", "--slots 3", "--threads 2", "--gpu-layers 5", "--kind text"):  # fmt: skip
        assert part in line


def test_memory_is_weights_cache_and_a_little() -> None:
    small, large = (_model(files=(ModelFile("m.gguf", size_bytes=size),)) for size in (GIB // 10, 10 * GIB))
    assert 0.7 * GIB < ENGINE.memory_bytes(small) < 0.9 * GIB
    assert 15 * GIB < ENGINE.memory_bytes(large) < 15.5 * GIB
    assert ENGINE.memory_bytes(_model(memory_bytes=5)) == 5


def test_progress_is_read_from_the_slots() -> None:
    slots: list[dict[str, Any]] = [
        {"id": 0, "is_processing": False, "n_ctx": 10},
        {"id": 1, "is_processing": True, "id_task": 4, "next_token": [{"n_decoded": 2}]},
    ]
    before = ENGINE.progress(msgspec.json.encode(slots))
    slots[1]["next_token"] = [{"n_decoded": 3}]
    after = ENGINE.progress(msgspec.json.encode(slots))
    assert before.busy == 1
    assert before.mark != after.mark


def test_a_request_always_says_which_adapters_it_wants() -> None:
    """One without the field would get the cached prompt of one that had an adapter."""
    assert with_adapter({}, _model(), -1) == {"lora": [{"id": 0, "scale": 0.0}]}
    assert with_adapter({}, _model(), 2) == {"lora": [{"id": 2, "scale": 1.0}]}
    always = _model(options={"lora": ["a.gguf", "b.gguf"]})
    fixed = [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 1.0}]
    assert with_adapter({}, always, -1) == {"lora": fixed}
    assert with_adapter({}, always, 1) == {"lora": [*fixed, {"id": 3, "scale": 1.0}]}


async def test_the_number_of_the_adapter_goes_with_plain_chats_and_with_tools() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for call in (chat(model=_model(), stream=True), chat(model=_model(), stream=True, tools=[tool])):
        upstream = Canned([b'{"prompt": "x"}'], adapter=1)
        with contextlib.suppress(Unavailable):
            await collect(ENGINE.text.chat(upstream, call))
        assert upstream.asked[-1][1]["lora"] == [{"id": 1, "scale": 1.0}]


def test_adapters_to_choose_come_after_those_for_all_requests() -> None:
    adapter = Adapter(_model(), Path("/w/adapter"))
    place = Place(folder=Path("/w/model"), port=1, threads=1, adapters=(adapter,))
    program = ENGINE.program(_model(options={"lora": ["a.gguf"]}), place)
    assert " ".join(program.argv).endswith("--lora /w/model/a.gguf --adapter /w/adapter/adapter.gguf")
