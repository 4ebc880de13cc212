"""The place where a replica runs."""

from dataclasses import dataclass
from pathlib import Path

from tutti.base.model import Model


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that requests may choose, and the folder of its files."""

    model: Model
    folder: Path


@dataclass(frozen=True)
class Place:
    """The folder of a replica's weights, a free loopback port, and the replica's share of the machine."""

    folder: Path
    port: int
    threads: int
    gpus: tuple[int, ...] = ()
    vllm_python: str = ""
    hub_token: str = ""
    adapters: tuple[Adapter, ...] = ()
