"""Settings as environment variables, for the processes that must have the same settings."""

import msgspec

from tutti.base.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(mode="json").items()
    return {
        f"TUTTI_{name.upper()}": value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in values
        if value is not None
    }
