"""Rules for the content of a file, by its purpose. Pure: `tutti files check` runs them without a server."""
