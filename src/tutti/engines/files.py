"""Formats of the files that engines read."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Weights = Literal["gguf", "safetensors"]
"""A GGUF file (or all its parts), or a folder of safetensors with its configuration, as hubs have it."""
AdapterFormat = Literal["gguf", "peft"]
"""A GGUF file named `ADAPTER_FILE`, or the two files that PEFT writes."""
ADAPTER_FILE = "adapter.gguf"


@dataclass(frozen=True)
class Vocabulary:
    """The tokeniser of a model: a GGUF file, or a folder with tokenizer.json. `template` is a file with a
    chat template that stands in for the tokeniser's own."""

    path: Path
    template: Path | None = None


def find_vocabulary(folder: Path, besides: Collection[str] = (), template: str = "") -> Vocabulary | None:
    """Return the tokeniser in a model's folder: that of its first GGUF file, or its tokenizer.json."""
    weights = find_gguf(folder, besides)
    if not (weights or (folder / "tokenizer.json").exists()):
        return None
    return Vocabulary(weights[0] if weights else folder, folder / template if template else None)


def find_gguf(folder: Path, besides: Collection[str] = ()) -> list[Path]:
    """Return the GGUF files below a folder by name, without those whose relative paths are in `besides`."""
    return sorted(path for path in folder.rglob("*.gguf") if str(path.relative_to(folder)) not in besides)
