"""The kind `model`: a want becomes a replica, or an adapter on the replica of its base."""

from tutti.base.model import Model
from tutti.meeting.wants import Wanted, key_of, want
from tutti.node.fleet import Fleet, Life
from tutti.node.guest import Guest
from tutti.node.replica import Replica
from tutti.node.runner import Runner


async def make(wanted: Wanted, fleet: Fleet) -> Life | None:
    """Return the runner of a replica, or an adapter on one. None if the catalogue has no such model, or an
    adapter's base is another node's."""
    model = await fleet.catalog.find(wanted.key.name, wanted.key.project_id)
    if model is None or key_of(model) != wanted.key:
        return None
    if model.adapter_of is None:
        return Runner(fleet.node, _replica(model, fleet), wanted.share)
    base = await fleet.catalog.find(model.adapter_of, model.project_id or "")
    if base is None:
        return Runner(fleet.node, _replica(model, fleet))  # it fails, and says that there is no base
    return await _adapter(model, base, fleet)


async def _adapter(model: Model, base: Model, fleet: Fleet) -> Guest | None:
    """Return the adapter on its base, if this node has that. If no node has it, try to bring it up here."""
    if not any(not host.gone.is_set() for host, _ in _hosts(base, fleet)):
        await want(fleet.database, Wanted(key_of(base)))
        replica = _replica(base, fleet)
        replica.adapters.ask(model)
        await fleet.claim(Runner(fleet.node, replica))
    hosts = _hosts(base, fleet)
    alive = [it for it in hosts if not it[0].gone.is_set()]
    failed = [it for it in hosts if it[0].state == "failed"]
    host = next(iter([*alive, *failed]), None)
    return Guest(fleet.node.rows, model, *host) if host else None


def _hosts(base: Model, fleet: Fleet) -> list[tuple[Runner, Replica]]:
    key = key_of(base)
    return [
        (runner, runner.workload)
        for runner in fleet.runners
        if runner.key == key and isinstance(runner.workload, Replica)
    ]


def _replica(model: Model, fleet: Fleet) -> Replica:
    def may_pull() -> bool:
        return fleet.settings.pull_on_use or fleet.is_preloaded(key_of(model))

    return Replica(fleet.settings, fleet.catalog, fleet.engines, model, may_pull=may_pull)
