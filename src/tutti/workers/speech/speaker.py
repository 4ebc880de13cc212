"""Turns a request into audio, one sentence after the other. Requests take turns, sentence by sentence."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Annotated, Literal, TypeVar

import msgspec

from tutti.workers.http import Refused
from tutti.workers.speech.encode import FORMS, RAW, Encoder, rate_of
from tutti.workers.speech.model import Samples, SpeechModel, Voice
from tutti.workers.speech.phonemes import check_language
from tutti.workers.speech.pieces import pieces, pronounced

_Made = TypeVar("_Made")
_HEAD_START_S = 0.003
"""A pause after the first sentence, in which it reaches the client before the next one takes the CPU. Without
it one in ten first sentences came 3 ms late, on 2 cores."""


class ExtraParams(msgspec.Struct):
    pronunciation_dict: list[str] = []


class SpeechRequest(msgspec.Struct):
    """The request, with the API's fields. Without a `sample_rate` it is the model's own."""

    input: str
    voice: str
    language: str = "en"
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] = 1.0
    response_format: Literal["wav", "mp3", "raw", "opus", "flac", "aac"] = "wav"
    response_encoding: Literal["pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw"] = "pcm_s16le"
    sample_rate: Annotated[int, msgspec.Meta(ge=8000, le=96_000)] | None = None
    bit_rate: Annotated[int, msgspec.Meta(ge=8000, le=320_000)] | None = None
    extra_params: ExtraParams | None = None


def _sound(request: SpeechRequest, voice: Voice) -> Generator[Samples]:
    check_language(request.language)
    rules = request.extra_params.pronunciation_dict if request.extra_params else []
    prepared = voice.prepared(pronounced(request.input, rules))
    for index, text in enumerate(pieces(prepared)):
        if index == 1:
            time.sleep(_HEAD_START_S)
        yield from voice.read(text, request.speed)


class Speaker:
    """A speech model and its threads.

    `busy` counts computations that run or wait, `done` those that ended.
    """

    def __init__(self, model: SpeechModel) -> None:
        self._model = model
        self._threads = ThreadPoolExecutor(model.at_once, "speaker")
        self.busy = 0
        self.done = 0
        self._warm_up(model.voice(model.names[0]))

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes]:
        """Yield the encoded audio as it is made. Raises Refused before the first bytes."""
        audio = self._audio(request)
        while (data := await self._compute(partial(next, audio, None))) is not None:
            if data:
                yield data

    def _warm_up(self, voice: Voice) -> None:
        """Speak once, to load what the first request would wait for.

        The made-up word loads the model for unknown words.
        """
        with closing(voice.read("Hello, Tuttifrutti.", 1.0)) as sound:
            next(sound, None)

    async def _compute(self, work: Callable[[], _Made]) -> _Made:
        """Run `work` in a thread, and count it as busy. A client that reads slowly does not count."""
        self.busy += 1
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            self.done += 1
            return made
        finally:
            self.busy -= 1

    def _audio(self, request: SpeechRequest) -> Iterator[bytes]:
        """Yield the encoded audio: a sentence at each step, or as much as the voice makes at once.

        It runs in a thread.
        """
        voice, silent = self._model.voice(request.voice), True
        with closing(self._encoder(request)) as encoder, closing(_sound(request, voice)) as sound:
            for samples in sound:
                yield encoder.feed(samples)
                silent = False
            if silent:
                raise Refused("There is nothing to say in the input.", "input")
            yield from encoder.finish()

    def _encoder(self, request: SpeechRequest) -> Encoder:
        raw = request.response_format == "raw"
        form = RAW[request.response_encoding] if raw else FORMS[request.response_format]
        given_hz = self._model.rate_hz
        rate_hz = rate_of(form, given_hz, request.sample_rate, request.bit_rate)
        return Encoder(form, given_hz, rate_hz, request.bit_rate)
