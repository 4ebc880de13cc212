"""What a model is given for a piece of text. Kokoro here is a graph that gives back what it was given."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hibari.voices import VOICES, voice_path
from onnx import TensorProto, helper

from tutti.workers.http import Refused
from tutti.workers.speech.hibari import HibariModel
from tutti.workers.speech.kokoro import KokoroModel

ROWS, STYLE = 5, 256


def table(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, 1, STYLE)).astype(np.float32)


@pytest.fixture(scope="module")
def kokoro(tmp_path_factory: pytest.TempPathFactory) -> KokoroModel:
    """Its sound is the ids, the style vector and the speed, one after the other."""
    folder = tmp_path_factory.mktemp("kokoro")
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "length"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, STYLE]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    output = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, [1, "samples"])
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["speed", "shape"], ["last"]),
        helper.make_node("Concat", ["ids", "style", "last"], ["waveform"], axis=1),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1])
    graph = helper.make_graph(nodes, "parrot", inputs, [output], [shape])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    np.save(folder / "af_one.npy", table(1))
    table(2).astype("<f4").tofile(folder / "bf_two.f32")
    return KokoroModel(folder, 1)


def given(sound: np.ndarray) -> tuple[list[float], np.ndarray, float]:
    """The ids, the style vector, the speed."""
    return sound[: -STYLE - 1].tolist(), sound[-STYLE - 1 : -1], float(sound[-1])


def test_kokoro_gets_its_own_ids_between_zeros(kokoro: KokoroModel) -> None:
    ids, _, speed = given(kokoro.voice("af_one").say("ab?漢", 1.5))
    assert ids == [0, 43, 44, 6, 0]
    assert speed == 1.5
    assert len(kokoro.voice("af_one").say("漢", 1.0)) == 0


def test_the_style_is_that_of_the_length(kokoro: KokoroModel) -> None:
    for text, row in {"a": 0, "abc": 2, "abcdefgh": ROWS - 1}.items():
        assert np.array_equal(given(kokoro.voice("af_one").say(text, 1.0))[1], table(1)[row, 0])
    assert np.array_equal(given(kokoro.voice("bf_two").say("a", 1.0))[1], table(2)[0, 0])


def test_a_mix_is_the_weighted_mean_of_the_styles(kokoro: KokoroModel) -> None:
    mix = given(kokoro.voice("af_one(2)+bf_two(1)").say("ab", 1.0))[1]
    assert mix == pytest.approx((2 * table(1)[1, 0] + table(2)[1, 0]) / 3, abs=1e-6)


def test_british_voices_are_known_by_their_names(kokoro: KokoroModel) -> None:
    assert kokoro.names == ("af_one", "bf_two")
    assert [kokoro.voice(name).british for name in ("af_one", "bf_two", "af_one+bf_two")] == [
        False,
        True,
        False,
    ]
    with pytest.raises(Refused, match="af_one, bf_two"):
        kokoro.voice("af_one+nobody")


def test_hibari_has_the_voices_whose_files_are_there(tmp_path: Path) -> None:
    assert HibariModel(tmp_path / "none", 1).names == ("heart",)
    shutil.copy(voice_path("heart"), tmp_path / VOICES["emma"]["file"])
    model = HibariModel(tmp_path, 1)
    assert model.names == ("heart", "emma")
    assert [model.voice(name).british for name in model.names] == [False, True]
    assert np.array_equal(*(model.voice(name).say("həlˈO", 1.0) for name in model.names))
    with pytest.raises(Refused, match="heart, emma"):
        model.voice("heart+emma")
