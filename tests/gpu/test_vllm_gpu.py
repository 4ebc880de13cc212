"""The vLLM adapter on a GPU. `TUTTI_TEST_VLLM_PYTHON` names the Python of an environment with vLLM for it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.engines import Running, chat, collect, model, running
from tests.support.vllm import tiny_model

from tutti.engines.calls import Sampling
from tutti.engines.place import Place
from tutti.engines.vllm import Vllm

PYTHON = os.environ.get("TUTTI_TEST_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not PYTHON or shutil.which("nvidia-smi") is None, reason="needs a GPU and TUTTI_TEST_VLLM_PYTHON"
    ),
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]
VLLM = Vllm()
MODEL = model(
    "vllm",
    context_length=512,
    options={"gpus": 1, "gpu_memory_utilization": 0.3, "max_num_seqs": 32, "args": ["--enforce-eager"]},
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def vllm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tiny_model(Path(PYTHON), tmp_path_factory.mktemp("tiny"))
    place = Place(folder=folder, port=0, threads=1, gpus=(0,), vllm_python=PYTHON)
    async with running(VLLM, MODEL, place=place, within_s=600) as started:
        yield started


async def test_many_streams_at_once_are_all_answered(vllm: Running) -> None:
    calls = [
        chat(f"hello {number}", model=MODEL, stream=True, max_tokens=20, sampling=Sampling(temperature=0))
        for number in range(32)
    ]
    answers = await asyncio.gather(*(collect(VLLM.text.chat(vllm.upstream, call)) for call in calls))
    for deltas in answers:
        assert deltas[-1].finish_reason in ("length", "eos")
        assert deltas[-1].usage is not None and deltas[-1].usage.completion_tokens > 0
