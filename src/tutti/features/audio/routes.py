"""Speech, transcription, translation, voices, and the two WebSockets."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.websockets import WebSocket

from tutti.base.errors import InvalidRequest
from tutti.features.audio import realtime, speaking, transcription
from tutti.features.audio.schemas import AudioSpeechRequest, ListVoicesResponse
from tutti.features.audio.socket import Places
from tutti.features.audio.speech import speech
from tutti.features.audio.transcription_schemas import (
    AudioTranscriptionRequest,
    AudioTranscriptionResponse,
    AudioTranslationRequest,
    AudioTranslationResponse,
)
from tutti.features.audio.voices import list_voices
from tutti.http.context import caller
from tutti.http.route import BodyRoute
from tutti.platform import Platform

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_SPOKEN: dict[int | str, dict[str, Any]] = {
    200: {"content": dict.fromkeys(("application/octet-stream", "audio/wav", "audio/mpeg"), _BINARY)}
}
_SWITCHING: dict[int | str, dict[str, Any]] = {101: {"description": "Switching Protocols"}}


def _query(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    known = {"name": name, "in": "query", "required": required}
    return {**known, "schema": {"type": "string", "description": description, **schema}}


_SPEECH_QUERY = [
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
_REALTIME_QUERY = [
    _query("model", "The model to use for transcription", required=True),
    _query(
        "input_audio_format",
        "16-bit PCM. Also pcm_s16le_8000 and pcm_s16le_24000.",
        required=True,
        enum=["pcm_s16le_16000"],
        default="pcm_s16le_16000",
    ),
]


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Audio"])
    routes.include_router(_speech(platform))
    _transcriptions(routes, platform)
    _sockets(routes, platform, Places(platform.settings))

    @routes.get(
        "/voices",
        operation_id="fetchVoices",
        tags=["Voices"],
        summary="Fetch available voices for each model",
        response_model=ListVoicesResponse,
    )
    async def voices(
        request: Request,
        model: Annotated[str | None, Query(description="Only the voices of this model.")] = None,
    ) -> ListVoicesResponse:
        """Fetch available voices for each model"""
        return await list_voices(platform, caller(request).project_id, model)

    return routes


def _speech(platform: Platform) -> APIRouter:
    routes = APIRouter(route_class=BodyRoute)

    @routes.post(
        "/audio/speech",
        operation_id="audio-speech",
        summary="Create audio generation request",
        response_class=Response,
        responses=_SPOKEN,
    )
    async def audio_speech(request: Request, body: AudioSpeechRequest) -> Response:
        """Generate audio from input text"""
        return await speech(platform, request, body)

    return routes


def _transcriptions(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        "/audio/transcriptions",
        operation_id="audio-transcriptions",
        summary="Create audio transcription request",
        response_model=AudioTranscriptionResponse,
        openapi_extra=_form(AudioTranscriptionRequest),
    )
    async def audio_transcriptions(request: Request) -> Response:
        """Transcribes audio into text"""
        return await transcription.transcribe(platform, request)

    @routes.post(
        "/audio/translations",
        operation_id="audio-translations",
        summary="Create audio translation request",
        response_model=AudioTranslationResponse,
        openapi_extra=_form(AudioTranslationRequest),
    )
    async def audio_translations(request: Request) -> Response:
        """Translates audio into English"""
        return await transcription.translate(platform, request)


def _sockets(routes: APIRouter, platform: Platform, places: Places) -> None:
    @routes.get(
        "/audio/speech/websocket",
        operation_id="realtime-tts",
        summary="Real-time text-to-speech via WebSocket",
        status_code=101,
        response_class=Response,
        responses=_SWITCHING,
        openapi_extra={"parameters": _SPEECH_QUERY},
    )
    async def no_speech_socket() -> None:
        """A WebSocket for bidirectional streaming: the guide to speech describes its events."""
        raise _not_a_socket()

    @routes.get(
        "/realtime",
        operation_id="realtime-transcription",
        summary="Real-time audio transcription via WebSocket",
        status_code=101,
        response_class=Response,
        responses=_SWITCHING,
        openapi_extra={"parameters": _REALTIME_QUERY},
    )
    async def no_realtime_socket() -> None:
        """A WebSocket for bidirectional streaming: the guide to speech describes its events."""
        raise _not_a_socket()

    @routes.websocket("/audio/speech/websocket")
    async def speech_socket(websocket: WebSocket) -> None:
        await speaking.converse(platform, websocket, places)

    @routes.websocket("/realtime")
    async def realtime_socket(websocket: WebSocket) -> None:
        await realtime.listen(platform, websocket, places)


def _form(request: type[BaseModel]) -> dict[str, Any]:
    """Forms are read as they come, so the framework does not know of them."""
    schema = request.model_json_schema()
    url = {"type": "string", "format": "uri", "description": "Public HTTP/HTTPS URL to audio file"}
    binary = {"type": "string", "format": "binary", "description": "Audio file"}
    schema["properties"]["file"] = {"anyOf": [binary, url]}
    schema["required"] = ["file"]
    content = {"multipart/form-data": {"schema": schema}, "application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _not_a_socket() -> InvalidRequest:
    return InvalidRequest("This is a WebSocket: connect with ws:// or wss://.")
