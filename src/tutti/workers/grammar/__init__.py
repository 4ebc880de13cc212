"""Decides whether a schema or a pattern of a client can be enforced, and makes the engine's grammar of it."""
