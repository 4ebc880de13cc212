"""The tables. Everything a tenant owns carries `project_id`; times are Unix seconds with a fraction."""

from tutti.store.records.access import ApiKey, Organization, Project, RateWindow
from tutti.store.records.base import Record
from tutti.store.records.batches import Batch
from tutti.store.records.catalog import CustomModel
from tutti.store.records.evaluations import Evaluation
from tutti.store.records.files import File, Upload, UploadPart
from tutti.store.records.jobs import JobChunk, JobEvent, JobRow
from tutti.store.records.meeting import Node, Replica, SandboxHost, Want
from tutti.store.records.usage import UsageRow

__all__ = [
    "ApiKey",
    "Batch",
    "CustomModel",
    "Evaluation",
    "File",
    "JobChunk",
    "JobEvent",
    "JobRow",
    "Node",
    "Organization",
    "Project",
    "RateWindow",
    "Record",
    "Replica",
    "SandboxHost",
    "Upload",
    "UploadPart",
    "UsageRow",
    "Want",
]
