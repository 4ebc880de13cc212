"""Turns a request into calls of an engine, one for each choice."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import msgspec

from tutti.base.errors import ContextTooLong, InvalidRequest
from tutti.base.model import Model
from tutti.engines.calls import ChatCall, CompletionCall, Constraint, Json, Sampling
from tutti.features.text.room import require_room, require_room_for_prompts
from tutti.features.text.schemas import (
    ChatCompletionRequest,
    CompletionRequest,
    FunctionName,
    FunctionPart,
    Generation,
    ResponseFormatJsonObject,
    ResponseFormatJsonSchema,
    ResponseFormatRegex,
)

_INT64_MAX = 2**63 - 1
_MOST_CHOICES = 1024
_TEMPLATE_VARIABLES = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""The variables of prompt templates that the request and the model set."""

_EFFORTS = {"minimal": "low", "xhigh": "high", "max": "high"}
"""For efforts that models don't know, the nearest one that they know."""

TextCall = ChatCall | CompletionCall
_Call = TypeVar("_Call", ChatCall, CompletionCall)


def chat_calls(body: ChatCompletionRequest, model: Model, messages: Sequence[Json]) -> list[ChatCall]:
    """Return the calls of `n` choices. Raise InvalidRequest for what cannot be done, or can never fit."""
    tools = offered_tools(body)
    choice = tool_choice(body, [tool["function"]["name"] for tool in tools])
    kwargs = _template_kwargs(body)
    require_room(messages, tools, kwargs, model)
    call = ChatCall(
        model=model,
        messages=messages,
        stream=bool(body.stream),
        sampling=_sampling(body),
        max_tokens=_max_tokens(body.max_tokens or body.max_completion_tokens, body, model),
        stop=_stop(body),
        logprobs=_logprobs(body),
        constraint=_constraint(body),
        tools=() if choice == "none" else tools,
        tool_choice="auto" if choice == "none" else choice,
        template_kwargs=kwargs,
        reasoning_effort=_EFFORTS.get(body.reasoning_effort or "", body.reasoning_effort),
        echo=bool(body.echo),
        truncate=body.context_length_exceeded_behavior == "truncate",
    )
    return [_nth(call, index) for index in range(body.n or 1)]


def completion_calls(body: CompletionRequest, model: Model) -> list[CompletionCall]:
    """Return the calls: the choices of the first prompt, then those of the next.

    Raises InvalidRequest for too many choices, ContextTooLong for prompts that can never fit.
    """
    if len(prompts(body)) * (body.n or 1) > _MOST_CHOICES:
        raise InvalidRequest(f"`n` choices of each prompt are more than {_MOST_CHOICES}.", param="n")
    require_room_for_prompts(prompts(body), model)
    calls = [
        CompletionCall(
            model=model,
            prompt=prompt,
            stream=bool(body.stream),
            sampling=_sampling(body),
            max_tokens=_max_tokens(body.max_tokens, body, model),
            stop=_stop(body),
            logprobs=_logprobs(body),
            constraint=_constraint(body),
            echo=bool(body.echo),
            suffix=body.suffix,
        )
        for prompt in prompts(body)
    ]
    return [_nth(call, index) for call in calls for index in range(body.n or 1)]


def prompts(body: CompletionRequest) -> Sequence[str | Sequence[int]]:
    """Return the prompts: texts, or for each text the ids of its tokens."""
    given = body.prompt
    if isinstance(given, str):
        return [given]
    return [cast(list[int], given)] if isinstance(given[0], int) else cast(list[str | list[int]], given)


def offered_tools(body: ChatCompletionRequest) -> list[Json]:
    """Return `tools` and the older `functions` as tools."""
    functions = [tool.function for tool in body.tools or ()] + (body.functions or [])
    return [{"type": "function", "function": _function(function)} for function in functions]


def _function(function: FunctionPart) -> Json:
    return {
        "name": function.name,
        "description": function.description or "",
        "parameters": function.parameters or {"type": "object", "properties": {}},
    }


def tool_choice(body: ChatCompletionRequest, names: Sequence[str]) -> str | dict[str, str]:
    """Return auto, none, required, or the forced function as `{"name": ...}`.

    Raises InvalidRequest if a call is forced that no tool allows.
    """
    param, choice = "tool_choice", _wanted_choice(body)
    if body.tool_choice is None and body.function_call is not None:
        param = "function_call"
    if choice in ("auto", "none"):
        return choice if names else "none"
    if not names:
        raise InvalidRequest(f"`{param}` asks for a call, but there are no `tools`: add them.", param=param)
    if choice != "required" and choice not in names:
        raise InvalidRequest(
            f"`{param}` names {choice!r}, which is not one of the tools: {', '.join(names)}.", param=param
        )
    return choice if choice == "required" else {"name": choice}


def _wanted_choice(body: ChatCompletionRequest) -> str:
    choice = body.tool_choice if body.tool_choice is not None else body.function_call
    if isinstance(choice, FunctionName):
        return choice.name
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    return choice.function.name


def _nth(call: _Call, index: int) -> _Call:
    """Return the call of the choice number `index`: its seed is `seed` + `index`, within 64 bits."""
    seed = call.sampling.seed
    if seed is None or index == 0:
        return call
    following = seed + index if seed + index <= _INT64_MAX else seed + index - _INT64_MAX
    return msgspec.structs.replace(call, sampling=msgspec.structs.replace(call.sampling, seed=following))


def _sampling(body: Generation) -> Sampling:
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        logit_bias={_token_id(key): bias for key, bias in (body.logit_bias or {}).items()},
        seed=body.seed,
    )


def _token_id(key: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise InvalidRequest(
            f"`logit_bias` maps token ids to numbers, and {key[:40]!r} is not a token id.",
            param=f"logit_bias.{key[:40]}",
        )
    return int(key)


def _max_tokens(limit: int | None, body: Generation, model: Model) -> int | None:
    """Return the limit, cut to the model's context if the request allows that.

    Raises ContextTooLong if it cannot fit, whatever the prompt; the engine knows about the rest.
    """
    if limit is None or not model.context_length or limit <= model.context_length:
        return limit
    if isinstance(body, ChatCompletionRequest) and body.context_length_exceeded_behavior == "truncate":
        return model.context_length
    raise ContextTooLong(f"`max_tokens` is {limit}.", context=model.context_length, param="max_tokens")


def _stop(body: Generation) -> tuple[str, ...]:
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return tuple(text for text in stop if text)


def _logprobs(body: Generation) -> int | None:
    if body.logprobs is True:
        return body.top_logprobs or 0
    return None if body.logprobs is False else body.logprobs


def _constraint(body: Generation) -> Constraint | None:
    wanted = body.response_format
    if isinstance(wanted, ResponseFormatRegex):
        return Constraint(kind="regex", pattern=wanted.pattern)
    if isinstance(wanted, ResponseFormatJsonSchema):
        return _json_constraint(wanted.schema_ or (wanted.json_schema and wanted.json_schema.schema_))
    if isinstance(wanted, ResponseFormatJsonObject):
        return _json_constraint(wanted.schema_)
    return None


def _json_constraint(schema: dict[str, Any] | None) -> Constraint:
    return Constraint(kind="json_schema", schema=schema) if schema else Constraint(kind="json_object")


def _template_kwargs(body: ChatCompletionRequest) -> Json:
    """Return the variables for the prompt template, with the switch for reasoning.

    Templates call it `enable_thinking` (Qwen, GLM) or `thinking` (DeepSeek, Kimi).
    """
    enabled = body.reasoning.enabled if body.reasoning else None
    if body.reasoning_effort == "none":
        enabled = False
    switch: Json = {} if enabled is None else {"enable_thinking": enabled, "thinking": enabled}
    given = body.chat_template_kwargs or {}
    for name in _TEMPLATE_VARIABLES:
        if name in given:
            raise InvalidRequest(
                f"`chat_template_kwargs` cannot set `{name}`, which the prompt template gets anyway.",
                param=f"chat_template_kwargs.{name}",
            )
    return {**switch, **given}
