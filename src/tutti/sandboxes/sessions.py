"""The sessions that clients have: whose each is, when it ends, and why it has ended."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tutti.base.clock import monotonic_s, now
from tutti.base.errors import RateLimited, Unavailable
from tutti.base.ids import new_secret
from tutti.sandboxes.calls import LEAVING, Call
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.session import Output, Session, SessionDied

_SWEEP_S = 1.0
_REMEMBER_S = 3600.0
_MOST_REMEMBERED = 10_000
_MOST_RETRY_S = 30.0


class Unknown(Exception):
    """There is no such session here, or it is another project's: nobody learns which."""


class Gone(Exception):
    """The session has ended; the text says why."""


@dataclass
class Entry:
    """Times are Unix seconds."""

    id: str
    project_id: str
    session: Session
    started_at: float
    expires_at: float
    last_execute_at: float
    execute_count: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: str | None = None


@dataclass(frozen=True)
class _Tombstone:
    project_id: str
    reason: str
    forget_at: float


class Sessions:
    """Sessions last `lifetime_s` from their start, whatever is done in them. `networked`: the projects whose
    sessions have the network; `*` stands for all."""

    def __init__(self, pool: Pool, *, most: int, lifetime_s: float, networked: Collection[str] = ()) -> None:
        self._pool = pool
        self._most = most
        self._lifetime_s = lifetime_s
        self._networked = networked
        self._entries: dict[str, Entry] = {}
        self._opening = 0
        self._tombstones: dict[str, _Tombstone] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._sweeping = asyncio.create_task(self._keep_sweeping())

    @property
    def in_use(self) -> bool:
        return bool(self._entries or self._opening)

    async def execute(self, call: Call) -> tuple[Entry, Sequence[Output]]:
        """When it is this execution's turn in the session. Code that ends its session gets the reason as an
        error. Raises Unknown, Gone, RateLimited, CannotSandbox; cancelled, it interrupts the code, and ends a
        session that nobody has learnt the id of."""
        if call.session_id is not None:
            return await self._execute(self._find(call), call)
        entry = await self._open(call.project_id)
        try:
            return await self._execute(entry, call)
        except asyncio.CancelledError:
            self._end(entry, "Its first execution was broken off.")
            raise

    async def _execute(self, entry: Entry, call: Call) -> tuple[Entry, Sequence[Output]]:
        async with entry.turn:
            self._check(entry)
            entry.last_execute_at = now()
            entry.execute_count += 1
            try:
                return entry, await entry.session.execute(call.code, call.files)
            except SessionDied as error:
                if entry.ended is not None or not error.outputs:
                    raise Gone(entry.ended or error.reason) from error
                return entry, error.outputs
            finally:
                self._check_alive(entry)

    def listed(self, project_id: str) -> Sequence[Entry]:
        """Oldest first."""
        entries = [it for it in self._entries.values() if it.project_id == project_id]
        return [it for it in entries if it.session.dead is None and it.expires_at > now()]

    def leave(self) -> None:
        """From now on there are no new sessions here."""
        self._leaving = True

    async def close(self) -> None:
        self.leave()
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])
        for entry in list(self._entries.values()):
            self._end(entry, "The server is stopping, and its sessions with it.")
        await asyncio.gather(*self._ending)

    # --- finding and opening --------------------------------------------------------------------------

    def _find(self, call: Call) -> Entry:
        session_id = call.session_id or ""
        entry, tombstone = self._entries.get(session_id), self._tombstones.get(session_id)
        if entry is not None and entry.project_id == call.project_id:
            return entry
        if tombstone is not None and tombstone.project_id == call.project_id:
            raise Gone(tombstone.reason)
        raise Unknown

    async def _open(self, project_id: str) -> Entry:
        if self._leaving:
            raise Unavailable("This process is leaving.", code=LEAVING, retry_after_s=1)
        self._sweep()
        if len(self._entries) + self._opening >= self._most:
            raise self._full()
        self._opening += 1
        try:
            session = await self._pool.take(network=self._may_network(project_id))
        finally:
            self._opening -= 1
        began = now()
        # Of 160 random bits, unlike other ids: whoever knows it may run code.
        entry = Entry(new_secret("ses"), project_id, session, began, began + self._lifetime_s, began)
        self._entries[entry.id] = entry
        return entry

    def _may_network(self, project_id: str) -> bool:
        return "*" in self._networked or project_id in self._networked

    def _full(self) -> RateLimited:
        next_s = min((it.expires_at - now() for it in self._entries.values()), default=_MOST_RETRY_S)
        return RateLimited(
            f"All {self._most} sessions of the code interpreter are in use; try again when one has ended.",
            code="interpreter_full",
            retry_after_s=min(max(1.0, next_s), _MOST_RETRY_S),
        )

    # --- ending ---------------------------------------------------------------------------------------

    def _check(self, entry: Entry) -> None:
        self._check_alive(entry)
        self._check_age(entry)
        if entry.ended is not None:
            raise Gone(entry.ended)

    def _check_alive(self, entry: Entry) -> None:
        if entry.session.dead is not None:
            self._end(entry, f"The session {entry.id} has ended: {entry.session.dead}")

    def _check_age(self, entry: Entry) -> None:
        if entry.expires_at <= now():
            self._end(
                entry, f"The session {entry.id} has expired: a session lasts {_span(self._lifetime_s)}."
            )

    def _end(self, entry: Entry, reason: str) -> None:
        if entry.ended is not None:
            return
        entry.ended = reason
        del self._entries[entry.id]
        self._tombstones[entry.id] = _Tombstone(entry.project_id, reason, monotonic_s() + _REMEMBER_S)
        ending = asyncio.create_task(self._pool.end(entry.session))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._sweep()
            self._forget()

    def _sweep(self) -> None:
        for entry in list(self._entries.values()):
            if not entry.turn.locked():  # else its execution finds out, and says more
                self._check_alive(entry)
            self._check_age(entry)

    def _forget(self) -> None:
        """The oldest come first."""
        while self._tombstones:
            first = next(iter(self._tombstones))
            is_new = self._tombstones[first].forget_at > monotonic_s()
            if is_new and len(self._tombstones) <= _MOST_REMEMBERED:
                return
            del self._tombstones[first]


def _span(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} s"
