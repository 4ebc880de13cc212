"""Arguments of jobs: what a job is given when it is accepted."""

from typing import Any, Self, TypeVar

import msgspec

from tutti.access.caller import Caller


class Args(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every kind's arguments. They lie in the database until the job is done, across upgrades: a new
    field has a default; where that is not enough, the kind gives `version` a higher default and reads both.
    Arguments of a higher version than the kind's own are refused."""

    version: int = 1


class CallerArgs(Args, frozen=True, kw_only=True):
    """Base of the arguments of jobs that call models for whoever asked for the job."""

    key_id: str
    key_name: str
    organization_id: str

    @classmethod
    def of(cls, caller: Caller, **more: Any) -> Self:
        """Return the arguments for the caller's job; `more` are those of the kind itself."""
        return cls(
            key_id=caller.key_id, key_name=caller.key_name, organization_id=caller.organization_id, **more
        )

    def caller(self, project_id: str) -> Caller:
        """Return who asked for the job; its project is the job's. The limits of the key aren't carried."""
        return Caller(self.key_id, self.key_name, project_id, self.organization_id)


A = TypeVar("A", bound=Args)
