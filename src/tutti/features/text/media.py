"""Fetches and checks the images, video and audio of a conversation: engines get them as data: URLs."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, cast

from tutti.base.errors import InvalidRequest
from tutti.base.model import Capability, Model
from tutti.engines.calls import Json
from tutti.fetch.fetch import Fetcher

_TIMEOUT_S = 30.0
_MIB = 1024 * 1024
_MOST_PARTS = 64
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]*)*;base64,(?P<data>.*)", re.S)


class _Kind(NamedTuple):
    """One kind of media. `type` is the beginning of its content type."""

    capability: Capability
    noun: str
    type: Literal["image/", "video/", "audio/"]
    most_bytes: int


_KINDS = {
    "image_url": _Kind("vision", "images", "image/", 32 * _MIB),
    "video_url": _Kind("video", "video", "video/", 256 * _MIB),
    "audio_url": _Kind("audio", "audio", "audio/", 64 * _MIB),
    "input_audio": _Kind("audio", "audio", "audio/", 64 * _MIB),
}


def require_support(messages: Sequence[Json], model: Model) -> None:
    """Raise InvalidRequest if there is a part that the model cannot take, or too many; name the first one."""
    count = 0
    for param, part in _media(messages):
        count += 1
        kind = _KINDS[part["type"]]
        if kind.capability not in model.capabilities:
            raise InvalidRequest(
                f"{model.name} cannot take {kind.noun}: remove this part, or use a model that can.",
                param=param,
            )
    if count > _MOST_PARTS:
        raise InvalidRequest(f"There are {count} media parts; at most {_MOST_PARTS} fit.", param="messages")


def has_any(messages: Sequence[Json]) -> bool:
    return any(True for _ in _media(messages))


async def embed(messages: Sequence[Json], fetcher: Fetcher) -> list[Json]:
    """Return the messages with all media as data. Raise InvalidRequest, naming the part, for a bad one."""
    return [
        await _embed_message(message, f"messages.{index}", fetcher) for index, message in enumerate(messages)
    ]


def _media(messages: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    """Yield each part that is media, with the name of its field in the request."""
    for index, message in enumerate(messages):
        for place, part in enumerate(_parts(message)):
            if part["type"] in _KINDS:
                yield f"messages.{index}.content.{place}.{part['type']}", part


def _parts(message: Json) -> Sequence[Json]:
    return cast(list[Json], message["content"]) if isinstance(message["content"], list) else ()


async def _embed_message(message: Json, where: str, fetcher: Fetcher) -> Json:
    if not isinstance(message["content"], list):
        return message
    content = [
        await _embed_part(part, f"{where}.content.{index}.{part['type']}", fetcher)
        for index, part in enumerate(_parts(message))
    ]
    return {**message, "content": content}


async def _embed_part(part: Json, param: str, fetcher: Fetcher) -> Json:
    kind = _KINDS.get(part["type"])
    if kind is None:
        return part
    if part["type"] == "input_audio":
        _check_base64(part["input_audio"]["data"], kind, f"{param}.data")
        return part
    url = await _data_url(part[part["type"]]["url"], kind, f"{param}.url", fetcher)
    return {"type": part["type"], part["type"]: {"url": url}}


async def _data_url(url: str, kind: _Kind, param: str, fetcher: Fetcher) -> str:
    if url[:5].lower() == "data:":
        return _check_data_url(url, kind, param)
    fetched = await fetcher.fetch(url, kind.most_bytes, _TIMEOUT_S, param=param)
    _check_type(fetched.content_type, kind, param)
    return f"data:{fetched.content_type};base64,{base64.b64encode(fetched.data).decode()}"


def _check_data_url(url: str, kind: _Kind, param: str) -> str:
    found = _DATA_URL.fullmatch(url)
    if not found:
        raise InvalidRequest(f"`{param}` is not a base64 data: URL with a content type.", param=param)
    _check_type(found["type"].lower(), kind, param)
    _check_base64(found["data"], kind, param)
    return f"data:{found['type'].lower()};base64,{found['data']}"


def _check_type(content_type: str, kind: _Kind, param: str) -> None:
    if not content_type.startswith(kind.type):
        raise InvalidRequest(
            f"`{param}` is {content_type or 'of no known type'}, where {kind.type}* is expected.", param=param
        )


def _check_base64(data: str, kind: _Kind, param: str) -> None:
    try:
        size = len(binascii.a2b_base64(data, strict_mode=True))
    except ValueError as exc:
        raise InvalidRequest(f"`{param}` is not valid base64: {exc}.", param=param) from exc
    if not 0 < size <= kind.most_bytes:
        raise InvalidRequest(f"`{param}` has {size} bytes; from 1 to {kind.most_bytes} fit.", param=param)
