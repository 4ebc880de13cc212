"""Transcription and translation of recordings: the request as a call of an engine, and its transcript."""

from typing import Any

import msgspec

from tutti.access.caller import Caller
from tutti.base.errors import InvalidRequest
from tutti.engines.audio import Transcript, TranscriptionCall
from tutti.features.audio.recordings import Recording
from tutti.features.audio.service import language_of, leased, listener
from tutti.features.audio.transcription_schemas import AudioTranscriptionRequest, AudioTranslationRequest
from tutti.features.metered import metered
from tutti.http.context import Family
from tutti.platform import Platform

AnyRequest = AudioTranscriptionRequest | AudioTranslationRequest


async def transcription_call(
    platform: Platform, who: Caller, family: Family, body: AudioTranscriptionRequest, recording: Recording
) -> TranscriptionCall:
    """Return the call for a request. Raise NotFound, or InvalidRequest for what the model cannot do."""
    language = body.language or ("auto" if family == "openai" else "en")
    call = TranscriptionCall(
        model=await listener(platform, body.model, who.project_id),
        audio=recording.path,
        filename=recording.filename,
        language=language_of(language),
        words=_wants_words(body) or bool(body.diarize),
        diarize=bool(body.diarize),
        min_speakers=body.min_speakers,
        max_speakers=body.max_speakers,
        **_common(platform, body),
    )
    _check_speakers(body)
    return call


async def translation_call(
    platform: Platform, who: Caller, body: AudioTranslationRequest, recording: Recording
) -> TranscriptionCall:
    """Return the call for a request. Raise NotFound, or InvalidRequest for what the model cannot do."""
    if language_of(body.language or "en") != "en":
        raise InvalidRequest("English is the only language to translate into.", param="language")
    return TranscriptionCall(
        model=await listener(platform, body.model, who.project_id),
        audio=recording.path,
        filename=recording.filename,
        task="translate",
        words=_wants_words(body),
        **_common(platform, body),
    )


async def transcribe(platform: Platform, who: Caller, call: TranscriptionCall) -> Transcript:
    """Return the transcript of a recording, and record the request."""
    operation = "transcriptions" if call.task == "transcribe" else "translations"
    with metered(platform.meter, who, call.model, operation):
        async with leased(platform, call.model, who.project_id) as lease:
            if lease.engine.transcription is None:
                raise InvalidRequest(f"The engine of {call.model.name} cannot transcribe.", param="model")
            transcript = await lease.engine.transcription.transcribe(lease.upstream, call)
            return transcript if call.words else msgspec.structs.replace(transcript, words=None)


def _common(platform: Platform, body: AnyRequest) -> dict[str, Any]:
    return {
        "prompt": body.prompt or "",
        "temperature": body.temperature or 0.0,
        "max_audio_s": platform.settings.max_audio_s,
    }


def _wants_words(body: AnyRequest) -> bool:
    return body.response_format == "verbose_json" and "word" in (body.timestamp_granularities or ())


def _check_speakers(body: AudioTranscriptionRequest) -> None:
    least, most = body.min_speakers or 1, body.max_speakers
    if most is not None and most < least:
        raise InvalidRequest("max_speakers is less than min_speakers.", param="max_speakers")
