"""What clients of GET /realtime say: in the query, and in events."""

from typing import Annotated, Any

import msgspec

from tutti.engines.audio import TurnDetection


class Detection(msgspec.Struct, kw_only=True):
    type: Annotated[str, msgspec.Meta(pattern="^(server_vad|none)$")] = "server_vad"
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    min_silence_duration_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 500
    min_speech_duration_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 250
    max_speech_duration_s: Annotated[float, msgspec.Meta(ge=0.5, le=30)] = 5.0
    speech_pad_ms: Annotated[int, msgspec.Meta(ge=0, le=5_000)] = 250

    def meant(self) -> TurnDetection | None:
        fields = {name: getattr(self, name) for name in TurnDetection.__struct_fields__}
        return TurnDetection(**fields) if self.type == "server_vad" else None


class Query(msgspec.Struct, kw_only=True):
    """Besides these, those of Detection, whose type is called turn_detection."""

    model: str
    input_audio_format: str = "pcm_s16le_16000"
    turn_detection: Annotated[
        str, msgspec.Meta(pattern="^(server_vad|none)$", description="server_vad or none")
    ] = "server_vad"
    language: str = "en"
    prompt: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class Change(msgspec.Struct, kw_only=True):
    turn_detection: Detection | msgspec.UnsetType | None = msgspec.UNSET
    prompt: Annotated[str, msgspec.Meta(max_length=4096)] | None = None


class Updated(msgspec.Struct, tag_field="type", tag="transcription_session.updated"):
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


Event = Updated | Append | Commit | Clear | Echo
