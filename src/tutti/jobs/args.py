"""What a job is given when it is accepted."""

from typing import TypeVar

import msgspec


class Args(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every kind's arguments. They lie in the database until the job is done, across upgrades: a new
    field has a default; where that is not enough, the kind gives `version` a higher default and reads both.
    Arguments of a higher version than the kind's own are refused."""

    version: int = 1


A = TypeVar("A", bound=Args)
