"""The messages to a live session, and the events from it."""

from typing import Annotated

import msgspec

from tutti.workers.transcribe.turns import Limits

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class TurnDetection(msgspec.Struct, frozen=True):
    """The settings of turn detection, with the API's names and defaults."""

    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    min_silence_duration_ms: Milliseconds = 500
    min_speech_duration_ms: Milliseconds = 250
    max_speech_duration_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0
    speech_pad_ms: Milliseconds = 250

    def limits(self, longest_s: float) -> Limits:
        """Return the settings for Turns, with turns of at most `longest_s` seconds."""
        return Limits(
            self.threshold,
            self.min_silence_duration_ms,
            self.min_speech_duration_ms,
            min(self.max_speech_duration_s, longest_s),
            self.speech_pad_ms,
        )


class Opening(msgspec.Struct, frozen=True):
    language: str | None = None
    prompt: str = ""
    sample_rate_hz: Annotated[int, msgspec.Meta(ge=8000, le=48_000)] = 16_000
    turn_detection: TurnDetection | None = TurnDetection()


class Append(msgspec.Struct, frozen=True, tag_field="type", tag="append"):
    """More audio: 16-bit little-endian mono samples."""

    audio: bytes


class Commit(msgspec.Struct, frozen=True, tag_field="type", tag="commit"):
    """End the current turn here, and transcribe it."""


class Clear(msgspec.Struct, frozen=True, tag_field="type", tag="clear"):
    """Discard the audio since the last completed turn."""


class Update(msgspec.Struct, frozen=True, tag_field="type", tag="update"):
    """New settings for the audio that follows."""

    turn_detection: TurnDetection | None
    prompt: str = ""
    language: str | None = None


Message = Append | Commit | Clear | Update


class Opened(msgspec.Struct, frozen=True, tag_field="type", tag="opened"):
    session: str


class Delta(msgspec.Struct, frozen=True, tag_field="type", tag="delta"):
    """The draft of the current turn: its whole text so far."""

    text: str


class Completed(msgspec.Struct, frozen=True, tag_field="type", tag="completed"):
    """The transcript of a turn, with its place in the session's audio."""

    text: str
    start_s: float
    duration_s: float


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    message: str


class Processed(msgspec.Struct, frozen=True, tag_field="type", tag="processed"):
    """All audio before this position is transcribed, and is not needed again."""

    ms: float


Event = Opened | Delta | Completed | Failed | Processed
