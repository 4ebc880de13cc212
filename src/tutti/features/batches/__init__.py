"""Many requests in a file, worked off behind those of clients."""
