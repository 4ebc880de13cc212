"""Calls as requests of the OpenAI dialect, with the fields that each server knows and no others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.engines.calls import ChatCall, CompletionCall, Constraint, Sampling

Json = dict[str, Any]

VLLM_SAMPLING = frozenset({"top_k", "min_p", "repetition_penalty"})
_OPENAI_SAMPLING = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "seed"}
)


@dataclass(frozen=True)
class Server:
    """A server and the fields that it knows. `model` is its name for the model, and paths begin with
    `prefix`. `sampling` are the fields it knows beyond OpenAI's. `vllm`: it knows vLLM's other fields too
    (token ids, templates, prompt log-probabilities, regular expressions). `integer_logprobs`: a chat's
    `logprobs` is how many, as in the Together API. `reads_tools`: it finds tool calls in the text of a model
    by itself. `forces_tools`: it makes a model call a tool with arguments of the tool's schema. `tokenizes`:
    it tells the tokens of a text (vLLM's /tokenize), so that control tokens in the client's texts are found,
    and escaped."""

    model: str
    prefix: str = "/v1"
    sampling: frozenset[str] = field(default_factory=frozenset[str])
    chat_max_tokens: str = "max_tokens"
    integer_logprobs: bool = False
    vllm: bool = False
    reads_tools: bool = True
    forces_tools: bool = True
    tokenizes: bool = False


def chat_body(server: Server, call: ChatCall) -> Json:
    body = _body(server, call) | {"messages": call.messages}
    if call.max_tokens is not None:
        body[server.chat_max_tokens] = call.max_tokens
    if call.logprobs is not None:
        body |= _chat_logprobs(server, call.logprobs)
    constraint = call.constraint
    if call.tools:
        body |= {"tools": call.tools, "tool_choice": _tool_choice(server, call.tool_choice)}
        if constraint is not None and constraint.calls and body["tool_choice"] != "none":
            constraint = None
    if constraint is not None:
        body |= _constraint(server, constraint)
    if call.reasoning_effort is not None:
        body |= _reasoning(server, call.reasoning_effort)
    if call.template_kwargs and server.vllm:
        body["chat_template_kwargs"] = call.template_kwargs
    return body


def _reasoning(server: Server, effort: str) -> Json:
    """Return the fields for an effort of reasoning. vLLM turns reasoning off in the template, and Together by
    a field of its own."""
    if effort == "none" and server.vllm:
        return {}
    if effort == "none" and server.integer_logprobs:
        return {"reasoning": {"enabled": False}}
    return {"reasoning_effort": effort}


def completion_body(server: Server, call: CompletionCall) -> Json:
    body = _body(server, call) | {"prompt": call.prompt}
    if call.suffix is not None:
        if server.vllm:
            raise no_suffix(call.model)
        body["suffix"] = call.suffix
    if call.max_tokens is not None:
        body["max_tokens"] = call.max_tokens
    if call.logprobs is not None:
        body["logprobs"] = call.logprobs
    if call.constraint is not None:
        if not server.vllm:
            raise _unconstrained("a completion")
        body |= _constraint(server, call.constraint)
    return body


def no_suffix(model: Model) -> InvalidRequest:
    return InvalidRequest(
        f"{model.name} cannot fill in the middle: leave `suffix` out, or ask a model that can.",
        param="suffix",
    )


def _body(server: Server, call: ChatCall | CompletionCall) -> Json:
    body: Json = {"model": server.model, "stream": call.stream, **_sampling(server, call.sampling)}
    if call.stream:
        body["stream_options"] = {"include_usage": True}
    if call.stop:
        body["stop"] = call.stop
    if server.vllm:
        body["return_token_ids"] = True
    return body


def _sampling(server: Server, sampling: Sampling) -> Json:
    known = _OPENAI_SAMPLING | server.sampling
    given = {name: getattr(sampling, name) for name in sampling.__struct_fields__ if name in known}
    return {name: value for name, value in given.items() if value is not None and value != {}}


def _chat_logprobs(server: Server, count: int) -> Json:
    if server.integer_logprobs:
        return {"logprobs": max(1, count)}
    return {"logprobs": True, "top_logprobs": count} if count else {"logprobs": True}


def _constraint(server: Server, constraint: Constraint) -> Json:
    if constraint.kind == "regex":
        if not server.vllm:
            raise _unconstrained("a regular expression")
        return {"structured_outputs": {"regex": constraint.pattern}}
    if constraint.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "answer", "schema": constraint.schema}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _unconstrained(what: str) -> InvalidRequest:
    return InvalidRequest(f"This model's engine cannot constrain {what}.", param="response_format")


def _tool_choice(server: Server, choice: str | Mapping[str, str]) -> str | Json:
    """Return the tool_choice for a server. What it does not do itself becomes `none`, with which it still
    shows the tools to the model."""
    if not (server.reads_tools if choice == "auto" else server.forces_tools):
        return "none"
    return choice if isinstance(choice, str) else {"type": "function", "function": {"name": choice["name"]}}
