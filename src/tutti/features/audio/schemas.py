"""Bodies of speech and voices. Component names are the contract's."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from tutti.base.languages import FORM, locale
from tutti.engines.audio import SampleEncoding
from tutti.features.fields import Body, Whole, as_whole


def _expected(form: str) -> WrapValidator:
    """Return a validator whose error names the expected form in words, in place of a pattern."""

    def check(value: Any, valid: ValidatorFunctionWrapHandler) -> Any:
        try:
            return valid(value)
        except ValidationError as error:
            raise PydanticCustomError("form", "Input should be {form}", {"form": form}) from error

    return WrapValidator(check)


def _locale(code: str) -> str:
    if (tag := locale(code)) is None:
        raise ValueError
    return tag


Language = Annotated[str, Field(max_length=35), AfterValidator(_locale), _expected(FORM)]
"""A language as its shortest BCP 47 tag."""
Pronunciation = Annotated[
    str,
    Field(max_length=256, pattern="^[^/]+/.+$"),
    _expected("`source/replacement`, of at most 256 characters"),
]


class ExtraParams(Body):
    pronunciation_dict: list[Pronunciation] | None = Field(
        None,
        max_length=1000,
        description='Pronunciation rules, each entry "<source>/<replacement>", overriding how the model '
        "pronounces matching tokens.",
    )


class AudioSpeechRequest(Body):
    model: str = Field(description="The name of the model to query.")
    input: str = Field(min_length=1, description="Input text to generate the audio for.")
    voice: str | None = Field(
        None,
        max_length=1024,
        description="GET /voices lists what each model has. Where none is named, it is the model's first. "
        "hexgrad/Kokoro-82M mixes voices: `af_bella(2)+af_heart(1)`.",
    )
    response_format: Literal["mp3", "wav", "raw", "pcm", "opus", "flac", "aac"] | None = Field(
        None,
        description="Default: wav, for openai's clients mp3. A stream is always raw. pcm is raw at 24 kHz.",
    )
    language: Language | None = Field(
        "en",
        description="Language or locale of input text: a code of ISO 639 or BCP 47 (en, eng, en-US, zh-hk).",
        examples=["en"],
    )
    response_encoding: SampleEncoding | None = Field(
        None,
        description="Audio encoding of response. Only applicable when response_format is raw or pcm. "
        "Default: the model's own, pcm_s16le.",
    )
    sample_rate: Annotated[Whole, Field(ge=8000, le=48000)] | None = Field(
        None, description="Sampling rate in Hz for the output audio. Default: the model's own, 24000."
    )
    bit_rate: Annotated[Literal[32000, 64000, 96000, 128000, 192000], BeforeValidator(as_whole)] | None = (
        Field(None, description="Bitrate of the MP3 audio output in bits per second. Default: 128000.")
    )
    stream: bool | None = Field(
        False,
        description="If true, audio is sent as `audio.tts.chunk` events, sentence by sentence, and the "
        "stream terminates with `data: [DONE]`. If false, the encoded audio is the answer.",
    )
    extra_params: ExtraParams | None = Field(
        None, description="Additional model-specific parameters that fine-tune speech generation behavior."
    )
    speed: Annotated[float, Field(ge=0.25, le=4.0)] | None = Field(
        None, description="openai's: how fast to speak."
    )
    stream_format: Literal["audio", "sse"] | None = Field(
        None, description="openai's: `sse` sends `speech.audio.delta` events."
    )


class AudioSpeechStreamChunk(BaseModel):
    object: Literal["audio.tts.chunk"]
    model: str
    b64: str = Field(description="base64 encoded audio stream")


class AudioSpeechStreamEvent(BaseModel):
    data: AudioSpeechStreamChunk


class AudioSpeechStreamSentinel(BaseModel):
    data: Literal["[DONE]"]


AudioSpeechStreamResponse = TypeAliasType(
    "AudioSpeechStreamResponse", AudioSpeechStreamEvent | AudioSpeechStreamSentinel
)


class Voice(BaseModel):
    id: str
    name: str = Field(description="Voice name to be used for audio inference.")


class ModelVoices(BaseModel):
    """Represents a model with its available voices."""

    model: str = Field(description="Model name.")
    voices: list[Voice] = Field(description="List of available voices for the model.")


class ListVoicesResponse(BaseModel):
    """Response containing a list of models and their available voices."""

    data: list[ModelVoices]
