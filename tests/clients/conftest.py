from collections.abc import Iterator

import msgspec
import pytest
from tests.support.server import ECHO, Server, running_server

from tutti.catalog.catalog import shipped_models

CHAT = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
RERANK = "tutti/minilm-rerank"


@pytest.fixture(scope="module")
def seed_server() -> Iterator[Server]:
    """Every model that a sample names stands for a small one, which says no more than a sample can show: most
    samples set no limit."""
    brief = msgspec.structs.replace(shipped_models()[CHAT], options={"default_max_tokens": 150})
    aliases = {"togethercomputer/m2-bert-*": EMBEDDING, "Salesforce/Llama-Rank-*": RERANK, "*": CHAT}
    with running_server([brief, EMBEDDING, RERANK], aliases=aliases) as server:
        yield server


@pytest.fixture(scope="module")
def seed_echo() -> Iterator[Server]:
    """The same for samples that show the client and the API, not what a model makes of them."""
    echo = msgspec.structs.replace(ECHO, capabilities=frozenset({"tools", "json", "reasoning"}))
    with running_server([echo], aliases={"*": echo.name}) as server:
        yield server
