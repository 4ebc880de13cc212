"""The HTTP layer: errors, keys, limits, streams. Pure ASGI middleware only."""
