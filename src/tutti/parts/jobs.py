"""THE table of the kinds of jobs."""

from collections.abc import Callable
from typing import Any

from tutti.features.batches.job import batch
from tutti.features.evaluations.job import evaluation
from tutti.features.files.job import file_check
from tutti.features.files.sweep import file_sweep
from tutti.features.models.job import model_upload
from tutti.http.inside import Inside
from tutti.jobs.kind import Kind
from tutti.jobs.sweep import sweep
from tutti.platform import Platform

JobKind = Callable[[Platform, Inside], Kind[Any]]


def _sweep(platform: Platform, _inside: Inside) -> Kind[Any]:
    return sweep(platform.database, platform.blobs)


JOB_KINDS: tuple[JobKind, ...] = (_sweep, batch, file_sweep, file_check, evaluation, model_upload)
"""Each only keeps its arguments: the documentation calls them with nothing open."""
