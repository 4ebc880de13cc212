"""Lines of JSON that are lines for whoever reads lines."""

_BREAKS = (
    (b"\r", b" "),
    (b"\n", b" "),
    ("\u0085".encode(), rb"\u0085"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)
"""What some readers take for the end of a line, and what means the same in JSON: inside strings, an escape;
line feeds and carriage returns are never inside them."""


def one_line(data: bytes) -> bytes:
    """Return the JSON as a line, with its end."""
    for found, instead in _BREAKS:
        data = data.replace(found, instead)
    return data + b"\n"
