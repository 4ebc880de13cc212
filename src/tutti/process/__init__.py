"""Processes: children under a shepherd that outlives nobody, their supervision; logs and metrics."""
