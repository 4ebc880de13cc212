"""A model that somebody else serves: any server that speaks OpenAI's dialect, OpenAI and Together included.

Its `dialect` says what the server knows beyond the common fields:

- `compatible`  nothing;
- `openai`      max_completion_tokens in place of max_tokens;
- `together`    top_k, min_p, repetition_penalty, logprobs as a number. A whole answer has the alternatives of
  all its tokens in one object: its first token gets them;
- `vllm`        everything that our own vLLM engine uses.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from tutti.base.errors import LoadFailed
from tutti.base.model import Model
from tutti.engines.base import Engine
from tutti.engines.openai import Dialect
from tutti.engines.openai_audio import AudioDialect, AudioServer
from tutti.engines.openai_requests import VLLM_SAMPLING, Server
from tutti.engines.options import Options

_SERVERS: Mapping[str, Server] = {
    "compatible": Server("", prefix=""),
    "openai": Server("", prefix="", chat_max_tokens="max_completion_tokens"),
    "together": Server("", prefix="", sampling=VLLM_SAMPLING, integer_logprobs=True),
    "vllm": Server("", prefix="", sampling=VLLM_SAMPLING, vllm=True, forces_tools=False),
}


class _Options(Options, frozen=True):
    base_url: str
    """The server's address, with its `/v1`."""
    api_key_env: str = ""
    """The environment variable that holds the key; the key itself is never stored or logged."""
    remote_model: str = ""
    """The model's name there; empty: the same."""
    slots: int = 64
    """Requests at once."""
    dialect: Literal["compatible", "openai", "together", "vllm"] = "compatible"
    """The fields that the server knows."""


def server_of(model: Model) -> Server:
    options = _Options.of(model)
    return replace(_SERVERS[options.dialect], model=options.remote_model or model.name)


def audio_server_of(model: Model) -> AudioServer:
    known = "together" if _Options.of(model).dialect == "together" else "openai"
    return AudioServer(server_of(model).model, known, prefix="")


class Remote(Engine):
    name = "remote"
    options = _Options
    progress_path = ""
    text = embedding = rerank = Dialect(server_of)
    speech = transcription = AudioDialect(audio_server_of)

    def address(self, model: Model) -> str:
        base_url = _Options.of(model).base_url
        if not base_url:
            raise LoadFailed(f"The entry of {model.name} has no options.base_url.")
        return base_url.rstrip("/")

    def headers(self, model: Model) -> Mapping[str, str]:
        variable = _Options.of(model).api_key_env
        if not variable:
            return {}
        if not os.environ.get(variable):
            raise LoadFailed(f"The key of {model.name} is missing: set the environment variable {variable}.")
        return {"authorization": f"Bearer {os.environ[variable]}"}

    def slots(self, model: Model) -> int:
        return _Options.of(model).slots
