"""The contract's files lie beside the repository, if anywhere; our documents come from a server."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.support.platform import api

SHARED = Path(__file__).parents[3] / "shared"


def shared(pattern: str) -> str:
    """The text of the one file of shared/ that matches; skips the test where there is none."""
    found = sorted(SHARED.glob(pattern))
    if not found:
        pytest.skip(f"shared/{pattern} is not here")
    return found[0].read_text()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Of a whole server without models."""
    headers = {"authorization": "Bearer any"}
    async with api(tmp_path, []) as url, aiohttp.ClientSession(url, headers=headers) as session:
        yield session


@pytest.fixture
async def openapi(client: aiohttp.ClientSession) -> dict:
    async with client.get("/openapi.json") as response:
        return await response.json()


@pytest.fixture
async def asyncapi(client: aiohttp.ClientSession) -> dict:
    async with client.get("/asyncapi.json") as response:
        return await response.json()
