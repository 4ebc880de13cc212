"""Voices: which one a request means, and GET /voices, which lists those that the catalogue knows."""

from collections.abc import Iterable, Mapping

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.features.audio.schemas import ListVoicesResponse, ModelVoices, Voice
from tutti.features.audio.service import speaker
from tutti.platform import Platform

_OPENAIS = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)


def voice_of(model: Model, wanted: str | None, aliases: Mapping[str, str]) -> str:
    """Return the voice that a request means; without a name, the model's first.

    A name is an alias, or else a voice of the model, or else one of OpenAI's, which always stands for the
    same voice of the model. Other names are returned as they are: only the engine knows if there is such a
    voice, as some mix voices and some make them up. Raises InvalidRequest if a name is needed.
    """
    if wanted:
        return aliases.get(wanted) or _known(model, wanted)
    if not model.voices:
        raise InvalidRequest(f"Name a voice: {model.name} has no list of them.", param="voice")
    return model.voices[0]


def _known(model: Model, wanted: str) -> str:
    if wanted in model.voices or wanted not in _OPENAIS or not model.voices:
        return wanted
    same = (voice for voice in model.voices if voice.endswith(f"_{wanted}"))  # Kokoro's af_nova
    return next(same, model.voices[_OPENAIS.index(wanted) % len(model.voices)])


async def list_voices(platform: Platform, project_id: str, name: str | None) -> ListVoicesResponse:
    """Return the voices of the model called `name`, or of all models that speak.

    Raises NotFound, and InvalidRequest for a model that cannot speak.
    """
    if name:
        return _listed([await speaker(platform, name, project_id)])
    models = await platform.catalog.models(project_id)
    return _listed(model for model in models if model.type == "audio")


def _listed(models: Iterable[Model]) -> ListVoicesResponse:
    return ListVoicesResponse(data=[_voices(model) for model in models])


def _voices(model: Model) -> ModelVoices:
    return ModelVoices(model=model.name, voices=[Voice(id=voice, name=voice) for voice in model.voices])
