"""A pytest plugin: which tests a worker of xdist gets, and when.

What shares a server stays together: a file, and a whole folder of tests/api. The longest come first, so that
all workers end at about the same time.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LONGEST = (
    "tests/system/test_faults.py",
    "tests/clients/test_seeds.py",
    "tests/system/test_llamacpp.py",
    "tests/system/test_fields.py",
    "tests/system/test_batches.py",
    "tests/system/test_fleet.py",
    "tests/system/test_transcribe.py",
    "tests/system/test_upload.py",
    "tests/system/test_evaluations.py",
    "tests/system/test_pull.py",
    "tests/system/test_interpreter.py",
    "tests/contract/test_fuzz.py",
    "tests/clients/test_clients.py",
)
"""Of the list of the slowest files that each run prints."""
_FOLDERS = ("tests/system", "tests/clients", "tests/contract", "tests/api", "tests/unit/jobs", "tests/unit")


def group(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return file.rpartition("/")[0] if file.startswith("tests/api/") else file


def rank(nodeid: str) -> tuple[int, int]:
    """Return the rank of a test. Lower ranks run earlier."""
    file = nodeid.partition("::")[0]
    if file in LONGEST:
        return 0, LONGEST.index(file)
    return 1, next((at for at, it in enumerate(_FOLDERS) if file.startswith(it)), len(_FOLDERS))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Scheduling(config, log)


class Scheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        """Return the test that ended its worker. xdist would give it to another one at once; here it has its
        second run at the end, as any test that failed."""
        pending = (
            (unit, id) for unit in self.assigned_work[node].values() for id, done in unit.items() if not done
        )
        unit, crashed = next(pending, ({}, None))
        if crashed is not None:
            unit[crashed] = True
        super().remove_node(node)
        return crashed
