"""The `tutti` command: HTTP like any client, but for the commands that act on this machine."""
