"""The error of a fetch that is not allowed."""


class FetchRefused(Exception):
    """The URL or the answer is not allowed. The text says why, and is safe to show to the client."""
