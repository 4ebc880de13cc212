"""Authentication: from the Authorization header to a Caller."""

import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sqlalchemy import bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from tutti.access.caller import Caller
from tutti.access.keys import DEFAULT_ORGANIZATION_ID, DEFAULT_PROJECT_ID, digest, has_keys, server_secret
from tutti.base.address import is_loopback
from tutti.base.clock import monotonic_s
from tutti.base.errors import Unauthenticated, Unavailable
from tutti.base.fresh import Fresh
from tutti.base.settings import Settings
from tutti.store.db import Database
from tutti.store.records import ApiKey, Project

_CACHE_S = 1.0
"""How long a revoked key may still work, and how long a server without keys may not notice its first."""
_CACHE_ENTRIES = 4096
_CALLER = (
    select(
        ApiKey.digest,
        ApiKey.id,
        ApiKey.name,
        Project.id,
        Project.organization_id,
        ApiKey.requests_per_minute,
        ApiKey.tokens_per_minute,
    )
    .join(Project, Project.id == ApiKey.project_id)
    .where(ApiKey.digest == bindparam("digest"), ApiKey.revoked_at.is_(None))
)
"""By the digest of a key: the digest, then the fields of a Caller."""
_DEFAULT = Caller(
    key_id="key-default",
    key_name="default",
    project_id=DEFAULT_PROJECT_ID,
    organization_id=DEFAULT_ORGANIZATION_ID,
)
"""The caller with any key, as long as no key was made."""
_BEARER = re.compile(rb"bearer +([^\s]+) *", re.IGNORECASE)


class Authenticator:
    """Looks keys up in the database, and trusts an answer for a second."""

    def __init__(
        self, database: Database, settings: Settings, clock: Callable[[], float] = monotonic_s
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._secret = server_secret(settings)
        self._loopback = is_loopback(settings.host)
        self._locked = False
        self._cache: OrderedDict[str, Fresh[Caller | None]] = OrderedDict()

    async def authenticate(self, authorization: bytes | None) -> Caller:
        """Return the caller whose key the header holds. Raises Unauthenticated; Unavailable while the
        database is down."""
        match = _BEARER.fullmatch(authorization or b"")
        if match is None:
            raise Unauthenticated("An API key is needed: send the header `Authorization: Bearer <key>`.")
        try:
            caller = await self._cached(digest(self._secret, match[1])).get()
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("The database cannot be reached.", retry_after_s=1) from error
        if caller is None:
            raise Unauthenticated("The API key is not valid.", code="invalid_api_key")
        return caller

    def _cached(self, key_digest: str) -> Fresh[Caller | None]:
        if key_digest not in self._cache:
            self._cache[key_digest] = Fresh(partial(self._look_up, key_digest), _CACHE_S, self._clock)
            if len(self._cache) > _CACHE_ENTRIES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key_digest)
        return self._cache[key_digest]

    async def _look_up(self, key_digest: str) -> Caller | None:
        caller = await _find(self._database, key_digest)
        if caller is None and not await self._is_open():
            return None
        caller = caller or _DEFAULT
        return replace(
            caller,
            requests_per_minute=caller.requests_per_minute or self._settings.requests_per_minute,
            tokens_per_minute=caller.tokens_per_minute or self._settings.tokens_per_minute,
        )

    async def _is_open(self) -> bool:
        """True if any key will do. Once a key was made, none does any more, for ever."""
        self._locked = self._locked or not self._loopback or await has_keys(self._database)
        return not self._locked


async def _find(database: Database, key_digest: str) -> Caller | None:
    """Return the caller whose key has this digest, unless the key was revoked."""
    for found, *caller in await database.poll(_CALLER, {"digest": key_digest}):
        if hmac.compare_digest(found, key_digest):
            return Caller(*caller)
    return None
