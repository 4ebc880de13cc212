"""Hugging Face's protocol: names of repositories, the listing of one at a revision, addresses of files."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tutti.base.settings import Settings
from tutti.catalog.sources.base import SourceFailed
from tutti.catalog.weights import is_data, is_safe_name

if TYPE_CHECKING:
    from tutti.catalog.sources.web import Web  # needs an HTTP client, which reading a catalogue does not

_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[\w][\w./-]*))?(:(?P<rest>.+))?",
    re.ASCII,
)
SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_SECONDARY = re.compile(r"(^|/)(mmproj|imatrix)", re.IGNORECASE)  # helpers that lie beside the weights
_QUANTS = ("Q4_K_M", "Q4_K", "MXFP4", "Q4_K_S", "Q4_0", "Q5_K_M", "Q8_0", "Q6_K", "F16", "BF16")


@dataclass(frozen=True)
class HubName:
    """A name on the hub, `owner/repo@revision:rest`; `rest` is a file, or for a GGUF repository a
    quantisation."""

    repo: str
    revision: str
    rest: str


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. `digest` is a SHA-256 for large files, a git blob id for small ones."""

    name: str
    size_bytes: int
    digest: str

    @property
    def local_name(self) -> str:
        """The name in the model's folder. The parts of a GGUF file may be in a sub-folder of the repository,
        but llama.cpp wants them at the top."""
        return PurePosixPath(self.name).name if self.name.endswith(".gguf") else self.name


@dataclass(frozen=True)
class Listing:
    """A repository at a commit. `about` is the hub's own description, unverified."""

    repo: str
    commit: str
    files: tuple[HubFile, ...]
    about: dict[str, Any]


class _Lfs(msgspec.Struct):
    sha256: str = ""


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blobId: str | None = None
    lfs: _Lfs | None = None


class _Answer(msgspec.Struct):
    sha: str
    siblings: list[_Sibling] = []


def parse_hub(text: str) -> HubName | None:
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        return None
    return HubName(match["repo"], match["revision"] or "main", match["rest"] or "")


def file_url(settings: Settings, name: HubName) -> str:
    revision = quote(name.revision, safe="")
    return f"{settings.hub_url.rstrip('/')}/{name.repo}/resolve/{revision}/{quote(name.rest)}"


async def list_repo(web: "Web", settings: Settings, name: HubName) -> Listing:
    """List a repository at a revision. Raises SourceFailed."""
    base = settings.hub_url.rstrip("/")
    about = await web.json(
        f"{base}/api/models/{name.repo}/revision/{quote(name.revision, safe='')}?blobs=true"
    )
    try:
        answer = msgspec.convert(about, _Answer)
    except msgspec.ValidationError as error:
        raise SourceFailed(f"{base} describes {name.repo} in an unknown way: {error}") from error
    files = tuple(
        HubFile(s.rfilename, s.size or 0, (s.lfs.sha256 if s.lfs else "") or s.blobId or "")
        for s in answer.siblings
        if is_data(s.rfilename) and is_safe_name(s.rfilename)
    )
    return Listing(name.repo, answer.sha, files, about)


def choose_files(listing: Listing, rest: str, *, gguf: bool) -> tuple[HubFile, ...]:
    """Return the files of one model among all that the repository holds. Raises SourceFailed."""
    chosen = _choose_gguf(listing, rest) if gguf else _choose_snapshot(listing)
    if not chosen:
        offered = ", ".join(file.name for file in listing.files[:40]) or "no file of a format that is taken"
        raise SourceFailed(f"{listing.repo} has no {rest or 'weights'}; it has {offered}")
    return chosen


def has_gguf(listing: Listing) -> bool:
    return any(file.name.endswith(".gguf") for file in listing.files)


def _choose_gguf(listing: Listing, rest: str) -> tuple[HubFile, ...]:
    files = [f for f in listing.files if f.name.endswith(".gguf")]
    if rest.endswith(".gguf"):
        return _shards(files, [f for f in files if f.name == rest])
    files = [f for f in files if not _SECONDARY.search(f.name)]
    for quant in (rest,) if rest else _QUANTS:
        if found := [f for f in files if _is_quant(f.name, quant)]:
            return _shards(files, found)
    return _shards(files, files) if not rest else ()


def _is_quant(name: str, quant: str) -> bool:
    """Return whether the name of a file or its folder has the quantisation as a word: Q4_K is not Q4_K_M."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(quant)}(?![A-Za-z0-9_])", name, re.IGNORECASE) is not None


def _shards(files: list[HubFile], found: list[HubFile]) -> tuple[HubFile, ...]:
    """Return the best file found (shortest name first: no imatrix or other variants), with all of its
    parts."""
    if not found:
        return ()
    first = min(found, key=lambda f: (SHARD.sub("", f.name).count("/"), len(f.name), f.name))
    shard = SHARD.search(first.name)
    if shard is None:
        return (first,)
    stem = first.name[: shard.start()]
    parts = [f for f in files if f.name.startswith(stem) and SHARD.fullmatch(f.name[len(stem) :])]
    if len(parts) != int(shard[2]):
        raise SourceFailed(f"{len(parts)} of the {int(shard[2])} parts of {stem} are there")
    return tuple(sorted(parts, key=lambda f: f.name))


def _choose_snapshot(listing: Listing) -> tuple[HubFile, ...]:
    """Return safetensors and what belongs to them, without other formats and without copies in
    sub-folders."""
    weights = [f for f in listing.files if f.name.endswith(".safetensors") and "/" not in f.name]
    indexed = [f for f in weights if not f.name.startswith("consolidated")]
    others = [
        f
        for f in listing.files
        if not f.name.endswith((".safetensors", ".gguf", ".onnx"))
        and ("/" not in f.name or f.name.endswith("_Pooling/config.json"))
    ]
    return (*(indexed or weights), *others) if weights else ()
