"""Options of vLLM's entries."""

from tutti.engines.options import AdapterOptions


class VllmOptions(AdapterOptions, frozen=True):
    max_num_seqs: int = 256
    """Requests at once."""
    gpus: int | None = None
    """Whole GPUs that a replica needs; by default 1 where the machine has any, otherwise 0: the CPU build."""
    tensor_parallel: int | None = None
    """GPUs that share each layer; by default all that a replica has."""
    gpu_memory_utilization: float | None = None
    """vLLM's --gpu-memory-utilization."""
    dtype: str | None = None
    """vLLM's --dtype."""
    quantization: str | None = None
    """vLLM's --quantization."""
    reasoning_parser: str | None = None
    """vLLM's --reasoning-parser."""
    tool_call_parser: str | None = None
    """vLLM's --tool-call-parser; without one, Tutti reads tool calls out of the text."""
    lora_modules: str | list[str] = ""
    """LoRA adapters of the entry's own, each as `name=path`."""
    max_lora_rank: int | None = None
    """vLLM's --max-lora-rank; by default enough for the adapters that have entries."""
    cpu_kv_cache_gb: int = 4
    """Gigabytes for the KV cache in the CPU build."""
    args: str | list[str] = ""
    """Further arguments of `vllm serve`."""
