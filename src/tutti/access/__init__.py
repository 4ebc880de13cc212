"""Access to the server: projects, keys and limits."""
