"""The command as a child process, against a small server that answers as a test says."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

MODELS = [
    {"id": "org/embedder", "object": "model", "type": "embedding", "pricing": {"input": 0.01}},
    {"id": "org/talker", "object": "model", "type": "chat", "display_name": "Talker", "context_length": 4096},
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
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tutti",
            *args,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "TOGETHER_BASE_URL": self.url,
                "TOGETHER_API_KEY": "a-key",
                **environment,
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate((stdin or "").encode()), 30)
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[Scripted]:
    server = Scripted(tmp_path)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    running = TestServer(app, host="127.0.0.1")
    await running.start_server()
    server.url = f"http://127.0.0.1:{running.port}"
    yield server
    await running.close()
