"""What the code has, the documentation has; and what the documentation names exists."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from docs.generate import FOLDER, error_classes, option_rows, pages
from docs.jobs import job_kinds

import tutti
from tutti.base import errors
from tutti.base.settings import Settings
from tutti.engines.base import Engine
from tutti.http.gaps import gaps
from tutti.jobs.kind import Kind
from tutti.parts.engines import ENGINES

REPOSITORY = Path(__file__).parents[2]
SOURCE = Path(tutti.__file__).parent
WRITTEN = sorted({*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")})
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_VARIABLE = re.compile(r"\bTUTTI_([A-Z_]+)")
PAGES = pages()
_TESTS_ONLY = {"TEST_CACHE", "TEST_LONG", "TEST_PATIENCE", "TEST_VLLM", "TEST_VLLM_PYTHON"}


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    page = FOLDER / name
    written = page.read_text() if page.exists() else ""
    assert written == PAGES[name], f"docs/generated/{name} is stale: run `make docs`"


def test_no_generated_page_is_left_over() -> None:
    assert {page.name for page in FOLDER.iterdir()} == set(PAGES), "delete what `make docs` no longer writes"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_says_what_it_does(name: str) -> None:
    assert Settings.model_fields[name].description, f"base/settings.py: {name} has no description"


def test_every_setting_has_an_effect() -> None:
    reads = re.compile(r"\b_?settings\.(\w+)")
    read = {name for path in SOURCE.rglob("*.py") for name in reads.findall(path.read_text())}
    assert not set(Settings.model_fields) - read, "nothing reads these settings"


@pytest.mark.parametrize("kind", error_classes())
def test_an_error_is_in_the_tree_with_its_status(kind: type[errors.TuttiError]) -> None:
    assert re.search(rf"─ {kind.__name__} +{kind.status}\b", errors.__doc__ or ""), (
        "see the top of base/errors.py"
    )


@pytest.mark.parametrize("kind", job_kinds(), ids=lambda kind: kind.name)
def test_a_kind_of_job_says_why_running_it_again_is_safe(kind: Kind[Any]) -> None:
    run = kind.run.func if isinstance(kind.run, partial) else kind.run
    assert run.__doc__, f"the handler of {kind.name} has no docstring"


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_every_option_of_an_engine_is_documented(engine: Engine) -> None:
    rows = option_rows(engine.options)
    assert len(rows) == len(engine.options.__struct_fields__)
    assert not [name for name, *_, text in rows if not text], (
        f"without a docstring in engines/{engine.name}.py"
    )


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_variables_that_a_page_names_exist(page: Path) -> None:
    named = set(_VARIABLE.findall(page.read_text())) - _TESTS_ONLY
    assert named <= {name.upper() for name in Settings.model_fields}


def test_the_list_of_gaps_is_where_the_issue_says() -> None:
    """It ships inside the package; contract/gaps.toml is a link to it."""
    linked = (REPOSITORY / "contract" / "gaps.toml").read_text()
    assert all(f'"{method} {path}"' in linked for method, path in gaps())
