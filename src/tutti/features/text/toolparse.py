"""Finds tool calls in streamed text, for models whose engine does not parse them.

What goes in are pieces of the text as the model writes them; how it was cut into pieces makes no difference.
What comes out are pieces of text, and tool calls: first a `ToolCall` with index, id and name, then more of
the same index with pieces of the arguments, as they are written.

A call is a JSON object with the name of a function and its arguments, or a list of such objects. It stands

- bare, at the beginning of the text or of a line;
- in a ```json fence;
- between tags, `<tool_call>` (Hermes, Qwen) or `<tools>`;
- after a marker, `<|python_tag|>` (Llama) or `[TOOL_CALLS]` (Mistral, whose later models write the name
  before the object of the arguments);
- or name and arguments have a tag each: `<name>add</name><arguments>{...}</arguments>` (Qwen2.5 Coder).

The rules:

- only calls of functions that the request offers count: everything else is text and passes unchanged;
- text is held back only while it may still become a call. The parser then waits for more (`_Undecided`),
  finds that it is text (`_NoCall`), or reads the call;
- arguments stream once the name and the place where they begin are known (`_HEAD`). In forms that show too
  late that they are a call, the whole object has to be there first, and its call comes in one piece;
- white space before, between and after calls is no text, if there is nothing else beside them;
- if max_tokens cuts the text off within a call, the unfinished call is no text: its name is passed on if it
  is complete (`_CutOff`).
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, cast

from tutti.base.ids import new_id
from tutti.engines.answers import ToolCall
from tutti.features.text.jsoncopy import JsonCopy, JsonEnd

_CLOSERS = {
    "<tool_call>": "</tool_call>",
    "<tools>": "</tools>",
    "<name>": "</arguments>",
    "<|python_tag|>": "",
    "[TOOL_CALLS]": "",
    "```": "```",
}
"""By the opener, which announces a call: the closer, which ends it. Bare JSON needs neither."""

_KEYS = ("name", "function", "type", "arguments", "parameters", "id", "tool_calls")
"""The keys that an object with a call in it may begin with."""

_OPENER = re.compile("|".join(map(re.escape, _CLOSERS)))
_FIRST = re.compile("[<[`]")
"""The characters that openers begin with."""
_LONGEST = max(map(len, _CLOSERS))
_BEGINNING = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"(?P<key>\w*)(?P<closed>"?))?)?')
"""The beginning of an object, or of a list of objects, as far as its first key."""
_FIRST_NAME = re.compile(r'\s*(?:\[\s*)?\{\s*"name"\s*:\s*"(?P<name>[^"\\]*)"')
_NAMED = re.compile(r"\s*(?P<name>[\w.-]+)(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?\s*(?=\{)")
"""A name before the arguments, after `[TOOL_CALLS]`."""
_NAMED_BEGINNING = re.compile(r"\s*[\w.-]*(?:\[[\w\]\[]*)?\s*")
"""A text that may become such a name."""
_JSON_BEGINS = re.compile(r"\{|\[(?!T)")  # but no [TOOL_CALLS]
_LINE_OF_JSON = re.compile(rf"\n(?={_JSON_BEGINS.pattern})")
_NAME_END = "</name><arguments>"
_NOT_SCHEMA = r'\{\s*(?:\}|"(?!(?:type|properties|description|\$schema)")[^"\\]*")'
"""Arguments that don't begin as a JSON schema does."""
_HEAD = re.compile(
    r'\s*(?P<list>\[\s*)?\{\s*(?P<nested>"type"\s*:\s*"function"\s*,\s*"function"\s*:\s*\{\s*)?'
    rf'"name"\s*:\s*"(?P<name>[^"\\]*)"\s*,\s*(?:"arguments"\s*:\s*(?=\{{)|"parameters"\s*:\s*(?={_NOT_SCHEMA}))'
)
"""A call up to the beginning of its arguments. An object whose `parameters` are a schema is no call: the
model repeats a function as it was offered."""
_NAME_BEGINS = re.compile(r'\s*(?:\[\s*)?\{\s*"name"\s*:')
_LEAST_CUT_OPENER = 4
"""So many characters of an opener at the end of a text that was cut off are taken for one."""


class _Undecided(Exception):
    """It takes more text to decide whether this is a call."""


class _NoCall(Exception):
    """The text that was held back is no call."""


class _CutOff(Exception):
    """The text was becoming a call when max_tokens ended it."""


class ToolParser:
    """Parses one text, which may call the functions called `names`.

    With `forced`, the request demands a call, so the text is a call and nothing else.
    """

    def __init__(self, names: Collection[str], *, forced: bool = False) -> None:
        self._names = frozenset(names)
        self._forced = forced
        self._held = ""
        self._final = False
        self._cut_off = False
        self._arguments: JsonCopy | None = None
        """The copy of the arguments that are being passed on."""
        self._tail: JsonCopy | None = None
        """The rest of the call's object after its arguments, which is left out."""
        self._in_list = False
        self._json_end = JsonEnd()
        self._closer: str | None = None
        """The end of the block of calls that is being read; None outside of a block."""
        self._bare = True
        """True while there was nothing but calls and white space: white space before a call is no text."""
        self._line_begins = True
        self.count = 0
        """The number of calls found so far."""

    def feed(self, text: str) -> list[str | ToolCall]:
        """Read the next piece of the text, and return what is decided by now."""
        self._held += text
        return list(self._read())

    def finish(self, *, cut_off: bool = False) -> list[str | ToolCall]:
        """Return all that was held back, now that the text has ended.

        With `cut_off`, max_tokens ended it: the beginning of a call is then no text.
        """
        self._final, self._cut_off = True, cut_off
        if cut_off and (size := _unfinished_opener(self._held)) >= _LEAST_CUT_OPENER:
            self._held = self._held[:-size]
        return list(self._read())

    def _read(self) -> Iterator[str | ToolCall]:
        try:
            while self._held:
                if self._arguments or self._tail:
                    yield from self._read_call()
                else:
                    yield from self._read_text() if self._closer is None else self._read_block(self._closer)
        except _Undecided:
            return
        except _CutOff:
            yield from self._cut_call()

    def _read_call(self) -> Iterator[ToolCall]:
        """Pass on more of the arguments of a call, or leave out more of what follows them."""
        if self._arguments:
            copied, end = self._arguments.copy(self._held)
            yield ToolCall(index=self.count - 1, arguments=copied)
            if self._arguments.ended:
                self._arguments = None
        else:
            assert self._tail is not None, "nothing of a call is left"
            _, end = self._tail.copy(self._held)
            if self._tail.ended:
                self._tail = None
        self._drop(end)

    def _cut_call(self) -> Iterator[ToolCall]:
        """Return the call that was cut off, if its name is complete. Its arguments had not begun."""
        beginning = _FIRST_NAME.search(self._held)
        if beginning and beginning["name"] in self._names:
            yield self._new_call(beginning["name"], "")
        self._drop(len(self._held))

    def _read_text(self) -> Iterator[str | ToolCall]:
        """Pass on text up to the next call, and begin with that call."""
        start, opener = self._next_opener()
        blank = self._bare and not self._held[:start].strip()
        if not blank or (self._final and opener is None and not self.count):
            yield from self._pass(start)
            start = 0
        if opener is None:
            raise _Undecided
        body = start + len(opener)
        try:
            calls = self._calls_at(body, opener)
        except _NoCall:
            yield from self._pass(body or 1) if opener else self._pass(start + 1)
            return
        self._closer = _CLOSERS.get(opener, "")
        yield from calls

    def _read_block(self, closer: str) -> Iterator[str | ToolCall]:
        """Read the next call of a block, or the end of the block."""
        rest = self._held.lstrip()
        if not self._final and (not rest or (closer.startswith(rest) and rest != closer)):
            raise _Undecided
        if closer and rest.startswith(closer):
            self._drop(len(self._held) - len(rest) + len(closer))
            self._closer = None
            return
        rest = self._held.lstrip(" \t\r\n,;")
        if self._in_list and rest.startswith("]"):
            self._in_list = False
            self._drop(len(self._held) - len(rest) + 1)
            return
        try:
            if rest[:1] not in ("{", "["):
                raise _Undecided if not (rest or self._final) else _NoCall
            yield from self._calls_at(len(self._held) - len(rest), "")
        except _NoCall:
            self._drop(len(self._held) - len(self._held.lstrip()))
            self._closer = None

    def _next_opener(self) -> tuple[int, str | None]:
        """Return the position where a call may begin, and its opener, which is empty for bare JSON.

        If there is none: the position up to which the text is surely no opener, and None.
        """
        found, json_start = _OPENER.search(self._held), self._next_json()
        if json_start is not None and (found is None or json_start < found.start()):
            return json_start, ""
        if found:
            return found.start(), found[0]
        return len(self._held) - (0 if self._final else _unfinished_opener(self._held)), None

    def _next_json(self) -> int | None:
        """Return the position where bare JSON begins that may be a call; None if there is none."""
        lead = len(self._held) - len(self._held.lstrip()) if self._bare else 0
        if (self._bare or self._line_begins) and _JSON_BEGINS.match(self._held, lead):
            return lead
        line = _LINE_OF_JSON.search(self._held)
        return line.end() if line else None

    def _pass(self, size: int) -> Iterator[str]:
        """Pass on the first `size` characters as text."""
        text = self._held[:size]
        self._drop(size)
        self._bare = self._bare and not text.strip()
        if text:
            self._line_begins = text.endswith("\n")
            yield text

    def _drop(self, size: int) -> None:
        """Drop the first `size` characters of the held text."""
        self._held = self._held[size:]
        self._json_end = JsonEnd()

    def _calls_at(self, start: int, opener: str) -> list[ToolCall]:
        """Return the calls of the JSON value at `start`, and drop the held text up to its end.

        Of a call whose arguments stream, only the beginning is read.
        """
        name = None
        if opener == "```":
            start = self._after_json_tag(start)
        elif opener == "[TOOL_CALLS]":
            name, start = self._called_name(start)
        elif opener == "<name>":
            name, start = self._tagged_name(start)
        if name is None:
            self._judge_beginning(start)
            if head := _HEAD.match(self._held, start):
                return [
                    self._begin_call(head["name"], head.end(), closers=2 if head["nested"] else 1, head=head)
                ]
        elif self._held[start : start + 1] == "{":
            return [self._begin_call(name, start, closers=0)]
        end = self._json_end.find(self._held, start)
        if end is None:
            raise self._unfinished(start, opener)
        found = list(_calls(_parse(self._held[start:end]), name))
        if not found or any(function not in self._names for function, _ in found):
            raise _NoCall
        self._drop(end)
        return [self._new_call(function, arguments) for function, arguments in found]

    def _new_call(self, name: str, arguments: str) -> ToolCall:
        self.count += 1
        return ToolCall(index=self.count - 1, id=new_call_id(), name=name, arguments=arguments)

    def _begin_call(
        self, name: str, arguments: int, *, closers: int, head: re.Match[str] | None = None
    ) -> ToolCall:
        """Begin to pass on a call whose arguments begin at the position `arguments`.

        `closers` is the number of braces that end the call's object after them.
        """
        if name not in self._names:
            raise _NoCall
        self._in_list = self._in_list or bool(head and head["list"])
        self._drop(arguments)
        self._arguments = JsonCopy()
        self._tail = JsonCopy(closers) if closers else None
        return self._new_call(name, "")

    def _unfinished(self, start: int, opener: str) -> Exception:
        """Return the exception to raise because the held text may be an unfinished call."""
        if not self._final:
            return _Undecided()
        is_call = self._forced or opener not in ("", "```") or _NAME_BEGINS.match(self._held, start)
        return _CutOff() if self._cut_off and is_call else _NoCall()

    def _after_json_tag(self, start: int) -> int:
        """Return the position after the `json` of a fence, if it is there."""
        tag = self._held[start : start + 4]
        if "json".startswith(tag) and tag != "json" and not self._final:
            raise _Undecided
        return start + 4 if tag == "json" else start

    def _called_name(self, start: int) -> tuple[str | None, int]:
        """Read a name before the arguments: Mistral's later models write `[TOOL_CALLS]name[ARGS]{...}`.

        Returns the name, or None, and the position after it.
        """
        if named := _NAMED.match(self._held, start):
            if named["name"] not in self._names:
                raise _NoCall
            return named["name"], named.end()
        beginning = _NAMED_BEGINNING.match(self._held, start)
        if beginning and beginning.end() == len(self._held):
            raise self._unfinished(start, "[TOOL_CALLS]")
        return None, start

    def _tagged_name(self, start: int) -> tuple[str, int]:
        """Read the tags of `<name>name</name><arguments>{...}</arguments>`, with white space between them.

        Returns the name, and the position where the arguments begin.
        """
        before, brace, _ = self._held[start:].partition("{")
        written = "".join(before.split())
        names = [name for name in self._names if f"{name}{_NAME_END}".startswith(written)]
        if not names:
            raise _NoCall
        if not brace:
            raise self._unfinished(start, "<name>")
        if not written.endswith(_NAME_END):
            raise _NoCall
        return names[0], start + len(before)

    def _judge_beginning(self, start: int) -> None:
        """Raise _NoCall as soon as the text at `start` cannot become a call of one of the functions."""
        beginning = _BEGINNING.match(self._held, start)
        key, closed = (beginning["key"] or "", beginning["closed"]) if beginning else ("", None)
        if closed:
            plausible = key in _KEYS
        else:
            plausible = bool(beginning) and beginning.end() == len(self._held)
            plausible = plausible and any(known.startswith(key) for known in _KEYS)
        named = _FIRST_NAME.match(self._held, start)
        if not plausible or (named and named["name"] not in self._names):
            raise _NoCall


def new_call_id() -> str:
    return new_id("call").replace("-", "_")


def _unfinished_opener(text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of an opener."""
    first = max(0, len(text) - _LONGEST + 1)
    while mark := _FIRST.search(text, first):
        if any(opener.startswith(text[mark.start() :]) for opener in _CLOSERS):
            return len(text) - mark.start()
        first = mark.end()
    return 0


def _parse(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise _NoCall from None


def _calls(value: Any, name: str | None) -> Iterator[tuple[str, str]]:
    """Yield the name and the arguments (JSON) of each call, in any of the shapes that models write.

    `name` is given where it stands before the value, which then is the arguments.
    """
    if name is not None:
        yield name, _arguments(value)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _calls(item, None)
    elif isinstance(value, dict):
        yield from _calls_of(cast(dict[str, Any], value))
    else:
        raise _NoCall


def _calls_of(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the calls in an object.

    Raises _NoCall if it has a description: it is then a function as offered, which small models repeat.
    """
    function = value.get("function", value)
    if isinstance(value.get("tool_calls"), list):
        yield from _calls(value["tool_calls"], None)
    elif isinstance(function, dict):
        called = cast(dict[str, Any], function)
        if "description" in called:
            raise _NoCall
        yield str(called.get("name")), _arguments(called.get("arguments", called.get("parameters")))
    else:
        yield str(function), _arguments(value.get("arguments", value.get("parameters")))


def _arguments(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps({} if value is None else value, ensure_ascii=False)
