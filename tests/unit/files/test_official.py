"""Our check beside those of the official clients, each in its own environment."""

import json
import random
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from tests.support.clients import python_client
from tests.unit.files import cases
from tests.unit.files.cases import CASES, Case, assistant, chat, image, lines, preference, system, text, user

from tutti.cli.files_check import look

pytestmark = pytest.mark.clients
_SCRIPT = Path(__file__).with_name("official.py")


def ask(client: str, files: Sequence[tuple[Path, str]]) -> list[bool]:
    asked = json.dumps([(str(path), purpose) for path, purpose in files])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyarrow").symlink_to(Path(pyarrow.__file__).parent)
        argv = [str(python_client(client)), "-W", "ignore", str(_SCRIPT), folder]
        said = subprocess.run(argv, input=asked, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(said)


def write(folder: Path, case: Case, number: int) -> tuple[Path, str]:
    path = folder / f"{number}{case.suffix}"
    path.write_bytes(case.data)
    return path, case.purpose


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("files")
    return [write(folder, case, number) for number, case in enumerate(CASES)]


def differing(verdicts: Sequence[bool], expected: Sequence[bool]) -> list[str]:
    return [case.name for case, says, should in zip(CASES, verdicts, expected, strict=True) if says != should]


def test_ours_says_what_the_table_says(files: list[tuple[Path, str]]) -> None:
    ours = [look(path, purpose).sound for path, purpose in files]
    assert not differing(ours, [case.ours for case in CASES])


@pytest.mark.parametrize("client", ["together-1", "together-2", "together-3"])
def test_the_official_checks_say_what_the_table_says(client: str, files: list[tuple[Path, str]]) -> None:
    expected = [case.v1 if client == "together-1" else case.later for case in CASES]
    assert not differing(ask(client, files), expected)


def test_ours_differs_from_the_strict_one_only_for_a_reason_and_never_lets_pass_what_all_refuse() -> None:
    assert not [case.name for case in CASES if case.ours != case.v1 and not case.why]
    assert not [case.name for case in CASES if case.ours and not (case.later or case.why)]


SEEDS = [
    {"text": "a"},
    {"prompt": "a", "completion": "b"},
    {"prompt": [text(), image()], "completion": [text()]},
    chat(system(), user(weight=0), assistant(weight=1)),
    chat(user([text(), image()]), assistant([text()]), user([text()]), assistant([text()])),
    preference(),
    preference(input=chat(system(), user(), assistant(), user())),
]
WORDS = [None, True, 0, 1, 2, 1.5, "", "a", "user", "assistant", "system", "text", "image_url", cases.PIXEL]
VALUES: list[Any] = [
    *WORDS,
    *([], {}, ["a"], [{}], [text()], [image()], {"url": cases.PIXEL}),
    *(user(), assistant(), [user(), assistant()], [assistant()]),
]
NAMES = [
    "text",
    "prompt",
    "completion",
    "messages",
    "role",
    "content",
    "weight",
    "type",
    "image_url",
    "url",
    "x",
]


def changed(value: Any, chance: random.Random) -> Any:
    """With one node replaced, removed or added somewhere."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        match chance.random():
            case low if low < 0.15:
                return {key: it for key, it in value.items() if key != name}
            case low if low < 0.3:
                return {**value, chance.choice(NAMES): chance.choice(VALUES)}
            case _:
                return {**value, name: changed(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        if chance.random() < 0.3:
            return value[:place] + value[place + 1 :] if chance.random() < 0.5 else [*value, value[place]]
        return [*value[:place], changed(value[place], chance), *value[place + 1 :]]
    return chance.choice(VALUES)


def test_thousands_of_random_lines_are_judged_as_the_strict_check_judges_them(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    made = [changed(chance.choice(SEEDS), chance) for _ in range(1500)]
    paths = [write(tmp_path, Case("", lines(value), True, True), number) for number, value in enumerate(made)]
    ours = [look(path, purpose).sound for path, purpose in paths]
    theirs = ask("together-1", paths)
    assert 100 < sum(theirs) < 1400
    odd = [value for value, we, they in zip(made, ours, theirs, strict=True) if we != they]
    assert not odd[:5]
