"""The network of a sandbox: none, or the proxy's. The site that may be reached is at 127.0.0.2."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.sandboxes import printed, spec, text
from tests.support.weights import wheel

from tutti.base.internet import Address
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.egress import Allow, Egress, is_public_web
from tutti.sandboxes.session import Session

SITE = "127.0.0.2"


def only_the_site(address: Address, port: int) -> bool:
    return address == ip_address(SITE)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[TestServer]:
    """A page, and a folder with a wheel."""
    wheel(tmp_path / "wheels", "tiny", {"tiny.py": b"NAME = 'tiny'"})
    (file,) = (tmp_path / "wheels").iterdir()

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f'<a href="/wheels/{file.name}">{file.name}</a>', content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_static("/wheels", file.parent)
    async with TestServer(app, host=SITE) as server:
        yield server


@asynccontextmanager
async def networked(tmp_path: Path, allow: Allow) -> AsyncIterator[Session]:
    egress = await Egress.start(tmp_path / "out.sock", allow=allow)
    session = await Session.start(Bubblewrap(), replace(spec(), proxy=tmp_path / "out.sock"))
    try:
        yield session
    finally:
        await session.close()
        await egress.close()


async def test_code_reaches_what_the_proxy_lets_it_reach_and_nothing_else(
    site: TestServer, tmp_path: Path
) -> None:
    url = f"http://{SITE}:{site.port}/"
    async with networked(tmp_path, only_the_site) as session:
        assert "tiny" in await printed(session, f"import requests\nprint(requests.get({url!r}).text)")
        refused = await printed(session, "print(requests.get('http://10.0.0.1/').reason)")
        assert refused.startswith("Only ports 80 and 443 of the public internet")
        install = f"%pip install -q --no-index --find-links {url} --trusted-host {SITE} tiny"
        assert (await printed(session, f"{install}\nimport tiny\nprint(tiny.NAME)")).endswith("tiny\n")
        direct = f"import socket\nsocket.create_connection(({SITE!r}, {site.port}), 2)"
        assert "ConnectionRefusedError" in text(await session.execute(direct), "error")


async def test_the_proxy_of_a_server_reaches_nothing_on_this_machine(
    site: TestServer, tmp_path: Path
) -> None:
    async with networked(tmp_path, is_public_web) as session:
        code = f"import requests\nprint(requests.get('http://{SITE}:{site.port}/').status_code)"
        assert await printed(session, code) == "403\n"


async def test_without_a_proxy_there_is_no_way_out(site: TestServer) -> None:
    session = await Session.start(Bubblewrap(), spec())
    code = f"import requests\nrequests.get('http://{SITE}:{site.port}/', timeout=5)"
    assert "ConnectionError" in text(await session.execute(code), "error")
    assert (
        await printed(session, "import os\nprint([it for it in os.environ if 'proxy' in it.lower()])")
        == "[]\n"
    )
    await session.close()
