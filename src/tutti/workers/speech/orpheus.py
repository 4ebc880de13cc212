# pyright: basic, reportAttributeAccessIssue=false
# xllamacpp comes without types.
"""Orpheus: a Llama that is given text and goes on in the codes of a sound (snac.py).

The folder has one .gguf file and SNAC's decoder as one .onnx file. llama.cpp runs in this process, on the GPU
where there is one, and is spoken to over a loopback port of its own: a request that is left ends there, too.
The prompt, the numbers of the tokens and the sampling are those of Orpheus's own package and notebooks.
"""

import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import xllamacpp
from httpx_sse import connect_sse

from tutti.workers.http import Refused
from tutti.workers.speech.model import Samples, unknown_voice
from tutti.workers.speech.snac import PLACES, RATE_HZ, SnacDecoder, frames, streamed

VOICES = ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")

_BEFORE = (128259, 128000)  # start of human, begin of text
_AFTER = (128009, 128260, 128261, 128257)  # end of turn, end of human, start of AI, start of speech
_FIRST_CODE = 128266  # <custom_token_10>
_END_OF_SPEECH = "<custom_token_2>"
_SPECIAL = re.compile(r"<(?=\||custom_token_)")

_LEAST_FRAMES = 40
"""3.4 s. Besides these a piece of text may take three halves of a frame a character, twice as long as people
take: where the model does not end by itself it ends here."""

_SLOTS = 4
_CONTEXT = 3328
"""Tokens of a slot: for the longest piece of text at four a character, and its sound."""

_SAMPLING = {
    "temperature": 0.6,
    "top_k": 50,  # else a token takes 6 ms of a processor instead of 3: there are 156,940
    "top_p": 0.9,
    "repeat_penalty": 1.1,
    "repeat_last_n": _CONTEXT,
    "samplers": ["penalties", "temperature", "top_k", "top_p"],
}


class _Said(msgspec.Struct):
    tokens: list[int] = []
    stop: bool = False


def completion(voice: str, text: str) -> dict[str, Any]:
    """What llama.cpp is asked. What is written like a special token would be taken for it, so it is not."""
    return {
        "prompt": [*_BEFORE, f"{voice}: {_SPECIAL.sub(' ', text)}", *_AFTER],
        "n_predict": PLACES * (_LEAST_FRAMES + len(text) * 3 // 2),
        "stop": [_END_OF_SPEECH],
        "stream": True,
        "return_tokens": True,
        **_SAMPLING,
    }


def _params(model: Path, threads: int) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = 4 * _SLOTS + 16  # one for each request, those that wait too
    params.n_parallel, params.n_ctx, params.kv_unified = _SLOTS, _SLOTS * _CONTEXT, False
    params.n_gpu_layers = -1  # as many as there is memory for
    params.cache_ram_mib = 0  # else prompts that left their slot fill up to 8 GB
    params.special = True  # `stop` is looked for in the text, where special tokens are left out otherwise
    params.endpoint_slots = params.endpoint_props = params.ui = params.fit_params = False
    params.verbosity = 1  # errors
    return params


class OrpheusVoice:
    def __init__(self, name: str, client: httpx.Client, decoder: SnacDecoder) -> None:
        self._name, self._client, self._decoder = name, client, decoder

    def prepared(self, text: str) -> str:
        """As it is: the model was given all kinds of text."""
        return text

    def read(self, text: str, speed: float) -> Generator[Samples]:
        """Never twice the same."""
        if speed != 1:
            raise Refused("This model speaks at its own speed only.", "speed")
        if any(map(str.isalnum, text)):
            with closing(self._codes(text)) as codes:
                yield from streamed(frames(codes), self._decoder.decode)

    def _codes(self, text: str) -> Generator[int]:
        """As `frames` wants them. Leaving it ends the work. Raises RuntimeError where llama.cpp fails."""
        said = _Said()
        with connect_sse(self._client, "POST", "/completion", json=completion(self._name, text)) as source:
            for event in source.iter_sse():
                said = msgspec.json.decode(event.data, type=_Said)
                yield from (token - _FIRST_CODE for token in said.tokens)
        if not said.stop:
            raise RuntimeError("llama.cpp ended before the speech did")


class OrpheusModel:
    rate_hz = RATE_HZ
    at_once = 16  # as many as the gateway lets in: what waits for a slot must not keep others from theirs
    names = VOICES

    def __init__(self, folder: Path, threads: int) -> None:
        """Raises RuntimeError for what llama.cpp cannot load."""
        self._decoder = SnacDecoder(next(folder.glob("*.onnx")), threads)
        self._server = xllamacpp.Server(_params(min(folder.glob("*.gguf")), threads))
        self._client = httpx.Client(
            base_url=self._server.listening_address,
            headers={"connection": "close"},  # else llama.cpp keeps a thread for it
            timeout=None,  # noqa: S113 - a request may wait for a slot
            trust_env=False,
        )

    def voice(self, name: str) -> OrpheusVoice:
        if name not in VOICES:
            raise unknown_voice(name, VOICES)
        return OrpheusVoice(name, self._client, self._decoder)
