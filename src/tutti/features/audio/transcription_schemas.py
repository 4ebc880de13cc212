"""Forms and bodies of transcriptions and translations. Component names are the contract's."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypeAliasType

from tutti.features.audio.formats import Format
from tutti.features.audio.schemas import Language

Granularity = Literal["segment", "word"]
_MAX_SPEAKERS = 64


def _listed(value: Any) -> Any:
    """Split a field of a form into a list: it is `word`, or `segment,word` if it was repeated."""
    return value.split(",") if isinstance(value, str) else value


class _Request(BaseModel):
    """The fields that both have. `file` is the URL, if the form has no part with a file."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    file: str | None = Field(None, max_length=8192, description="Public HTTP/HTTPS URL to audio file.")
    model: str = Field(description="Model to use. Default: openai/whisper-large-v3.")
    language: Language | Literal["auto"] | None = None
    prompt: str | None = Field(None, max_length=16_384, description="Optional text to bias decoding.")
    response_format: Format | None = Field(
        "json", description="The format of the response. text, srt and vtt are openai's."
    )
    temperature: float | None = Field(
        0.0, ge=0.0, le=1.0, description="Sampling temperature between 0.0 and 1.0"
    )
    timestamp_granularities: Annotated[Granularity | list[Granularity], BeforeValidator(_listed)] | None = (
        Field(
            None,
            description="Level of timestamp detail in verbose_json. Default: segment.",
        )
    )
    stream: bool | None = Field(False, description="openai's: json and text as events.")


class AudioTranscriptionRequest(_Request):
    model: str = Field("openai/whisper-large-v3", description="Model to use for transcription.")
    language: Language | Literal["auto"] | None = Field(
        None,
        description="ISO 639-1 language code. If `auto` is provided, language is auto-detected. Default: en, "
        "for openai's clients auto.",
        examples=["en"],
    )
    diarize: bool | None = Field(
        False, description="Whether to tell speakers apart: each word gets a speaker id."
    )
    min_speakers: int | None = Field(
        None, ge=1, le=_MAX_SPEAKERS, description="Minimum number of speakers expected in the audio."
    )
    max_speakers: int | None = Field(
        None, ge=1, le=_MAX_SPEAKERS, description="Maximum number of speakers expected in the audio."
    )


class AudioTranslationRequest(_Request):
    model: str = Field("openai/whisper-large-v3", description="Model to use for translation.")
    language: Language | None = Field(
        "en", description="Target output language: English is the only one.", examples=["en"]
    )


class AudioTranscriptionSegment(BaseModel):
    id: int
    start: float
    end: float
    text: str


class AudioTranscriptionWord(BaseModel):
    word: str
    start: float
    end: float
    speaker_id: str | None = Field(None, description="Only when diarize is enabled.")


class AudioTranscriptionSpeakerSegment(BaseModel):
    speaker_id: str
    start: float
    end: float
    words: list[AudioTranscriptionWord]
    text: str
    id: int


class AudioTranscriptionJsonResponse(BaseModel):
    text: str


class AudioTranscriptionVerboseJsonResponse(BaseModel):
    language: str = Field(description="The language of the audio")
    duration: float = Field(description="The duration of the audio in seconds")
    text: str
    segments: list[AudioTranscriptionSegment]
    words: list[AudioTranscriptionWord] | None = Field(
        None, description="Only when timestamp_granularities includes 'word', or with diarize."
    )
    speaker_segments: list[AudioTranscriptionSpeakerSegment] | None = Field(
        None, description="Only when diarize is enabled."
    )


AudioTranscriptionResponse = TypeAliasType(
    "AudioTranscriptionResponse", AudioTranscriptionJsonResponse | AudioTranscriptionVerboseJsonResponse
)


class AudioTranslationJsonResponse(BaseModel):
    text: str


class AudioTranslationVerboseJsonResponse(BaseModel):
    language: str = Field(description="The target language of the translation")
    duration: float = Field(description="The duration of the audio in seconds")
    text: str
    segments: list[AudioTranscriptionSegment]
    words: list[AudioTranscriptionWord] | None = Field(
        None, description="Only when timestamp_granularities includes 'word'."
    )


AudioTranslationResponse = TypeAliasType(
    "AudioTranslationResponse", AudioTranslationJsonResponse | AudioTranslationVerboseJsonResponse
)
