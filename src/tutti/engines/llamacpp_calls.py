"""Calls as requests to llama.cpp's server, whose fields are described in its tools/server/README.md."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tutti.base.errors import ContextTooLong, InvalidRequest
from tutti.base.model import Model
from tutti.engines.calls import ChatCall, CompletionCall, Sampling
from tutti.engines.control import MEDIA
from tutti.engines.llamacpp_options import LlamaCppOptions, context_of
from tutti.engines.options import listed

Json = dict[str, Any]

DEFAULT_TEMPERATURE = 0.7
_INT32_MAX = 2**31 - 1
_RANDOM_SEED = 2**32 - 1  # llama.cpp takes this one for "no seed"
_SAMPLERS = ("penalties", "temperature", "top_k", "top_p", "min_p")
_GREEDY = {"top_k": 1, "samplers": ("penalties", "top_k")}
"""Sampling for a temperature of 0: the same token, without a probability for each of the vocabulary."""
_ANSWER_FIELDS = (
    "content",
    "stop_type",
    "tokens_predicted",
    "tokens_evaluated",
    "timings/cache_n",
    "completion_probabilities",
)
_MOST_OF_TOOLS = 16 * 1024
_NOT_PLAIN = re.compile(
    r'"\$ref":"#"|"(?:pattern|patternProperties|allOf|not)":|"(?:min|max)(?:Items|Length|Properties)":[0-9.eE+]{3}'
)
"""A pattern for schemas written as JSON without white space."""


def needs_parser(call: ChatCall, *, mentions: bool = False) -> bool:
    """Return whether llama.cpp itself has to read the answer: for tools that the model may call, the harmony
    format, media. It has no log probabilities in streams with tools and no grammar with tools, takes control
    tokens that a text mentions for real, and makes a parser of the tools' schemas at a cost without bounds:
    in these cases Tutti reads the calls itself."""
    if has_media(call):
        return True
    if call.is_forced or call.constraint is not None:
        return False
    may_call = bool(call.tools) and call.tool_choice == "auto" and call.logprobs is None and not mentions
    return (may_call and has_plain_schemas(call.tools)) or LlamaCppOptions.of(call.model).harmony


def has_plain_schemas(tools: Sequence[Json]) -> bool:
    """Return whether the tools' schemas are small, and have nothing that llama.cpp's own reader of schemas
    refuses or writes out at length."""
    text = msgspec.json.encode(tools).decode()
    return len(text) <= _MOST_OF_TOOLS and not _NOT_PLAIN.search(text)


def has_media(call: ChatCall) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") in MEDIA  # type: ignore[reportUnknownMemberType]
        for message in call.messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def with_adapter(body: Json, model: Model, adapter: int) -> Json:
    """Add the adapters that the request wants to its body, also where it wants none: a request without the
    field may get the cached prompt of one that had an adapter. Adapters that are not named are off."""
    fixed = len(listed(LlamaCppOptions.of(model).lora))
    wanted = [{"id": number, "scale": 1.0} for number in range(fixed)]
    if adapter >= 0:
        wanted.append({"id": fixed + adapter, "scale": 1.0})
    return body | {"lora": wanted or [{"id": 0, "scale": 0.0}]}


def template_body(call: ChatCall) -> Json:
    """Return the body for /apply-template. The model sees the tools, but no parser is made of them."""
    body: Json = {"messages": call.messages}
    if call.tools and call.tool_choice != "none":
        body |= {"tools": call.tools, "tool_choice": "none"}
    if kwargs := _template_kwargs(call):
        body["chat_template_kwargs"] = kwargs
    return body


def chat_body(call: ChatCall, max_tokens: int | None) -> Json:
    """Return the body for /v1/chat/completions."""
    body = template_body(call) | _generation(call, max_tokens)
    if call.tools and call.constraint is None:
        body["tool_choice"] = "auto"
    body["stream_options"] = {"include_usage": True}
    if call.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": call.logprobs}
    if call.constraint is not None:
        body["grammar"] = call.constraint.grammar
    return body


def native_body(call: ChatCall | CompletionCall, prompt: str | Sequence[int], max_tokens: int | None) -> Json:
    """Return the body for /completion."""
    body = _generation(call, max_tokens) | {"prompt": prompt, "response_fields": _ANSWER_FIELDS}
    if call.logprobs is not None:
        body["n_probs"] = max(1, call.logprobs)
    if call.constraint is not None:
        body["grammar"] = call.constraint.grammar
    return body


def _generation(call: ChatCall | CompletionCall, max_tokens: int | None) -> Json:
    """Return the fields that both ways to generate share. It is always a stream: llama.cpp does not notice
    when the client of a whole answer is gone."""
    body: Json = {"stream": True, **_sampling(call.sampling, context_of(call.model))}
    if max_tokens is None:  # llama.cpp itself ends at the context what would not fit
        max_tokens = LlamaCppOptions.of(call.model).default_max_tokens or None
    if max_tokens is not None:
        body["n_predict"] = max_tokens
    if stop := [text for text in call.stop if text]:
        body["stop"] = stop
    return body


def _sampling(sampling: Sampling, context: int) -> Json:
    """Return the fields of sampling. They are neutral but for the temperature (0.7, as Together documents)
    where the client says nothing, and are applied in vLLM's order. Penalties look at the whole context, the
    prompt included.

    A seed also turns the prefix cache off: a prompt read in other pieces gives slightly other numbers.
    """
    body: Json = {
        "temperature": DEFAULT_TEMPERATURE if sampling.temperature is None else sampling.temperature,
        "top_k": min(max(0, sampling.top_k or 0), _INT32_MAX),
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
        "min_p": sampling.min_p or 0.0,
        "repeat_penalty": 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty or 0.0,
        "frequency_penalty": sampling.frequency_penalty or 0.0,
        "repeat_last_n": context,
        "samplers": _SAMPLERS,
    }
    if sampling.temperature == 0:
        body |= _GREEDY
    if sampling.logit_bias:
        body["logit_bias"] = [[_token_id(token_id), bias] for token_id, bias in sampling.logit_bias.items()]
    if sampling.seed is not None:
        body |= {"seed": sampling.seed % _RANDOM_SEED, "cache_prompt": False}
    return body


def _token_id(token_id: int) -> int:
    if not 0 <= token_id <= _INT32_MAX:
        raise InvalidRequest(f"There is no token {token_id}.", param="logit_bias")
    return token_id


def _template_kwargs(call: ChatCall) -> Json:
    effort = call.reasoning_effort
    kwargs: Json = {} if effort in (None, "none") else {"reasoning_effort": effort}
    return kwargs | call.template_kwargs


def fitting(prompt_tokens: int, call: ChatCall | CompletionCall) -> int | None:
    """Return the max_tokens that fit beside the prompt: the call's own, or fewer where it allows that. Raises
    ContextTooLong."""
    context, wanted = context_of(call.model), call.max_tokens
    if prompt_tokens >= context:
        raise too_long(prompt_tokens, 0, call)
    if wanted is None or prompt_tokens + wanted <= context:
        return wanted
    if isinstance(call, ChatCall) and call.truncate:
        return context - prompt_tokens
    raise too_long(prompt_tokens, wanted, call)


def surely_fits(prompt_bytes: int, call: ChatCall | CompletionCall) -> bool:
    """Return whether prompt and answer fit, whatever the tokens. No token is shorter than a byte, apart from
    the few that a tokeniser puts around a text."""
    return prompt_bytes + 4 + (call.max_tokens or 0) < context_of(call.model)


def too_long(prompt_tokens: int | str, max_tokens: int, call: ChatCall | CompletionCall) -> ContextTooLong:
    asked = f"{prompt_tokens} tokens in the prompt" + (f" and {max_tokens} to generate" if max_tokens else "")
    return ContextTooLong(
        f"the request has {asked}.",
        context=context_of(call.model),
        param="messages" if isinstance(call, ChatCall) else "prompt",
    )
