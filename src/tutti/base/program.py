"""The vocabulary of workloads: the program to run, the share of a machine that it needs, and its progress.
Workloads describe a Program; compute drivers start it."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

MODEL = "model"
"""The kind of the workloads that serve models."""


@dataclass(frozen=True)
class Program:
    """A child process that serves HTTP on `port` of the loopback address once it is ready.

    `argv` and `env` are complete: the child inherits nothing but PATH, HOME, TMPDIR, locale
    and where CUDA's libraries are. `gpus` is the number of whole GPUs it needs. `start_timeout_s` bounds the
    time until `health_path` first answers 200.
    """

    name: str
    argv: tuple[str, ...]
    port: int
    health_path: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    gpus: int = 0
    start_timeout_s: float = 600.0


@dataclass(frozen=True)
class Share:
    """A part of a machine. A program that runs on GPUs is counted by its GPUs, not by its memory."""

    memory_bytes: int = 0
    gpus: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.memory_bytes + other.memory_bytes, self.gpus + other.gpus)

    def fits(self, whole: "Share") -> bool:
        return self.memory_bytes <= whole.memory_bytes and self.gpus <= whole.gpus


NO_SHARE = Share()


@dataclass(frozen=True)
class Progress:
    """The number of requests being worked on (`busy`), and a mark that changes whenever the program gets
    anything done."""

    busy: int
    mark: Hashable
