"""vLLM, in an environment of its own (setting `vllm_python`; empty: `vllm` on PATH).

`Model.hub` is `owner/repo` or `owner/repo@revision`, where vLLM fetches the weights itself.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tutti.base.model import Model
from tutti.base.program import Program, Progress
from tutti.base.settings import Settings
from tutti.engines.base import Engine, weights_bytes
from tutti.engines.files import Vocabulary, find_vocabulary
from tutti.engines.openai import Dialect
from tutti.engines.openai_audio import AudioDialect, AudioServer
from tutti.engines.openai_requests import VLLM_SAMPLING, Server
from tutti.engines.options import listed
from tutti.engines.place import Place
from tutti.engines.vllm_options import VllmOptions

_START_TIMEOUT_S = 1800.0
_GIGABYTE = 1_000_000_000
_FLAGS = {
    "gpu_memory_utilization": "--gpu-memory-utilization",
    "dtype": "--dtype",
    "quantization": "--quantization",
    "reasoning_parser": "--reasoning-parser",
    "max_lora_rank": "--max-lora-rank",
}
_LORA_RANKS = (16, 32, 64, 128, 256, 320, 512)
_MOST_LORAS_AT_ONCE = 4
"""Adapters in one batch, each with memory of its own on the GPU; the others wait for the next one."""
_KNOWS_ARCHITECTURE = """
import sys
from vllm.model_executor.models.registry import ModelRegistry
if not set(sys.argv[1:]) & set(ModelRegistry.get_supported_archs()):
    sys.exit("vLLM does not know the architecture " + (" or ".join(sys.argv[1:]) or "that is not named"))
"""
_METRIC = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|[a-z]+_tokens_total|request_success_total)"
    rb"(?:\{[^}]*\})? (\S+)",
    re.M,
)


def server_of(model: Model) -> Server:
    """Describe vLLM as a server. Forced tools are not left to it: 0.32 refuses them without a parser, and
    with one it does not hold the arguments to their schema."""
    options = VllmOptions.of(model)
    return Server(
        options.lora_module or model.name,
        sampling=VLLM_SAMPLING,
        vllm=True,
        reads_tools=options.tool_call_parser is not None,
        forces_tools=False,
        tokenizes=True,
    )


class Vllm(Engine):
    name = "vllm"
    options = VllmOptions
    progress_path = "/metrics"
    text = embedding = rerank = Dialect(server_of)
    transcription = AudioDialect(lambda model: AudioServer(model.name, "openai"))
    weights = "safetensors"
    adapters = "peft"

    def vocabulary(self, model: Model, folder: Path) -> Vocabulary | None:  # noqa: ARG002 - the protocol's
        return find_vocabulary(folder)

    def is_installed(self, settings: Settings) -> bool:
        return bool(_python(settings))

    def architecture_check(self, settings: Settings) -> Sequence[str]:
        return _python(settings), "-c", _KNOWS_ARCHITECTURE

    def program(self, model: Model, place: Place) -> Program:
        return Program(
            name=model.name,
            argv=(*_command(place), *_arguments(model, place)),
            env=_environment(model, place),
            port=place.port,
            health_path="/health",
            gpus=_gpus(VllmOptions.of(model), place),
            start_timeout_s=_START_TIMEOUT_S,
        )

    def slots(self, model: Model) -> int:
        return VllmOptions.of(model).max_num_seqs

    def behind(self, body: bytes) -> bytes:
        """Mark the request: vLLM begins those of a lower number first, and takes cache from those of a higher
        one."""
        return b'{"priority":1,' + body[1:]

    def memory_bytes(self, model: Model) -> int:
        cache = VllmOptions.of(model).cpu_kv_cache_gb * _GIGABYTE
        return model.memory_bytes or weights_bytes(model) + cache

    def progress(self, body: bytes) -> Progress:
        """Read queue lengths and token counts, which vLLM's API process has from its engine's every step:
        while the engine stands still, so do they."""
        values = [(match[1], float(match[2])) for match in _METRIC.finditer(body)]
        busy = sum(value for name, value in values if name.startswith(b"num_requests"))
        return Progress(int(busy), tuple(value for name, value in values if name.endswith(b"_total")))


def _command(place: Place) -> tuple[str, ...]:
    if place.vllm_python:
        return (place.vllm_python, "-m", "vllm.entrypoints.cli.main", "serve")
    return ("vllm", "serve")


def _python(settings: Settings) -> str:
    """Return the Python of vLLM's environment, or an empty text where there is none. Beside the `vllm` on
    PATH lies the Python that it runs in."""
    command = shutil.which("vllm")
    return settings.vllm_python or (str(Path(command).resolve().with_name("python")) if command else "")


def _arguments(model: Model, place: Place) -> list[str]:
    options = VllmOptions.of(model)
    argv = [*_weights(model, place), "--served-model-name", model.name]
    argv += ["--host", "127.0.0.1", "--port", str(place.port), "--enable-prompt-tokens-details"]
    argv += ["--scheduling-policy", "priority"]
    argv += ["--max-num-seqs", str(options.max_num_seqs)]
    if model.context_length:
        argv += ["--max-model-len", str(model.context_length)]
    if model.type in ("embedding", "rerank"):
        argv += ["--runner", "pooling"]
    if parallel := _gpus(options, place) if options.tensor_parallel is None else options.tensor_parallel:
        argv += ["--tensor-parallel-size", str(parallel)]
    for option, flag in _FLAGS.items():
        if (value := getattr(options, option)) is not None:
            argv += [flag, str(value)]
    if options.tool_call_parser is not None:
        argv += ["--enable-auto-tool-choice", "--tool-call-parser", options.tool_call_parser]
    return argv + _adapters(options, place) + listed(options.args)


def _adapters(options: VllmOptions, place: Place) -> list[str]:
    """Return the arguments for the adapters of the entry's own options, and for those that have entries."""
    modules = [
        *listed(options.lora_modules),
        *(f"{server_of(adapter.model).model}={adapter.folder}" for adapter in place.adapters),
    ]
    if not modules:
        return []
    slots = str(_lora_slots(len(modules), _gpus(options, place)))
    argv = ["--enable-lora", "--lora-modules", *modules, "--max-loras", slots]
    if place.adapters and options.max_lora_rank is None:
        rank = max(VllmOptions.of(adapter.model).lora_rank for adapter in place.adapters)
        argv += ["--max-lora-rank", str(next(most for most in _LORA_RANKS if most >= rank))]
    return argv


def _lora_slots(modules: int, gpus: int) -> int:
    """Return how many adapters a batch may have. vLLM 0.32 on a CPU takes the last slot for requests without
    an adapter, since its kernels index with -1 then: that one has to stay empty."""
    return min(modules, _MOST_LORAS_AT_ONCE) if gpus else modules + 1


def _weights(model: Model, place: Place) -> list[str]:
    if model.files or not model.hub:
        return [str(place.folder)]
    repo, _, revision = model.hub.partition("@")
    return [repo, "--revision", revision] if revision else [repo]


def _environment(model: Model, place: Place) -> dict[str, str]:
    """Return variables that turn reports to anybody off, and keep connections open for longer than the
    gateway keeps them."""
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60"}
    if model.files or not model.hub:
        env["HF_HUB_OFFLINE"] = "1"
    elif place.hub_token:
        env["HF_TOKEN"] = place.hub_token
    if place.gpus:
        return env
    threads = {"OMP_NUM_THREADS": str(place.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    cache = {"VLLM_CPU_KVCACHE_SPACE": str(VllmOptions.of(model).cpu_kv_cache_gb)}
    return env | threads | cache | {"VLLM_TARGET_DEVICE": "cpu"}


def _gpus(options: VllmOptions, place: Place) -> int:
    """Return how many GPUs a replica needs. Before a share is taken, `place` has all those of the machine."""
    return min(1, len(place.gpus)) if options.gpus is None else options.gpus
