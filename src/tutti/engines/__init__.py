"""Engines: how each kind of model server is started, watched and spoken to. One file an engine."""
