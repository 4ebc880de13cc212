"""Server-sent events, as far as engines use them: bytes as they arrive become the payloads of events."""


class EventSplitter:
    """A splitter of a stream into the `data` of its events; however the bytes are cut, the payloads are the
    same.

    It follows the HTML standard: lines end in LF, CR or CRLF, several data lines join with LF, comments and
    other fields are skipped, and an event without its closing blank line never happened. Events whose data is
    empty are dropped too: no engine means anything by them.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of a line whose end has not come yet
        self._data: list[bytes] = []  # data lines of an event whose end has not come yet
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        if not (self._line or self._data or self._after_cr):
            events = _whole_events(data)
            if events is not None:
                return events
        return self._lines(data)

    def _lines(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        if self._after_cr and data[0] == 0x0A:
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, newline, rest = data.partition(b"\n")
        if first:
            self._line.append(first)
        if not newline:
            return []
        lines = [b"".join(self._line), *rest.split(b"\n")]
        last = lines.pop()
        self._line = [last] if last else []
        return [event for line in lines if (event := self._end_of(line))]

    def _end_of(self, line: bytes) -> bytes:
        """Take one whole line in, and return the event's payload if the line ended one, else nothing."""
        if not line:
            payload = b"\n".join(self._data)
            self._data.clear()
            return payload
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        return b""


def _whole_events(data: bytes) -> list[bytes] | None:
    """Return the payloads of a common read: whole events of one `data: ` line each, LF only. None for any
    other read."""
    if not (data.startswith(b"data: ") and data.endswith(b"\n\n")) or b"\r" in data:
        return None
    events = data[6:-2].split(b"\n\ndata: ")
    one_line_each = data.count(b"\n") == 2 * len(events)
    return events if one_line_each and all(events) else None
