"""The sources of uploaded models: all that `model_source` may be."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote

from tutti.base.errors import InvalidRequest
from tutti.catalog.sources.hub import HubName, parse_hub
from tutti.fetch.fetch import Fetcher

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.zst", ".tar")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_PARAM = "model_source"


@dataclass(frozen=True)
class HubSource:
    name: HubName


@dataclass(frozen=True)
class UrlSource:
    """An address. `filename` is the last part of its path; its query may hold credentials. `sha256` is empty
    if the client doesn't know it."""

    url: str
    filename: str
    sha256: str = ""

    @property
    def is_archive(self) -> bool:
        return self.filename.lower().endswith(ARCHIVES)


Source = HubSource | UrlSource


def parse_source(text: str, hub_url: str, fetcher: Fetcher) -> Source:
    """Return the source that the text names. Raise InvalidRequest if it names none that can be used."""
    text = text.strip()
    if text.startswith(hub_url.rstrip("/") + "/"):
        text = _repo_of(text[len(hub_url.rstrip("/")) + 1 :])
    if text.startswith("s3://"):
        text = _public_s3(text)
    if "://" in text:
        return _of_url(text, fetcher)
    name = parse_hub(text)
    if name is None:
        raise InvalidRequest(
            "It is neither owner/repo[@revision] nor an http(s):// or s3:// address.", param=_PARAM
        )
    return HubSource(name)


def shown(text: str) -> str:
    """Return the source without query and fragment, which may hold secrets."""
    return text.split("?", 1)[0].split("#", 1)[0] if "://" in text else text


def kind_of(text: str) -> Literal["huggingface", "s3", "url"]:
    if "://" not in text:
        return "huggingface"
    signed = any(sign in text for sign in ("X-Amz-Signature=", "X-Amz-Credential=", "AWSAccessKeyId="))
    return "s3" if text.startswith("s3://") or signed else "url"


def _of_url(url: str, fetcher: Fetcher) -> UrlSource:
    parsed = fetcher.check(url, param=_PARAM)
    name = PurePosixPath(parsed.path).name
    lower = name.lower()
    if lower.endswith(PICKLES):
        raise InvalidRequest(
            f"{name} is a pickle, which can hold code: upload safetensors or GGUF.", param=_PARAM
        )
    if lower.endswith(".safetensors"):
        raise InvalidRequest(
            f"{name} alone lacks the configuration: upload an archive that has it too.", param=_PARAM
        )
    if not lower.endswith((".gguf", *ARCHIVES)):
        raise InvalidRequest(
            f"{name or 'The address'} is neither a .gguf file nor an archive ({', '.join(ARCHIVES)}).",
            param=_PARAM,
        )
    return UrlSource(url.partition("#")[0], name, _sha256(parsed.raw_fragment))


def _sha256(fragment: str) -> str:
    """Return the hash of a fragment as pip writes it, `#sha256=...`; "" if there is none."""
    if not fragment.startswith("sha256="):
        return ""
    digest = fragment.removeprefix("sha256=").lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise InvalidRequest("What follows #sha256= is not 64 hexadecimal digits.", param=_PARAM)
    return digest


def _public_s3(text: str) -> str:
    """Return the https address of a public object. Others need a presigned address: this server has no
    credentials of its clients."""
    path, _, fragment = text.removeprefix("s3://").partition("#")
    bucket, _, key = path.partition("/")
    return f"https://{bucket}.s3.amazonaws.com/{quote(key)}" + (f"#{fragment}" if fragment else "")


def _repo_of(path: str) -> str:
    """Return owner/repo[@revision] for the path of a repository's page, owner/repo[/tree/revision]."""
    parts = path.split("?")[0].strip("/").split("/")
    revision = f"@{parts[3]}" if parts[2:3] == ["tree"] and len(parts) == 4 else ""
    return "/".join(parts[:2]) + revision if len(parts) == 2 or revision else f"/{path}"
