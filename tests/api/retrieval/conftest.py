from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from tests.support.engines import model, running
from tests.support.http import asking
from tests.support.platform import api

from tutti.engines.echo import Echo

CHAT = model(name="test/chat")
EMBEDDING = model(name="test/embedding", type="embedding")
SHORTENABLE = model(name="test/matryoshka", type="embedding", options={"matryoshka": True})
RERANK = model(name="test/rerank", type="rerank")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    models = [CHAT, EMBEDDING, SHORTENABLE, RERANK]
    async with (
        running(Echo(), EMBEDDING) as engine,
        api(tmp_path_factory.mktemp("data"), models, {it.name: engine.address for it in models}) as url,
        asking(f"{url}/v1") as client,
    ):
        yield client
