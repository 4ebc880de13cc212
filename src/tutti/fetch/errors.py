"""How a fetch fails for a reason that the client may read."""


class FetchRefused(Exception):
    """The URL or the answer is not allowed. The text says why, and is safe to show to the client."""
