"""Speech, transcription, translation, voices, and the two WebSockets."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.websockets import WebSocket

from tutti.base.errors import InvalidRequest
from tutti.engines.audio import SpeechCall, TranscriptionCall
from tutti.features.audio import openapi, realtime, speaking, speech, transcription, transcription_bodies
from tutti.features.audio.formats import TYPES, events, written
from tutti.features.audio.schemas import AudioSpeechRequest, ListVoicesResponse
from tutti.features.audio.service import speaker
from tutti.features.audio.socket import Places
from tutti.features.audio.transcription_schemas import (
    AudioTranscriptionRequest,
    AudioTranscriptionResponse,
    AudioTranslationRequest,
    AudioTranslationResponse,
)
from tutti.features.audio.voices import list_voices
from tutti.http.context import caller, family, log_model
from tutti.http.route import BodyRoute
from tutti.http.stream import ByteStream, event_stream, while_connected
from tutti.platform import Platform


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


# --- speech -------------------------------------------------------------------------------------------------


def _speech(platform: Platform) -> APIRouter:
    routes = APIRouter(route_class=BodyRoute)

    @routes.post(
        "/audio/speech",
        operation_id="audio-speech",
        summary="Create audio generation request",
        response_class=Response,
        responses=openapi.SPEECH_RESPONSES,
    )
    async def audio_speech(request: Request, body: AudioSpeechRequest) -> Response:
        """Generate audio from input text"""
        model = await speaker(platform, body.model, caller(request).project_id)
        log_model(request, model.name)
        call = speech.speech_call(platform.settings, family(request), model, body)
        return await _speech_response(platform, request, body, call)

    return routes


async def _speech_response(
    platform: Platform, request: Request, body: AudioSpeechRequest, call: SpeechCall
) -> Response:
    audio = speech.audio(platform, caller(request), call)
    if body.stream_format == "sse":
        return _events(platform, speech.openai_events(audio, call))
    if body.stream and body.stream_format is None:
        return _events(platform, speech.together_events(audio, call, body.model))
    content_type = speech.CONTENT_TYPES[call.response_format]
    if call.response_format == "wav":  # comes whole: its length is known
        return Response(await while_connected(request, speech.joined(audio)), media_type=content_type)
    return ByteStream(audio, content_type)


def _events(platform: Platform, frames: AsyncGenerator[bytes]) -> Response:
    return event_stream(frames, early_headers_s=platform.settings.early_headers_s)


# --- transcription and translation --------------------------------------------------------------------------


def _transcriptions(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        "/audio/transcriptions",
        operation_id="audio-transcriptions",
        summary="Create audio transcription request",
        response_model=AudioTranscriptionResponse,
        openapi_extra=openapi.form(AudioTranscriptionRequest),
    )
    async def audio_transcriptions(request: Request) -> Response:
        """Transcribes audio into text"""
        async with transcription_bodies.read(platform, request, AudioTranscriptionRequest) as (
            body,
            recording,
        ):
            who = caller(request)
            call = await transcription.transcription_call(platform, who, family(request), body, recording)
            return await _transcript_response(platform, request, body, call)

    @routes.post(
        "/audio/translations",
        operation_id="audio-translations",
        summary="Create audio translation request",
        response_model=AudioTranslationResponse,
        openapi_extra=openapi.form(AudioTranslationRequest),
    )
    async def audio_translations(request: Request) -> Response:
        """Translates audio into English"""
        async with transcription_bodies.read(platform, request, AudioTranslationRequest) as (body, recording):
            call = await transcription.translation_call(platform, caller(request), body, recording)
            return await _transcript_response(platform, request, body, call)


async def _transcript_response(
    platform: Platform, request: Request, body: transcription.AnyRequest, call: TranscriptionCall
) -> Response:
    log_model(request, call.model.name)
    work = transcription.transcribe(platform, caller(request), call)
    transcript = await while_connected(request, work)
    form = body.response_format or "json"
    if body.stream and form in ("json", "text"):
        return Response(b"".join(events(transcript)), media_type="text/event-stream")
    return Response(written(transcript, form, call.task), media_type=TYPES[form])


# --- WebSockets ---------------------------------------------------------------------------------------------


def _sockets(routes: APIRouter, platform: Platform, places: Places) -> None:
    @routes.get(
        "/audio/speech/websocket",
        operation_id="realtime-tts",
        summary="Real-time text-to-speech via WebSocket",
        status_code=101,
        response_class=Response,
        responses=openapi.SOCKET_RESPONSES,
        openapi_extra={"parameters": openapi.SPEECH_QUERY},
    )
    async def no_speech_socket() -> None:
        """Open a WebSocket for bidirectional streaming: the guide to speech describes its events."""
        raise _not_a_socket()

    @routes.get(
        "/realtime",
        operation_id="realtime-transcription",
        summary="Real-time audio transcription via WebSocket",
        status_code=101,
        response_class=Response,
        responses=openapi.SOCKET_RESPONSES,
        openapi_extra={"parameters": openapi.REALTIME_QUERY},
    )
    async def no_realtime_socket() -> None:
        """Open a WebSocket for bidirectional streaming: the guide to speech describes its events."""
        raise _not_a_socket()

    @routes.websocket("/audio/speech/websocket")
    async def speech_socket(websocket: WebSocket) -> None:
        await speaking.converse(platform, websocket, places)

    @routes.websocket("/realtime")
    async def realtime_socket(websocket: WebSocket) -> None:
        await realtime.listen(platform, websocket, places)


def _not_a_socket() -> InvalidRequest:
    return InvalidRequest("This is a WebSocket: connect with ws:// or wss://.")
