"""Catalogue: what models are, and where their files come from."""
