"""Starting stays quick and small: which libraries a program imports before it has anything to do."""

import re
import subprocess
import sys

import pytest

WEB = {"fastapi", "starlette", "uvicorn"}
HTTP_CLIENTS = {"aiohttp", "httpx"}


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        (["-c", "import tutti.app.controller"], WEB | HTTP_CLIENTS | {"sqlalchemy"}),
        (["-c", "import tutti.app.node"], WEB | HTTP_CLIENTS | {"cryptography", "obstore"}),
        (["-c", "import tutti.app.api"], HTTP_CLIENTS | {"cryptography", "obstore", "websockets"}),
        (["-m", "tutti", "--help"], WEB | HTTP_CLIENTS | {"sqlalchemy"}),
    ],
    ids=["controller", "node", "API worker", "command"],
)
def test_what_is_seldom_needed_is_not_imported(program: list[str], absent: set[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *program], capture_output=True, text=True)
    imported = set(re.findall(r"^import time:.*\| +(\w+)", done.stderr, re.MULTILINE))
    assert done.returncode == 0
    assert "tutti" in imported
    assert not imported & absent
