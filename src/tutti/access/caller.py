"""The caller of a request: the project and the limits that a key stands for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The owner of a key. The limits are the key's own or else the server's; 0 means no limit."""

    key_id: str
    key_name: str
    project_id: str
    organization_id: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
