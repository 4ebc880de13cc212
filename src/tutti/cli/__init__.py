"""The `tutti` command. It speaks HTTP like any client; only `serve`, `pull`, `rm` and `keys` act on this machine."""
