"""The payloads are those that a reading of the whole stream gives, however the bytes are cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutti.engines.sse import EventSplitter


def whole(stream: bytes) -> list[bytes]:
    """A slow reading of the HTML standard, with no state between reads to get wrong."""
    events: list[bytes] = []
    data: list[bytes] = []
    lines = re.split(rb"\r\n|\r|\n", stream)
    for line in lines[:-1]:
        name, _, value = line.partition(b":")
        if not line:
            if payload := b"\n".join(data):
                events.append(payload)
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return events


line = st.sampled_from(
    [
        b'data: {"a": "\xc3\xa9\xf0\x9f\x99\x82"}',
        b"data: [DONE]",
        b"data:x",
        b"data:  two spaces",
        b"data:",
        b"data",
        b"data ",
        b"datax: no",
        b": comment",
        b"event: ping",
        b"id: 1",
        b"retry: 10",
        b"",
        b"",
    ]
)
streams = st.lists(st.tuples(line, st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])), max_size=20).map(
    lambda lines: b"".join(text + end for text, end in lines)
)


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    places = draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


@given(streams.flatmap(lambda stream: st.tuples(st.just(stream), cut(stream))))
def test_any_cut_gives_the_payloads_of_the_whole(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    splitter = EventSplitter()
    assert [event for piece in pieces for event in splitter.feed(piece)] == whole(stream)


@given(st.binary(max_size=60))
def test_bytes_one_at_a_time_and_at_once_agree_on_anything(stream: bytes) -> None:
    splitter = EventSplitter()
    one_by_one = [event for byte in stream for event in splitter.feed(bytes([byte]))]
    assert one_by_one == EventSplitter().feed(stream) == whole(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\r\n\r\n: keep-alive\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"event: x\ndata: a\n\n", [b"a"]),
        (b"data: a\n\n\n\n", [b"a"]),
        (b"data: cut off\n", []),
    ],
)
def test_events(stream: bytes, events: list[bytes]) -> None:
    assert EventSplitter().feed(stream) == events


def test_a_long_event_in_many_small_reads_costs_linear_time() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: ") == []
    for _ in range(50_000):
        splitter.feed(b"x" * 100)
    assert splitter.feed(b"\n\n") == [b"x" * 5_000_000]
