"""The way to the code interpreter's sessions, which the sandbox hosts keep. A host is started by the first
request that needs one: an API worker writes that it wants one, and finds it in the database."""

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tutti.base.clock import monotonic_s, now
from tutti.base.errors import (
    CannotSandbox,
    InternalError,
    NotFound,
    RateLimited,
    TuttiError,
    Unavailable,
)
from tutti.base.settings import Settings
from tutti.dispatch.connection import Broken, NotConnected
from tutti.dispatch.wire import Client
from tutti.meeting.router import NODE_DEAD_S
from tutti.meeting.sandbox_calls import LEAVING, Call, Ended, Ending, Refused, failed
from tutti.meeting.sandbox_hosts import HostView, hosts, want
from tutti.store.db import Database

_LOOK_S = 0.1
_RETRY_S = 5.0
_STALE_S = 0.1
"""A kept connection to a host that has ended breaks within this time: the request had not been begun."""
_MSGPACK = "application/msgpack"


class _NotHere(Exception):
    """Nothing was done: the host is not there, is leaving, or does not know the session."""


class _Lost(Exception):
    """The host ended in the middle of the request."""


class Interpreter:
    """Finds the host of a session and passes requests on. `close` belongs to the composition root."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._client = Client()
        self._hosts: Sequence[HostView] = ()

    async def execute(self, call: Call) -> bytes:
        """Execute code, and return the API's ExecuteResponse as JSON. Raises RateLimited where all sessions
        are in use, CannotSandbox where no code can be executed, Unavailable where it cannot yet. Cancelling
        it interrupts the code."""
        try:
            if call.session_id is None:
                return await self._execute_anywhere(call)
            return await self._execute_in(call.session_id, call)
        except _Lost:
            return _json(failed("The code interpreter ended while it executed this; its sessions are gone."))

    async def sessions(self, project_id: str) -> bytes:
        """Return the API's SessionListResponse, as JSON."""
        await self._look()
        lists = await asyncio.gather(*(self._listed(host, project_id) for host in self._ready()))
        found = sorted(itertools.chain(*lists), key=lambda session: session["started_at"])
        return _json({"data": {"sessions": found}})

    async def end(self, project_id: str, session_id: str) -> None:
        """End a session, whatever it is doing. Raises NotFound, with the reason where it has ended
        already."""
        try:
            answer = await self._ask_all("/end", Ending(project_id, session_id))
        except _Lost:
            return  # with its host
        ended = Ended(_no_session(session_id)) if answer is None else msgspec.json.decode(answer, type=Ended)
        if ended.reason is not None:
            raise NotFound(ended.reason, param="session_id")

    def close(self) -> None:
        self._client.close()

    # --- where ----------------------------------------------------------------------------------------

    async def _execute_anywhere(self, call: Call) -> bytes:
        """Execute the code in a new session, on a host that is started for it if need be."""
        give_up_at = monotonic_s() + self._settings.load_wait_s
        while True:
            tried = self._ready()
            try:
                return await self._execute_at(tried, call)
            except _NotHere:
                pass
            await self._look()
            if not self._ready():
                await self._prepare()
            if monotonic_s() > give_up_at:
                raise _preparing(self._hosts)
            if self._ready() == tried:
                await asyncio.sleep(_LOOK_S)

    async def _execute_at(self, ready: Sequence[HostView], call: Call) -> bytes:
        """Execute the code at one of the hosts; where all are full, an idle session is ended. Raises
        _NotHere, RateLimited."""
        full: TuttiError | None = None
        for make_room in (False, True) if len(ready) > 1 else (True,):
            call = msgspec.structs.replace(call, make_room=make_room)
            for host in random.sample(ready, len(ready)):
                try:
                    return await self._ask(host, "/execute", call)
                except _NotHere:
                    continue
                except RateLimited as error:
                    full = error
        raise full or _NotHere

    async def _execute_in(self, session_id: str, call: Call) -> bytes:
        answer = await self._ask_all("/execute", call)
        return _json(failed(_no_session(session_id))) if answer is None else answer

    async def _ask_all(self, path: str, call: Call | Ending) -> bytes | None:
        """Return the answer of the host that knows the session; None where no host does."""
        asked: set[str] = set()
        for look_again in (False, True):
            if look_again:
                await self._look()
            for host in self._ready():
                if host.token not in asked:
                    asked.add(host.token)
                    try:
                        return await self._ask(host, path, call)
                    except _NotHere:
                        continue
        return None

    async def _listed(self, host: HostView, project_id: str) -> Sequence[Any]:
        try:
            return msgspec.json.decode(await self._ask(host, "/sessions", project_id))
        except (_NotHere, _Lost):
            return ()  # its sessions are gone

    def _ready(self) -> list[HostView]:
        return [host for host in self._hosts if host.state == "ready"]

    async def _look(self) -> None:
        self._hosts = await hosts(self._database, now() - NODE_DEAD_S)

    async def _prepare(self) -> None:
        """Want a host, unless one is coming. Raises CannotSandbox where starting one failed a moment ago."""
        if self._coming():
            return
        await want(self._database, now() - NODE_DEAD_S)
        await self._look()
        given_up = next((host for host in self._hosts if host.is_given_up), None)
        if given_up is not None and not self._coming():
            raise CannotSandbox(given_up.detail)

    def _coming(self) -> bool:
        return any(host.state in ("wanted", "preparing", "ready") for host in self._hosts)

    # --- asking ---------------------------------------------------------------------------------------

    async def _ask(self, host: HostView, path: str, asked: Call | Ending | str) -> bytes:
        headers, body = {"authorization": f"Bearer {host.token}"}, msgspec.msgpack.encode(asked)
        began = monotonic_s()
        try:
            status, answer = await self._post(host.address + path, body, headers)
        except NotConnected as error:
            raise _NotHere from error
        except Broken as error:
            raise (_NotHere if monotonic_s() - began < _STALE_S else _Lost) from error
        if status != 200:
            raise _refusal(status, answer)
        return answer

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = await self._client.post(url, body, headers, _MSGPACK)
        try:
            pieces: list[bytes] = []
            while piece := await connection.read():
                pieces.append(piece)
            return connection.status, b"".join(pieces)
        finally:
            self._client.release(connection)  # ends the execution unless it has come to its end


def _refusal(status: int, answer: bytes) -> Exception:
    """Turn a host's refusal into the error to raise. Another program that has the host's port by now knows
    neither its token nor its errors: nothing was done then."""
    try:
        refused = msgspec.json.decode(answer, type=Refused)
    except msgspec.MsgspecError:
        return _NotHere()
    if status in (401, 404) or refused.code == LEAVING:
        return _NotHere()
    kinds: Mapping[int, type[TuttiError]] = {429: RateLimited, 503: Unavailable}
    kind = kinds.get(status, InternalError)
    return kind(refused.message, code=refused.code, retry_after_s=refused.retry_after_s)


def _no_session(session_id: str) -> str:
    return f"There is no session {session_id}: it may have ended, or it never was."


def _preparing(found: Sequence[HostView]) -> Unavailable:
    progress = next((host.detail for host in found if host.detail), "") or "its process is being started"
    return Unavailable(
        f"The code interpreter is being prepared ({progress}); try again soon.",
        code="interpreter_preparing",
        retry_after_s=_RETRY_S,
    )


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)
