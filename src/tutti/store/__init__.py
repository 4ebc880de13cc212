"""State: one SQL database and one object store."""
