"""Vocabulary that the sources share: the file that is wanted, and the ways to fail."""

from dataclasses import dataclass

from tutti.base.model import Source


@dataclass(frozen=True)
class Wanted:
    """A file to fetch. `digest` is a SHA-256 (64 hex digits), a git blob id (40: all that a hub knows of its
    small files) or empty; a size of 0 is unknown."""

    name: str
    sources: tuple[Source, ...]
    digest: str = ""
    size_bytes: int = 0


class PullFailed(Exception):
    """The model cannot be pulled; the message says from where and why, for people."""


class DiskFull(PullFailed):
    """The disk is full, so that no source will help."""


class SourceFailed(Exception):
    """A source that did not give the file; another may."""


class Unreachable(SourceFailed):
    """A source where nothing answers: it is not asked again during this pull."""


class WrongContent(SourceFailed):
    """A file that is not the wanted one. It has been removed."""
