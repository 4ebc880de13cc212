"""THE table of the kinds of workloads: `Want.kind` is a key of it. Other kinds are left to other nodes."""

from types import MappingProxyType

from tutti.base.program import MODEL
from tutti.node import models
from tutti.node.fleet import Workloads

WORKLOADS: Workloads = MappingProxyType({MODEL: models.make})
