"""Features: one folder each, independent of one another."""
