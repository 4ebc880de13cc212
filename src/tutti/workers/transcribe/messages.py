"""What goes into a live session, and what comes out of it."""

from typing import Annotated

import msgspec

from tutti.workers.transcribe.turns import Limits

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class TurnDetection(msgspec.Struct, frozen=True):
    """The API's own words and defaults."""

    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    min_silence_duration_ms: Milliseconds = 500
    min_speech_duration_ms: Milliseconds = 250
    max_speech_duration_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0
    speech_pad_ms: Milliseconds = 250

    def limits(self, longest_s: float) -> Limits:
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
    """Samples, s16le mono."""

    audio: bytes


class Commit(msgspec.Struct, frozen=True, tag_field="type", tag="commit"):
    pass


class Clear(msgspec.Struct, frozen=True, tag_field="type", tag="clear"):
    pass


class Update(msgspec.Struct, frozen=True, tag_field="type", tag="update"):
    turn_detection: TurnDetection | None
    prompt: str = ""
    language: str | None = None


Message = Append | Commit | Clear | Update


class Opened(msgspec.Struct, frozen=True, tag_field="type", tag="opened"):
    session: str


class Delta(msgspec.Struct, frozen=True, tag_field="type", tag="delta"):
    """All that the turn that goes on seems to say so far."""

    text: str


class Completed(msgspec.Struct, frozen=True, tag_field="type", tag="completed"):
    text: str
    start_s: float
    duration_s: float


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    message: str


class Processed(msgspec.Struct, frozen=True, tag_field="type", tag="processed"):
    """Audio before this will not be looked at again."""

    ms: float


Event = Opened | Delta | Completed | Failed | Processed
