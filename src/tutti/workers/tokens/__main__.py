"""Counts tokens with a model's own tokenizer and chat template.

`python -m tutti.workers.tokens FILE.gguf`, or a folder with a tokenizer.json. stdin has one JSON object a
line: `{"line": n, "text": ...}`, tokenized like a prompt, or `{"line": n, "messages": [...], "tools":
[...]}`, which the chat template renders without a generation prompt. When stdin ends, the program writes one
line and ends: `{"tokens": n}`, or `{"line": n, "refused": ...}` if the tokenizer or the template fails on the
object of line n. If the model cannot be read, the status is 1, with a line on stderr.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

from tutti.workers.gguf import BadModel
from tutti.workers.limits import limit_memory, limit_time
from tutti.workers.tokens.base import Count, Refused, Sample
from tutti.workers.tokens.hub import hub_counter
from tutti.workers.tokens.llamacpp import gguf_counter

_GROUP_LINES = 64
_GROUP_BYTES = 1024 * 1024
_MEMORY_BYTES = 4 * 1024**3
_CPU_S = 120.0
"""CPU time for one group of lines, in seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="tutti.workers.tokens")
    parser.add_argument("model", type=Path)
    parser.add_argument("--chat-template", type=Path)
    args = parser.parse_args()
    limit_memory(_MEMORY_BYTES)
    limit_time(_CPU_S)
    try:
        with _open(args.model, args.chat_template) as count:
            answer = _total(count, _groups(sys.stdin.buffer))
    except (BadModel, MemoryError, RuntimeError, ValueError, OSError) as error:
        _exit(1, sys.stderr, f"tutti: the tokens of {args.model.name} cannot be counted: {error}\n")
    else:
        _exit(0, sys.stdout, json.dumps(answer) + "\n")


def _open(model: Path, template: Path | None) -> AbstractContextManager[Count]:
    text = None if template is None else template.read_text(encoding="utf-8")
    return hub_counter(model, text) if model.is_dir() else gguf_counter(model, text)


def _groups(lines: Iterable[bytes]) -> Iterator[list[Sample]]:
    """Yield groups of samples to count together.

    Long lines come in smaller groups, since each is in memory several times while it is counted.
    """
    group, size_bytes = list[Sample](), 0
    for line in lines:
        group.append(json.loads(line))
        size_bytes += len(line)
        if len(group) >= _GROUP_LINES or size_bytes >= _GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _total(count: Count, groups: Iterator[list[Sample]]) -> dict[str, Any]:
    tokens = 0
    for group in groups:
        limit_time(_CPU_S)
        try:
            tokens += count(group)
        except Refused as refused:
            return {"line": refused.line, "refused": refused.message}
        except (MemoryError, RecursionError):
            return {"line": group[0]["line"], "refused": "it needs too much memory to be counted"}
    return {"tokens": tokens}


def _exit(status: int, stream: TextIO, text: str) -> None:
    """Write the text and end the process at once, without waiting for llama.cpp's threads."""
    stream.write(text)
    stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
