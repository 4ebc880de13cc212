"""Sandboxes for untrusted code, and the sessions of the code interpreter that run in them."""
