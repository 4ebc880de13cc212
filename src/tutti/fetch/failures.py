"""The errors of the API for what aiohttp raises while a client's URL is fetched."""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientPayloadError, InvalidURL

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.fetch.errors import FetchRefused


@asynccontextmanager
async def fetching(timeout_s: float, param: str | None) -> AsyncGenerator[None]:
    """Limit a fetch to `timeout_s`, and turn its failures into an InvalidRequest that names `param`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
        return
    except TimeoutError:
        reason = _too_late(timeout_s)
    except (FetchRefused, ClientPayloadError, zlib.error) as error:
        reason = str(error) if isinstance(error, FetchRefused) else "the answer is broken"
    except (ClientError, OSError, ValueError):
        reason = "the server cannot be reached"
    raise InvalidRequest(f"Cannot fetch the URL: {reason}.", param=param, code="url_not_fetched")


@asynccontextmanager
async def posting(timeout_s: float, param: str | None) -> AsyncGenerator[None]:
    """Limit a POST to `timeout_s`, and turn its failures into InvalidRequest where trying again cannot help,
    and into Unavailable where it can. Both name `param`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
        return
    except FetchRefused as error:
        raise _not_posted(str(error), param) from None
    except (InvalidURL, zlib.error, ValueError):
        raise _not_posted("the answer is broken", param) from None
    except TimeoutError:
        reason = _too_late(timeout_s)
    except (ClientError, OSError):
        reason = "the server cannot be reached"
    raise Unavailable(f"Cannot POST to the URL: {reason}.", param=param, code="url_not_posted")


def _not_posted(reason: str, param: str | None) -> InvalidRequest:
    return InvalidRequest(f"Cannot POST to the URL: {reason}.", param=param, code="url_not_posted")


def _too_late(timeout_s: float) -> str:
    return f"no complete answer within {timeout_s:g} s"
