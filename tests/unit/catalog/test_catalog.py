"""Names and rows, over a real database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate

QWEN = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
GUARD = "meta-llama/Llama-Guard-3-8B"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("empty")

    async def make() -> None:
        database = await Database.open(database_url(Settings(data_dir=folder)))
        await migrate(database)
        await database.close()

    asyncio.run(make())
    return folder / "tutti.db"


@pytest.fixture
async def database(tmp_path: Path, empty: Path) -> AsyncIterator[Database]:
    shutil.copy(empty, tmp_path)
    database = await Database.open(database_url(Settings(data_dir=tmp_path)))
    yield database
    await database.close()


def catalog_of(database: Database, tmp_path: Path, **more: object) -> Catalog:
    return Catalog(Settings(data_dir=tmp_path, **more), database)  # type: ignore[arg-type]


async def name_of(catalog: Catalog, name: str, project_id: str = "") -> str | None:
    model = await catalog.find(name, project_id)
    return model.name if model else None


async def test_a_shipped_model_is_found_by_its_name_only(database: Database, tmp_path: Path) -> None:
    catalog = catalog_of(database, tmp_path)
    assert await name_of(catalog, QWEN) == QWEN
    assert await name_of(catalog, QWEN.lower()) is None
    assert await name_of(catalog, "nobody/nothing") is None


async def test_aliases_stand_before_the_shipped_catalogue(database: Database, tmp_path: Path) -> None:
    catalog = catalog_of(
        database, tmp_path, aliases={"meta-llama/*": QWEN, GUARD: "sentence-transformers/all-MiniLM-L6-v2"}
    )
    assert await name_of(catalog, "meta-llama/Llama-3.3-70B-Instruct") == QWEN
    assert await name_of(catalog, GUARD) == "sentence-transformers/all-MiniLM-L6-v2"


async def test_a_model_that_was_asked_for_is_not_hidden_by_a_pattern(
    database: Database, tmp_path: Path
) -> None:
    catalog = catalog_of(database, tmp_path, aliases={"meta-llama/*": QWEN}, models=[GUARD])
    assert await name_of(catalog, GUARD) == GUARD
    await catalog.add(Model("meta-llama/mine", "chat", "echo"))
    assert await name_of(catalog, "meta-llama/mine") == "meta-llama/mine"


async def test_a_star_catches_unknown_names_only(database: Database, tmp_path: Path) -> None:
    catalog = catalog_of(database, tmp_path, aliases={"*": QWEN})
    assert await name_of(catalog, "gpt-4o") == QWEN
    assert await name_of(catalog, GUARD) == GUARD


async def test_an_alias_is_one_step(database: Database, tmp_path: Path) -> None:
    catalog = catalog_of(database, tmp_path, aliases={"a": "b", "b": "a", "c": QWEN, "d": "c"})
    assert await name_of(catalog, "a") is None
    assert await name_of(catalog, "d") is None


async def test_the_users_file_wins_over_the_shipped_catalogue(database: Database, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(f'["{QWEN}"]\ntype = "chat"\nengine = "echo"\n[other]\nlike = "{QWEN}"\n')
    catalog = catalog_of(database, tmp_path, catalog=mine)
    found = await catalog.find(QWEN)
    assert found is not None
    assert found.engine == "echo"
    assert await name_of(catalog, "other") == "other"


async def test_a_projects_model_is_its_own(database: Database, tmp_path: Path) -> None:
    catalog = catalog_of(database, tmp_path)
    await catalog.add(Model("tuned", "chat", "echo", context_length=1, project_id="proj-a"))
    assert await name_of(catalog, "tuned", "proj-a") == "tuned"
    assert await name_of(catalog, "tuned", "proj-b") is None
    assert await name_of(catalog, "tuned") is None
    assert "tuned" in [model.name for model in await catalog.models("proj-a")]
    assert "tuned" not in [model.name for model in await catalog.models("proj-b")]
    await catalog.remove("tuned", "proj-b")
    assert await name_of(catalog, "tuned", "proj-a") == "tuned"
    await catalog.remove("tuned", "proj-a")
    assert await name_of(catalog, "tuned", "proj-a") is None


async def test_another_processs_changes_are_seen_within_two_seconds(
    database: Database, tmp_path: Path
) -> None:
    here, there = catalog_of(database, tmp_path), catalog_of(database, tmp_path)
    assert await name_of(here, "new") is None
    await there.add(Model("new", "chat", "echo", context_length=1))
    await asyncio.sleep(1.1)
    assert await name_of(here, "new") == "new"
    await there.add(Model("new", "chat", "echo", context_length=2))
    await asyncio.sleep(1.1)
    found = await here.find("new")
    assert found is not None
    assert found.context_length == 2
    await there.remove("new")
    await asyncio.sleep(1.1)
    assert await name_of(here, "new") is None


async def test_an_entry_that_breaks_the_rules_is_not_added(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name"):
        await catalog_of(database, tmp_path).add(Model("a b", "chat", "echo"))


async def test_a_model_without_files_is_always_there(database: Database, tmp_path: Path) -> None:
    catalog = catalog_of(database, tmp_path)
    assert catalog.is_pulled(Model("echo", "chat", "echo"))
    found = await catalog.find(QWEN)
    assert found is not None
    assert not catalog.is_pulled(found)
    assert catalog.folder(found) == tmp_path / "models" / "Qwen--Qwen2.5-Coder-0.5B-Instruct"
