"""Compute drivers: where a Program runs."""
