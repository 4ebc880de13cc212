"""Files, good and bad, with what our check and the official ones say of them.

The 1.x client checks what stands in training data; the later ones see only that each line is an object, and
leave the rest to the server. So ours is the 1.x client's, and where it is not, `why` says so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow
from pyarrow import parquet

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@dataclass(frozen=True)
class Case:
    """`ours`, `v1`, `later`: whether it passes."""

    name: str
    data: bytes
    ours: bool
    v1: bool
    later: bool = True
    purpose: str = "fine-tune"
    suffix: str = ".jsonl"
    why: str = ""


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def user(content: Any = "hi", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any = "hello", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def system(content: Any = "be kind") -> dict[str, Any]:
    return {"role": "system", "content": content}


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def image(url: Any = PIXEL) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text(value: Any = "look") -> dict[str, Any]:
    return {"type": "text", "text": value}


def preference(**changed: Any) -> dict[str, Any]:
    good = {
        "input": {"messages": [user()]},
        "preferred_output": [assistant("yes")],
        "non_preferred_output": [assistant("no")],
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def good(name: str, *values: Any, **more: Any) -> Case:
    return Case(name, lines(*values), True, True, **more)


def bad(name: str, *values: Any, **more: Any) -> Case:
    """For a 1.x client, and for us."""
    return Case(name, lines(*values), False, False, **more)


def newer(name: str, *values: Any) -> Case:
    return Case(name, lines(*values), True, False, why="the later clients' constants have tools")


def never(name: str, data: bytes, **more: Any) -> Case:
    return Case(name, data, False, False, False, **more)


JSON = [
    never("empty file", b""),
    never("no JSON", b"hello\n"),
    never("cut off", b'{"text": "a"'),
    never("two objects in a line", b'{"text": "a"} {"text": "b"}\n'),
    never("a list", b'["text"]\n'),
    never("a string", b'"text"\n'),
    never("null", b"null\n"),
    never("not UTF-8", b'{"text": "\xff"}\n'),
    Case(
        "byte order mark",
        b'\xef\xbb\xbf{"text": "a"}\n',
        True,
        False,
        False,
        why="Excel and PowerShell write it",
    ),
    never("only the second line is broken", b'{"text": "a"}\n{"text": \n'),
    never("control character", b'{"text": "a\x01"}\n'),
    never("only empty lines", b"\n \n\n"),
    Case("empty line", b'{"text": "a"}\n\n{"text": "b"}\n', True, False, why="the later clients skip them"),
    Case("CRLF", b'{"text": "a"}\r\n{"text": "b"}\r\n', True, True),
    Case("no line end at the end", b'{"text": "a"}', True, True),
    Case("same name twice", b'{"text": "a", "text": "b"}', True, True),
    Case("NaN", b'{"text": "a", "x": NaN}', False, False),
    Case("NaN in eval", b'{"x": NaN}', False, True, purpose="eval", why="JSON has no NaN"),
    Case("half a character", b'{"text": "\\ud83d"}', False, True, why="no tokeniser can take it"),
]
TRAINING = [
    good("general", {"text": "a"}, {"text": "b"}),
    good("general in parts", {"text": [text()]}),
    bad("general is a number", {"text": 1}),
    bad("general with more columns", {"text": "a", "label": 1}),
    bad("no format", {"question": "a"}),
    bad("no columns", {}),
    bad("two formats", {"text": "a", "messages": [user(), assistant()]}),
    bad("formats change", {"text": "a"}, {"prompt": "a", "completion": "b"}),
    good("instruction", {"prompt": "a", "completion": "b"}),
    good("instruction with an image", {"prompt": [text(), image()], "completion": "b"}),
    bad("image in completion", {"prompt": "a", "completion": [image()]}),
    bad("no completion", {"prompt": "a"}),
    bad("completion is null", {"prompt": "a", "completion": None}),
    good("conversation", chat(system(), user(), assistant())),
    good("conversation in turns", chat(user(), assistant(), user(), assistant())),
    good("assistant only", chat(assistant())),
    good("system in the middle", chat(user(), system(), assistant())),
    good("unknown fields of messages", chat(user(name="Al"), assistant())),
    good("reasoning", chat(user(), assistant(reasoning="hm"))),
    bad("no assistant", chat(user())),
    bad("messages are empty", chat()),
    bad("messages are no list", {"messages": "hi"}),
    bad("message is no object", chat("hi")),
    bad("no role", chat({"content": "hi"}, assistant())),
    bad("role is a number", chat({"role": 1, "content": "hi"}, assistant())),
    bad("unknown role", chat({"role": "human", "content": "hi"}, assistant())),
    bad("no content", chat({"role": "user"}, assistant())),
    bad("content is null", chat(user(None), assistant())),
    bad("content is a number", chat(user(1), assistant())),
    bad("user twice", chat(user(), user(), assistant())),
    bad("conversation with more columns", chat(user(), assistant(), id=1)),
    good("weights", chat(user(), assistant(weight=0), user(), assistant(weight=1))),
    good("weight is a boolean", chat(user(), assistant(weight=True))),
    bad("weight is 2", chat(user(), assistant(weight=2))),
    bad("weight is a fraction", chat(user(), assistant(weight=1.0))),
    bad("weight is null", chat(user(), assistant(weight=None))),
    good("image", chat(user([text(), image()]), assistant([text()]))),
    bad("image and plain text", chat(user([text(), image()]), assistant())),
    bad("image from the assistant", chat(user([text()]), assistant([image()]))),
    bad("image by address", chat(user([image("https://a/b.png")]), assistant([text()]))),
    bad("image of another type", chat(user([image("data:image/gif;base64,a")]), assistant([text()]))),
    bad("image without url", chat(user([{"type": "image_url", "image_url": {}}]), assistant([text()]))),
    bad("image url is no object", chat(user([{"type": "image_url", "image_url": "a"}]), assistant([text()]))),
    bad("image with weight 1", chat(user([image()], weight=1), assistant([text()]))),
    good("ten images", chat(user([image()] * 10), assistant([text()]))),
    bad("eleven images", chat(user([image()] * 11), assistant([text()]))),
    bad(
        "eleven images in two turns",
        chat(user([image()] * 6), assistant([text()]), user([image()] * 5), assistant([text()])),
    ),
    bad("part without type", chat(user([{"text": "a"}]), assistant([text()]))),
    bad("part of unknown type", chat(user([{"type": "audio"}]), assistant([text()]))),
    bad("part is no object", chat(user(["a"]), assistant([text()]))),
    bad("text part without text", chat(user([{"type": "text"}]), assistant([text()]))),
    good("preference", preference()),
    bad("preferred output is no list", preference(preferred_output=assistant())),
    bad("two outputs", preference(preferred_output=[assistant(), assistant()])),
    bad("no output", preference(non_preferred_output=[])),
    bad("non-preferred output is missing", preference(non_preferred_output=None)),
    bad("output of the user", preference(preferred_output=[user()])),
    bad("output without content", preference(preferred_output=[{"role": "assistant"}])),
    bad("input ends with the assistant", preference(input=chat(user(), assistant()))),
    bad("input without messages", preference(input={})),
    bad("input is a list", preference(input=[user()])),
    bad("input without a message", preference(input=chat())),
]
TOOLS = [
    newer("tools", chat(user(), assistant(), tools=[TOOL])),
    newer(
        "tool calls without content",
        chat(user(), {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "12"}),
    ),
    newer(
        "parallel tool calls",
        chat(
            user(),
            assistant(None, tool_calls=[CALL, CALL]),
            {"role": "tool", "content": "12"},
            {"role": "tool", "content": "13"},
            assistant(),
        ),
    ),
    bad("tools are no list", chat(user(), assistant(), tools={})),
    bad("tool without a name", chat(user(), assistant(), tools=[{"function": {}}])),
    bad("tool call without a function", chat(user(), {"role": "assistant", "tool_calls": [{}]})),
    bad("user calls tools", chat({"role": "user", "tool_calls": [CALL]}, assistant())),
    Case(
        "tool calls are no list",
        lines(chat(user(), assistant(tool_calls="weather"))),
        False,
        True,
        why="1.x does not look at them",
    ),
]
EVAL = [
    good("eval objects", {"a": 1}, {"b": [2]}, purpose="eval"),
    good("eval empty object", {}, purpose="eval"),
    never("eval list", b"[1]\n", purpose="eval"),
    Case("csv", b"a,b\n1,2\n", True, True, purpose="eval", suffix=".csv"),
    Case("csv quoted", b'a,b\n"1,\n2",2\n', True, True, purpose="eval", suffix=".csv"),
    Case("csv empty cell", b"a,b\n1,\n", True, True, purpose="eval", suffix=".csv"),
    never("csv short row", b"a,b\n1\n", purpose="eval", suffix=".csv"),
    never("csv long row", b"a,b\n1,2,3\n", purpose="eval", suffix=".csv"),
    never("csv header only", b"a,b\n", purpose="eval", suffix=".csv"),
    never("csv empty lines", b"\n\n", purpose="eval", suffix=".csv"),
    never("csv not UTF-8", b"a,b\n1,\xff\n", purpose="eval", suffix=".csv"),
    never("csv to train with", b"text\na\n", suffix=".csv"),
]


def table(**columns: Sequence[Any]) -> bytes:
    file = BytesIO()
    kinds = {name: pyarrow.list_(pyarrow.int64()) for name, column in columns.items() if not column}
    arrays = {name: pyarrow.array(column, kinds.get(name)) for name, column in columns.items()}
    parquet.write_table(pyarrow.table(arrays), file)
    return file.getvalue()


def rows(name: str, data: bytes, ours: bool, v1: bool, later: bool, **more: Any) -> Case:
    return Case(name, data, ours, v1, later, suffix=".parquet", **more)


IDS = [[1, 2, 3], [4]]
PARQUET = [
    rows("tokens", table(input_ids=IDS), True, True, True),
    rows("tokens, masks, labels", table(input_ids=IDS, attention_mask=IDS, labels=IDS), True, True, True),
    rows(
        "positions",
        table(input_ids=IDS, position_ids=IDS),
        True,
        False,
        True,
        why="the later clients know the column",
    ),
    rows("unknown column", table(input_ids=IDS, text=["a", "b"]), False, False, False),
    rows("no tokens", table(labels=IDS), False, False, False),
    rows("no rows", table(input_ids=[]), False, False, False),
    rows("no Parquet", b"hello", False, False, False),
    rows("cut off Parquet", table(input_ids=IDS)[:-9], False, False, False),
    rows("Parquet to evaluate", table(input_ids=IDS), False, False, False, purpose="eval"),
    rows("tokens are texts", table(input_ids=["a"]), False, True, True, why="the clients look at names only"),
    rows(
        "rows are empty", table(input_ids=[[]] * 2), False, True, True, why="the clients look at names only"
    ),
    rows(
        "labels are shorter",
        table(input_ids=IDS, labels=[[1], [4]]),
        False,
        True,
        True,
        why="the clients look at names only",
    ),
    rows("gaps", table(input_ids=[[1, None]]), False, True, True, why="the clients look at names only"),
]
CASES = [*JSON, *TRAINING, *TOOLS, *EVAL, *PARQUET]
