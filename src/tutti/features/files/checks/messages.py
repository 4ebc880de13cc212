"""Conversations in training data.

The rules are those of the 1.x client's check, with what the constants of the later ones add to them: the role
`tool`, tool calls, and messages without content that carry them.
"""

from collections.abc import Sequence
from typing import Any, cast

from tutti.features.files.checks.wrong import Json, Wrong, a_list, a_text, an_object, kind, shown

ROLES = ("system", "user", "assistant", "tool")
MAX_IMAGES = 10
MAX_IMAGE_BYTES = 10 * 1024 * 1024
_IMAGE_TYPES = tuple(f"data:image/{name};base64," for name in ("jpeg", "png", "webp"))
_MAX_IMAGE_URL = len("data:image/jpeg;base64,") + 4 * MAX_IMAGE_BYTES // 3

Facts = set[str]
"""Features of a dataset: `tools`, `parallel_tool_calls`, `message_weights`, `reasoning`, `multimodal`."""


def check_messages(value: Any, param: str, facts: Facts, *, assistant: bool) -> Sequence[Json]:
    """Return the messages. With `assistant`, one has to be the assistant's. Raise Wrong for a mistake."""
    messages = [an_object(each, f"{param}[{place}]") for place, each in enumerate(a_list(value, param))]
    if not messages:
        raise Wrong(f"`{param}` must not be empty.", param)
    previous, images, styles = "", 0, set[bool]()
    for place, message in enumerate(messages):
        at = f"{param}[{place}]"
        previous = _check_role(message, previous, at)
        count, parts = check_content(message, at, previous, facts)
        _check_weight(message, count, at, facts)
        images += count
        styles |= set() if parts is None else {parts}
    if len(styles) == 2:
        raise Wrong(f"The contents in `{param}` must be either all strings or all lists of parts.", param)
    if images > MAX_IMAGES:
        raise Wrong(f"`{param}` may hold at most {MAX_IMAGES} images, but holds {images}.", param)
    if assistant and all(message["role"] != "assistant" for message in messages):
        raise Wrong(f"`{param}` needs at least one message with the role `assistant`.", param)
    return messages


def check_content(message: Json, at: str, role: str, facts: Facts) -> tuple[int, bool | None]:
    """Return the number of images, and True if the content is made of parts; None instead if there is no
    content, which only a message that calls tools may go without."""
    calls = _check_calls(message, at, role, facts)
    if any(message.get(name) for name in ("reasoning", "reasoning_content")):
        facts.add("reasoning")
    if calls and message.get("content") is None:
        return 0, None
    if "content" not in message:
        raise Wrong(f"`{at}` has no `content`; only a message with `tool_calls` may go without.", at)
    return check_parts(message["content"], f"{at}.content", role, facts)


def check_parts(content: Any, param: str, role: str, facts: Facts) -> tuple[int, bool]:
    """Check a content: a string, or a list of parts. Return the number of images, and True for a list."""
    if isinstance(content, str):
        return 0, False
    if not isinstance(content, list):
        message = f"`{param}` must be a string or a list of parts, but it is {kind(content)}."
        raise Wrong(message, param)
    facts.add("multimodal")
    parts = cast(list[Any], content)
    images = sum(_check_part(part, f"{param}[{place}]", role) for place, part in enumerate(parts))
    if images > MAX_IMAGES:
        raise Wrong(f"`{param}` may hold at most {MAX_IMAGES} images, but holds {images}.", param)
    return images, True


def check_tools(value: Any, param: str, facts: Facts) -> None:
    facts.add("tools")
    for place, tool in enumerate(a_list(value, param)):
        at = f"{param}[{place}]"
        function = an_object(an_object(tool, at).get("function"), f"{at}.function")
        a_text(function.get("name"), f"{at}.function.name")


def _check_role(message: Json, previous: str, at: str) -> str:
    if "role" not in message:
        raise Wrong(f"`{at}` has no `role`: give one of {', '.join(ROLES)}.", f"{at}.role")
    role = a_text(message["role"], f"{at}.role")
    if role not in ROLES:
        raise Wrong(f"`{shown(role)}` is no role: give one of {', '.join(ROLES)}.", f"{at}.role")
    if role == previous and role != "tool":
        what = f"`{at}` has the role `{role}` like the message before it: roles must alternate; join the two."
        raise Wrong(what, f"{at}.role")
    return role


def _check_weight(message: Json, images: int, at: str, facts: Facts) -> None:
    if "weight" not in message:
        return
    facts.add("message_weights")
    weight = message["weight"]
    if not isinstance(weight, int) or weight not in (0, 1):
        raise Wrong(f"`{at}.weight` must be 0 or 1.", f"{at}.weight")
    if images and weight:
        raise Wrong(f"`{at}` has images, so its weight must be 0.", f"{at}.weight")


def _check_part(value: Any, at: str, role: str) -> bool:
    """Check a part of a content. Return True if it is an image."""
    part = an_object(value, at)
    match part.get("type"):
        case "text":
            a_text(part.get("text"), f"{at}.text")
            return False
        case "image_url":
            _check_image(part, at, role)
            return True
        case other:
            message = f"`{at}.type` must be `text` or `image_url`, but it is {shown(other)}."
            raise Wrong(message, f"{at}.type")


def _check_image(part: Json, at: str, role: str) -> None:
    if role != "user":
        raise Wrong(f"`{at}` is an image, which only the user's messages may have.", at)
    param = f"{at}.image_url.url"
    url = a_text(an_object(part.get("image_url"), f"{at}.image_url").get("url"), param)
    if not url.startswith(_IMAGE_TYPES):
        raise Wrong(f"`{param}` must be data:image/jpeg;base64,... (or png, webp): embed the image.", param)
    if len(url) > _MAX_IMAGE_URL:
        raise Wrong(f"`{param}` is an image of more than 10 MB: scale it down.", param)


def _check_calls(message: Json, at: str, role: str, facts: Facts) -> bool:
    """Check the tool calls. Return True if the message makes any."""
    if message.get("tool_calls") is None:
        return False
    calls = a_list(message["tool_calls"], f"{at}.tool_calls")
    if role != "assistant":
        raise Wrong(f"`{at}` has `tool_calls`, which only the assistant may make.", f"{at}.tool_calls")
    facts |= {"tools", "parallel_tool_calls"} if len(calls) > 1 else {"tools"}
    for place, call in enumerate(calls):
        param = f"{at}.tool_calls[{place}]"
        function = an_object(an_object(call, param).get("function"), f"{param}.function")
        a_text(function.get("name"), f"{param}.function.name")
        if not isinstance(function.get("arguments", ""), str | dict):
            raise Wrong(
                f"`{param}.function.arguments` must be JSON in a string.", f"{param}.function.arguments"
            )
    return bool(calls)
