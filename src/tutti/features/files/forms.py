"""Bodies of uploads: multipart or urlencoded. A file part is never held in memory: it is handed on as it
comes."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tutti.base.errors import InvalidRequest
from tutti.features.files.dispositions import part_of
from tutti.http.validation import invalid_request

MAX_FIELDS = 32
MAX_FIELD_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024
"""Bytes of all headers of a part together."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class FilePart:
    """A file in a form. Read `data` to its end before the form goes on."""

    filename: str
    data: AsyncIterator[bytes]


@dataclass(frozen=True)
class _Begin:
    filename: str


@dataclass(frozen=True)
class _End:
    """The end of a file part."""


class MultipartForm:
    """A form that is read as it comes. Each method raises InvalidRequest if the body turns out not to be a
    form, or ends too early. Fields named in `lists` or spelt `name[]` may come several times: their values
    are joined by commas."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes], lists: Collection[str] = ()) -> None:
        self.fields: dict[str, str] = {}
        self._events = _events(_boundary(content_type), body, _Reader(self.fields, lists))

    async def file(self) -> FilePart | None:
        """Return the first file part, when `fields` has the fields before it. Return None if there is no
        file; `fields` has all then."""
        async for event in self._events:
            if isinstance(event, _Begin):
                return FilePart(event.filename, self._data())
        return None

    async def finish(self) -> None:
        """Read the fields behind the file. Raise InvalidRequest for a second file."""
        if await self.file() is not None:
            raise InvalidRequest("One file can be uploaded at a time.", param="file")

    async def _data(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            if isinstance(event, bytes):
                yield event
            elif isinstance(event, _End):
                return


class _Reader:
    """The callbacks of the parser. `events` has what it read of files since it was last emptied."""

    def __init__(self, fields: dict[str, str], lists: Collection[str]) -> None:
        self.events: list[_Begin | bytes | _End] = []
        self.ended = False
        self._fields = fields
        self._lists = lists
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._length: int | None = None
        self._bytes = 0
        self._field: str | None = None
        self._text = bytearray()

    def part_begin(self) -> None:
        self._headers, self._header_bytes, self._bytes = {}, 0, 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._count_header(end - start)

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def header_end(self) -> None:
        self._headers[_text(self._header).lower()] = _text(self._value)
        self._header, self._value = bytearray(), bytearray()

    def headers_finished(self) -> None:
        part = part_of(self._headers)
        self._length = part.length
        if part.filename is not None:
            self._field = None
            self.events.append(_Begin(part.filename))
        else:
            self._field, self._text = part.name, bytearray()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._bytes += end - start
        if self._field is None:
            self.events.append(data[start:end])
        else:
            self._text += data[start:end]
            _check_length(self._field, self._text)

    def part_end(self) -> None:
        if self._length not in (None, self._bytes):
            raise InvalidRequest(f"A part of the form has {self._bytes} bytes, but announced {self._length}.")
        if self._field is None:
            self.events.append(_End())
            return
        value = _text(self._text)
        if self._is_list(self._field) and self._field in self._fields:
            value = f"{self._fields[self._field]},{value}"
            _check_length(self._field, value)
        self._fields[self._field] = value
        if len(self._fields) > MAX_FIELDS:
            raise InvalidRequest(f"The form has more than {MAX_FIELDS} fields.")

    def end(self) -> None:
        self.ended = True

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise InvalidRequest(f"The headers of a part have more than {MAX_HEADER_BYTES} bytes.")

    def _is_list(self, name: str) -> bool:
        return name in self._lists or name.endswith("[]")


async def _events(
    boundary: bytes, body: AsyncIterator[bytes], reader: _Reader
) -> AsyncIterator[_Begin | bytes | _End]:
    try:
        parser = _parser(boundary, reader)
        async for chunk in body:
            parser.write(chunk)
            events, reader.events = reader.events, []
            for event in events:
                yield event
    except FormParserError as error:
        raise InvalidRequest(f"The body is not a form: {error}") from error
    if not reader.ended:
        raise InvalidRequest("The form ends before its last boundary.")


def _parser(boundary: bytes, reader: _Reader) -> MultipartParser:
    return MultipartParser(
        boundary,
        {
            "on_part_begin": reader.part_begin,
            "on_header_field": reader.header_field,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_headers_finished": reader.headers_finished,
            "on_part_data": reader.part_data,
            "on_part_end": reader.part_end,
            "on_end": reader.end,
        },
    )


async def urlencoded(body: AsyncIterator[bytes]) -> dict[str, str]:
    data = bytearray()
    async for chunk in body:
        data += chunk
        if len(data) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"The form is longer than {MAX_FIELD_BYTES} bytes.")
    try:
        return dict(parse_qsl(_text(data), max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise InvalidRequest(f"The form has more than {MAX_FIELDS} fields.") from error


def parse(model: type[M], fields: Mapping[str, str]) -> M:
    """Return the model with these fields; an empty field counts as left out. Raise InvalidRequest."""
    given = {name: value for name, value in fields.items() if value}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        complaints = [{**detail, "loc": ("body", *detail["loc"])} for detail in error.errors()]
        raise invalid_request(complaints, given) from error


def _boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type)
    if not options.get(b"boundary"):
        raise InvalidRequest("The content-type does not name the boundary of the form.")
    return options[b"boundary"]


def _check_length(field: str, value: str | bytearray) -> None:
    if len(value) > MAX_FIELD_BYTES:
        raise InvalidRequest(f"The field is longer than {MAX_FIELD_BYTES} bytes.", param=field)


def _text(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
