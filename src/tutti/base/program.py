"""What an engine or a job wants run. Engines describe a Program; compute drivers start it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Program:
    """A child process that serves HTTP on `port` of the loopback address once it is ready.

    `argv` and `env` are complete: the child inherits nothing but PATH, HOME, TMPDIR, locale
    and where CUDA's libraries are. `gpus` is how
    many whole GPUs it needs. `start_timeout_s` bounds the time until `health_path` first answers 200.
    """

    name: str
    argv: tuple[str, ...]
    port: int
    health_path: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    gpus: int = 0
    start_timeout_s: float = 600.0
