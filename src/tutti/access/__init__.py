"""Who may use the server, and how much: projects, keys, limits."""
