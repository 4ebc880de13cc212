from collections.abc import Iterator

import pytest
from tests.support.server import Server, running_server

CHAT = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
RERANK = "tutti/minilm-rerank"


@pytest.fixture(scope="module")
def seed_server() -> Iterator[Server]:
    """Every model that a sample names stands for a small one."""
    aliases = {"togethercomputer/m2-bert-*": EMBEDDING, "Salesforce/Llama-Rank-*": RERANK, "*": CHAT}
    with running_server([CHAT, EMBEDDING, RERANK], aliases=aliases) as server:
        yield server
