"""The models list."""
