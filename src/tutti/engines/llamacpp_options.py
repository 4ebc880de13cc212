"""Options of llama.cpp's entries. Files are in the model's folder."""

from tutti.base.model import Model
from tutti.engines.options import AdapterOptions

_DEFAULT_CONTEXT = 8192


class LlamaCppOptions(AdapterOptions, frozen=True):
    context: int = _DEFAULT_CONTEXT
    """Tokens that a prompt and its answer may have together; never more than the model was trained for."""
    default_max_tokens: int = 0
    """Most tokens of an answer whose request sets no limit; 0: as many as fit. Small models may never end by
    themselves."""
    slots: int = 8
    """Requests worked on at once; fewer where the KV cache would outgrow its share."""
    kv_cache_mib: int = 0
    """Memory for the KV cache; 0: half of the weights', at least 512. Every slot gets a whole context out of
    it, since llama.cpp fails all requests when a shared cache overflows."""
    gpu_layers: int | None = None
    """Layers on the GPU; by default all, where there is one."""
    gpus: int = 0
    """Whole GPUs that a replica needs."""
    mmproj: str = ""
    """The file with the projector for images and audio."""
    chat_template: str = ""
    """A file with a Jinja template that stands in for the model's own."""
    lora: str | list[str] = ""
    """Files with LoRA adapters, applied at scale 1 to every request."""
    harmony: bool = False
    """The model speaks gpt-oss's format, which llama.cpp takes apart."""


def context_of(model: Model) -> int:
    """Return how many tokens a prompt and its answer may have together. llama.cpp takes no more than a model
    was trained for."""
    wanted = LlamaCppOptions.of(model).context or _DEFAULT_CONTEXT
    return min(wanted, model.context_length or wanted)
