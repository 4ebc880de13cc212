"""What turns a request into sound: one sentence after the other, requests taking turns with theirs."""

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
"""In which the first sentence reaches its listener, before the next one takes the processor from all who pass
it on: without it that was one in ten that came 3 ms late, on 2 cores."""


class ExtraParams(msgspec.Struct):
    pronunciation_dict: list[str] = []


class SpeechRequest(msgspec.Struct):
    """The contract's fields. `sample_rate` None: the model's own."""

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
    """The model, its threads, and how much of the work is done."""

    def __init__(self, model: SpeechModel) -> None:
        self._model = model
        self._threads = ThreadPoolExecutor(model.at_once, "speaker")
        self.busy = 0
        self.done = 0
        self._warm_up(model.voice(model.names[0]))

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes]:
        """The encoded audio as it is made. Raises Refused before the first of it."""
        audio = self._audio(request)
        while (data := await self._turn(partial(next, audio, None))) is not None:
            if data:
                yield data

    def _warm_up(self, voice: Voice) -> None:
        """Loads what else the first request would wait for; the made-up word, what reads unknown ones."""
        with closing(voice.read("Hello, Tuttifrutti.", 1.0)) as sound:
            next(sound, None)

    async def _turn(self, work: Callable[[], _Made]) -> _Made:
        """Counts only what waits for us: a client that reads slowly is no engine that hangs."""
        self.busy += 1
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            self.done += 1
            return made
        finally:
            self.busy -= 1

    def _audio(self, request: SpeechRequest) -> Iterator[bytes]:
        """In a thread: a sentence at each step, or as much as the voice makes at once."""
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
