"""llama.cpp, one child process a replica (workers/llamacpp.py).

`Model.options`:
- context: tokens that a prompt and its answer may have together (default: the model's, but at most 8192);
- default_max_tokens: most tokens of an answer whose request sets no limit (default: as many as fit). Small
  models may never end by themselves;
- slots: requests worked on at once (default 8; fewer where the KV cache would outgrow its share);
- kv_cache_mib: memory for the KV cache (default: half of the weights', at least 512). Every slot gets a whole
  context out of it, since llama.cpp fails all requests when a shared cache overflows;
- gpu_layers: layers on the GPU (default: all, where there is one); gpus: whole GPUs a replica needs (0);
- mmproj: file with the projector for images and audio; chat_template: file with a Jinja template;
- lora: files with LoRA adapters, applied at scale 1 to every request;
- harmony: the model speaks gpt-oss's format, which llama.cpp takes apart.
Files are in the model's folder. Types embedding and rerank run it as an embedder or a cross-encoder.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.llamacpp_answers import error_of
from tutti.engines.llamacpp_calls import always_on, context_of
from tutti.engines.llamacpp_codec import Dialect
from tutti.engines.options import Options
from tutti.engines.place import Place, Progress
from tutti.engines.upstream import Refusal

ADAPTER_FILE = "adapter.gguf"
"""In the folder of an adapter that requests may choose."""
DEFAULT_SLOTS = 8
_MIB = 1024 * 1024
_LEAST_CACHE_MIB = 512
_WORKING_MIB = 200  # buffers and the process itself, as measured with models of 0.1 to 1.5 B parameters
_SPINS = "1000"
"""How often an OpenMP thread looks for work before it sleeps. Measured with 2 threads on 2 cores in tokens/s,
alone and beside a busy process: 0: 29 and 50; 1000: 118 and 34; 4000: 149 and 26; 100000: 144 and 8."""


class _NextToken(msgspec.Struct):
    n_decoded: int = 0


class _Slot(msgspec.Struct):
    is_processing: bool
    id_task: int = -1
    n_prompt_tokens_processed: int = 0
    next_token: list[_NextToken] = []


class _Options(Options, frozen=True):
    context: int = 0
    default_max_tokens: int = 0
    slots: int = 0
    kv_cache_mib: int = 0
    gpu_layers: int = 0
    gpus: int = 0
    mmproj: str = ""
    chat_template: str = ""
    lora: str | list[str] = ""
    harmony: bool = False
    lora_rank: int = 0


class LlamaCpp:
    name = "llamacpp"
    options = _Options
    progress_path = "/slots"
    text = embedding = rerank = Dialect()
    speech = transcription = realtime = None

    def program(self, model: Model, place: Place) -> Program:
        return Program(
            name=model.name,
            argv=(sys.executable, "-m", "tutti.workers.llamacpp", *_arguments(model, place)),
            env={"GOMP_SPINCOUNT": _SPINS},
            port=place.port,
            health_path="/health",
            gpus=int(str(model.options.get("gpus", 0))),
        )

    def address(self, model: Model, place: Place) -> str:  # noqa: ARG002 - the protocol's arguments
        return f"http://127.0.0.1:{place.port}"

    def headers(self, model: Model) -> Mapping[str, str]:  # noqa: ARG002
        """After a stream llama.cpp closes a connection that it said it would keep, and one that it does keep
        holds a thread of it."""
        return {"connection": "close"}

    def slots(self, model: Model) -> int:
        return _slots(model)

    def shares(self, model: Model) -> str:
        """The processor, unless it has GPUs of its own."""
        return model.name if int(str(model.options.get("gpus", 0))) else "cpu"

    def behind(self, body: bytes) -> bytes:
        return body

    def context(self, model: Model) -> int:
        return context_of(model)

    def memory_bytes(self, model: Model) -> int:
        weights = sum(file.size_bytes for file in model.files)
        if model.memory_bytes or not weights:
            return model.memory_bytes
        return weights + (_cache_mib(model) + _WORKING_MIB) * _MIB

    def progress(self, body: bytes) -> Progress:
        """The loop that generates answers this itself, between two batches."""
        slots = [slot for slot in msgspec.json.decode(body, type=list[_Slot]) if slot.is_processing]
        mark = tuple(
            (slot.id_task, slot.n_prompt_tokens_processed, *(token.n_decoded for token in slot.next_token))
            for slot in slots
        )
        return Progress(len(slots), mark)

    def error(self, refusal: Refusal) -> TuttiError:
        return error_of(refusal)


def _arguments(model: Model, place: Place) -> list[str]:
    argv = ["--model", str(place.folder / _weights(model, place.folder)), "--port", str(place.port)]
    argv += ["--threads", str(place.threads), "--context", str(context_of(model))]
    argv += ["--slots", str(_slots(model)), "--kv-cache-mib", str(_cache_mib(model))]
    argv += ["--kind", model.type if model.type in ("embedding", "rerank") else "text"]
    if "gpu_layers" in model.options:
        argv += ["--gpu-layers", str(model.options["gpu_layers"])]
    for option in ("mmproj", "chat_template"):
        if option in model.options:
            argv += [f"--{option.replace('_', '-')}", str(place.folder / str(model.options[option]))]
    for adapter in always_on(model):
        argv += ["--lora", str(place.folder / adapter)]
    for chosen in place.adapters:
        argv += ["--adapter", str(chosen.folder / ADAPTER_FILE)]
    return argv


def _weights(model: Model, folder: Path) -> str:
    """The first part, where a model comes in several: llama.cpp finds the others beside it."""
    besides = {str(model.options.get("mmproj", "")), *always_on(model)}
    names = [file.name for file in model.files] or [path.name for path in folder.glob("*.gguf")]
    weights = sorted(name for name in names if name.endswith(".gguf") and name not in besides)
    return weights[0] if weights else "model.gguf"


def _slots(model: Model) -> int:
    return int(str(model.options.get("slots", DEFAULT_SLOTS)))


def _cache_mib(model: Model) -> int:
    weights = sum(file.size_bytes for file in model.files)
    return int(str(model.options.get("kv_cache_mib", 0))) or max(_LEAST_CACHE_MIB, weights // 2 // _MIB)
