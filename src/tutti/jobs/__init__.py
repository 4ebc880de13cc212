"""Durable work: accepted once, ended exactly once."""
