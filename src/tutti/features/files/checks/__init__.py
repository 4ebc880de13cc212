"""What may stand in a file, by its purpose. Pure: `tutti files check` runs it without a server."""
