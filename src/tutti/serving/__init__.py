"""Serving: which models there are, which replica takes a request, and what is loaded or evicted."""
