# pyright: basic
# faster-whisper and CTranslate2 come with few types.
"""Whisper, by faster-whisper (CTranslate2): on the GPU where there is one that works, else on the CPU."""

import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from tutti.workers.transcribe.lanes import Lane, Work
from tutti.workers.transcribe.samples import RATE_HZ, Samples

WEIGHTS_FILE = "model.ct2"
FALLBACKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # as Whisper's authors: warmer where the text repeats itself
_LANES = 2
_WINDOW_FRAMES = 3000  # hundredths of a second
_GLANCE_AFTER = 200
_GLANCE_LEAST = 800
_NO_SPEECH, _UNLIKELY, _REPEATED = 0.6, -1.0, 2.4  # the authors' thresholds, which faster-whisper has too


@dataclass(frozen=True)
class Hearing:
    """How to listen. `temperatures` are tried in order until the text looks sound."""

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    prompt: str = ""
    temperatures: Sequence[float] = FALLBACKS
    beams: int = 5
    words: bool = False


@dataclass(frozen=True)
class Word:
    """`text` begins with the space that separates it, where there is one. Seconds of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    text: str
    start: float
    end: float
    words: Sequence[Word] = ()


@dataclass(frozen=True)
class Heard:
    """`language` is its code."""

    segments: Sequence[Segment]
    language: str

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


class Whisper:
    """Recordings and live speech have a lane each, so that a recording never holds up a conversation."""

    def __init__(self, folder: Path, threads: int, work: Work) -> None:
        self._model = _load(folder, threads)
        self.work = work
        self.recordings = Lane("recordings")
        self.live = Lane("live")

    def language(self, code: str | None) -> str | None:
        """What to listen for: models for English alone know nothing else."""
        return code if self._model.model.is_multilingual else "en"

    def hear(self, samples: Samples, hearing: Hearing, offset_s: float = 0) -> Heard:
        """Computes for a while: to be called from a lane."""
        segments, info = self._model.transcribe(
            samples,
            language=hearing.language,
            task=hearing.task,
            beam_size=hearing.beams,
            temperature=list(hearing.temperatures),
            initial_prompt=hearing.prompt or None,
            condition_on_previous_text=False,
            word_timestamps=hearing.words,
        )
        limit = offset_s + len(samples) / RATE_HZ
        found = []
        for segment in segments:
            self.work.done += 1
            found.append(_segment(segment, offset_s, limit))
        self.work.done += 1
        return Heard(found, info.language)

    def glance(self, samples: Samples, hearing: Hearing) -> Heard | None:
        """Listens to little more than what is there, instead of the half minute that Whisper was made for:
        some five times as fast. None where the text looks unsound. Computes for a while, too."""
        features = self._model.feature_extractor(samples, padding=0)
        frames = min(max(features.shape[1] + _GLANCE_AFTER, _GLANCE_LEAST), _WINDOW_FRAMES)
        features = features[:, :frames]
        encoded = self._model.encode(np.pad(features, ((0, 0), (0, frames - features.shape[1]))))
        language = hearing.language or self._model.model.detect_language(encoded)[0][0][0][2:-2]
        tokens = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task=hearing.task, language=language
        )
        before = tokens.encode(" " + hearing.prompt.strip()) if hearing.prompt else []
        prompt = self._model.get_prompt(tokens, before, without_timestamps=True)
        found = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=hearing.beams,
            max_length=min(len(prompt) + 32 + frames // 8, self._model.max_length),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        self.work.done += 1
        text = tokens.decode([token for token in found.sequences_ids[0] if token < tokens.eot])
        if found.no_speech_prob > _NO_SPEECH and found.scores[0] < _UNLIKELY:
            return Heard([], language)
        sound = found.scores[0] >= _UNLIKELY and _repetition(text) <= _REPEATED
        return Heard([Segment(text, 0, len(samples) / RATE_HZ)], language) if sound else None


def _segment(segment, offset_s: float, limit_s: float) -> Segment:
    def time(of: float) -> float:
        return round(min(float(of) + offset_s, limit_s), 3)

    words = [Word(word.word, time(word.start), time(word.end)) for word in segment.words or ()]
    return Segment(segment.text, time(segment.start), time(segment.end), words)


def _repetition(text: str) -> float:
    """How well it compresses."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _load(folder: Path, threads: int) -> WhisperModel:
    """CTranslate2 wants its weights to be called model.bin, a name under which others publish pickles."""
    with tempfile.TemporaryDirectory() as linked:
        for path in folder.resolve().iterdir():
            (Path(linked) / ("model.bin" if path.name == WEIGHTS_FILE else path.name)).symlink_to(path)
        return _on_device(linked, threads)


def _on_device(folder: str, threads: int) -> WhisperModel:
    if ctranslate2.get_cuda_device_count():
        try:
            return _tried(WhisperModel(folder, device="cuda", compute_type="float16", num_workers=_LANES))
        except (RuntimeError, ValueError) as error:  # CUDA's libraries, or the memory, are not there
            print(f"not on the GPU: {error}", flush=True)  # noqa: T201 - the log of the child
    cpu = {"device": "cpu", "compute_type": "int8", "cpu_threads": threads, "num_workers": _LANES}
    return _tried(WhisperModel(folder, **cpu))


def _tried(model: WhisperModel) -> WhisperModel:
    """Libraries are loaded at the first use, and the first use is slow."""
    list(model.transcribe(np.zeros(RATE_HZ, np.float32), language="en", beam_size=1)[0])
    return model
