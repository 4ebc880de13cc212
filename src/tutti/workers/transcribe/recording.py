"""Transcribes a whole recording, pack by pack."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnxruntime

from tutti.workers.transcribe.answers import Answer, answer
from tutti.workers.transcribe.decode import decoded
from tutti.workers.transcribe.packs import Pack, Reading
from tutti.workers.transcribe.samples import RATE_HZ
from tutti.workers.transcribe.speaker_encoder import WEIGHTS_FILE, SpeakerEncoder
from tutti.workers.transcribe.speakers import Windows, tell_apart
from tutti.workers.transcribe.vad import SpeechDetector
from tutti.workers.transcribe.whisper import Options, Segment, Transcript, Whisper


@dataclass(frozen=True)
class Wanted:
    """The options of a transcription. `min_speakers` and `max_speakers` only matter with `diarize`."""

    options: Options
    words: bool = False
    diarize: bool = False
    min_speakers: int | None = None
    max_speakers: int | None = None
    max_duration_s: float | None = None


class Transcriber:
    """The models of a transcription. The voice encoder is loaded when diarization is first asked for."""

    def __init__(self, whisper: Whisper, vad: onnxruntime.InferenceSession, folder: Path) -> None:
        self.whisper = whisper
        self.vad = vad
        self._folder = folder
        self._encoder: SpeakerEncoder | None = None

    @property
    def can_diarize(self) -> bool:
        return (self._folder / WEIGHTS_FILE).exists()

    async def transcribe(self, path: Path, wanted: Wanted) -> Answer:
        """Transcribe the file. Raises BadAudio. After a cancellation at most one more pack is computed."""
        reading = Reading(SpeechDetector(self.vad))
        try:
            return await self._transcribed(path, wanted, reading)
        finally:
            reading.left = True

    async def _transcribed(self, path: Path, wanted: Wanted, reading: Reading) -> Answer:
        packs = reading.packs(decoded(path, wanted.max_duration_s))
        options = replace(wanted.options, language=self.whisper.language(wanted.options.language))
        segments: list[Segment] = []
        windows = Windows()
        with self.whisper.work.one():
            while pack := await asyncio.to_thread(_next, packs):
                work = partial(self._hear, pack, options, windows if wanted.diarize else None)
                transcript = await self.whisper.recordings.run(work)
                segments.extend(transcript.segments)
                options = replace(options, language=transcript.language)
            speakers = await asyncio.to_thread(tell_apart, windows, wanted.min_speakers, wanted.max_speakers)
        return answer(
            options.task,
            "en" if options.task == "translate" else options.language or "en",
            reading.duration,
            segments,
            words=wanted.words,
            diarize=wanted.diarize,
            speakers=speakers,
        )

    def _hear(self, pack: Pack, options: Options, windows: Windows | None) -> Transcript:
        if windows is not None:
            self._encoder = self._encoder or SpeakerEncoder(self._folder)
            for turn in pack.turns:
                windows.add(self._encoder, turn, pack.of(turn))
        return self.whisper.transcribe(pack.samples, options, pack.start / RATE_HZ)


def _next(packs: Iterator[Pack]) -> Pack | None:
    return next(packs, None)
