"""Models: their lists, and uploads of a project's own."""
