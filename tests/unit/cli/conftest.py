"""The command in a thread, with its own arguments, environment and pipes, against a small server that answers
as a test says. As a process of its own it is in tests/system/test_cli.py."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest
from aiohttp import web
from tests.support.http import answered_by

from tutti.__main__ import main

MODELS = [
    {"id": "org/embedder", "object": "model", "type": "embedding", "status": "available"},
    {"id": "org/talker", "object": "model", "type": "chat", "status": "loaded", "context_length": 4096},
]


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


@dataclass
class Scripted:
    """Answers each request with the next of `answers`; keeps what it was asked."""

    folder: Path
    url: str = ""
    models: Any = field(default_factory=lambda: MODELS)
    answers: list[web.Response] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        if request.path == "/v1/models":
            return web.json_response(self.models)
        self.asked.append((request.raw_path, await request.json() if request.can_read_body else None))
        return self.answers.pop(0)

    async def run(self, *args: str, stdin: str | None = None, **environment: str) -> Ran:
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TOGETHER_BASE_URL": self.url,
            "TOGETHER_API_KEY": "a-key",
            **environment,
        }
        return await asyncio.wait_for(asyncio.to_thread(_ran, args, (stdin or "").encode(), given), 60)


def _ran(args: Sequence[str], stdin: bytes, environment: Mapping[str, str]) -> Ran:
    """What the command's program does between its first line and its exit, without starting a Python."""
    pipes = [TextIOWrapper(BytesIO(it), encoding="utf-8", write_through=True) for it in (stdin, b"", b"")]
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, environment, clear=True))
        stack.enter_context(patch.object(sys, "argv", ["tutti", *args]))
        for name, pipe in zip(("stdin", "stdout", "stderr"), pipes, strict=True):
            stack.enter_context(patch.object(sys, name, pipe))
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = (cast(BytesIO, it.buffer).getvalue().decode() for it in pipes[1:])
    return Ran(cast(int, ended.value.code or 0), out, err)


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[Scripted]:
    server = Scripted(tmp_path)
    async with answered_by(server.handle) as server.url:
        yield server
