# pyright: basic
# faster-whisper and CTranslate2 come with few types.
"""Whisper on faster-whisper (CTranslate2): on the GPU if there is a working one, else on the CPU."""

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
FALLBACKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # Whisper's temperatures: the next one if the text repeats itself
_LANES = 2
_WINDOW_FRAMES = 3000  # frames of 10 ms: Whisper's window of 30 s
_SHORT_AFTER = 200  # frames of silence that `transcribe_short` adds to the audio
_SHORT_LEAST = 800  # the least frames that `transcribe_short` takes
_NO_SPEECH, _UNLIKELY, _REPEATED = 0.6, -1.0, 2.4  # Whisper's thresholds, which faster-whisper uses too


@dataclass(frozen=True)
class Options:
    """The options of Whisper.

    `temperatures` are tried in order until the text passes Whisper's thresholds.
    """

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    prompt: str = ""
    temperatures: Sequence[float] = FALLBACKS
    beams: int = 5
    words: bool = False


@dataclass(frozen=True)
class Word:
    """A word, with its times in seconds of the recording.

    `text` begins with the space before it, if there is one.
    """

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
class Transcript:
    """The result: the segments, and the code of the language."""

    segments: Sequence[Segment]
    language: str

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


class Whisper:
    """The model, with a lane for recordings and one for live speech, which recordings so never delay."""

    def __init__(self, folder: Path, threads: int, work: Work) -> None:
        self._model = _load(folder, threads)
        self.work = work
        self.recordings = Lane("recordings")
        self.live = Lane("live")

    def language(self, code: str | None) -> str | None:
        """Return the language to transcribe: the given one, or English if the model knows no other."""
        return code if self._model.model.is_multilingual else "en"

    def transcribe(self, samples: Samples, options: Options, offset_s: float = 0) -> Transcript:
        """Transcribe with all of Whisper's fallbacks. It computes for a while, so it is called in a lane.

        `offset_s` is the place of the samples in the recording, and is added to all times.
        """
        segments, info = self._model.transcribe(
            samples,
            language=options.language,
            task=options.task,
            beam_size=options.beams,
            temperature=list(options.temperatures),
            initial_prompt=options.prompt or None,
            condition_on_previous_text=False,
            word_timestamps=options.words,
        )
        limit = offset_s + len(samples) / RATE_HZ
        found = []
        for segment in segments:
            self.work.done += 1
            found.append(_segment(segment, offset_s, limit))
        self.work.done += 1
        return Transcript(found, info.language)

    def transcribe_short(self, samples: Samples, options: Options) -> Transcript | None:
        """Transcribe short audio without padding it to Whisper's window of 30 s: about five times as fast.

        Return None if the text fails Whisper's thresholds. It computes for a while, so it is called in a
        lane.
        """
        features = self._model.feature_extractor(samples, padding=0)
        frames = min(max(features.shape[1] + _SHORT_AFTER, _SHORT_LEAST), _WINDOW_FRAMES)
        features = features[:, :frames]
        encoded = self._model.encode(np.pad(features, ((0, 0), (0, frames - features.shape[1]))))
        language = options.language or self._model.model.detect_language(encoded)[0][0][0][2:-2]
        tokens = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task=options.task, language=language
        )
        before = tokens.encode(" " + options.prompt.strip()) if options.prompt else []
        prompt = self._model.get_prompt(tokens, before, without_timestamps=True)
        found = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=options.beams,
            max_length=min(len(prompt) + 32 + frames // 8, self._model.max_length),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        self.work.done += 1
        text = tokens.decode([token for token in found.sequences_ids[0] if token < tokens.eot])
        if found.no_speech_prob > _NO_SPEECH and found.scores[0] < _UNLIKELY:
            return Transcript([], language)
        sound = found.scores[0] >= _UNLIKELY and _repetition(text) <= _REPEATED
        return Transcript([Segment(text, 0, len(samples) / RATE_HZ)], language) if sound else None


def _segment(segment, offset_s: float, limit_s: float) -> Segment:
    def time(of: float) -> float:
        return round(min(float(of) + offset_s, limit_s), 3)

    words = [Word(word.word, time(word.start), time(word.end)) for word in segment.words or ()]
    return Segment(segment.text, time(segment.start), time(segment.end), words)


def _repetition(text: str) -> float:
    """Return the compression ratio of the text, which is high if the text repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def _load(folder: Path, threads: int) -> WhisperModel:
    """Load the model from links to its files.

    CTranslate2 expects its weights in model.bin, a name under which others publish pickles.
    """
    with tempfile.TemporaryDirectory() as linked:
        for path in folder.resolve().iterdir():
            (Path(linked) / ("model.bin" if path.name == WEIGHTS_FILE else path.name)).symlink_to(path)
        return _on_device(linked, threads)


def _on_device(folder: str, threads: int) -> WhisperModel:
    if ctranslate2.get_cuda_device_count():
        try:
            return _warmed_up(WhisperModel(folder, device="cuda", compute_type="float16", num_workers=_LANES))
        except (RuntimeError, ValueError) as error:  # CUDA's libraries, or the memory, are not there
            print(f"not on the GPU: {error}", flush=True)  # noqa: T201 - the log of the child
    cpu = {"device": "cpu", "compute_type": "int8", "cpu_threads": threads, "num_workers": _LANES}
    return _warmed_up(WhisperModel(folder, **cpu))


def _warmed_up(model: WhisperModel) -> WhisperModel:
    """Transcribe a second of silence and return the model. The first use loads libraries, and is slow."""
    list(model.transcribe(np.zeros(RATE_HZ, np.float32), language="en", beam_size=1)[0])
    return model
