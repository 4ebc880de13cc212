"""llama.cpp, one child process a replica (workers/llamacpp.py).

Files are in the model's folder. Types embedding and rerank run it as an embedder or a cross-encoder.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program, Progress
from tutti.engines.base import Engine, weights_bytes
from tutti.engines.files import ADAPTER_FILE, Vocabulary, find_gguf, find_vocabulary
from tutti.engines.llamacpp_answers import error_of
from tutti.engines.llamacpp_codec import Dialect
from tutti.engines.llamacpp_options import LlamaCppOptions, context_of
from tutti.engines.options import listed
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal
from tutti.process.child import worker_argv

_MIB = 1024 * 1024
_LEAST_CACHE_MIB = 512
_WORKING_MIB = 200  # buffers and the process itself, as measured with models of 0.1 to 1.5 B parameters
_SPINS = "1000"
"""The number of times that an OpenMP thread looks for work before it sleeps. Measured with 2 threads on 2
cores in tokens/s, alone and beside a busy process: 0: 29 and 50; 1000: 118 and 34; 4000: 149 and 26; 100000:
144 and 8."""


class _NextToken(msgspec.Struct):
    n_decoded: int = 0


class _Slot(msgspec.Struct):
    is_processing: bool
    id_task: int = -1
    n_prompt_tokens_processed: int = 0
    next_token: list[_NextToken] = []


class LlamaCpp(Engine):
    name = "llamacpp"
    options = LlamaCppOptions
    progress_path = "/slots"
    text = embedding = rerank = Dialect()
    weights = "gguf"
    adapters = "gguf"

    def vocabulary(self, model: Model, folder: Path) -> Vocabulary | None:
        return find_vocabulary(folder, _besides(model), LlamaCppOptions.of(model).chat_template)

    def gguf_files(self, model: Model, folder: Path) -> Sequence[Path]:
        return find_gguf(folder, _besides(model))

    def program(self, model: Model, place: Place) -> Program:
        return Program(
            name=model.name,
            argv=worker_argv("llamacpp", *_arguments(model, place)),
            env={"GOMP_SPINCOUNT": _SPINS},
            port=place.port,
            health_path="/health",
            gpus=LlamaCppOptions.of(model).gpus,
        )

    def headers(self, model: Model) -> Mapping[str, str]:  # noqa: ARG002
        """Ask llama.cpp to close the connection. After a stream it closes one that it said it would keep, and
        one that it does keep holds a thread of it."""
        return {"connection": "close"}

    def slots(self, model: Model) -> int:
        return LlamaCppOptions.of(model).slots

    def shares(self, model: Model) -> str:
        """Return the processor, unless the model has GPUs of its own."""
        return model.name if LlamaCppOptions.of(model).gpus else "cpu"

    def context(self, model: Model) -> int:
        return context_of(model)

    def memory_bytes(self, model: Model) -> int:
        weights = weights_bytes(model)
        if model.memory_bytes or not weights:
            return model.memory_bytes
        return weights + (_cache_mib(model) + _WORKING_MIB) * _MIB

    def progress(self, body: bytes) -> Progress:
        """Read the slots. The loop that generates answers this itself, between two batches."""
        slots = [slot for slot in msgspec.json.decode(body, type=list[_Slot]) if slot.is_processing]
        mark = tuple(
            (slot.id_task, slot.n_prompt_tokens_processed, *(token.n_decoded for token in slot.next_token))
            for slot in slots
        )
        return Progress(len(slots), mark)

    def error(self, refusal: Refusal) -> TuttiError:
        return error_of(refusal)


def _arguments(model: Model, place: Place) -> list[str]:
    options = LlamaCppOptions.of(model)
    argv = ["--model", str(place.folder / _weights(model, place.folder)), "--port", str(place.port)]
    argv += ["--threads", str(place.threads), "--context", str(context_of(model))]
    argv += ["--slots", str(options.slots), "--kv-cache-mib", str(_cache_mib(model))]
    argv += ["--kind", model.type if model.type in ("embedding", "rerank") else "text"]
    if options.gpu_layers is not None:
        argv += ["--gpu-layers", str(options.gpu_layers)]
    if options.mmproj:
        argv += ["--mmproj", str(place.folder / options.mmproj)]
    if options.chat_template:
        argv += ["--chat-template", str(place.folder / options.chat_template)]
    for adapter in listed(options.lora):
        argv += ["--lora", str(place.folder / adapter)]
    for chosen in place.adapters:
        argv += ["--adapter", str(chosen.folder / ADAPTER_FILE)]
    return argv


def _weights(model: Model, folder: Path) -> str:
    """Return the name of the weights' file, or of the first part where a model comes in several: llama.cpp
    finds the others beside it."""
    names = [file.name for file in model.files] or [path.name for path in folder.glob("*.gguf")]
    weights = sorted(name for name in names if name.endswith(".gguf") and name not in _besides(model))
    return weights[0] if weights else "model.gguf"


def _besides(model: Model) -> frozenset[str]:
    """Return the names of the model's files that are not its weights."""
    options = LlamaCppOptions.of(model)
    return frozenset({options.mmproj, *listed(options.lora)})


def _cache_mib(model: Model) -> int:
    default = max(_LEAST_CACHE_MIB, weights_bytes(model) // 2 // _MIB)
    return LlamaCppOptions.of(model).kv_cache_mib or default
