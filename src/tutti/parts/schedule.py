"""THE table of scheduled maintenance. Apart from parts/jobs, since the controller reads it and must stay
small."""

from types import MappingProxyType

from tutti.jobs.schedule import Schedule

SCHEDULE: Schedule = MappingProxyType({"sweep": 3600.0, "file_sweep": 3600.0})
"""Name of a kind of job whose arguments are plain `Args` -> seconds between two runs."""
