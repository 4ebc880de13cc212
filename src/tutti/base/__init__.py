"""The vocabulary that every layer shares. No I/O here, and no imports from the rest of Tutti."""
