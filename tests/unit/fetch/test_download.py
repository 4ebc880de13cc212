"""Downloads from addresses that clients name, against a real server that cuts, changes and refuses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.fleet import until
from tests.support.hub import Fault, Hub, blob_id
from tests.support.weights import noise

from tutti.fetch.download import NotDownloaded, download
from tutti.fetch.fetch import Fetcher

DATA = noise(300_000)
LOOPBACK = Fetcher(lambda _: True)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(repos={"me/it": {"x.gguf": DATA}}) as hub:
        yield hub


async def get(
    hub: Hub, path: Path, max_bytes: int = 1 << 20, fetcher: Fetcher = LOOPBACK
) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    url = f"{hub.url}/me/it/resolve/main/x.gguf?signature=secret"
    await download(fetcher, url, path, max_bytes, lambda *at: seen.append(at))
    return seen


async def has_sent(hub: Hub, size: int) -> None:
    """And no more. It counts a piece a moment after it has sent it."""
    await until(lambda: hub.sent("x.gguf") >= size)
    assert hub.sent("x.gguf") == size


async def test_a_whole_file_through_a_redirect(hub: Hub, tmp_path: Path) -> None:
    seen = await get(hub, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    await get(hub, tmp_path / "x")
    await has_sent(hub, len(DATA))


async def test_a_cut_download_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.faults["x.gguf"] = Fault(times=2, cut_after=100_000)
    await get(hub, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    ranges = [it.headers["range"] for it in hub.requests if "range" in it.headers]
    assert ranges
    assert hub.sent("x.gguf") < 400_000


async def test_another_process_goes_on_too(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA[:50_000])
    mark(tmp_path / "x", blob_id(DATA))
    await get(hub, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    await has_sent(hub, len(DATA) - 50_000)


@pytest.mark.parametrize("fault", [Fault(ignore_range=True), Fault(times=0)], ids=["whole", "part"])
async def test_a_file_that_changed_meanwhile_starts_anew(hub: Hub, tmp_path: Path, fault: Fault) -> None:
    """Whatever the server makes of If-Range."""
    (tmp_path / "x").write_bytes(b"old" * 1000)
    mark(tmp_path / "x", "old")
    hub.faults["x.gguf"] = fault
    await get(hub, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def mark(path: Path, etag: str) -> None:
    about = {"etag": f'"{etag}"', "total_bytes": len(DATA)}
    path.with_name(path.name + ".mark").write_text(json.dumps(about))


async def test_too_large_a_file_is_refused_before_it_comes(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotDownloaded, match="has 300000 bytes; at most 1000"):
        await get(hub, tmp_path / "x", max_bytes=1000)
    assert hub.sent("x.gguf") == 0 or not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "answered 404"), (403, "a signed URL may have expired"), (410, "answered 410")],
)
async def test_a_refusal_is_final_and_says_what_to_do(
    hub: Hub, tmp_path: Path, status: int, reason: str
) -> None:
    hub.faults["x.gguf"] = Fault(status=status)
    with pytest.raises(NotDownloaded, match=reason) as caught:
        await get(hub, tmp_path / "x")
    assert "secret" not in str(caught.value)


async def test_a_server_that_recovers_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults["x.gguf"] = Fault(times=2, status=503)
    await get(hub, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


async def test_the_loopback_address_is_out_of_reach(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotDownloaded, match="not a public address"):
        await get(hub, tmp_path / "x", fetcher=Fetcher())
    assert not hub.requests
