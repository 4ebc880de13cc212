"""Runs every function of a script whose name starts with the fourth argument; prints a JSON line for each."""

import asyncio
import inspect
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

CHAT, EMBEDDING, RERANK, PREFIX = sys.argv[1:5]
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
    """The model has one slot and no queue: while it is busy the server answers 429 with `retry-after: 1`."""
    ask("a first request takes the client longer")
    first = threading.Thread(target=ask, args=("[[sleep 2]] first",))
    first.start()
    time.sleep(0.7)
    began = time.monotonic()
    ask("second")
    assert time.monotonic() - began > 0.9
    first.join()


def run(scope: dict[str, Any]) -> None:
    for name, check in list(scope.items()):
        if name.startswith(PREFIX):
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
