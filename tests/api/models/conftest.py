from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from tests.support.engines import model
from tests.support.http import asking
from tests.support.platform import api

from tutti.base.model import Pricing

NOWHERE = "http://127.0.0.1:1/v1"
MODELS = [
    model(name="test/chat-model", context_length=2048, pricing=Pricing(input=0.5), license="mit", created=7),
    model(name="test/plain", type="embedding"),
    model(name="test/secret", project_id="prj-another"),
    model("remote", name="test/far", options={"base_url": NOWHERE, "api_key_env": "NOT_SET"}),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    settings = {"models": ["test/plain"], "aliases": {"meta-llama/*": "test/chat-model"}}
    async with (
        api(tmp_path_factory.mktemp("data"), MODELS, {"test/far": NOWHERE}, **settings) as url,
        asking(url) as client,
    ):
        yield client
