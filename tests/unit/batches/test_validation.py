"""The check of a whole input file."""

import tracemalloc
from collections.abc import AsyncIterator, Iterable

import pytest

from tutti.base.errors import InvalidRequest
from tutti.features.batches.endpoints import check_endpoint
from tutti.features.batches.validation import Findings, examine
from tutti.features.batches.window import window_s

CHAT = "/v1/chat/completions"


async def found(lines: Iterable[str]) -> Findings:
    async def each() -> AsyncIterator[bytes]:
        for line in lines:
            yield line.encode()

    return await examine(each(), CHAT)


def request(custom_id: str, model: str = "m") -> str:
    return f'{{"custom_id": "{custom_id}", "body": {{"model": "{model}"}}}}'


async def test_lines_are_counted_and_the_model_is_that_of_the_first() -> None:
    findings = await found([request("a"), "", "  ", request("b", "other")])
    assert findings == Findings(2, "m", [])


async def test_an_id_used_twice_names_both_lines() -> None:
    many = [request(f"r{number}") for number in range(2500)]
    findings = await found([*many, "", request("r7"), request("r2400")])
    assert [(it.line, it.code, it.message) for it in findings.faults] == [
        (2502, "duplicate_custom_id", "custom_id r7 is that of line 8 already."),
        (2503, "duplicate_custom_id", "custom_id r2400 is that of line 2401 already."),
    ]


async def test_faults_come_in_the_order_of_the_lines_and_are_not_endless() -> None:
    findings = await found([request("a"), request("a"), *("{" for _ in range(100))])
    assert len(findings.faults) == 20
    assert [it.line for it in findings.faults] == list(range(2, 22))


@pytest.mark.parametrize("lines", [[], ["", "   "]])
async def test_a_file_without_requests_is_a_fault(lines: list[str]) -> None:
    (fault,) = (await found(lines)).faults
    assert (fault.code, fault.line) == ("empty_file", None)


async def test_a_line_that_cannot_be_read_is_named() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield request("a").encode()
        raise InvalidRequest("Line 2 is longer than 16777216 bytes.")

    (fault,) = (await examine(broken(), CHAT)).faults
    assert (fault.line, fault.code) == (2, "invalid_line")


async def test_memory_does_not_grow_with_the_file() -> None:
    tracemalloc.start()
    findings = await found(request(f"a-custom-id-that-takes-some-room-{number}") for number in range(40_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert findings.total_lines == 40_000
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86_400), ("30m", 1800), ("3d", 259_200), ("45s", 45), ("720h", 2_592_000)]
)
def test_windows(text: str, seconds: int) -> None:
    assert window_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "h", "24", "-1h", "1.5h", "31d", "9999999d", "24h ", "1w"])
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        window_s(text)
    assert error.value.param == "completion_window"


@pytest.mark.parametrize("endpoint", ["/v1/audio/speech", "/v1/images/generations", "", "/v1/batches"])
def test_endpoints_that_are_not_served_in_batches(endpoint: str) -> None:
    check_endpoint(CHAT)
    with pytest.raises(InvalidRequest) as error:
        check_endpoint(endpoint)
    assert error.value.param == "endpoint"
    assert CHAT in error.value.message
