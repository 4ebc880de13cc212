"""Counts tokens with llama.cpp itself, so that the counts are the engine's by construction.

llama.cpp offers that only through its HTTP server. It runs in this process on the loopback address, with
nothing of the model but its vocabulary (vocabulary.py).
"""

# pyright: basic, reportAttributeAccessIssue=false
# xllamacpp comes without types.

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import xllamacpp

from tutti.workers.llamacpp_params import server_params, use_chat_template
from tutti.workers.tokens.base import Count, Refused, Sample
from tutti.workers.tokens.vocabulary import write_vocabulary


@contextmanager
def gguf_counter(model: Path, template: str | None) -> Iterator[Count]:
    """Open a counter for a GGUF file. Raises BadModel or RuntimeError if llama.cpp cannot read the file.

    `template` replaces the model's own chat template.
    """
    with tempfile.TemporaryDirectory(prefix="tutti-tokens-") as folder:
        vocabulary = Path(folder) / "vocabulary.gguf"
        write_vocabulary(model, vocabulary)
        server = xllamacpp.Server(_params(vocabulary, template))
    counter = _Counter(server, HTTPConnection(urlsplit(server.listening_address).netloc, timeout=600))
    yield counter.count


class _Counter:
    def __init__(self, server: xllamacpp.Server, connection: HTTPConnection) -> None:
        self._server = server  # it ends when this reference is gone
        self._connection = connection
        _, answer = self._post("/tokenize", {"content": "", "add_special": True})
        self._added = len(answer["tokens"])
        """The number of special tokens that the tokenizer adds to each text, such as a BOS token."""

    def count(self, samples: Sequence[Sample]) -> int:
        texts = [sample["text"] if "text" in sample else self._chat(sample) for sample in samples]
        status, answer = self._post(
            "/tokenize", {"content": texts, "add_special": False, "parse_special": True}
        )
        if status != 200:
            raise Refused(samples[0]["line"], _reason(answer))
        return len(answer["tokens"]) + self._added * len(samples)

    def _chat(self, sample: Sample) -> str:
        """Render the messages with the chat template. llama.cpp strips what the tokenizer adds by itself."""
        body = {"messages": [_message(it) for it in sample["messages"]], "add_generation_prompt": False}
        if sample.get("tools"):
            body["tools"] = sample["tools"]
        status, answer = self._post("/apply-template", body)
        if status != 200:
            raise Refused(sample["line"], _reason(answer))
        return answer["prompt"]

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def _params(vocabulary: Path, template: str | None) -> xllamacpp.CommonParams:
    params = server_params(vocabulary, 1)
    params.n_threads_http = 2
    params.n_parallel, params.n_ctx, params.n_batch, params.n_ubatch = 1, 64, 32, 32
    params.n_gpu_layers = 0
    params.warmup = False
    params.prefill_assistant = False  # an assistant's message at the end is complete
    use_chat_template(params, template)
    return params


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message as llama.cpp takes it: with `content`, and with the names that it knows."""
    known = {name: value for name, value in message.items() if name != "weight"}
    known.setdefault("content", None)
    if "reasoning" in known:
        known.setdefault("reasoning_content", known.pop("reasoning"))
    if known.get("tool_calls"):
        known["tool_calls"] = [_call(call) for call in known["tool_calls"]]
    return known


def _call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["function"].get("arguments", "{}")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {**call, "type": "function", "function": {**call["function"], "arguments": text}}


def _reason(answer: Any) -> str:
    """Return the reason in an error answer: its last line, which follows an excerpt of the template."""
    return str(answer["error"]["message"]).strip().splitlines()[-1].rstrip(".")
