"""A model that somebody else serves: any server that speaks OpenAI's dialect, OpenAI and Together included.

`Model.options`: base_url (required, with its `/v1`), api_key_env (the environment variable that holds the
key; the key itself is never stored or logged), remote_model (the model's name there; default: the same),
slots (requests at once, default 64), and dialect, which says what the server knows beyond the common fields:

- `compatible` (default)  nothing;
- `openai`                max_completion_tokens in place of max_tokens;
- `together`              top_k, min_p, repetition_penalty, logprobs as a number. A whole answer has the
                          alternatives of all its tokens in one object: its first token gets them;
- `vllm`                  everything that our own vLLM engine uses.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from tutti.base.errors import LoadFailed, TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.openai import Dialect
from tutti.engines.openai_audio import AudioDialect, AudioServer
from tutti.engines.openai_errors import error_of
from tutti.engines.openai_requests import VLLM_SAMPLING, Server
from tutti.engines.options import Options
from tutti.engines.place import Place, Progress
from tutti.engines.upstream import Refusal

_SERVERS: Mapping[str, Server] = {
    "compatible": Server("", prefix=""),
    "openai": Server("", prefix="", chat_max_tokens="max_completion_tokens"),
    "together": Server("", prefix="", sampling=VLLM_SAMPLING, integer_logprobs=True),
    "vllm": Server("", prefix="", sampling=VLLM_SAMPLING, vllm=True, forces_tools=False),
}


class _Options(Options, frozen=True):
    base_url: str
    api_key_env: str = ""
    remote_model: str = ""
    slots: int = 0
    dialect: Literal["compatible", "openai", "together", "vllm"] = "compatible"


def server_of(model: Model) -> Server:
    dialect = str(model.options.get("dialect", "compatible"))
    if dialect not in _SERVERS:
        raise LoadFailed(f"options.dialect of {model.name} must be one of {', '.join(_SERVERS)}.")
    return replace(_SERVERS[dialect], model=str(model.options.get("remote_model", model.name)))


def audio_server_of(model: Model) -> AudioServer:
    known = "together" if model.options.get("dialect") == "together" else "openai"
    return AudioServer(server_of(model).model, known, prefix="")


class Remote:
    name = "remote"
    options = _Options
    progress_path = ""
    text = embedding = rerank = Dialect(server_of)
    speech = transcription = AudioDialect(audio_server_of)
    realtime = None

    def program(self, model: Model, place: Place) -> Program | None:  # noqa: ARG002 - the protocol's arguments
        return None

    def address(self, model: Model, place: Place) -> str:  # noqa: ARG002
        if not model.options.get("base_url"):
            raise LoadFailed(f"The entry of {model.name} has no options.base_url.")
        return str(model.options["base_url"]).rstrip("/")

    def headers(self, model: Model) -> Mapping[str, str]:
        variable = str(model.options.get("api_key_env", ""))
        if not variable:
            return {}
        if not os.environ.get(variable):
            raise LoadFailed(f"The key of {model.name} is missing: set the environment variable {variable}.")
        return {"authorization": f"Bearer {os.environ[variable]}"}

    def slots(self, model: Model) -> int:
        return int(str(model.options.get("slots", 64)))

    def shares(self, model: Model) -> str:  # noqa: ARG002
        return ""

    def behind(self, body: bytes) -> bytes:
        return body

    def context(self, model: Model) -> int:
        return model.context_length

    def memory_bytes(self, model: Model) -> int:  # noqa: ARG002
        return 0

    def progress(self, body: bytes) -> Progress:  # noqa: ARG002
        """Nothing is watched: whoever runs the server does that."""
        return Progress(0, None)

    def error(self, refusal: Refusal) -> TuttiError:
        return error_of(refusal)
