"""The nginx configuration of the deployment guide, as it stands there, before a real server."""

import asyncio
import datetime
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.engines import model, running
from tests.support.platform import api
from tests.support.ports import free_port
from tests.support.uploads import fields
from websockets.asyncio.client import connect

from tutti.engines.echo import Echo

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "deploy.md"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
HOST = "models.example.org"
SPEECH = model(name="test/speech", type="audio", voices=("heart",))
SLOW = model(name="test/slow", options={"tokens_per_s": 1.0})
LARGE_BYTES = 65 * 1024 * 1024
"""More than a body of JSON may have."""
MAIN = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """Of nginx, before a server with an echo engine."""
    folder = tmp_path_factory.mktemp("nginx")
    async with (
        running(Echo(), SPEECH) as speech,
        running(Echo(), SLOW) as slow,
        api(folder, [SPEECH, SLOW], {SPEECH.name: speech.address, SLOW.name: slow.address}) as url,
        proxied(folder, urlsplit(url).port or 0) as port,
    ):
        yield port


@asynccontextmanager
async def proxied(folder: Path, behind: int) -> AsyncIterator[int]:
    port = free_port()
    (folder / "nginx.conf").write_text(
        MAIN.format(folder=folder, user=_user(), server=_of_the_guide(folder, port, behind))
    )
    _certify(folder)
    assert NGINX is not None
    argv = (NGINX, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"))
    nginx = await asyncio.create_subprocess_exec(*argv)
    try:
        await _listens(nginx, port)
        yield port
    finally:
        nginx.terminate()
        await nginx.wait()


def _user() -> str:
    return "root" if os.geteuid() == 0 else str(Path.home().owner())


def _of_the_guide(folder: Path, port: int, behind: int) -> str:
    """With nothing but the ports and the certificate replaced."""
    [text] = re.findall(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for told, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:8000", f"127.0.0.1:{behind}"),
        ("/etc/ssl/models", str(folder / "models")),
    ):
        assert told in text
        text = text.replace(told, here)
    return text


def _certify(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "models.pem").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "models.key").write_bytes(private)


async def _listens(nginx: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            assert nginx.returncode is None, "nginx ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


@pytest_asyncio.fixture(loop_scope="session")
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Reaches nginx under the name that the guide gives it."""
    headers = {"authorization": "Bearer any", "host": f"{HOST}:{port}"}
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", headers=headers, verify=False, timeout=120
    ) as client:
        yield client


async def blocks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b"x" * 65_536


@pytest.mark.asyncio(loop_scope="session")
async def test_what_answers_is_the_api_and_not_what_is_for_the_operator(client):
    assert (await client.get("/v1/models")).status_code == 200
    for path in ("/readyz", "/livez", "/health", "/metrics", "/metrics/", "//metrics", "/%6detrics"):
        assert (await client.get(f"{client.base_url}".rstrip("/") + path)).status_code == 403, path


@pytest.mark.asyncio(loop_scope="session")
async def test_a_stream_is_passed_on_as_it_comes(client):
    body = {"model": SLOW.name, "messages": [{"role": "user", "content": "[[tokens 900]]"}], "stream": True}
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():  # the last comes in a quarter of an hour
            if line.startswith("data:"):
                break


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("prefix", ["/v1", "/v1/v1", "/openai/v1"])
async def test_websockets_are_passed_on(port, prefix):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"wss://127.0.0.1:{port}{prefix}/audio/speech/websocket?model={SPEECH.name}"
    headers = {"authorization": "Bearer any"}
    async with connect(url, ssl=context, additional_headers=headers) as socket:
        assert '"session.created"' in str(await socket.recv())


@pytest.mark.asyncio(loop_scope="session")
async def test_the_addresses_for_files_are_those_of_the_proxy(client, port):
    begun = await client.post(
        "/v1/files/multipart/initiate",
        json={"file_name": "a.jsonl", "purpose": "fine-tune", "file_size": LARGE_BYTES, "num_parts": 2},
    )
    announced = await client.post(
        "/v1/files",
        files=fields(purpose="fine-tune", file_name="a.jsonl", file_type="jsonl"),
    )
    at = announced.headers["location"]
    for url in [at, *(it["URL"] for it in begun.json()["parts"])]:
        assert url.startswith(f"https://{HOST}:{port}/v1/files/")
    sent = await client.put(at.replace(HOST, "127.0.0.1"), content=blocks(LARGE_BYTES))
    assert sent.status_code == 200


@pytest.mark.asyncio(loop_scope="session")
async def test_a_large_file_in_a_form_passes(client):
    head = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\n'
    head += b'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'

    async def form() -> AsyncIterator[bytes]:
        yield head
        async for block in blocks(LARGE_BYTES):
            yield block
        yield b"\r\n--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    uploaded = await client.post("/v1/files/upload", content=form(), headers=headers)
    assert uploaded.json()["bytes"] == LARGE_BYTES
