"""Converts a Hugging Face transformers model, in safetensors, to a GGUF file for llama.cpp.

`python -m tutti.workers.uploads.convert FOLDER OUT` converts; `... convert FILE.gguf` only checks that
llama.cpp knows the architecture. An error is a line on stderr and status 1. Matrices keep their type, so
nothing is lost; vectors become float32, as llama.cpp expects. Only models that can be converted exactly are
accepted: the architectures of `ARCHITECTURES` with a byte-level BPE tokenizer whose split rules llama.cpp
has.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import gguf
import numpy as np

from tutti.workers.gguf import BadModel, read_header
from tutti.workers.limits import limit_by_size
from tutti.workers.uploads.rope import rope_order
from tutti.workers.uploads.tensors import Array, BadTensors, Tensor, read_tensors
from tutti.workers.uploads.vocabulary import UnknownTokenizer, add_vocabulary

Json = Mapping[str, Any]

ARCHITECTURES = {
    "LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA,
    "MistralForCausalLM": gguf.MODEL_ARCH.LLAMA,
    "Qwen2ForCausalLM": gguf.MODEL_ARCH.QWEN2,
    "Qwen3ForCausalLM": gguf.MODEL_ARCH.QWEN3,
}
_STORED = {
    "BF16": gguf.GGMLQuantizationType.BF16,
    "F16": gguf.GGMLQuantizationType.F16,
    "F32": gguf.GGMLQuantizationType.F32,
}
_SKIPPED = ("rotary_emb.inv_freq", "attention.masked_bias", "attention.bias")


class Unconvertible(Exception):
    """The model cannot be converted. The message is for people."""


def main() -> NoReturn:
    source = Path(sys.argv[1])
    limit_by_size(source.glob("*") if source.is_dir() else [])
    try:
        if len(sys.argv) == 2:
            _check_architecture(source)
        else:
            convert(source, Path(sys.argv[2]))
    except (Unconvertible, UnknownTokenizer, BadTensors, BadModel) as error:
        sys.exit(str(error))
    except MemoryError:
        sys.exit("it needs more memory than there is for a model of its size")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        sys.exit(f"it cannot be read: {error!r}")
    sys.exit(0)


def convert(folder: Path, out: Path) -> None:
    """Convert the model.

    Raises Unconvertible, UnknownTokenizer, BadTensors, or whatever damaged files cause.
    """
    config = json.loads((folder / "config.json").read_bytes())
    architecture = _architecture(config)
    writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(gguf.GGUFType.MODEL)
    _add_numbers(writer, config)
    vocabulary = add_vocabulary(writer, folder, config["vocab_size"])
    writer.add_vocab_size(vocabulary)
    if (factors := _rope_factors(config)) is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for name, tensor in _tensors(folder):
        mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise Unconvertible(f"it has a tensor {name}, which {config['architectures'][0]} does not have")
        _add(writer, mapped, _in_rope_order(name, tensor, config, architecture))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _check_architecture(path: Path) -> None:
    name = read_header(path).text("general.architecture") or "None"
    if name not in gguf.MODEL_ARCH_NAMES.values():
        raise Unconvertible(f"llama.cpp does not know the architecture {name}")


def _architecture(config: Json) -> gguf.MODEL_ARCH:
    name = (config.get("architectures") or ["nothing"])[0]
    if name not in ARCHITECTURES:
        raise Unconvertible(
            f"its architecture is {name}, and safetensors are taken of {', '.join(ARCHITECTURES)}; upload it "
            "as GGUF"
        )
    if config.get("quantization_config"):
        raise Unconvertible("its weights are quantised: upload the original, or a GGUF file")
    if config.get("hidden_act", "silu") != "silu":
        raise Unconvertible(f"its activation is {config['hidden_act']} instead of silu")
    return ARCHITECTURES[name]


def _add_numbers(writer: gguf.GGUFWriter, config: Json) -> None:
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(_rope(config).get("rope_theta") or config.get("rope_theta", 10000.0))
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        raise Unconvertible(
            "it attends to a sliding window, which is not converted exactly: upload it as GGUF"
        )


def _rope(config: Json) -> Json:
    """Return the parameters of the rotary embedding (RoPE).

    transformers 5 has one field for them, where earlier versions had two.
    """
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _rope_factors(config: Json) -> Array | None:
    """Return the factors of Llama 3's RoPE scaling, or None for a model without scaling.

    llama.cpp divides the frequencies by them.
    """
    rope = _rope(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise Unconvertible(
            f"its positions are scaled by {kind}, which is not converted exactly: upload it as GGUF"
        )
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    base = rope.get("rope_theta") or config.get("rope_theta", 10000.0)
    waves: Array = 2 * math.pi * base ** (np.arange(0, head, 2, dtype=np.float64) / head)
    longest = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    shortest = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    smooth: Array = (rope["original_max_position_embeddings"] / waves - rope["low_freq_factor"]) / (
        rope["high_freq_factor"] - rope["low_freq_factor"]
    )
    between: Array = 1 / ((1 - smooth) / rope["factor"] + smooth)
    factors = np.where(waves < shortest, 1.0, np.where(waves > longest, rope["factor"], between))
    return factors.astype(np.float32)


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    tied = json.loads((folder / "config.json").read_bytes()).get("tie_word_embeddings", False)
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in read_tensors(path):
            if not name.endswith(_SKIPPED) and not (tied and name == "lm_head.weight"):
                yield name, tensor


def _in_rope_order(name: str, tensor: Tensor, config: Json, architecture: gguf.MODEL_ARCH) -> Tensor:
    """Return the tensor as GGUF stores it.

    The rows of a Llama's query and key matrices have another order there.
    """
    if architecture is not gguf.MODEL_ARCH.LLAMA or ".self_attn." not in name:
        return tensor
    heads = config["num_attention_heads"]
    if ".q_proj." in name:
        return Tensor(tensor.dtype, rope_order(tensor.bits, heads))
    if ".k_proj." in name:
        return Tensor(tensor.dtype, rope_order(tensor.bits, config.get("num_key_value_heads", heads)))
    return tensor


def _add(writer: gguf.GGUFWriter, name: str, tensor: Tensor) -> None:
    if len(tensor.shape) == 1 or tensor.dtype not in _STORED:
        writer.add_tensor(name, tensor.float32())
    elif tensor.dtype == "BF16":
        data = np.ascontiguousarray(tensor.bits).view(np.uint8)
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.BF16)
    else:
        writer.add_tensor(name, np.ascontiguousarray(tensor.bits), raw_dtype=_STORED[tensor.dtype])


if __name__ == "__main__":
    main()
