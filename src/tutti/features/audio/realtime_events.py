"""The query and the events of clients of GET /realtime. Clients change their session in Together's shape, or
in either of OpenAI's."""

from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from tutti.engines.audio import TurnDetection

RATES_HZ = MappingProxyType(
    {
        "pcm_s16le_16000": 16_000,
        "pcm_s16le_8000": 8_000,
        "pcm_s16le_24000": 24_000,
        "pcm_s16le": 24_000,
        "pcm_s16": 24_000,
        "pcm16": 24_000,
    }
)
"""Samples a second, by input_audio_format."""
_Prompt = Annotated[str, msgspec.Meta(max_length=4096)]
_Padding = Annotated[int, msgspec.Meta(ge=0, le=5_000)]
_Silence = Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class Detection(msgspec.Struct, kw_only=True):
    """The rules that find turns. `silence_duration_ms` and `prefix_padding_ms` are OpenAI's names."""

    type: Annotated[str, msgspec.Meta(pattern="^(server_vad|none)$")] = "server_vad"
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    min_silence_duration_ms: _Silence = 500
    min_speech_duration_ms: _Silence = 250
    max_speech_duration_s: Annotated[float, msgspec.Meta(ge=0.5, le=30)] = 5.0
    speech_pad_ms: _Padding = 250
    silence_duration_ms: _Silence | None = None
    prefix_padding_ms: _Padding | None = None

    def for_engine(self) -> TurnDetection | None:
        """Return this as engines take it; None for no detection."""
        openais = {
            "min_silence_duration_ms": self.silence_duration_ms,
            "speech_pad_ms": self.prefix_padding_ms,
        }
        given = {name: value for name, value in openais.items() if value is not None}
        fields = {name: getattr(self, name) for name in TurnDetection.__struct_fields__} | given
        return TurnDetection(**fields) if self.type == "server_vad" else None


class Query(msgspec.Struct, kw_only=True):
    """The parameters of the query. Those of Detection are there too, its type as `turn_detection`."""

    model: str
    input_audio_format: str
    turn_detection: Annotated[
        str, msgspec.Meta(pattern="^(server_vad|none)$", description="server_vad or none")
    ] = "server_vad"
    language: str = "en"
    prompt: _Prompt = ""


class Transcription(msgspec.Struct, kw_only=True):
    model: str | None = None
    language: str | None = None
    prompt: _Prompt | None = None


class Format(msgspec.Struct, kw_only=True):
    type: str = "audio/pcm"
    rate: int | None = None


class Input(msgspec.Struct, kw_only=True):
    format: Format | None = None
    transcription: Transcription | None = None
    turn_detection: Detection | msgspec.UnsetType | None = msgspec.UNSET


class Audio(msgspec.Struct, kw_only=True):
    input: Input | None = None


class Change(msgspec.Struct, kw_only=True):
    """A change of a session. Fields that are left out stay as they are.

    `turn_detection` and `prompt` are Together's, `audio` is OpenAI's, `input_audio_...` are of OpenAI's beta.
    """

    turn_detection: Detection | msgspec.UnsetType | None = msgspec.UNSET
    prompt: _Prompt | None = None
    type: str | None = None
    include: list[str] | None = None
    audio: Audio | None = None
    input_audio_format: str | None = None
    input_audio_transcription: Transcription | None = None


class Updated(msgspec.Struct, tag_field="type", tag="transcription_session.updated"):
    session: Change


class SessionUpdate(msgspec.Struct, tag_field="type", tag="session.update"):
    session: Change


class BetaUpdate(msgspec.Struct, tag_field="type", tag="transcription_session.update"):
    session: Change


class Append(msgspec.Struct, tag_field="type", tag="input_audio_buffer.append"):
    audio: str


class Commit(msgspec.Struct, tag_field="type", tag="input_audio_buffer.commit"):
    pass


class Clear(msgspec.Struct, tag_field="type", tag="input_audio_buffer.clear"):
    pass


class Echo(msgspec.Struct, tag_field="type", tag="echo"):
    echo_id: Any = None
    client_sent_at: Any = None
    payload: Any = None


Update = Updated | SessionUpdate | BetaUpdate
Event = Update | Append | Commit | Clear | Echo
