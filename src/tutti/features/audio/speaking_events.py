"""The query and the events of clients of GET /audio/speech/websocket."""

from typing import Annotated

import msgspec


class Extra(msgspec.Struct):
    pronunciation_dict: list[Annotated[str, msgspec.Meta(max_length=256, pattern="^[^/]+/.+$")]] | None = None


class SpeechSettings(msgspec.Struct, kw_only=True):
    """The settings of a session. None leaves one as it was."""

    model: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    voice: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    language: str | None = None
    max_partial_length: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    extra_params: Extra | None = None


class Updated(msgspec.Struct, tag_field="type", tag="tts_session.updated"):
    session: SpeechSettings


class Append(msgspec.Struct, tag_field="type", tag="input_text_buffer.append"):
    text: str


class Clear(msgspec.Struct, tag_field="type", tag="input_text_buffer.clear"):
    pass


class Commit(msgspec.Struct, tag_field="type", tag="input_text_buffer.commit"):
    pass


Event = Updated | Append | Clear | Commit
