"""The HTTP client of all commands, for any server that speaks the Together API, at any base URL."""

import json
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, BinaryIO, cast

import httpx
import typer
from httpx_sse import EventSource, SSEError

from tutti import __version__
from tutti.cli.output import note
from tutti.cli.server import ApiError, Server

RETRIES = 5
MAX_WAIT_S = 60.0
# A model may load for minutes before the first byte, so only the connection is timed.
_TIMEOUT = httpx.Timeout(600.0, connect=10.0)

Json = dict[str, Any]


class Api:
    """An open connection to a server. Every method raises ApiError."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        self._server = server
        self._client = client

    def get(self, path: str, **params: str | None) -> Json | list[Json]:
        given = {name: value for name, value in params.items() if value is not None}
        return self._json(self._client.build_request("GET", path, params=given))

    def get_one(self, path: str, **params: str | None) -> Json:
        return self._one(self.get(path, **params))

    def post(self, path: str, body: Json) -> Json:
        return self._one(self._json(self._client.build_request("POST", path, json=body)))

    def _one(self, answer: Json | list[Json]) -> Json:
        if isinstance(answer, list):
            raise self._unknown()
        return answer

    def delete(self, path: str) -> Json:
        return self._one(self._json(self._client.build_request("DELETE", path)))

    def form(self, path: str, fields: Mapping[str, str], accept: Collection[int]) -> httpx.Response:
        """Post a multipart form without a file. A status in `accept` is no error."""
        parts = {name: (None, value) for name, value in fields.items()}
        with self._explained():
            return self._send(self._client.build_request("POST", path, files=parts), accept=accept)

    def upload(self, path: str, fields: Mapping[str, str], file: BinaryIO) -> httpx.Response:
        """Post a multipart form with a file, which is read from its beginning for each try."""
        with self._explained():
            return self._send(self._client.build_request("POST", path, data=fields, files={"file": file}))

    @contextmanager
    def answer(self, path: str, body: Json) -> Generator[httpx.Response]:
        """Post JSON, and yield the response before its body is read."""
        with self._explained():
            response = self._send(self._client.build_request("POST", path, json=body), stream=True)
            try:
                yield response
            finally:
                response.close()

    def put(self, url: str, content: Iterable[bytes], size_bytes: int) -> None:
        """Put bytes to a URL that needs no key, perhaps of another server. `content` is iterated anew for
        each try."""
        headers = {"content-length": str(size_bytes)}
        with self._explained(), httpx.Client(timeout=_TIMEOUT, trust_env=not _is_loopback(url)) as anyone:
            self._send(anyone.build_request("PUT", url, content=content, headers=headers), client=anyone)

    @contextmanager
    def download(self, path: str) -> Generator[httpx.Response]:
        """Get a path, and yield the response before its body is read."""
        with self._explained():
            response = self._send(self._client.build_request("GET", path), stream=True)
            try:
                yield response
            finally:
                response.close()

    def stream(self, path: str, body: Json) -> Generator[Json]:
        """Post JSON and yield the events of the stream. Leaving early disconnects, which stops the
        generation."""
        request = self._client.build_request("POST", path, json=body | {"stream": True})
        with self._explained():
            response = self._send(request, stream=True)
            try:
                yield from _events(response)
            finally:
                response.close()

    def _json(self, request: httpx.Request) -> Json | list[Json]:
        with self._explained():
            answer: Any = self._send(request).json()
        if not isinstance(answer, dict | list):
            raise self._unknown()
        return cast(Json, answer)

    def _send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        accept: Collection[int] = (),
        client: httpx.Client | None = None,
    ) -> httpx.Response:
        """Send a request, and again while the server asks for that. Raise ApiError for a lasting error."""
        retries = RETRIES
        while True:
            response = (client or self._client).send(request, stream=stream)
            if response.is_success or response.status_code in accept:
                return response
            response.read()
            wait_s = _retry_after_s(response) if retries else None
            if wait_s is None:
                raise ApiError(_error_message(response))
            note(f"{_error_message(response)}; trying again in {wait_s:g} s")
            time.sleep(wait_s)
            retries -= 1

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            hint = "start one with `tutti serve`, or set TOGETHER_BASE_URL"
            raise ApiError(f"no server at {self._server.url} ({error}): {hint}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiError(f"{self._server.url}: {error or type(error).__name__}") from None
        except (SSEError, ValueError):
            raise self._unknown() from None

    def _unknown(self) -> ApiError:
        return ApiError(f"{self._server.url} gave an answer that is not of the Together API")


@contextmanager
def connect(context: typer.Context) -> Generator[Api]:
    """Connect to the server named by the options of `tutti` or the environment."""
    server = context.find_object(Server)
    if server is None:
        raise RuntimeError("the root command sets the server")
    headers = {"authorization": f"Bearer {server.key}", "user-agent": f"tutti/{__version__}"}
    try:
        client = httpx.Client(
            base_url=server.url + "/v1/",
            headers=headers,
            timeout=_TIMEOUT,
            trust_env=not _is_loopback(server.url),
        )
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise ApiError(f"the base URL or the key is not valid: {error}") from None
    with client:
        yield Api(server, client)


def _is_loopback(url: str) -> bool:
    """Return True for a URL on this machine. The environment's proxy is never used for it."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def part(body: Json, *names: str) -> Json:
    """Return the first of these members that is an object, or an empty one."""
    none: Json = {}
    return next((cast(Json, body[name]) for name in names if isinstance(body.get(name), dict)), none)


def parts(body: Json, name: str) -> list[Json]:
    """Return a member that is a list of objects, or an empty list."""
    return cast(list[Json], body[name]) if isinstance(body.get(name), list) else []


def _events(response: httpx.Response) -> Iterator[Json]:
    for event in EventSource(response).iter_sse():
        if event.data == "[DONE]":
            return
        chunk = cast(Json, json.loads(event.data))
        if chunk.get("error"):
            raise ApiError(_described(chunk) or "the stream failed")
        yield chunk


def _error_message(response: httpx.Response) -> str:
    try:
        message = _described(response.json())
    except ValueError:
        message = ""
    return f"{message or response.reason_phrase} ({response.status_code})"


def _described(body: Any) -> str:
    """Return the message of `{"error": {"message": ...}}`, or of `{"error": "..."}` as proxies write it."""
    error = cast(Json, body).get("error") if isinstance(body, dict) else None
    message = cast(Json, error).get("message") if isinstance(error, dict) else error
    return " ".join(str(message).split()).rstrip(".") if message else ""


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds to wait before the next try, or None if there should be none. As in the official
    clients, `x-should-retry` wins over the status."""
    should = response.headers.get("x-should-retry", "")
    if should == "false" or (should != "true" and response.status_code not in (408, 429, 503)):
        return None
    try:
        return min(MAX_WAIT_S, max(0.0, float(response.headers.get("retry-after", "1"))))
    except ValueError:
        return 1.0
