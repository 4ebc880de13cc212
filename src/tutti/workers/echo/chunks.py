"""Writes scripts in the OpenAI dialect with vLLM's additions: as whole answers, and as server-sent events."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tutti.workers.echo.text import Call, Script
from tutti.workers.echo.words import alternatives, id_of, logprob_of, tokens_of

Json = dict[str, Any]
_encode = msgspec.json.encode


def usage_of(script: Script) -> Json:
    total = script.prompt_tokens + script.completion_tokens
    return {
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.completion_tokens,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def chat_answer(script: Script, body: Json, model: str) -> bytes:
    message: Json = {"role": "assistant", "content": None if script.calls else "".join(script.tokens)}
    if script.calls:
        message["tool_calls"] = [_call(index, call) for index, call in enumerate(script.calls)]
    choice = _choice(
        script.tokens, {"message": message, "logprobs": _chat_logprobs(script.tokens, body)}, body
    )
    answer = {
        **_head("chat.completion", model),
        "choices": [{**choice, **_end(script)}],
        "usage": usage_of(script),
    }
    return _encode({**answer, **_prompt_details(script, body)})


def completion_answer(script: Script, body: Json, model: str) -> bytes:
    shown = [*script.prompt, *script.tokens] if body.get("echo") else script.tokens
    fields = {
        "text": "".join(shown),
        "logprobs": _legacy_logprobs(shown, body, len(shown) > len(script.tokens)),
    }
    choice = {**_choice(script.tokens, fields, body), **_end(script), **_prompt_details(script, body)}
    return _encode({**_head("text_completion", model), "choices": [choice], "usage": usage_of(script)})


def chat_events(script: Script, body: Json, model: str) -> Iterator[bytes]:
    """Yield one event a token, and a last one that ends the choice."""
    head = _head("chat.completion.chunk", model)
    for token in script.tokens:
        fields = {"delta": {"content": token}, "logprobs": _chat_logprobs([token], body)}
        yield _event(head, _choice([token], fields, body))
    for index, call in enumerate(script.calls):
        yield _call_event(head, {**_call(index, call), "function": {"name": call.name, "arguments": ""}})
        for piece in tokens_of(call.arguments):
            yield _call_event(head, {"index": index, "function": {"arguments": piece}})
    yield _event(head, {**_choice([], {"delta": {}, "logprobs": None}, {}), **_end(script)})


def completion_events(script: Script, body: Json, model: str) -> Iterator[bytes]:
    head = _head("text_completion", model)
    if body.get("echo"):
        fields = {"text": "".join(script.prompt), "logprobs": _legacy_logprobs(script.prompt, body, True)}
        yield _event(head, _choice(script.prompt, fields, {}))
    for token in script.tokens:
        fields = {"text": token, "logprobs": _legacy_logprobs([token], body, False)}
        yield _event(head, _choice([token], fields, body))
    yield _event(head, {**_choice([], {"text": "", "logprobs": None}, {}), **_end(script)})


def closing_events(script: Script, body: Json, model: str) -> bytes:
    """Return the events after the choice: the usage if it was asked for, and the end of the stream."""
    usage = b""
    options: Json = body.get("stream_options") or {}
    if options.get("include_usage"):
        usage = _data({**_head("chat.completion.chunk", model), "choices": [], "usage": usage_of(script)})
    return usage + b"data: [DONE]\n\n"


def _head(kind: str, model: str) -> Json:
    return {"id": "echo-0", "object": kind, "created": 0, "model": model}


def _choice(tokens: Sequence[str], fields: Json, body: Json) -> Json:
    choice = {"index": 0, **fields, "finish_reason": None}
    if body.get("return_token_ids"):
        choice["token_ids"] = [id_of(token) for token in tokens]
    return choice


def _end(script: Script) -> Json:
    return {"finish_reason": script.finish_reason, "stop_reason": script.stop_reason}


def _data(body: Json) -> bytes:
    return b"data: %b\n\n" % _encode(body)


def _event(head: Json, choice: Json) -> bytes:
    return _data({**head, "choices": [choice]})


def _call(index: int, call: Call) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": index, "id": f"call_{index}", "type": "function", "function": function}


def _call_event(head: Json, call: Json) -> bytes:
    return _event(head, _choice([], {"delta": {"tool_calls": [call]}, "logprobs": None}, {}))


def _chat_logprobs(tokens: Sequence[str], body: Json) -> Json | None:
    if not body.get("logprobs"):
        return None
    count = body.get("top_logprobs") or 0
    return {
        "content": [
            {**_entry(token, logprob_of(token)), "top_logprobs": _top(token, count)} for token in tokens
        ]
    }


def _entry(token: str, logprob: float) -> Json:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _top(token: str, count: int) -> list[Json]:
    return [_entry(other, logprob) for other, logprob in alternatives(token, count)]


def _legacy_logprobs(tokens: Sequence[str], body: Json, from_start: bool) -> Json | None:
    """Return log probabilities in the format of /v1/completions, or None if none were asked for.

    `from_start`: the tokens begin with the first one of the prompt, which has no log probability.
    """
    count = body.get("logprobs")
    if count is None:
        return None
    logprobs = [
        None if from_start and index == 0 else logprob_of(token) for index, token in enumerate(tokens)
    ]
    top = [dict(alternatives(token, max(1, count))) for token in tokens]
    return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top}


def _prompt_details(script: Script, body: Json) -> Json:
    """Return vLLM's fields `prompt_logprobs`, `prompt_token_ids` and `prompt_text`, as far as asked for."""
    details: Json = {}
    if body.get("return_token_ids"):
        details["prompt_token_ids"] = [id_of(token) for token in script.prompt]
    if body.get("return_prompt_text"):
        details["prompt_text"] = "".join(script.prompt)
    if (count := body.get("prompt_logprobs")) is not None:
        details["prompt_logprobs"] = [None, *(_ranked(token, count) for token in script.prompt[1:])]
    return details


def _ranked(token: str, count: int) -> Json:
    found = alternatives(token, max(1, count))
    return {
        str(id_of(other)): {"logprob": logprob, "rank": rank, "decoded_token": other}
        for rank, (other, logprob) in enumerate(found, 1)
    }
