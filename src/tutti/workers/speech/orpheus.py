# pyright: basic, reportAttributeAccessIssue=false
# xllamacpp comes without types.
"""Orpheus: a Llama that continues a text prompt with audio codes of the SNAC codec (snac.py).

The folder has one .gguf file, and SNAC's decoder as one .onnx file. llama.cpp runs in this process, on the
GPU if there is one, and serves a loopback port of its own, so that a request that is cancelled ends there
too. The prompt, the token ids and the sampling are those of Orpheus's own package and notebooks.
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
from tutti.workers.llamacpp_params import server_params
from tutti.workers.speech.model import Samples, unknown_voice
from tutti.workers.speech.snac import PLACES, RATE_HZ, SnacDecoder, frames, streamed

VOICES = ("tara", "leah", "jess", "leo", "dan", "mia", "zac", "zoe")

_BEFORE = (128259, 128000)  # start of human, begin of text
_AFTER = (128009, 128260, 128261, 128257)  # end of turn, end of human, start of AI, start of speech
_FIRST_CODE = 128266  # <custom_token_10>
_END_OF_SPEECH = "<custom_token_2>"
_SPECIAL = re.compile(r"<(?=\||custom_token_)")

_LEAST_FRAMES = 40
"""3.4 s of audio. The limit for a piece of text is this and 1.5 frames a character, which is twice as long as
people speak. It ends the generation if the model does not."""

_SLOTS = 4
_CONTEXT = 3328
"""The tokens of a slot: enough for the longest piece of text, at four a character, and its audio."""

_SAMPLING = {
    "temperature": 0.6,
    "top_k": 50,  # without it a token takes 6 ms of CPU time instead of 3: the vocabulary has 156,940 tokens
    "top_p": 0.9,
    "repeat_penalty": 1.1,
    "repeat_last_n": _CONTEXT,
    "samplers": ["penalties", "temperature", "top_k", "top_p"],
}


class _Event(msgspec.Struct):
    """An event in the stream of llama.cpp's answer."""

    tokens: list[int] = []
    stop: bool = False


def completion(voice: str, text: str) -> dict[str, Any]:
    """Return the body of the request to llama.cpp. Text that looks like a special token is defused."""
    return {
        "prompt": [*_BEFORE, f"{voice}: {_SPECIAL.sub(' ', text)}", *_AFTER],
        "n_predict": PLACES * (_LEAST_FRAMES + len(text) * 3 // 2),
        "stop": [_END_OF_SPEECH],
        "stream": True,
        "return_tokens": True,
        **_SAMPLING,
    }


def _params(model: Path, threads: int) -> xllamacpp.CommonParams:
    params = server_params(model, threads)
    params.n_threads_http = 4 * _SLOTS + 16  # one for each request, those that wait too
    params.n_parallel, params.n_ctx, params.kv_unified = _SLOTS, _SLOTS * _CONTEXT, False
    params.n_gpu_layers = -1  # as many as there is memory for

    params.special = True  # `stop` is looked for in the text, where special tokens are left out otherwise
    params.endpoint_slots = False
    return params


class OrpheusVoice:
    """A voice of Orpheus: a name in the prompt."""

    def __init__(self, name: str, client: httpx.Client, decoder: SnacDecoder) -> None:
        self._name, self._client, self._decoder = name, client, decoder

    def prepared(self, text: str) -> str:
        """Return the text as it is, since the model was trained on all kinds of text."""
        return text

    def read(self, text: str, speed: float) -> Generator[Samples]:
        """Yield the samples of a text. They differ each time, because the model samples its tokens."""
        if speed != 1:
            raise Refused("This model speaks at its own speed only.", "speed")
        if any(map(str.isalnum, text)):
            with closing(self._codes(text)) as codes:
                yield from streamed(frames(codes), self._decoder.decode)

    def _codes(self, text: str) -> Generator[int]:
        """Yield the audio codes in the form that `frames` takes. Closing the generator cancels the request.

        Raises RuntimeError if llama.cpp fails.
        """
        last = _Event()
        with connect_sse(self._client, "POST", "/completion", json=completion(self._name, text)) as source:
            for event in source.iter_sse():
                last = msgspec.json.decode(event.data, type=_Event)
                yield from (token - _FIRST_CODE for token in last.tokens)
        if not last.stop:
            raise RuntimeError("llama.cpp ended before the speech did")


class OrpheusModel:
    rate_hz = RATE_HZ
    at_once = 16  # as many as the gateway admits, so that requests that wait for a slot block no others
    names = VOICES

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the model and the decoder. Raises RuntimeError if llama.cpp cannot load the model."""
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
