"""Checks that a text fits a context. They count the tokens of its beginning where it is far too long:
llama.cpp takes some hundred bytes of memory for each byte of a text whose tokens it counts, and keeps
them."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from tutti.engines.calls import ChatCall, CompletionCall, Json
from tutti.engines.llamacpp_calls import too_long
from tutti.engines.llamacpp_options import context_of

Count = Callable[[str], Awaitable[Sequence[int]]]
"""A function that returns the tokens of a text."""

_FIRST_CHARS = 8
"""Characters for each token of the context. Few texts that fit have more."""
_SURELY = 2
"""The number of times that a beginning has to fill the context. A text cut off in the middle of a word has a
few other tokens there than the whole text."""


async def require_room(count: Count, call: ChatCall | CompletionCall, text: str) -> None:
    """Raise ContextTooLong for a text that is surely too long."""
    for beginning in _beginnings(text, context_of(call.model)):
        if len(counted := await count(beginning)) > _SURELY * context_of(call.model):
            raise too_long(f"more than {len(counted) // _SURELY}", 0, call)


async def first_tokens(count: Count, text: str, context: int) -> Sequence[int]:
    """Return all tokens of a text, or at least as many as fit the context and some more."""
    for beginning in _beginnings(text, context):
        if len(ids := await count(beginning)) > _SURELY * context:
            return ids
    return await count(text)


def texts_of(call: ChatCall) -> str:
    """Return the texts that a template makes a prompt of, joined. Templates often leave out what the model
    thought before."""
    tools = [str(call.tools)] if call.tools and call.tool_choice != "none" else []
    return "\n".join([*tools, *(text for message in call.messages for text in _texts(message))])


def _beginnings(text: str, context: int) -> Iterator[str]:
    """Yield ever longer beginnings; none of a text that is short enough to be taken as a whole."""
    size = context * _FIRST_CHARS
    while size < len(text):
        yield text[:size]
        size *= 2


def _texts(message: Json) -> Iterator[str]:
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts:
        if part["type"] == "text":
            yield part["text"].rpartition("</think>")[2] if message["role"] == "assistant" else part["text"]
    for call in message.get("tool_calls", ()):
        yield call["function"]["arguments"]
