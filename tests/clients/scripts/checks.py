"""Runs every function of a script whose name starts with the fourth argument, or with one of several between
commas; prints a JSON line for each."""

import asyncio
import inspect
import json
import os
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any

CHAT, EMBEDDING, RERANK, PREFIXES = sys.argv[1:5]
SLOW = os.environ.get("SLOW_MODEL", "")
HELLO = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Say hello world"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "The weather in a city", "parameters": SCHEMA},
    }
]
FORCED = {"type": "function", "function": {"name": "get_weather"}}
DOCUMENTS = ["London is in England.", "Paris is the capital of France.", "Berlin is big."]
QUESTION = "Which city is the capital of France?"


def expect(kinds: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], Any]) -> Any:
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError(f"{kinds} was not raised")


def expect_patience(ask: Callable[[str], Any]) -> None:
    """The model has one slot and no queue: while it is busy the server answers 429 with `retry-after: 1`. On
    a slow machine the first request may end before the second comes: then once more."""
    ask("a first request takes the client longer")
    assert any(_waits(ask) for _ in range(3))


def _waits(ask: Callable[[str], Any]) -> bool:
    first = threading.Thread(target=ask, args=("[[sleep 1.5]] first",))
    first.start()
    while not _is_busy() and first.is_alive():
        time.sleep(0.05)
    began = time.monotonic()
    ask("second")
    waited_s = time.monotonic() - began
    first.join()
    return waited_s > 0.9


def _is_busy() -> bool:
    root = os.environ["TOGETHER_BASE_URL"].removesuffix("/v1")
    with urllib.request.urlopen(f"{root}/metrics") as answer:
        return f'vllm:num_requests_running{{model_name="{SLOW}"}} 1.0' in answer.read().decode()


def run(scope: dict[str, Any]) -> None:
    for name, check in list(scope.items()):
        if name.startswith(tuple(PREFIXES.split(","))):
            print(json.dumps({"check": name, "error": _error(check)}), flush=True)


def _error(check: Callable[[], Any]) -> str:
    try:
        outcome = check()
        if inspect.isawaitable(outcome):
            asyncio.run(_awaited(outcome))
    except BaseException:
        return traceback.format_exc()
    return ""


async def _awaited(outcome: Any) -> None:
    await outcome
