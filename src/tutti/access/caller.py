"""The one who asks: what a key stands for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Whose key it is. The limits are the key's own or else the server's; 0 means none."""

    key_id: str
    key_name: str
    project_id: str
    organization_id: str
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
