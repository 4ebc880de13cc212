"""All sessions of clients: whose each one is, when it ends, and why it has ended."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from tutti.base.clock import monotonic_s, now
from tutti.base.errors import RateLimited, Unavailable
from tutti.base.ids import new_secret
from tutti.base.shares import NoRoom, Shares
from tutti.meeting.sandbox_calls import LEAVING, Call
from tutti.sandboxes import weight
from tutti.sandboxes.base import spelled
from tutti.sandboxes.entry import Entry, Opening, executing
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.session import Output, SessionDied
from tutti.sandboxes.tombstones import Tombstones

_SWEEP_S = 1.0
_RETRY_S = 5.0


class UnknownSession(Exception):
    """The session does not exist here, or belongs to another project. Callers can't tell which."""


class SessionGone(Exception):
    """The session has ended. The text says why."""


class Sessions:
    """The table of all sessions. A session lasts `lifetime_s` from its start, whether it is used or not.

    If there is no room for a new one, an idle one is ended. If all together use more than `memory_bytes`, one
    of the project that uses most is ended. `networked`: the projects whose sessions have the network; `*`
    means all."""

    def __init__(
        self,
        pool: Pool,
        shares: Shares,
        *,
        lifetime_s: float,
        memory_bytes: float = math.inf,
        networked: Collection[str] = (),
    ) -> None:
        self._pool = pool
        self._shares = shares
        self._lifetime_s = lifetime_s
        self._memory_bytes = memory_bytes
        self._networked = networked
        self._entries: dict[str, Entry] = {}
        self._opening: set[Opening] = set()
        self._tombstones = Tombstones()
        self._ending: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._sweeping = asyncio.create_task(self._keep_sweeping())

    @property
    def in_use(self) -> bool:
        return bool(self._entries or self._opening)

    async def execute(self, call: Call) -> tuple[Entry, Sequence[Output]]:
        """Wait for the session's turn, execute the code, and return its session and outputs.

        Code that ends its session gets the reason as an error output. Raise UnknownSession, SessionGone,
        RateLimited or CannotSandbox. Cancelling the call interrupts the code, and ends a new session, whose
        id no client knows yet."""
        if call.session_id is not None:
            return await self._execute(self._find(call.project_id, call.session_id), call)
        entry = await self._open(call.project_id, make_room=call.make_room)
        try:
            return await self._execute(entry, call)
        except asyncio.CancelledError:
            self._end(entry, "Its first execution was broken off.")
            raise

    async def _execute(self, entry: Entry, call: Call) -> tuple[Entry, Sequence[Output]]:
        with executing(entry):
            return await self._execute_in_turn(entry, call)

    async def _execute_in_turn(self, entry: Entry, call: Call) -> tuple[Entry, Sequence[Output]]:
        async with entry.turn:
            self._check(entry)
            entry.last_execute_at = now()
            entry.execute_count += 1
            try:
                return entry, await entry.session.execute(call.code, call.files)
            except SessionDied as error:
                if entry.ended is not None or not error.outputs:
                    raise SessionGone(entry.ended or error.reason) from error
                return entry, error.outputs
            finally:
                self._check_alive(entry)

    def listed(self, project_id: str) -> Sequence[Entry]:
        """Return the live sessions of a project, oldest first."""
        entries = [it for it in self._entries.values() if it.project_id == project_id]
        return [it for it in entries if it.session.dead is None and it.expires_at > now()]

    def end(self, project_id: str, session_id: str) -> None:
        """End a session, even while it executes code. Raise UnknownSession or SessionGone."""
        self._end(self._find(project_id, session_id), f"The session {session_id} was ended by a request.")

    def leave(self) -> None:
        """Refuse new sessions from now on."""
        self._leaving = True

    async def close(self) -> None:
        self.leave()
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])
        for entry in list(self._entries.values()):
            self._end(entry, "The server is stopping, and its sessions with it.")
        await asyncio.gather(*self._ending)

    # --- finding and opening --------------------------------------------------------------------------

    def _find(self, project_id: str, session_id: str) -> Entry:
        entry = self._entries.get(session_id)
        if entry is not None and entry.project_id == project_id:
            return entry
        reason = self._tombstones.reason(project_id, session_id)
        raise UnknownSession if reason is None else SessionGone(reason)

    async def _open(self, project_id: str, *, make_room: bool) -> Entry:
        if self._leaving:
            raise Unavailable("This process is leaving.", code=LEAVING, retry_after_s=1)
        self._sweep()
        self._make_room(project_id, is_allowed=make_room)
        opening = Opening(project_id)
        self._opening.add(opening)
        try:
            session = await self._pool.take(
                project_id, network=self._may_network(project_id), leave=self._leaves(project_id)
            )
        finally:
            self._opening.remove(opening)
        began = now()
        # 160 random bits, unlike other ids, because knowing the id is enough to run code.
        id, expires_at = new_secret("ses"), began + self._lifetime_s
        self._entries[id] = entry = Entry(id, project_id, session, began, expires_at, began, monotonic_s())
        return entry

    def _make_room(self, project_id: str, *, is_allowed: bool) -> None:
        """End an idle session if there is no room. Raise RateLimited if none is idle."""
        try:
            gives_way = self._shares.giving_way(self._all(), project_id)
        except NoRoom as error:
            raise self._full(error) from error
        if isinstance(gives_way, Entry):
            if not is_allowed:
                raise self._full(NoRoom(is_own=False))
            self._end(
                gives_way,
                f"The session {gives_way.id} was ended to make room for a new one: it had been idle for "
                f"longest. {self._limits()}",
            )

    def _may_network(self, project_id: str) -> bool:
        return "*" in self._networked or project_id in self._networked

    def _leaves(self, project_id: str) -> int:
        """Return the number of spare sessions to leave: 1 if other projects have fewer sessions than this
        one."""
        counts = Counter(it.project_id for it in self._all())
        return int(any(count < counts[project_id] for count in counts.values()))

    def _all(self) -> Sequence[Entry | Opening]:
        return (*self._entries.values(), *self._opening)

    def _full(self, error: NoRoom) -> RateLimited:
        whose = "of your project" if error.is_own else "of the code interpreter"
        return RateLimited(
            f"All sessions {whose} are executing code; try again when one is done. {self._limits()}",
            code="interpreter_full",
            retry_after_s=_RETRY_S,
        )

    def _limits(self) -> str:
        return (
            f"A project may have {self._shares.most_of_project} sessions at once "
            f"(interpreter_project_sessions), all together {self._shares.most} (interpreter_sessions)."
        )

    # --- ending ---------------------------------------------------------------------------------------

    def _check(self, entry: Entry) -> None:
        self._check_alive(entry)
        self._check_age(entry)
        if entry.ended is not None:
            raise SessionGone(entry.ended)

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
        self._tombstones.put(entry.project_id, entry.id, reason)
        ending = asyncio.create_task(self._pool.end(entry.session))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._sweep()
            self._tombstones.forget()
            self._weigh()
            self._bound_memory()

    def _weigh(self) -> None:
        working: defaultdict[str, list[Sequence[int]]] = defaultdict(list)
        for entry in self._entries.values():
            if pids := entry.session.working():
                working[entry.project_id].append(pids)
        for sandboxes in working.values():
            weight.share(sandboxes)

    def _bound_memory(self) -> None:
        taken = Counter[str]()
        for entry in self._entries.values():
            taken[entry.project_id] += entry.session.own_bytes
        if taken.total() > self._memory_bytes:
            most = taken.most_common(1)[0][0]
            entries = [it for it in self._entries.values() if it.project_id == most]
            largest = max(entries, key=lambda it: it.session.own_bytes)
            self._end(
                largest,
                f"The session {largest.id} was ended: all sessions together used more than "
                f"{spelled(int(self._memory_bytes))} of memory (interpreter_total_memory_bytes); your "
                "project used the most, and of its sessions this one.",
            )

    def _sweep(self) -> None:
        for entry in list(self._entries.values()):
            if entry.is_idle:  # otherwise its execution notices, and reports more
                self._check_alive(entry)
            self._check_age(entry)


def _span(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} s"
