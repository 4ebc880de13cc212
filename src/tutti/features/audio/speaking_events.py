"""What clients of GET /audio/speech/websocket say: in the query, and in events."""

from typing import Annotated

import msgspec


class Extra(msgspec.Struct):
    pronunciation_dict: list[Annotated[str, msgspec.Meta(max_length=256, pattern="^[^/]+/.+$")]] | None = None


class Settings(msgspec.Struct, kw_only=True):
    """Of a session; None: as it was."""

    model: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    voice: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    language: str | None = None
    max_partial_length: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    extra_params: Extra | None = None


class Updated(msgspec.Struct, tag_field="type", tag="tts_session.updated"):
    session: Settings


class Append(msgspec.Struct, tag_field="type", tag="input_text_buffer.append"):
    text: str


class Clear(msgspec.Struct, tag_field="type", tag="input_text_buffer.clear"):
    pass


class Commit(msgspec.Struct, tag_field="type", tag="input_text_buffer.commit"):
    pass


Event = Updated | Append | Clear | Commit
