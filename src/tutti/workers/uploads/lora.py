"""Checks a PEFT LoRA adapter against its base model, and converts it for llama.cpp.

`python -m tutti.workers.uploads.lora FOLDER OUT BASE.json` writes a LoRA file for llama.cpp, with the base
described as in `Base`; `... lora FOLDER BASE_FOLDER` only checks the adapter against a base in safetensors.
An error in the adapter is a line on stderr and status 1. llama.cpp adds `alpha / rank * B A` to a weight,
where rank is the tensor's own; PEFT's other ways to scale (rslora, alpha_pattern) are multiplied into B.
"""

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import gguf
import numpy as np
import numpy.typing as npt

from tutti.workers.limits import limit_by_size
from tutti.workers.uploads.rope import rope_order
from tutti.workers.uploads.tensors import BadTensors, Tensor, read_shapes, read_tensors

Json = Mapping[str, Any]
Matrix = npt.NDArray[np.float32]

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])(\.default)?\.weight")
_UNSUPPORTED = (
    "use_dora",
    "modules_to_save",
    "bias",
    "lora_bias",
    "fan_in_fan_out",
    "trainable_token_indices",
)


class BadAdapter(Exception):
    """The adapter cannot be used. The message is for people."""


@dataclass(frozen=True)
class Base:
    """The base model of an adapter.

    `shapes` are those of its matrices, (outputs, inputs), by llama.cpp's names.
    """

    architecture: str
    layers: int
    heads: int
    heads_kv: int
    shapes: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Pair:
    """The two low-rank matrices of a weight: `a` has shape (rank, inputs), `b` (outputs, rank)."""

    a: Matrix
    b: Matrix


def main() -> NoReturn:
    folder, *others = map(Path, sys.argv[1:])
    limit_by_size(folder.glob("*"))
    try:
        config = _read_config(folder / "adapter_config.json")
        tensors = dict(read_tensors(folder / "adapter_model.safetensors"))
        if len(others) == 1:
            check(tensors, _shapes_in(others[0]))
        else:
            base = read_base(others[1])
            _write(others[0], base.architecture, float(config["lora_alpha"]), convert(config, tensors, base))
    except MemoryError:
        sys.exit("it needs more memory than there is for an adapter of its size")
    except (BadAdapter, BadTensors, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(
            f"{error}" if isinstance(error, BadAdapter | BadTensors) else f"it cannot be read: {error!r}"
        )
    sys.exit(0)


def check(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise BadAdapter unless the adapter fits the base. `shapes` are the base's, by transformers' names."""
    modules = _by_module(tensors)
    if not modules:
        raise BadAdapter("it has no LoRA tensors")
    below_layers = {_from_layers(name): shape for name, shape in shapes.items()}
    owners = {name.rpartition(".")[0] for name in below_layers}
    for module, halves in modules.items():
        if _from_layers(module) not in owners:
            raise _unknown(module)
        # quantised weights have other names, or shapes of their own, and are not compared
        shape = below_layers.get(f"{_from_layers(module)}.weight")
        _halves(module, halves, shape if shape is not None and len(shape) == 2 else None)


def read_base(path: Path) -> Base:
    facts = json.loads(path.read_bytes())
    shapes = {name: (outputs, inputs) for name, (outputs, inputs) in facts.pop("shapes").items()}
    return Base(**facts, shapes=shapes)


def convert(config: Json, tensors: Mapping[str, Tensor], base: Base) -> Mapping[str, Pair]:
    """Return the adapter's matrices by the base's tensor names. Raises BadAdapter."""
    if base.architecture not in ARCHITECTURES:
        raise BadAdapter(
            f"its base has the architecture {base.architecture}; adapters can be used on "
            f"{', '.join(ARCHITECTURES)}"
        )
    names = gguf.get_tensor_name_map(ARCHITECTURES[base.architecture], base.layers)
    pairs: dict[str, Pair] = {}
    for module, halves in _by_module(tensors).items():
        name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if name is None or name not in base.shapes or name in ("token_embd.weight", "output.weight"):
            raise _unknown(module)
        pairs[name] = _pair(module, halves, config, base.shapes[name], base)
    if not pairs:
        raise BadAdapter("it has no LoRA tensors")
    return pairs


def _read_config(path: Path) -> Json:
    config: Json = json.loads(path.read_bytes())
    if config.get("peft_type") != "LORA":
        raise BadAdapter(f"it is of the kind {config.get('peft_type')}; only LORA adapters can be used")
    for option in _UNSUPPORTED:
        if config.get(option) not in (None, False, "none", [], {}):
            raise BadAdapter(f"it was made with {option}={config[option]!r}, which the engine cannot apply")
    return config


def _by_module(tensors: Mapping[str, Tensor]) -> Mapping[str, Mapping[str, Tensor]]:
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise BadAdapter(f"its tensor {name} is no part of a LoRA of linear layers")
        modules.setdefault(match["module"], {})[match["half"]] = tensor
    return modules


def _pair(
    module: str, halves: Mapping[str, Tensor], config: Json, shape: tuple[int, int], base: Base
) -> Pair:
    a, b = _halves(module, halves, shape)
    b = b * np.float32(_extra_scale(module, len(a), config))
    return Pair(a, _as_stored(module, b, base))


def _halves(module: str, halves: Mapping[str, Tensor], shape: Sequence[int] | None) -> tuple[Matrix, Matrix]:
    """Return the matrices A and B of a module. Raises BadAdapter if they don't fit a weight of that shape.

    `shape` is (outputs, inputs), or None if it is unknown.
    """
    if len(halves) != 2:
        raise BadAdapter(f"it has only one of the two tensors for {module}")
    a, b = halves["A"].float32(), halves["B"].float32()
    fits = a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1]
    if not fits or shape not in (None, [b.shape[0], a.shape[1]], (b.shape[0], a.shape[1])):
        raise BadAdapter(
            f"its tensors for {module} are {list(b.shape)} x {list(a.shape)}, and the base has "
            f"{list(shape or [])} there: it was made for another base"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadAdapter(f"its tensors for {module} hold numbers that are not finite")
    return a, b


def _unknown(module: str) -> BadAdapter:
    return BadAdapter(f"it changes {module}, which is no layer of the base that an adapter can change")


def _from_layers(name: str) -> str:
    """Return the name from `layers.` on.

    The prefix depends on other parts of the model, such as a vision tower.
    """
    return name[max(0, name.find("layers.")) :]


def _shapes_in(folder: Path) -> Mapping[str, Sequence[int]]:
    return {name: shape for path in folder.glob("*.safetensors") for name, shape in read_shapes(path).items()}


def _extra_scale(module: str, rank: int, config: Json) -> float:
    """Return PEFT's scale divided by the one that llama.cpp will apply."""
    patterns: Json = config.get("alpha_pattern") or {}
    alphas = [value for pattern, value in patterns.items() if _matches(pattern, module)]
    alpha = alphas[0] if alphas else config["lora_alpha"]
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    return (alpha / divisor) / (config["lora_alpha"] / rank)


def _matches(pattern: str, module: str) -> bool:
    """Return True if the pattern matches the end of the module's name, as PEFT matches it."""
    return re.match(rf"(.*\.)?({pattern})$", module) is not None


def _as_stored(module: str, b: Matrix, base: Base) -> Matrix:
    """Return B as GGUF stores it.

    A Llama's queries and keys have their rows in the order of llama.cpp's RoPE.
    """
    if base.architecture == "llama" and module.endswith(("q_proj", "k_proj")):
        return rope_order(b, base.heads if module.endswith("q_proj") else base.heads_kv)
    return b


def _write(out: Path, architecture: str, alpha: float, pairs: Mapping[str, Pair]) -> None:
    writer = gguf.GGUFWriter(out, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for name, pair in pairs.items():
        writer.add_tensor(f"{name}.lora_a", pair.a)
        writer.add_tensor(f"{name}.lora_b", pair.b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
