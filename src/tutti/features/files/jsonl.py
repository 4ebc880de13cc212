"""Lines of JSON that every reader of lines takes for one line."""

_BREAKS = (
    (b"\r", b" "),
    (b"\n", b" "),
    ("\u0085".encode(), rb"\u0085"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)
"""Characters that some readers take for the end of a line, and what means the same in JSON. Inside strings it
is an escape; line feeds and carriage returns are never inside strings."""


def one_line(data: bytes) -> bytes:
    """Return the JSON as one line, with its line end."""
    for found, instead in _BREAKS:
        data = data.replace(found, instead)
    return data + b"\n"
