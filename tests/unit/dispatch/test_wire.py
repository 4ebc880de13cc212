"""HTTP to engines, against servers that say exactly what the tests want said, in the pieces they want."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tutti.dispatch.connection import Broken, Connection, NotConnected
from tutti.dispatch.wire import Client

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
WITHIN_S = 60.0

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    talks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with asyncio.timeout(WITHIN_S):
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await asyncio.gather(*filter(None, talks))


async def heard(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.partition(b":")[2]))


def saying(*pieces: bytes, pause_s: float = 0.0) -> Talk:
    """Answers every request of a connection alike; then it is closed if the last piece is empty."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await heard(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            if not pieces[-1]:
                return

    return talk


async def whole(connection: Connection) -> bytes:
    pieces: list[bytes] = []
    while piece := await connection.read():
        pieces.append(piece)
    return b"".join(pieces)


Answer = Callable[[str], Awaitable[tuple[int, bytes]]]


@pytest.fixture(params=["read", "rest", "rest, then close"])
def answer(request: pytest.FixtureRequest) -> Answer:
    """Asks for it, and takes it in each way there is."""

    async def ask(url: str) -> tuple[int, bytes]:
        client = Client()
        headers = {"connection": "close"} if "close" in request.param else {}
        connection = await client.post(url + "/x", b"{}", headers)
        try:
            taken = whole(connection) if request.param == "read" else connection.rest()
            return connection.status, await taken
        finally:
            client.release(connection)
            client.close()

    return ask


async def test_a_request_has_its_path_host_headers_and_body() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await heard(reader))
        writer.write(HEAD + b"content-length: 2\r\n\r\nok")

    async with serving(talk) as url:
        client = Client()
        connection = await client.post(url + "/v1/x?y=1", b'{"a":1}', {"authorization": "Bearer k"})
        assert await whole(connection) == b"ok"
        client.release(connection)
        client.close()
    [(head, body)] = seen
    assert head.startswith(b"POST /v1/x?y=1 HTTP/1.1\r\n")
    assert b"\r\nhost: " + url.removeprefix("http://").encode() + b"\r\n" in head
    assert b"\r\nauthorization: Bearer k\r\n" in head
    assert body == b'{"a":1}'


# --- files --------------------------------------------------------------------------------------------------


async def test_files_are_sent_in_their_place_and_again_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"0123456789" * 100_000)
    seen: list[tuple[bytes, bytes]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            seen.append(await heard(reader))
            writer.write(HEAD + b"content-length: 2\r\n\r\nok")

    async with serving(talk) as url:
        client = Client()
        for _ in range(2):
            connection = await client.post(url, [b"<", file, b">"], {}, "multipart/form-data; boundary=x")
            assert await whole(connection) == b"ok"
            assert connection.reusable
            client.release(connection)
        client.close()
    assert {body for _, body in seen} == {b"<" + file.read_bytes() + b">"}
    assert b"\r\ncontent-type: multipart/form-data; boundary=x\r\n" in seen[0][0]


async def test_an_answer_before_the_end_of_a_body_is_taken_and_ends_the_connection(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with file.open("wb") as data:
        data.truncate(50_000_000)
    read_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")
        await read_on.wait()

    async with serving(talk) as url:
        client = Client()
        connection = await client.post(url, [file], {})
        assert (connection.status, await whole(connection), connection.reusable) == (413, b"no", False)
        client.release(connection)
        read_on.set()


async def test_a_server_that_leaves_while_it_is_sent_a_file_broke_off(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with file.open("wb") as data:
        data.truncate(50_000_000)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with serving(talk) as url:
        with pytest.raises(Broken):
            await Client().post(url, [b"<", file], {})


# --- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (HEAD + b"content-length: 5\r\n\r\nhello", b"hello"),
        (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (HEAD + b"content-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"content-length: 5\r\n\r\nhello", b"hello"),
    ],
)
async def test_however_an_answer_is_cut_it_is_the_same(said: bytes, expected: bytes, answer: Answer) -> None:
    for cut in range(len(said)):
        async with serving(saying(said[:cut], said[cut:])) as url:
            assert await answer(url) == (200, expected)


async def test_an_answer_without_a_length_ends_with_the_connection(answer: Answer) -> None:
    async with serving(saying(HEAD + b"connection: close\r\n\r\nhel", b"lo", b"")) as url:
        assert await answer(url) == (200, b"hello")


@pytest.mark.parametrize(
    "said",
    [
        [HEAD + b"content-length: 5\r\n\r\nhel", b""],
        [CHUNKED + b"5\r\nhel", b""],
        [CHUNKED + b"5\r\nhello\r\n", b""],
        [CHUNKED + b"no\r\n"],
    ],
)
async def test_an_answer_that_stops_in_the_middle_is_broken(said: Sequence[bytes], answer: Answer) -> None:
    async with serving(saying(*said)) as url:
        with pytest.raises(Broken):
            await answer(url)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"220 smtp ready\r\n"])
async def test_without_a_head_it_is_broken(said: bytes, answer: Answer) -> None:
    async with serving(saying(said, b"")) as url:
        with pytest.raises(Broken):
            await answer(url)


CLOSING = HEAD + b"connection: close\r\n"


@pytest.mark.parametrize("head", [CLOSING + b"transfer-encoding: chunked\r\n\r\n", CHUNKED])
async def test_a_long_answer_in_many_pieces(head: bytes, answer: Answer) -> None:
    pieces = [b"%x\r\n%b\r\n" % (size, b"x" * size) for size in (1, 100, 70_000, 300_000, 9)]
    async with serving(saying(head, *pieces, b"0\r\n\r\n", b"", pause_s=0.02)) as url:
        status, body = await answer(url)
    assert (status, len(body)) == (200, 370_110)


async def test_a_closing_answer_that_stops_in_the_middle_is_broken(answer: Answer) -> None:
    async with serving(saying(CLOSING + b"content-length: 9\r\n\r\nhel", b"lo", b"")) as url:
        with pytest.raises(Broken):
            await answer(url)


async def test_nobody_there(answer: Answer) -> None:
    with pytest.raises(NotConnected):
        await answer("http://127.0.0.1:1")
    with pytest.raises(NotConnected):
        await answer("http://no-such-host.invalid")


async def test_a_server_without_a_certificate_that_is_trusted_is_not_spoken_to(
    tmp_path: Path, answer: Answer
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    async with serving(saying(HEAD), context) as url:
        with pytest.raises(NotConnected, match="CERTIFICATE_VERIFY_FAILED"):
            await answer(url.replace("http", "https"))


def self_signed(folder: Path) -> Path:
    """A key and its certificate, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


async def test_a_line_break_in_a_header_is_refused_before_anything_is_sent() -> None:
    async with serving(saying(HEAD + b"content-length: 0\r\n\r\n")) as url:
        with pytest.raises(ValueError, match="line break"):
            await Client().post(url, b"", {"authorization": "Bearer k\r\nx: y"})


@asynccontextmanager
async def counting(*pieces: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """What happens to connections, as it happens."""
    seen: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append("opened")
        try:
            await saying(*pieces)(reader, writer)
        finally:
            seen.append("closed")

    async with serving(talk) as url:
        yield url, seen


async def until(seen: list[str], expected: list[str]) -> None:
    while seen != expected:
        await asyncio.sleep(0.01)


async def test_a_connection_is_kept_for_the_next_request_and_closed_in_the_end() -> None:
    async with counting(HEAD + b"content-length: 2\r\n\r\nok") as (url, seen):
        client = Client()
        for _ in range(3):
            connection = await client.post(url, b"", {})
            assert await whole(connection) == b"ok"
            client.release(connection)
        assert seen == ["opened"]
        client.close()
        await until(seen, ["opened", "closed"])


async def test_one_that_nobody_uses_is_closed_after_a_moment() -> None:
    async with counting(HEAD + b"content-length: 0\r\n\r\n") as (url, seen):
        client = Client()
        client.release(await client.post(url, b"", {}))
        await asyncio.sleep(1.0)
        assert seen == ["opened"]
        await until(seen, ["opened", "closed"])


async def test_one_that_the_server_has_closed_is_not_used_again() -> None:
    async with counting(HEAD + b"content-length: 0\r\n\r\n", b"") as (url, seen):
        client = Client()
        for count in (1, 2):
            connection = await client.post(url, b"", {})
            client.release(connection)
            await until(seen, ["opened", "closed"] * count)
            while connection.reusable:  # the client hears of it a moment after the server has done it
                await asyncio.sleep(0.01)
        client.close()


async def test_a_kept_one_that_was_being_closed_is_replaced_by_a_new_one() -> None:
    """The server has it open until it reads the second request."""
    replaced = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(HEAD + b"content-length: 0\r\n\r\n")
        await heard(reader)

    async with serving(talk) as url:
        client = Client()
        while not replaced.is_set():  # on a busy machine it may take too long to be at once
            client.release(await client.post(url, b"", {}))
            with suppress(Broken):
                client.release(await client.post(url, b"", {}))
                replaced.set()
        client.close()


async def test_a_kept_one_whose_server_has_ended_is_broken() -> None:
    """This request may have ended it."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(HEAD + b"content-length: 0\r\n\r\n")
        await heard(reader)
        server.close()
        ended.set()
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = Client()
    client.release(await client.post(url, b"", {}))
    with pytest.raises(Broken):
        await client.post(url, b"", {})
    assert ended.is_set()
    client.close()


async def test_work_that_was_given_up_counts_until_the_server_has_ended_it() -> None:
    ending, left = asyncio.Event(), list[asyncio.Future[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        assert await reader.read() == b""  # it is told
        await ending.wait()

    async with serving(talk) as url:
        asked = asyncio.create_task(Client().post(url, b"", {}, leaving=left.append))
        await asyncio.sleep(0.05)
        asked.cancel()
        await asyncio.wait([asked])
        await asyncio.wait(left, timeout=0.2)
        assert [it.done() for it in left] == [False]
        ending.set()
        await left[0]


async def test_leaving_an_answer_early_closes_the_connection() -> None:
    async with counting(CHUNKED + b"3\r\nhel\r\n") as (url, seen):
        client = Client()
        connection = await client.post(url, b"", {})
        assert await connection.read() == b"hel"
        client.release(connection)
        await until(seen, ["opened", "closed"])


async def test_giving_up_the_wait_for_a_head_closes_the_connection() -> None:
    async with counting(b"HTTP/1.1 ") as (url, seen):
        asked = asyncio.create_task(Client().post(url, b"", {}))
        await until(seen, ["opened"])
        await asyncio.sleep(0.05)
        asked.cancel()
        await until(seen, ["opened", "closed"])


async def test_a_server_faster_than_the_reader_has_to_wait() -> None:
    sent = 0
    piece = b"x" * 65536
    count = 1000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await heard(reader)
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % (count * len(piece)))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    async with serving(talk) as url:
        client = Client()
        connection = await client.post(url, b"", {})
        await asyncio.sleep(0.3)
        assert sent < count * len(piece) / 2
        assert len(await whole(connection)) == count * len(piece)
        client.release(connection)
        client.close()
