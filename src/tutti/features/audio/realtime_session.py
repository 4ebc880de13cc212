"""The state of a realtime session: how clients change it, and how events show it, in both APIs' shapes."""

from dataclasses import dataclass, field, replace

import msgspec

from tutti.base.errors import InvalidRequest
from tutti.base.ids import new_id
from tutti.engines.audio import RealtimeCall, TurnDetection
from tutti.engines.calls import Json
from tutti.features.audio.realtime_events import RATES_HZ, Change, Detection, Format, Input, Transcription
from tutti.features.audio.service import language_of


@dataclass(frozen=True)
class RealtimeSession:
    """The options of a session. `requested_model` is the name by which the client called the model."""

    requested_model: str
    call: RealtimeCall
    id: str = field(default_factory=lambda: new_id("sess"))

    def changed(self, change: Change) -> "RealtimeSession":
        """Return the changed session. Raise InvalidRequest for what cannot change while it goes on."""
        given = (change.audio and change.audio.input) or Input()
        wanted = given.transcription or change.input_audio_transcription or Transcription()
        _check_kind(change)
        self._check_model(wanted.model)
        _check_format(self.call, given.format, change.input_audio_format)
        prompt = change.prompt if wanted.prompt is None else wanted.prompt
        call = msgspec.structs.replace(
            self.call,
            language=self.call.language if wanted.language is None else language_of(wanted.language),
            prompt=self.call.prompt if prompt is None else prompt,
            turn_detection=_detection(self.call, given.turn_detection, change.turn_detection),
        )
        return replace(self, call=call)

    def created(self) -> Json:
        return {
            "id": self.id,
            "object": "realtime.session",
            "modalities": ["audio"],
            "model": self.call.model.name,
            **self.in_together_shape(),
        }

    def in_together_shape(self) -> Json:
        return {"turn_detection": _in_together_words(self.call.turn_detection)}

    def in_openai_shape(self) -> Json:
        """Return the session in OpenAI's shape, with Together's fields besides."""
        call = self.call
        sound = {
            "format": {"type": "audio/pcm", "rate": call.sample_rate_hz},
            "transcription": {
                "model": self.requested_model,
                "language": call.language,
                "prompt": call.prompt,
            },
            "noise_reduction": None,
            "turn_detection": _in_openais_words(call.turn_detection),
        }
        return {**self.created(), "type": "transcription", "audio": {"input": sound}}

    def _check_model(self, wanted: str | None) -> None:
        if wanted not in (None, self.requested_model, self.call.model.name):
            raise InvalidRequest(
                f"A session keeps its model, {self.requested_model}: open another one for {wanted[:100]}.",
                param="session.audio.input.transcription.model",
            )


def _detection(call: RealtimeCall, *given: Detection | msgspec.UnsetType | None) -> TurnDetection | None:
    """Return the first detection that is given, or else that of the call. None turns it off."""
    found = next((each for each in given if not isinstance(each, msgspec.UnsetType)), msgspec.UNSET)
    if isinstance(found, msgspec.UnsetType):
        return call.turn_detection
    return found.for_engine() if found else None


def _check_kind(change: Change) -> None:
    if change.type not in (None, "transcription"):
        raise InvalidRequest("A session can only be of the type `transcription`.", param="session.type")
    if change.include:
        raise InvalidRequest(
            "Sessions have no log probabilities: leave `include` out.", param="session.include"
        )


def _check_format(call: RealtimeCall, given: Format | None, name: str | None) -> None:
    wanted = given or Format()
    rates_hz = {wanted.rate, call.sample_rate_hz if name is None else RATES_HZ.get(name)}
    if wanted.type != "audio/pcm" or rates_hz - {None} != {call.sample_rate_hz}:
        raise InvalidRequest(
            f"A session keeps its format, 16-bit PCM of {call.sample_rate_hz} Hz: `input_audio_format` in "
            "the URL says which.",
            param="session.audio.input.format",
        )


def _in_together_words(detection: TurnDetection | None) -> Json | None:
    return None if detection is None else {"type": "server_vad", **msgspec.structs.asdict(detection)}


def _in_openais_words(detection: TurnDetection | None) -> Json | None:
    if detection is None:
        return None
    padding, silence = detection.speech_pad_ms, detection.min_silence_duration_ms
    return {
        **(_in_together_words(detection) or {}),
        "prefix_padding_ms": padding,
        "silence_duration_ms": silence,
    }
