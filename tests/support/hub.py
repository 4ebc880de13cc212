"""A small server that speaks the part of Hugging Face's protocol that pulls use, with faults on request.

Large files are answered with a redirect to a second origin (the CDN), as the real one does. `requests` tells
what was asked for and how many bytes were sent.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

LARGE = 4096
COMMIT = "c0ffee" + "0" * 34
_CHUNK = 64 * 1024


@dataclass
class Fault:
    """A fault of a file. The first `times` requests have it; later ones succeed."""

    times: int = 1_000_000
    status: int = 0
    cut_after: int | None = None
    """Bytes of the body before the connection is closed."""
    wrong: bool = False
    """Other bytes of the same length."""
    other_hash: bool = False
    """The redirect already names another hash."""
    bytes_per_s: int = 0
    hold: Callable[[], None] | None = None
    """Called after each chunk; the next one goes out when it has returned."""
    ignore_range: bool = False
    retry_after: str = ""


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


@dataclass
class Hub:
    """`repos[owner/repo][path]` is a file's content; faults are by path."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    about: dict[str, dict[str, object]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    token: str = ""
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.lock = threading.Lock()
        self._servers = [self._serve(), self._serve()]
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self) -> ThreadingHTTPServer:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def sent(self, path: str) -> int:
        """Bytes of the file's content that went out, over all requests."""
        return sum(r.sent for r in self.requests if r.path.endswith(path) and r.status in (200, 206))

    def fault(self, path: str) -> Fault:
        with self.lock:
            fault = self.faults.get(path)
            if fault is None or fault.times <= 0:
                return Fault()
            fault.times -= 1
            return fault

    def listing(self, repo: str) -> dict[str, object]:
        siblings = [_sibling(path, data) for path, data in self.repos[repo].items()]
        return {"id": repo, "sha": COMMIT, "siblings": siblings, **self.about.get(repo, {})}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sibling(path: str, data: bytes) -> dict[str, object]:
    lfs = (
        {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134}} if len(data) > LARGE else {}
    )
    return {"rfilename": path, "size": len(data), "blobId": blob_id(data), **lfs}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.request_row = Request(
            unquote(urlsplit(self.path).path), {k.lower(): v for k, v in self.headers.items()}
        )
        self.hub.requests.append(self.request_row)
        parts = self.request_row.path.strip("/").split("/")
        if parts[0] == "cdn":
            self._file("/".join(parts[1:3]), "/".join(parts[3:]), self.hub.fault("/".join(parts[3:])))
        elif self.hub.token and self.headers.get("authorization") != f"Bearer {self.hub.token}":
            self._answer(401, b'{"error": "gated"}')
        elif parts[:2] == ["api", "models"]:
            repo = "/".join(parts[2:4])
            known = repo in self.hub.repos
            self._answer(200 if known else 404, json.dumps(self.hub.listing(repo) if known else {}).encode())
        else:
            self._resolve("/".join(parts[:2]), "/".join(parts[4:]))

    def _resolve(self, repo: str, path: str) -> None:
        data = self.hub.repos.get(repo, {}).get(path)
        if data is None:
            self._answer(404, b"Entry not found")
        elif len(data) <= LARGE:
            self._file(repo, path, self.hub.fault(path))
        else:
            fault = self.hub.faults.get(path, Fault())
            digest = sha256(b"other") if fault.other_hash else sha256(data)
            headers = {
                "location": f"{self.hub.cdn_url}/cdn/{repo}/{path}",
                "x-linked-etag": f'"{digest}"',
                "x-linked-size": str(len(data)),
                "x-repo-commit": COMMIT,
            }
            self._answer(302, b"", headers)

    def _file(self, repo: str, path: str, fault: Fault) -> None:
        data = self.hub.repos[repo][path]
        if fault.status:
            self._answer(fault.status, b"", {"retry-after": fault.retry_after} if fault.retry_after else {})
            return
        if fault.wrong:
            data = bytes(byte ^ 1 for byte in data)
        start = self._start(fault)
        if start and start >= len(data):
            self._answer(416, b"")
            return
        self._head(206 if start else 200, data, start)
        self._send(data[start:], fault)

    def _start(self, fault: Fault) -> int:
        range_ = self.headers.get("range", "")
        return 0 if fault.ignore_range or not range_ else int(range_.removeprefix("bytes=").rstrip("-"))

    def _head(self, status: int, data: bytes, start: int) -> None:
        self.request_row.status = status
        self.send_response(status)
        self.send_header("content-length", str(len(data) - start))
        self.send_header("etag", f'"{blob_id(data)}"')
        if status == 206:
            self.send_header("content-range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()

    def _send(self, data: bytes, fault: Fault) -> None:
        end = len(data) if fault.cut_after is None else min(fault.cut_after, len(data))
        for at in range(0, end, _CHUNK):
            chunk = data[at : min(at + _CHUNK, end)]
            self.request_row.sent += len(chunk)  # before the client has it, who may be done then and ask
            try:
                self.wfile.write(chunk)
            except OSError:
                self.request_row.sent -= len(chunk)
                self.close_connection = True
                return
            if fault.hold is not None:
                fault.hold()
            if fault.bytes_per_s:
                time.sleep(len(chunk) / fault.bytes_per_s)
        if end < len(data):
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.request_row.status = status
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
