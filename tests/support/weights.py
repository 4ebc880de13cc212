"""Files that look like weights, and the real test weights, pulled once into a cache.

`python -m tests.support.weights` pulls them all.
"""

import asyncio
import hashlib
import json
import os
import struct
import zipfile
from pathlib import Path

from tutti.base.settings import Settings
from tutti.catalog.catalog import folder_name, models_folder, shipped_models
from tutti.catalog.pull.pull import pull
from tutti.parts.engines import ENGINES

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
QWEN = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_RERANK = "tutti/minilm-rerank"
KOKORO = "hexgrad/Kokoro-82M"
WHISPER = "openai/whisper-base"


def cache_dir() -> Path:
    """Return the tests' own data directory. Its `models/` has what a server's would have."""
    return Path(os.environ.get("TUTTI_TEST_CACHE", "~/.cache/tutti-tests")).expanduser()


def pulled(name: str) -> Path:
    """Pull a shipped model if needed, and return the folder of its weights. Several tests may call it at
    once."""
    settings = Settings(data_dir=cache_dir())
    model = shipped_models()[name]
    folder = models_folder(settings) / folder_name(model)
    asyncio.run(pull(model, folder, settings, ENGINES, lambda _: None))
    return folder


def smollm2() -> Path:
    """Return the models folder with SmolLM2-135M-Instruct in it. Link it into a data directory with
    `lend`."""
    return pulled(SMOLLM2).parent


def lend(data_dir: Path, *names: str) -> None:
    """Make the models look pulled in `data_dir` without copying them."""
    (data_dir / "models").mkdir(parents=True, exist_ok=True)
    for name in names:
        folder = pulled(name)
        link = data_dir / "models" / folder.name
        if not link.exists():
            link.symlink_to(folder)


# --- files made up for tests ------------------------------------------------------------------------------


def gguf(values: dict[str, str | int] | None = None, tensors: int = 2, size: int = 8192) -> bytes:
    """Return a valid GGUF file of F32 tensors with `size` bytes each."""
    pairs = {"general.architecture": "llama", "llama.context_length": 2048, **(values or {})}
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(pairs))
    for key, value in pairs.items():
        head += _string(key)
        head += (
            struct.pack("<I", 8) + _string(value) if isinstance(value, str) else struct.pack("<II", 4, value)
        )
    for index in range(tensors):
        head += _string(f"blk.{index}.weight") + struct.pack("<IQIQ", 1, size // 4, 0, index * size)
    return head + b"\0" * (-len(head) % 32) + b"\x01" * (tensors * size)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def safetensors(size: int = 8192) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * size


def noise(size: int, seed: int = 0) -> bytes:
    """Return `size` pseudo-random bytes, the same for the same seed."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> str:
    """Write a wheel of version 1.0 that pip accepts, and return its requirement."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace("-", "_")
    about = f"{stem}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{stem}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"{name}==1.0"


if __name__ == "__main__":
    for each in (SMOLLM2, QWEN, MINILM, MINILM_RERANK, KOKORO, WHISPER):
        print(pulled(each))
