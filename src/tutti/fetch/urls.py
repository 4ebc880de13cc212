"""Reading a URL that a client named: one parser (yarl, the one that aiohttp connects by) decides."""

import re

from yarl import URL

from tutti.base.internet import is_plain_host
from tutti.fetch.errors import FetchRefused

MAX_URL_LENGTH = 8192
_UNREADABLE = (ValueError, IndexError)
"""The errors that yarl raises: `http://[]@` is an IndexError."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")


def parse_url(text: str) -> URL:
    """Parse an absolute http(s) URL that every parser reads alike. Raises FetchRefused for any other text."""
    if _is_unsafe(text):
        raise FetchRefused("it is too long, or has a backslash, a space or a control character")
    try:
        return _checked(URL(text))
    except _UNREADABLE:
        raise FetchRefused("it is not a valid URL") from None


def redirected(base: URL, location: str) -> URL:
    """Return the URL that `base` redirects to. Raises FetchRefused, as `parse_url` does."""
    if not location or _is_unsafe(location):
        raise FetchRefused("it redirects to an invalid location")
    try:
        return _checked(base.join(URL(location)))
    except _UNREADABLE:
        raise FetchRefused("it redirects to an invalid location") from None


def _is_unsafe(text: str) -> bool:
    return len(text) > MAX_URL_LENGTH or _FORBIDDEN.search(text) is not None


def _checked(url: URL) -> URL:
    if url.scheme not in ("http", "https"):
        raise FetchRefused("only http and https are allowed")
    if "@" in url.raw_authority:
        raise FetchRefused("a user name or password is not allowed")
    if not url.port or not is_plain_host(url.raw_host or ""):
        raise FetchRefused("its host or port is not valid")
    return url
