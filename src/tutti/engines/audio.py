"""Calls and answers of sound: speech, transcription, realtime sessions."""

from pathlib import Path
from typing import Literal

import msgspec

from tutti.base.model import Model

SpeechFormat = Literal["wav", "mp3", "raw", "opus", "flac", "aac"]
SampleEncoding = Literal["pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw"]


# --- speech -----------------------------------------------------------------------------------------------


class SpeechCall(msgspec.Struct, frozen=True, kw_only=True):
    """A text to speak. `raw` is samples without a container, in `response_encoding`, which means nothing to
    other formats. `sample_rate_hz` None: the model's own. `bit_rate` (bits a second) is mp3's.
    `pronunciation` are "source/replacement" pairs. `language` is a lower-case BCP 47 tag (en, zh-hk)."""

    model: Model
    text: str
    voice: str
    language: str = "en"
    speed: float = 1.0
    response_format: SpeechFormat = "wav"
    response_encoding: SampleEncoding = "pcm_s16le"
    sample_rate_hz: int | None = None
    bit_rate: int | None = None
    pronunciation: tuple[str, ...] = ()


# --- transcription ----------------------------------------------------------------------------------------


class TranscriptionCall(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to transcribe. `audio` is a file of any container. `language` is the ISO 639 code of the
    spoken language, of two letters where there is one; None: find out. The task `translate` writes it in
    English. `words` asks for word timestamps too, which `diarize` (tell speakers apart) brings along.
    `max_audio_s`: a longer recording is refused as `audio_too_long`, if the engine can tell."""

    model: Model
    audio: Path
    filename: str
    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    prompt: str = ""
    temperature: float = 0.0
    words: bool = False
    diarize: bool = False
    min_speakers: int | None = None
    max_speakers: int | None = None
    max_audio_s: float | None = None


class Segment(msgspec.Struct, frozen=True):
    """A piece of a transcript. Times are seconds from the beginning of the recording, here and below."""

    id: int
    start: float
    end: float
    text: str


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """A word of a transcript. It has a `speaker_id` (SPEAKER_00) only where speakers were told apart."""

    word: str
    start: float
    end: float
    speaker_id: str | None = None


class SpeakerSegment(msgspec.Struct, frozen=True):
    id: int
    speaker_id: str
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a recording. `language` is its English name in lower case, as Whisper has it (english).
    `words` and `speaker_segments` are None where the call did not want them."""

    text: str
    language: str
    duration_s: float
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] | None = None
    speaker_segments: tuple[SpeakerSegment, ...] | None = None


# --- realtime ---------------------------------------------------------------------------------------------


class TurnDetection(msgspec.Struct, frozen=True, kw_only=True):
    """Rules by which Silero VAD finds the beginning and the end of speech. The names and defaults are the
    API's."""

    threshold: float = 0.3
    min_silence_duration_ms: int = 500
    min_speech_duration_ms: int = 250
    max_speech_duration_s: float = 5.0
    speech_pad_ms: int = 250


class RealtimeCall(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a realtime session. `turn_detection` None: nothing is transcribed before a commit."""

    model: Model
    language: str | None = None
    prompt: str = ""
    sample_rate_hz: int = 16_000
    turn_detection: TurnDetection | None = TurnDetection()


class Append(msgspec.Struct, frozen=True, tag_field="type", tag="append"):
    """Samples, s16le mono, in base64."""

    audio: str


class Commit(msgspec.Struct, frozen=True, tag_field="type", tag="commit"):
    """A request to transcribe the buffered audio now."""


class Clear(msgspec.Struct, frozen=True, tag_field="type", tag="clear"):
    """A request to forget the buffered audio that is not transcribed yet."""


class Update(msgspec.Struct, frozen=True, tag_field="type", tag="update"):
    """All settings that a session can change, not only those that changed."""

    turn_detection: TurnDetection | None
    prompt: str = ""
    language: str | None = None


RealtimeMessage = Append | Commit | Clear | Update


class Opened(msgspec.Struct, frozen=True, tag_field="type", tag="opened"):
    """The first event; `session` is the engine's name for it."""

    session: str


class Delta(msgspec.Struct, frozen=True, tag_field="type", tag="delta"):
    """The whole text so far of the segment being spoken: a later one may correct it."""

    text: str


class Completed(msgspec.Struct, frozen=True, tag_field="type", tag="completed"):
    """A segment whose end is known, with its place in the appended audio, if the engine says."""

    text: str
    start_s: float | None = None
    duration_s: float | None = None


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    """An error that lost a segment while the session goes on. An engine that cannot go on ends the stream
    after it."""

    message: str


class Processed(msgspec.Struct, frozen=True, tag_field="type", tag="processed"):
    """The mark before which appended audio will not be read again, in milliseconds. Engines need not send
    it."""

    ms: float


RealtimeEvent = Opened | Delta | Completed | Failed | Processed
