"""The features of the server. A new one is a line in one of these tables."""

from collections.abc import Callable

from fastapi import APIRouter

from tutti.features.account import routes as account
from tutti.features.audio import routes as audio
from tutti.features.audio import schemas as audio_schemas
from tutti.features.batches import routes as batches
from tutti.features.evaluations import routes as evaluations
from tutti.features.files import routes as files
from tutti.features.interpreter import routes as interpreter
from tutti.features.models import jobs_routes as jobs
from tutti.features.models import project_routes as project_models
from tutti.features.models import routes as models
from tutti.features.retrieval import routes as retrieval
from tutti.features.text import responses, schemas
from tutti.features.text import routes as text
from tutti.http.asyncapi import Channel
from tutti.platform import Platform

Router = Callable[[Platform], APIRouter]

FEATURES: tuple[Router, ...] = (
    text.router,
    retrieval.router,
    audio.router,
    models.router,
    project_models.router,
    jobs.router,
    account.router,
    files.router,
    batches.router,
    evaluations.router,
    interpreter.router,
)
"""Mounted at /v1."""

ROOT_FEATURES: tuple[Router, ...] = (account.root_router,)
"""Mounted as they are: their paths are absolute, such as /v3/whoami."""

CHANNELS: tuple[Channel, ...] = (
    Channel(
        path="/chat/completions",
        title="Chat Completion",
        publish_id="createStreamingChatCompletion",
        subscribe_id="streamChatCompletions",
        request=schemas.ChatCompletionRequest,
        chunk=responses.ChatCompletionChunk,
        stream=responses.ChatCompletionStream,
    ),
    Channel(
        path="/completions",
        title="Completion",
        publish_id="createStreamingCompletion",
        subscribe_id="streamCompletions",
        request=schemas.CompletionRequest,
        chunk=responses.CompletionChunk,
        stream=responses.CompletionStream,
    ),
    Channel(
        path="/audio/speech",
        title="Audio Speech",
        publish_id="createStreamingAudioSpeech",
        subscribe_id="streamAudioSpeech",
        request=audio_schemas.AudioSpeechRequest,
        chunk=audio_schemas.AudioSpeechStreamChunk,
        stream=audio_schemas.AudioSpeechStreamResponse,
        chunk_message="AudioSpeechChunk",
    ),
)
"""The operations that can stream."""
