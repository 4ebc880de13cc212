"""Which sandbox works is found out by running one; where none does, the operator learns why."""

import os
from pathlib import Path

import pytest
from tests.support.sandboxes import environment

from tutti.base.errors import CannotSandbox
from tutti.sandboxes.base import Limits
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.probe import choose
from tutti.sandboxes.runsc import Runsc
from tutti.sandboxes.unsafe import UnsafeSubprocess


async def test_the_first_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    chosen = await choose([Runsc(), UnsafeSubprocess()], environment(), Limits())
    assert chosen.name == "unsafe-subprocess"


async def test_where_none_works_each_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CannotSandbox) as error:
        await choose([Bubblewrap(), Runsc()], tmp_path / "none", Limits())
    assert error.value.status == 503
    assert not error.value.should_retry
    assert "bubblewrap: " in error.value.message
    assert str(tmp_path / "none") in error.value.message
    assert "runsc: There is no gVisor" in error.value.message


async def test_an_environment_without_ipython_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(os.path.realpath("/usr/bin/python3"))
    with pytest.raises(CannotSandbox, match="No module named 'IPython'"):
        await choose([Bubblewrap()], tmp_path, Limits())
