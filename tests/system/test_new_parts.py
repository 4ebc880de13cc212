"""A new part touches what CONTRIBUTING.md promises: a toy of each is added to a copy of the source,
with these changes and no others, and works."""

import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.fleet import until
from tests.support.patience import limit
from tests.support.server import Server, running_server

import tutti
from tutti.base.model import Model

REPOSITORY = Path(__file__).parents[2]
CHANGES = {
    "src/tutti/parts/engines.py": [
        ("from tutti.engines.vllm", "from tutti.engines.toy import Toy\nfrom tutti.engines.vllm"),
        ("Echo())", "Echo(), Toy())"),
    ],
    "src/tutti/parts/features.py": [
        (
            "from tutti.http.asyncapi",
            "from tutti.features.toy import routes as toy\nfrom tutti.http.asyncapi",
        ),
        ("    interpreter.router,\n", "    interpreter.router,\n    toy.router,\n"),
    ],
    "src/tutti/parts/jobs.py": [
        ("from tutti.http.inside", "from tutti.features.toy.job import toy\nfrom tutti.http.inside"),
        ("model_upload)", "model_upload, toy)"),
    ],
    "src/tutti/parts/workloads.py": [
        ("import models\n", "import models, toy\n"),
        ("models.make})", 'models.make, "toy": toy.make})'),
    ],
    ".importlinter": [(" | interpreter\n", " | interpreter | toy\n")],
}
"""All changes of existing files: a line in a table, its import, the layer of a new folder."""
CHAT = Model(name="toy/chat", type="chat", engine="toy")
CHAT_BODY = {"model": CHAT.name, "messages": [{"role": "user", "content": "one two three"}]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with a toy of each part, and a Python that imports `tutti` from it."""
    root = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(tutti.__file__).parent, root / "src/tutti", ignore=ignored)
    shutil.copytree(REPOSITORY / "tests/toy", root / "src/tutti", dirs_exist_ok=True, ignore=ignored)
    shutil.copy(REPOSITORY / ".importlinter", root)
    for name, changes in CHANGES.items():
        text = (root / name).read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
            text = text.replace(old, new)
        (root / name).write_text(text)
    venv.create(root / "venv", with_pip=False, symlinks=True)
    packages = next((root / "venv/lib").glob("python*/site-packages"))
    (packages / "tree.pth").write_text(f"{root / 'src'}\n{sysconfig.get_path('purelib')}\n")
    return root


@pytest.fixture(scope="module")
def server(tree: Path) -> Iterator[Server]:
    with running_server([CHAT], python=tree / "venv/bin/python") as server:
        yield server


def test_the_arrows_of_the_new_tree_point_down(tree: Path) -> None:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    argv = [str(tree / "venv/bin/python"), "-c", code, "--no-cache"]
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_engine_serves_chat(server: Server) -> None:
    answer = server.client.post("/v1/chat/completions", json=CHAT_BODY)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


async def test_a_new_feature_its_job_and_its_workload_work(server: Server) -> None:
    made = server.client.post("/v1/toys", json={"size": 7})
    assert made.status_code == 200, server.output[-3000:]
    id = made.json()["id"]
    await until(lambda: server.client.get(f"/v1/toys/{id}").json()["status"] == "completed")
    toy = server.client.get(f"/v1/toys/{id}").json()
    assert toy["size"] == 7
    answer = httpx.post(f"{toy['address']}/v1/chat/completions", json=CHAT_BODY)
    assert answer.json()["model"] == "toy"


async def test_a_new_feature_answers_as_the_others_do(server: Server) -> None:
    assert server.client.get("/v1/toys/nonesuch").status_code == 404
    refused = server.client.post("/v1/toys", json={"size": 0})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "size")
    assert "/toys/{id}" in server.client.get("/openapi.json").json()["paths"]
