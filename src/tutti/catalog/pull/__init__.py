"""Pulling: bringing the files of a model onto this machine."""
