"""llama.cpp's own HTTP server in this process: one model on one loopback port.

`python -m tutti.workers.llamacpp --model x.gguf --port 9000 ...` serves until SIGTERM or SIGINT, which end it
at once, because a replica is drained before it is stopped. A model that cannot be loaded ends it with status
1 and a line on stderr. All options that would let a request read or write files are off.
"""

# pyright: basic, reportAttributeAccessIssue=false
# xllamacpp comes without types.

import argparse
import glob
import os
import re
import signal
import sys
from pathlib import Path
from typing import NoReturn

import xllamacpp

from tutti.base.gguf import Gguf
from tutti.workers.gguf import BadModel, cache_bytes_a_token, read_header, says_pooling
from tutti.workers.llamacpp_params import server_params, use_chat_template

_MIB = 1024 * 1024
_BATCH = 2048
_BATCHES = (64, 128, 256, 512)
"""Possible sizes of a prompt batch on a CPU, in tokens. Below 64 prompts are processed more slowly."""
_BATCH_S = 1.0
"""The time that such a batch should take. Until it ends the engine answers nobody and reports no progress."""
_BYTES_A_SECOND = 35_000_000_000
"""Prompt tokens a second times the bytes of the model, for one thread. Measured with models of 0.1 to 0.5 B
parameters on two cores of a shared server."""


def main() -> NoReturn:
    args = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        params = _params(args)
        server = xllamacpp.Server(params)
    except (BadModel, RuntimeError, ValueError, OSError) as error:
        sys.exit(f"tutti: llama.cpp cannot load {args.model.name}: {error}")
    about = f"in {params.n_parallel} slots of {args.context} tokens, at {server.listening_address}"
    print(f"tutti: {args.model.name} is served {about}", flush=True)  # noqa: T201
    while True:
        signal.pause()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tutti.workers.llamacpp")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=("text", "embedding", "rerank"), default="text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=4096, help="tokens of one slot")
    parser.add_argument("--slots", type=int, default=1, help="at most; fewer if the KV cache has no room")
    parser.add_argument("--kv-cache-mib", type=int, default=512)
    parser.add_argument("--gpu-layers", type=int, default=-1, help="-1: as many as there is memory for")
    parser.add_argument("--mmproj", type=Path)
    parser.add_argument("--chat-template", type=Path)
    parser.add_argument("--lora", type=Path, action="append", default=[], help="for all requests")
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="for those that choose it")
    return parser.parse_args()


def _params(args: argparse.Namespace) -> xllamacpp.CommonParams:
    header = read_header(args.model)
    slots = _slots(args, header)
    params = server_params(args.model, args.threads, args.port)
    # Each kept-alive connection and each request that waits for a slot occupies a thread.
    params.n_threads_http = 4 * args.slots * (1 + len(args.adapter)) + 16
    params.n_parallel, params.n_ctx, params.kv_unified = slots, slots * args.context, False
    params.n_gpu_layers = args.gpu_layers
    use_chat_template(params, args.chat_template and args.chat_template.read_text())
    params.endpoint_slots = params.endpoint_metrics = True
    if args.kind != "text":
        _embed(params, args, header)
    elif not (args.gpu_layers and _has_gpu()):
        params.n_batch = params.n_ubatch = batch_tokens(weights_bytes(args.model), args.threads)
    if args.mmproj:
        params.mmproj.path = str(args.mmproj)

    params.lora_adapters = [_adapter(path, 1.0) for path in args.lora]
    params.lora_adapters += [_adapter(path, 0.0) for path in args.adapter]
    return params


def _slots(args: argparse.Namespace, header: Gguf) -> int:
    """Return how many whole contexts fit into the KV cache. Further requests wait inside llama.cpp."""
    context_bytes = args.context * cache_bytes_a_token(header)
    room = args.kv_cache_mib * _MIB // context_bytes if context_bytes else args.slots
    return max(1, min(args.slots, room))


def batch_tokens(model_bytes: int, threads: int) -> int:
    """Return the size of a prompt batch that this CPU processes in about a second.

    So other requests get their turn, and the fleet sees progress. A GPU takes milliseconds for a full batch,
    and needs no such limit.
    """
    tokens = _BATCH_S * threads * _BYTES_A_SECOND / max(1, model_bytes)
    return max((size for size in _BATCHES if size <= tokens), default=_BATCHES[0])


def weights_bytes(model: Path) -> int:
    """Return the size of the model file, or of all its parts if it is split: model-00001-of-00003.gguf."""
    pattern = re.sub(r"-\d{5}(-of-\d{5}\.gguf)$", r"-*\1", glob.escape(model.name))
    return sum(part.stat().st_size for part in model.parent.glob(pattern))


def _has_gpu() -> bool:
    kinds = xllamacpp.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return any(device["type"] in gpus for device in xllamacpp.get_device_info())


def _embed(params: xllamacpp.CommonParams, args: argparse.Namespace, header: Gguf) -> None:
    """Set the options for embedding or reranking.

    A text has to fit into one batch. A model whose header names no pooling gets mean pooling.
    """
    params.embedding = True
    params.n_batch = params.n_ubatch = max(_BATCH, args.context)
    if args.kind == "rerank":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    elif not says_pooling(header):
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN


def _adapter(path: Path, scale: float) -> xllamacpp.CommonAdapterLoraInfo:
    return xllamacpp.CommonAdapterLoraInfo(path=str(path), scale=scale)


if __name__ == "__main__":
    main()
