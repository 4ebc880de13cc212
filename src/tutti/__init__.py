"""Tutti: the whole Together platform on your own machines."""

__version__ = "0.1.0"
