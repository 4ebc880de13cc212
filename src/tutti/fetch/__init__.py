"""The only way out to addresses that clients name."""
