"""HTTP/1.1 to clients: uvicorn's, with what it leaves to a proxy in front.

The head of an answer leaves together with the first part of its body. uvicorn writes one after the other:
that is two system calls, and the client is woken for a head that it can do nothing with; on a busy machine it
then waits for a processor once more when the first token comes.

A request that stops on its way is ended, and so is one whose head has no end. Input that is not HTTP gets an
error of the API. A client of HTTP/1.0 gets no chunks.
"""

import asyncio
import logging
import re
from collections import deque

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tutti.app.sending import HeadWithBody, UntilClosed
from tutti.base.errors import HeadTooLarge, InvalidRequest, Stalled, TuttiError
from tutti.base.ids import new_id

MAX_HEAD_BYTES = 64 * 1024
_LINGER_S = 2.0
_ABSOLUTE = re.compile(rb"https?://[^/?#]*(.*)", re.IGNORECASE)
log = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.transport = HeadWithBody(transport, self.loop)  # pyright: ignore[reportAttributeAccessIssue]
        self._is_refused = False
        self._unread = 0
        self._expect_head()

    def _expect_head(self) -> None:
        self._is_coming = self._in_head = True
        self._looks = 0

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unread += len(data)
        super().data_received(data)
        if not self._is_coming:
            if self.timeout_keep_alive_task is None and self._is_idle():
                self._expect_head()  # an empty line: what else comes must be a head
        elif self._unread > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"The head is larger than {MAX_HEAD_BYTES} bytes."))
        elif not self._in_head:
            self._looks = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self.url = _origin_form(self.url)
        super().on_headers_complete()
        self._in_head, self._unread = False, 0
        if not self.parser.should_upgrade():  # pyright: ignore[reportOptionalMemberAccess]
            self.headers = deque(maxlen=0)  # pyright: ignore[reportAttributeAccessIssue] # trailers go nowhere
            if self.scope["http_version"] < "1.1":
                self.cycle.send = UntilClosed(self.cycle).send

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._unread = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_coming = False

    def look(self, patience_s: float) -> None:
        """Check the request for progress; call it every second. A request is ended if its head is not
        complete after `patience_s` looks, or its body has not moved in as many. Looks are counted, not
        seconds: nobody is to blame for time in which this process, or the whole machine, stood still."""
        self._looks = 0 if self._waits_for_us() else self._looks + 1
        if self._is_coming and self._looks > patience_s:
            part = "head" if self._in_head else "body"
            self._refuse(
                Stalled(f"The {part} of the request did not come to its end within {patience_s:g} s.")
            )

    def _is_answerable(self) -> bool:
        """Return True if the client would take an answer as that to the request that is coming."""
        if self._in_head:
            return self._is_idle() and self._unread > 0
        return not self.cycle.response_started

    def _waits_for_us(self) -> bool:
        """Return True if the client cannot send more, or had better not, before we have done something."""
        if self._in_head:
            return not self._is_idle()
        return self.flow.read_paused or self.cycle.waiting_for_100_continue

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(msg))

    def _refuse(self, error: TuttiError) -> None:
        """Answer if the client would understand it, then close. A client that is still sending would get a
        reset before it has read the answer, so its data is read for a moment longer."""
        if self._is_refused:
            return
        log.info("a request was refused", extra={"status": error.status, "cause": error.message})
        if self._is_answerable():
            self._is_refused = True
            self.transport.write(_answer(error))
            self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()
        if not self._is_idle():
            self.cycle.disconnected = True
            self.cycle.message_event.set()


def _origin_form(target: bytes) -> bytes:
    """Return path and query of a request's target. Proxies are sent absolute ones, and a server must take
    them too (RFC 9112, 3.2.2). Raises ValueError for any other target."""
    if absolute := _ABSOLUTE.fullmatch(target):
        target = absolute[1] if absolute[1].startswith(b"/") else b"/" + absolute[1]
    if not target.startswith(b"/") or not target.isascii():
        raise ValueError("not a path")
    return target


def _answer(error: TuttiError) -> bytes:
    body = msgspec.json.encode(error.body())
    headers = {
        **error.headers(),
        "x-request-id": new_id("req"),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + lines.encode() + b"\r\n" + body
