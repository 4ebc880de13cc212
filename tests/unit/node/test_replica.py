"""A model as a workload: what keeps one adapter from its base keeps no other from it."""

from pathlib import Path

from tests.support.databases import database, kind, migrated
from tests.support.engines import model

from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.meeting.wants import key_of
from tutti.node.replica import Replica
from tutti.node.workload import Site
from tutti.parts.engines import ENGINES
from tutti.store.db import Database

__all__ = ["database", "kind", "migrated"]


async def test_an_adapter_whose_entry_is_wrong_is_left_out(tmp_path: Path, database: Database) -> None:
    settings = Settings(data_dir=tmp_path)
    wrong = model("vllm", name="wrong", adapter_of="base", options={"harmony": True})
    right = model("vllm", name="right", adapter_of="base", options={"lora_rank": 8})
    replica = Replica(
        settings, Catalog(settings, database), ENGINES, model("vllm", name="base"), may_pull=lambda: False
    )
    replica.adapters.ask(right)
    replica.program(Site(1, (), 1))
    replica.became_ready()
    replica.adapters.ask(wrong)
    argv = replica.program(Site(1, (), 1)).argv
    assert [it.partition("=")[0] for it in argv if "=" in it] == ["right"]
    assert "harmony" in replica.adapters.refused[key_of(wrong)]
