"""Which replicas make room for another: the least recently used of those that nobody uses now."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A part of a machine. What runs on GPUs is counted by GPUs, not by memory."""

    memory_bytes: int = 0
    gpus: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.memory_bytes + other.memory_bytes, self.gpus + other.gpus)

    def fits(self, whole: "Share") -> bool:
        return self.memory_bytes <= whole.memory_bytes and self.gpus <= whole.gpus


@dataclass(frozen=True)
class Tenant:
    """A replica that could be evicted."""

    id: str
    share: Share
    used_at: float


def victims(tenants: Sequence[Tenant], taken: Share, needed: Share, whole: Share) -> Sequence[Tenant] | None:
    """The fewest from the least recently used on that let `needed` fit beside the rest of what is `taken`;
    none of them in vain. None where even all of them would not do."""
    chosen: list[Tenant] = []
    for tenant in sorted(tenants, key=lambda it: it.used_at):
        if _fits_without(chosen, taken, needed, whole):
            break
        chosen.append(tenant)
    if not _fits_without(chosen, taken, needed, whole):
        return None
    for tenant in list(chosen):
        others = [it for it in chosen if it is not tenant]
        if _fits_without(others, taken, needed, whole):
            chosen = others
    return chosen


def _fits_without(leaving: Sequence[Tenant], taken: Share, needed: Share, whole: Share) -> bool:
    memory = taken.memory_bytes - sum(it.share.memory_bytes for it in leaving)
    gpus = taken.gpus - sum(it.share.gpus for it in leaving)
    return (Share(memory, gpus) + needed).fits(whole)
