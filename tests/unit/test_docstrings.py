"""Docstrings that a stranger understands at once: no fragments that are easy to see."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tutti

PACKAGE = Path(tutti.__file__).parent
FRAGMENT = re.compile(
    r"(Of|What|Whether|Where|Why|How|Which|Who|Whom|Whose|That|Those|This|These|As|By|From|For|In|Into|On|At"
    r"|To|With|Without|Once|Also|Likewise|Its|Their|Than|Then|And|Or|But|Only|Not)\b"
)
"""What is no sentence begins so, wherever it stands."""
NOUN_PHRASE = re.compile(
    r"(The|A|An|All|Any|Each|Every|Some|One|Both|No|None|Nothing|Empty|Many|Most|Few|Several|Other|Another"
    r"|Ours|Theirs|He|She|It|They)\b|[^A-Za-z]"
)
"""The name of a thing begins so. A function does something: its docstring begins with the verb."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


@pytest.mark.parametrize("room", sorted(it.name for it in PACKAGE.iterdir() if it.name != "__pycache__"))
def test_docstrings_begin_with_a_sentence(room: str) -> None:
    path = PACKAGE / room
    files = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    assert not [fragment for file in files for fragment in fragments(file)]


@pytest.mark.parametrize(
    "line", ["Of the job's row.", "What is told.", "The numbers of its GPUs.", "`name` stands for a model."]
)
def test_a_fragment_is_seen(line: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(f'"""Reads rows."""\n\ndef read():\n    """{line}"""\n')
    assert list(fragments(file)) == [f"module.py:3 read: {line}"]


def fragments(file: Path) -> Iterator[str]:
    """Yield place, name and first line of each docstring that begins as no sentence does."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, Documented) and (documentation := ast.get_docstring(node)):
            line = documentation.splitlines()[0]
            if _is_fragment(node, line):
                name = getattr(node, "name", "(module)")
                yield f"{file.name}:{getattr(node, 'lineno', 1)} {name}: {line}"


def _is_fragment(node: Documented, line: str) -> bool:
    is_action = isinstance(node, Function) and not _is_property(node)
    return bool(FRAGMENT.match(line) or (is_action and NOUN_PHRASE.match(line)))


def _is_property(function: Function) -> bool:
    """True for a function that is read like a value: a noun phrase says what it is."""
    return any(getattr(it, "id", getattr(it, "attr", "")) == "property" for it in function.decorator_list)
