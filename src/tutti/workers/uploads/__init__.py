"""Programs that unpack, check and convert the models and adapters that clients upload."""
