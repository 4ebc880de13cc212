"""The choice of workloads that make room for another: the least recently used that nobody uses now."""

from collections.abc import Sequence
from dataclasses import dataclass

from tutti.base.program import Share


@dataclass(frozen=True)
class Tenant:
    """A workload that could be evicted."""

    id: str
    share: Share
    used_at: float


def victims(tenants: Sequence[Tenant], taken: Share, needed: Share, whole: Share) -> Sequence[Tenant] | None:
    """Return the fewest tenants, from the least recently used on, without which `needed` fits beside the rest
    of what is `taken`; none of them leaves in vain. None: it would not fit without all of them either."""
    chosen: list[Tenant] = []
    for tenant in sorted(tenants, key=lambda tenant: tenant.used_at):
        if _fits_without(chosen, taken, needed, whole):
            break
        chosen.append(tenant)
    if not _fits_without(chosen, taken, needed, whole):
        return None
    for tenant in list(chosen):
        others = [other for other in chosen if other is not tenant]
        if _fits_without(others, taken, needed, whole):
            chosen = others
    return chosen


def _fits_without(leaving: Sequence[Tenant], taken: Share, needed: Share, whole: Share) -> bool:
    memory = taken.memory_bytes - sum(tenant.share.memory_bytes for tenant in leaving)
    gpus = taken.gpus - sum(tenant.share.gpus for tenant in leaving)
    return (Share(memory, gpus) + needed).fits(whole)
