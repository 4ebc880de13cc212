"""vLLM, in an environment of its own (setting `vllm_python`; empty: `vllm` on PATH).

`Model.options`: max_num_seqs (requests at once, default 256), gpus (whole GPUs a replica needs; default 1
where the machine has any, otherwise 0: the CPU build), tensor_parallel (default: gpus),
gpu_memory_utilization, dtype, quantization, reasoning_parser, tool_call_parser (without one, tool calls are
read out of the text by Tutti), lora_modules (a list of `name=path`), lora_module (the name of the one that
requests to this entry use), max_lora_rank, lora_rank (of an entry that is an adapter), cpu_kv_cache_gb (CPU
build, default 4), and args, a list of further arguments.
`Model.hub` is `owner/repo` or `owner/repo@revision`, where vLLM fetches the weights itself.
"""

import re
from collections.abc import Mapping

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.openai import Dialect
from tutti.engines.openai_audio import AudioDialect, AudioServer
from tutti.engines.openai_errors import error_of
from tutti.engines.openai_requests import VLLM_SAMPLING, Server
from tutti.engines.options import Options
from tutti.engines.place import Place, Progress
from tutti.engines.upstream import Refusal

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
"""In one batch, each with memory of its own on the GPU; the others wait for the next one."""
_METRIC = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|[a-z]+_tokens_total|request_success_total)"
    rb"(?:\{[^}]*\})? (\S+)",
    re.M,
)


def server_of(model: Model) -> Server:
    """Forced tools are not left to vLLM: 0.32 refuses them without a parser, and with one it does not hold
    the arguments to their schema."""
    reads_tools = "tool_call_parser" in model.options
    served = str(model.options.get("lora_module", model.name))
    return Server(
        served,
        sampling=VLLM_SAMPLING,
        vllm=True,
        reads_tools=reads_tools,
        forces_tools=False,
        tokenizes=True,
    )


class _Options(Options, frozen=True):
    max_num_seqs: int = 0
    gpus: int = 0
    tensor_parallel: int = 0
    gpu_memory_utilization: float = 0
    dtype: str = ""
    quantization: str = ""
    reasoning_parser: str = ""
    tool_call_parser: str = ""
    lora_modules: str | list[str] = ""
    lora_module: str = ""
    max_lora_rank: int = 0
    lora_rank: int = 0
    cpu_kv_cache_gb: int = 0
    args: str | list[str] = ""


class Vllm:
    name = "vllm"
    options = _Options
    progress_path = "/metrics"
    text = embedding = rerank = Dialect(server_of)
    speech = realtime = None
    transcription = AudioDialect(lambda model: AudioServer(model.name, "openai"))

    def program(self, model: Model, place: Place) -> Program:
        return Program(
            name=model.name,
            argv=(*_command(place), *_arguments(model, place)),
            env=_environment(model, place),
            port=place.port,
            health_path="/health",
            gpus=_gpus(model, place),
            start_timeout_s=_START_TIMEOUT_S,
        )

    def address(self, model: Model, place: Place) -> str:  # noqa: ARG002 - the protocol's arguments
        return f"http://127.0.0.1:{place.port}"

    def headers(self, model: Model) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def slots(self, model: Model) -> int:
        return int(str(model.options.get("max_num_seqs", 256)))

    def shares(self, model: Model) -> str:  # noqa: ARG002
        return ""

    def behind(self, body: bytes) -> bytes:
        """vLLM begins requests of a lower number first, and takes cache from those of a higher one."""
        return b'{"priority":1,' + body[1:]

    def context(self, model: Model) -> int:
        return model.context_length

    def memory_bytes(self, model: Model) -> int:
        weights = sum(file.size_bytes for file in model.files)
        return model.memory_bytes or weights + _cache_gb(model) * _GIGABYTE

    def progress(self, body: bytes) -> Progress:
        """Queue lengths and token counts, which vLLM's API process has from its engine's every step: while
        the engine stands still, so do they."""
        values = [(match[1], float(match[2])) for match in _METRIC.finditer(body)]
        busy = sum(value for name, value in values if name.startswith(b"num_requests"))
        return Progress(int(busy), tuple(value for name, value in values if name.endswith(b"_total")))

    def error(self, refusal: Refusal) -> TuttiError:
        return error_of(refusal)


def _command(place: Place) -> tuple[str, ...]:
    if place.vllm_python:
        return (place.vllm_python, "-m", "vllm.entrypoints.cli.main", "serve")
    return ("vllm", "serve")


def _arguments(model: Model, place: Place) -> list[str]:
    argv = [*_weights(model, place), "--served-model-name", model.name]
    argv += ["--host", "127.0.0.1", "--port", str(place.port), "--enable-prompt-tokens-details"]
    argv += ["--scheduling-policy", "priority"]
    argv += ["--max-num-seqs", str(model.options.get("max_num_seqs", 256))]
    if model.context_length:
        argv += ["--max-model-len", str(model.context_length)]
    if model.type in ("embedding", "rerank"):
        argv += ["--runner", "pooling"]
    if parallel := model.options.get("tensor_parallel", _gpus(model, place)):
        argv += ["--tensor-parallel-size", str(parallel)]
    for option, flag in _FLAGS.items():
        if option in model.options:
            argv += [flag, str(model.options[option])]
    if "tool_call_parser" in model.options:
        argv += ["--enable-auto-tool-choice", "--tool-call-parser", str(model.options["tool_call_parser"])]
    return argv + _adapters(model, place) + _list(model, "args")


def _adapters(model: Model, place: Place) -> list[str]:
    """Those of the entry's own options, and those that have entries of their own."""
    modules = [
        *_list(model, "lora_modules"),
        *(f"{server_of(it.model).model}={it.folder}" for it in place.adapters),
    ]
    if not modules:
        return []
    argv = [
        "--enable-lora",
        "--lora-modules",
        *modules,
        "--max-loras",
        str(_lora_slots(len(modules), _gpus(model, place))),
    ]
    if place.adapters and "max_lora_rank" not in model.options:
        rank = max(int(str(it.model.options.get("lora_rank", 1))) for it in place.adapters)
        argv += ["--max-lora-rank", str(next(it for it in _LORA_RANKS if it >= rank))]
    return argv


def _lora_slots(modules: int, gpus: int) -> int:
    """vLLM 0.32 on a CPU takes the last slot for requests without an adapter, since its kernels index with -1
    then: that one has to stay empty."""
    return min(modules, _MOST_LORAS_AT_ONCE) if gpus else modules + 1


def _weights(model: Model, place: Place) -> list[str]:
    if model.files or not model.hub:
        return [str(place.folder)]
    repo, _, revision = model.hub.partition("@")
    return [repo, "--revision", revision] if revision else [repo]


def _environment(model: Model, place: Place) -> dict[str, str]:
    """No reports to anybody, and connections kept open for longer than the gateway keeps them."""
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60"}
    if model.files or not model.hub:
        env["HF_HUB_OFFLINE"] = "1"
    elif place.hub_token:
        env["HF_TOKEN"] = place.hub_token
    if place.gpus:
        return env
    threads = {"OMP_NUM_THREADS": str(place.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    cache = {"VLLM_CPU_KVCACHE_SPACE": str(_cache_gb(model))}
    return env | threads | cache | {"VLLM_TARGET_DEVICE": "cpu"}


def _gpus(model: Model, place: Place) -> int:
    """Before a share is taken, `place` has all the GPUs of the machine."""
    return int(str(model.options.get("gpus", min(1, len(place.gpus)))))


def _cache_gb(model: Model) -> int:
    return int(str(model.options.get("cpu_kv_cache_gb", 4)))


def _list(model: Model, option: str) -> list[str]:
    value = model.options.get(option, [])
    return value if isinstance(value, list) else [str(value)]
