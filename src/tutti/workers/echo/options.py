"""The command line: the knobs of `Model.options` (engines/echo.py documents them)."""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The options of the fake engine; `parse` explains them."""

    model: str
    host: str
    port: int
    tokens_per_s: float
    first_token_delay_s: float
    start_delay_s: float
    slots: int
    crash_after_tokens: int
    hang_after_tokens: int
    memory_bytes: int
    context_length: int
    dimensions: int
    guard: bool


def parse(argv: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tutti.workers.echo", description=__doc__)
    add = parser.add_argument
    add("--model", default="echo", help="the name in answers")
    add("--host", default="127.0.0.1")
    add("--port", type=int, required=True)
    add("--tokens-per-s", type=float, default=0, help="of each request; 0: as fast as it goes")
    add("--first-token-delay-s", type=float, default=0)
    add("--start-delay-s", type=float, default=0, help="time before the port is opened")
    add("--slots", type=int, default=1024, help="requests worked on at once; more wait")
    add("--crash-after-tokens", type=int, default=0, help="of one request; 0: never")
    add("--hang-after-tokens", type=int, default=0, help="of one request; 0: never")
    add("--memory-bytes", type=int, default=0, help="resident memory to take")
    add("--context-length", type=int, default=8192)
    add("--dimensions", type=int, default=384, help="of an embedding")
    add("--guard", action="store_true", help="answer safe or unsafe, as a guard model does")
    return Options(**vars(parser.parse_args(argv)))
