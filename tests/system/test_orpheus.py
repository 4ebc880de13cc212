"""Orpheus in the speech worker: llama.cpp runs a small Llama that says known codes, and a graph with SNAC's
inputs turns each frame into 2048 samples."""

import asyncio
import io
import itertools
import json
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import onnx
import psutil
import pytest
import pytest_asyncio
from gguf import GGUFWriter, TokenType
from onnx import TensorProto, helper
from tests.support.engines import Running, running

from tutti.catalog.catalog import shipped_models
from tutti.engines.audio import SpeechCall
from tutti.engines.ours import Ours
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal

ENGINE = Ours()
ORPHEUS = shipped_models()["canopylabs/orpheus-3b-0.1-ft"]
FRAMES, SAMPLES = 45, 2048
END_OF_SPEECH, FIRST_CODE, VOCABULARY = 128_258, 128_266, 156_940
WIDTH = 32
"""Of the Llama's state: the place in the frame (7), and the digits of the frame's number to the base of 8."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- the models -------------------------------------------------------------------------------------------


def llama(path: Path) -> None:
    """Says frames 1 to 45, each with its number as the code in all its places, and then the end of speech."""
    order = [(END_OF_SPEECH - 1, 6, 0)]  # the start of speech, as if it were the last of frame 0
    order += [(FIRST_CODE + place * 4096 + n, place, n) for n in range(1, FRAMES + 1) for place in range(7)]
    order += [(END_OF_SPEECH, 0, 0)]
    state, wanted = np.zeros((2, VOCABULARY, WIDTH), np.float16)
    for (token, *now), (following, *_) in itertools.pairwise(order):
        state[token, _dimensions(*now)] = 1
        wanted[following, _dimensions(*now)] = 10
    writer = GGUFWriter(path, "llama")
    _shape(writer)
    _vocabulary(writer)
    writer.add_tensor("token_embd.weight", state)
    writer.add_tensor("output.weight", wanted)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((WIDTH, WIDTH), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _dimensions(place: int, frame: int) -> list[int]:
    return [place, 7 + frame // 8, 15 + frame % 8]


def _shape(writer: GGUFWriter) -> None:
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)


def _vocabulary(writer: GGUFWriter) -> None:
    """Llama 3's numbers, with words that are nothing but single bytes."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in shown]
    tokens = [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]
    tokens += [f"word{n}" for n in range(256, 128_000)]
    tokens += [f"<|special_{n}|>" for n in range(256)]
    tokens += [f"<custom_token_{n}>" for n in range(VOCABULARY - len(tokens))]
    custom = [TokenType.USER_DEFINED] * (VOCABULARY - 128_256)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL] * 128_000 + [TokenType.CONTROL] * 256 + custom)
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(128_009)


def snac(path: Path) -> None:
    """A sample is its fine code / 64: the other layers are taken and left."""
    names = [f"audio_codes.{layer}" for layer in range(3)]
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", name]) for name in names]
    sound = helper.make_tensor_value_info("audio_values", TensorProto.FLOAT, ["batch", 1, "samples"])
    nodes = [
        helper.make_node("Cast", [names[2]], ["fine"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["fine", "scale"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "axes"], ["columns"]),
        helper.make_node("Tile", ["columns", "repeats"], ["rows"]),
        helper.make_node("Reshape", ["rows", "shape"], ["audio_values"]),
    ]
    constants = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 64]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [2]),
        helper.make_tensor("repeats", TensorProto.INT64, [3], [1, 1, SAMPLES // 4]),
        helper.make_tensor("shape", TensorProto.INT64, [3], [0, 1, -1]),
    ]
    graph = helper.make_graph(nodes, "snac", given, [sound], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orpheus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("orpheus")
    llama(folder / "model.gguf")
    snac(folder / "decoder_model.onnx")
    async with running(ENGINE, ORPHEUS, place=Place(folder, 0, 1), within_s=60) as engine:
        yield engine


# --- what is asked and heard ------------------------------------------------------------------------------


def call(text: str, **fields: Any) -> SpeechCall:
    return SpeechCall(**{"model": ORPHEUS, "text": text, "voice": "tara", "response_format": "raw", **fields})


def heard(data: bytes) -> list[int]:
    """The code of each frame."""
    sound = np.frombuffer(data, "<i2").astype(np.float32).reshape(-1, SAMPLES) / 32768 * 64
    assert np.allclose(sound, sound[:, :1], atol=0.01)
    return sound[:, 0].round().astype(int).tolist()


async def spoken(engine: Running, which: SpeechCall) -> bytes:
    return b"".join([piece async for piece in ENGINE.speech.speak(engine.upstream, which)])


async def refusal(engine: Running, which: SpeechCall) -> dict[str, Any]:
    with pytest.raises(Refusal) as refused:
        await spoken(engine, which)
    assert refused.value.status == 400
    return json.loads(refused.value.body)["error"]


async def busy(engine: Running) -> int:
    async with aiohttp.ClientSession() as session, session.get(engine.address + "/progress") as answer:
        return json.loads(await answer.read())["busy"]


# --- tests ------------------------------------------------------------------------------------------------

ALL = list(range(1, FRAMES + 1))


async def test_every_frame_is_heard_soon_after_it_is_made(orpheus: Running) -> None:
    """In the best of three, since a busy machine may keep any first one waiting."""
    for _ in range(3):
        began, arrived, sound = time.monotonic(), list[float](), b""
        async for data in ENGINE.speech.speak(orpheus.upstream, call("Hello there.")):
            arrived.append(time.monotonic() - began)
            sound += data
        assert heard(sound) == ALL
        assert len(arrived) > 5
        if arrived[0] < arrived[-1] / 2:
            break
    assert arrived[0] < arrived[-1] / 2


async def test_a_wav_file_has_the_same_samples_and_special_tokens_are_words(orpheus: Running) -> None:
    which = call("<custom_token_2><|special_9|> Hello.", response_format="wav", voice="zoe")
    with wave.open(io.BytesIO(await spoken(orpheus, which))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert heard(file.readframes(file.getnframes())) == ALL


async def test_sentences_follow_one_another_and_short_ones_have_a_limit(orpheus: Running) -> None:
    """Of 40 frames and three halves of one a character."""
    both, other = await asyncio.gather(*(spoken(orpheus, call(text)) for text in ("Hi. Hello there.", "a")))
    assert heard(both) == [*range(1, 45), *ALL]
    assert heard(other) == [*range(1, 42)]


async def test_what_cannot_be_done_is_refused_before_any_sound(orpheus: Running) -> None:
    assert await refusal(orpheus, call("Hello.", voice="heart")) == {
        "message": f"There is no voice 'heart'; this model has: {', '.join(ORPHEUS.voices)}.",
        "type": "invalid_request_error",
        "param": "voice",
        "code": None,
    }
    assert (await refusal(orpheus, call("Hello.", language="fr")))["param"] == "language"
    assert (await refusal(orpheus, call("Hello.", speed=1.5)))["param"] == "speed"
    assert (await refusal(orpheus, call("Hello.", pronunciation=("x",))))["param"] == "extra_params"
    for text in ("", "…", "🙂"):
        assert (await refusal(orpheus, call(text)))["param"] == "input"


async def test_leaving_ends_the_work(orpheus: Running) -> None:
    """Also that of those who wait: llama.cpp has places for four."""
    process = psutil.Process(orpheus.process.pid)
    begin_s = await _cpu_s_once_idle(orpheus, process)
    await spoken(orpheus, call("Hello there."))
    whole_s = await _cpu_s_once_idle(orpheus, process) - begin_s
    await asyncio.gather(*(_begin(orpheus, call("Hello there. " * 40)) for _ in range(6)))
    left_s = await _cpu_s_once_idle(orpheus, process) - begin_s - whole_s
    assert left_s < 30 * whole_s  # of 240, or 80 for those who wait; much, as the leaving may come late
    assert await busy(orpheus) == 0


async def _begin(engine: Running, which: SpeechCall) -> None:
    stream = ENGINE.speech.speak(engine.upstream, which)
    await anext(stream)
    await stream.aclose()


async def _cpu_s_once_idle(engine: Running, process: psutil.Process) -> float:
    """Standing still is not enough: the whole machine may have."""
    while True:
        before, _ = _cpu_s(process), await asyncio.sleep(0.3)
        if _cpu_s(process) - before < 0.02 and not await busy(engine):
            return before


def _cpu_s(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])
