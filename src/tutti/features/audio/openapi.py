"""The parts of the OpenAPI document that FastAPI cannot derive from the routes of audio."""

from typing import Any

from pydantic import BaseModel

from tutti.features.audio import speaking

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
SPEECH_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": dict.fromkeys(("application/octet-stream", "audio/wav", "audio/mpeg"), _BINARY)}
}
SOCKET_RESPONSES: dict[int | str, dict[str, Any]] = {101: {"description": "Switching Protocols"}}


def _query(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    known = {"name": name, "in": "query", "required": required}
    return {**known, "schema": {"type": "string", "description": description, **schema}}


SPEECH_QUERY = [
    _query("model", "The TTS model to use for speech generation.", default=speaking.DEFAULT_MODEL),
    _query("voice", "Default: the model's first."),
    _query(
        "max_partial_length",
        "Characters without an end of a sentence that are spoken at the latest.",
        type="integer",
        default=speaking.MAX_PARTIAL,
    ),
    _query("language", "Language or locale of input text.", default="en"),
]
REALTIME_QUERY = [
    _query("model", "The model to use for transcription", required=True),
    _query(
        "input_audio_format",
        "16-bit PCM. Also pcm_s16le_8000 and pcm_s16le_24000.",
        required=True,
        enum=["pcm_s16le_16000"],
        default="pcm_s16le_16000",
    ),
]


def form(request: type[BaseModel]) -> dict[str, Any]:
    """Describe a request that is a form or JSON: it is read as it comes, so FastAPI does not know of it."""
    schema = request.model_json_schema()
    url = {"type": "string", "format": "uri", "description": "Public HTTP/HTTPS URL to audio file"}
    binary = {"type": "string", "format": "binary", "description": "Audio file"}
    schema["properties"]["file"] = {"anyOf": [binary, url]}
    schema["required"] = ["file"]
    content = {"multipart/form-data": {"schema": schema}, "application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
