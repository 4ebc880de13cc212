import struct
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest
from tests.support.engines import Canned, model

from tutti.base.errors import InvalidRequest
from tutti.base.program import Progress
from tutti.engines.ours import Ours
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal

ENGINE = Ours()


async def test_vectors_and_scores_come_back_in_order() -> None:
    vectors = [struct.pack("<2f", 1, 0), struct.pack("<2f", 0, 1)]
    data = [{"index": i, "embedding": b64encode(v).decode()} for i, v in enumerate(vectors)]
    upstream = Canned([msgspec.json.encode({"data": data, "usage": {"prompt_tokens": 7}})])
    found = await ENGINE.embedding.embed(upstream, model("ours"), ["a", "b"])
    assert (list(found.vectors), found.prompt_tokens) == (vectors, 7)
    results = [{"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.1}]
    upstream = Canned([msgspec.json.encode({"results": results, "usage": {"prompt_tokens": 9}})])
    assert (await ENGINE.rerank.rerank(upstream, model("ours"), "q", ["a", "b"])).scores == [0.9, 0.1]


def test_it_runs_the_worker_and_reads_its_progress() -> None:
    program = ENGINE.program(model("ours"), Place(Path("/w"), 9, 2))
    assert " ".join(program.argv).endswith("tutti.workers.embed --folder /w --port 9 --threads 2")
    assert ENGINE.progress(b'{"busy":2,"done":7}') == Progress(2, 7)


def test_each_kind_of_model_has_a_worker_of_its_own() -> None:
    place = Place(Path("/w"), 9, 2)
    voices = model("ours", type="audio", options={"family": "hibari"})
    assert " ".join(ENGINE.program(voices, place).argv).endswith(
        "tutti.workers.speech --folder /w --port 9 --threads 2 --family hibari"
    )
    listener = model("ours", type="transcribe")
    assert "tutti.workers.transcribe" in ENGINE.program(listener, place).argv
    assert ENGINE.slots(listener) > ENGINE.slots(voices)


def test_a_gpu_is_taken_where_there_is_one_and_it_is_wanted() -> None:
    place = Place(Path("/w"), 9, 2, gpus=(0, 1))
    wanting = model("ours", type="transcribe", options={"gpu": True})
    assert ENGINE.program(wanting, place).gpus == 1
    assert ENGINE.program(wanting, Place(Path("/w"), 9, 2)).gpus == 0
    assert ENGINE.program(model("ours", type="transcribe"), place).gpus == 0
    assert [ENGINE.shares(it) for it in (wanting, model("ours"))] == [wanting.name, "cpu"]


def test_a_refusal_of_the_request_is_the_callers_mistake() -> None:
    assert isinstance(ENGINE.error(Refusal(400, b'{"error":{"message":"m"}}')), InvalidRequest)
    with pytest.raises(msgspec.DecodeError):
        ENGINE.progress(b"")
