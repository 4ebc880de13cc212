"""Catalogue: the models there are, and the sources of their files."""
