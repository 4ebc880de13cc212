"""Turns a conversation into the shape that engines take: OpenAI's, with tools in place of functions."""

from collections.abc import Sequence

from tutti.engines.calls import Json
from tutti.features.text.schemas import (
    AudioPart,
    ChatCompletionAssistantMessageParam,
    ChatCompletionFunctionMessageParam,
    ChatCompletionMessageParam,
    ChatCompletionToolMessageParam,
    FunctionCall,
    ImagePart,
    Part,
    TextPart,
    VideoPart,
)


def plain(messages: Sequence[ChatCompletionMessageParam]) -> list[Json]:
    """Return the messages as engines take them. Media keep their URLs, for `media.embed` to replace."""
    return [_message(message) for message in messages]


def _message(message: ChatCompletionMessageParam) -> Json:
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    plain: Json = {"role": role, "content": _content(message.content)}
    if message.name:
        plain["name"] = message.name
    if isinstance(message, ChatCompletionAssistantMessageParam) and (calls := _tool_calls(message)):
        plain["tool_calls"] = calls
    elif isinstance(message, ChatCompletionToolMessageParam):
        plain["tool_call_id"] = message.tool_call_id
    elif isinstance(message, ChatCompletionFunctionMessageParam):
        plain["tool_call_id"] = _call_id(message.name)
    return plain


def _content(content: str | Sequence[Part] | None) -> str | list[Json]:
    """Return the content; parts that are all text become one string, which every template understands."""
    if content is None or isinstance(content, str):
        return content or ""
    if all(isinstance(part, TextPart) for part in content):
        return "\n".join(part.text for part in content if isinstance(part, TextPart))
    return [_part(part) for part in content]


def _part(part: Part) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        return {"type": part.type, "image_url": {"url": part.image_url.url}}
    if isinstance(part, VideoPart):
        return {"type": part.type, "video_url": {"url": part.video_url.url}}
    if isinstance(part, AudioPart):
        return {"type": part.type, "audio_url": {"url": part.audio_url.url}}
    return {
        "type": part.type,
        "input_audio": {"data": part.input_audio.data, "format": part.input_audio.format},
    }


def _tool_calls(message: ChatCompletionAssistantMessageParam) -> list[Json]:
    if message.function_call is not None:
        return [_tool_call(_call_id(message.function_call.name), message.function_call)]
    return [_tool_call(call.id, call.function) for call in message.tool_calls or ()]


def _tool_call(call_id: str, function: FunctionCall) -> Json:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": function.name, "arguments": function.arguments},
    }


def _call_id(name: str) -> str:
    """Return the id of a call of a function: functions have no ids, so the name ties a result to its call."""
    return f"call_{name}"
