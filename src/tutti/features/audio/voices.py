"""GET /voices: what the catalogue knows of each model's voices."""

from collections.abc import Iterable

from tutti.base.model import Model
from tutti.features.audio.schemas import ListVoicesResponse, ModelVoices, Voice
from tutti.features.audio.service import speaker
from tutti.serving.platform import Platform


async def list_voices(platform: Platform, project_id: str, name: str | None) -> ListVoicesResponse:
    """Raises NotFound, and InvalidRequest for a model that cannot speak."""
    if name:
        return _listed([await speaker(platform, name, project_id)])
    models = await platform.catalog.models(project_id)
    return _listed(model for model in models if model.type == "audio")


def _listed(models: Iterable[Model]) -> ListVoicesResponse:
    return ListVoicesResponse(data=[_voices(model) for model in models])


def _voices(model: Model) -> ModelVoices:
    return ModelVoices(model=model.name, voices=[Voice(id=voice, name=voice) for voice in model.voices])
