"""The HTTP layer: authentication, limits, bodies, errors, streams. Pure ASGI middleware only."""
