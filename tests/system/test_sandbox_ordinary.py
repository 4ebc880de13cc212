"""Where tests run as root: attacks and limits once more, as an ordinary user, who gets other sandboxes."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.support import ordinary

HERE = Path(__file__).parent


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs these tests already")
@pytest.mark.parametrize(
    ("name", "which"), [("attacks", "test"), ("limits", "memory or fork or sockets or empty")]
)
def test_they_hold_for_an_ordinary_user(name: str, which: str) -> None:
    command = ordinary.command(str(HERE / f"test_sandbox_{name}.py"), "-k", which)
    done = subprocess.run(command, cwd=ordinary.REPOSITORY, capture_output=True, text=True)
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no mount namespace can be made here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
