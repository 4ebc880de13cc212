"""The record of the items that a job has finished: their results are objects in the store, their numbers are
in SQL."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.jobs.job import Job
from tutti.store.blobs import Blobs
from tutti.store.records import JobChunk

Also = Callable[[AsyncSession], Awaitable[None]]
_PAGE = 200


class Ledger:
    """The finished items of a job with a project. It needs a bit of memory an item. Chunks may be appended
    concurrently."""

    def __init__(self, job: Job[Any], blobs: Blobs) -> None:
        self._job = job
        self._blobs = blobs
        self._forget()

    def _forget(self) -> None:
        self._bits = bytearray()
        self._counts: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._next = 0
        self.done = 0

    @classmethod
    async def open(cls, job: Job[Any], blobs: Blobs) -> "Ledger":
        """Read the items that earlier attempts have finished."""
        ledger = cls(job, blobs)
        async for chunk in ledger._chunks():
            ledger._note(chunk)
        return ledger

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of all chunks, added up."""
        return self._counts

    def is_done(self, item: int) -> bool:
        byte, bit = divmod(item, 8)
        return byte < len(self._bits) and bool(self._bits[byte] >> bit & 1)

    def size_bytes(self, part: str) -> int:
        return self._sizes.get(part, 0)

    async def append(
        self,
        items: Collection[int],
        parts: Mapping[str, bytes],
        counts: Mapping[str, int],
        also: Also | None = None,
    ) -> None:
        """Write results and mark their items as done; `also` writes in the same transaction. Raises
        LeaseLost, and ValueError for an item that is done already."""
        if any(map(self.is_done, items)):
            raise ValueError("an item is done already")
        chunk = self._new_chunk(items, parts, counts)
        for name, data in parts.items():
            await self._blobs.put(chunk.parts[name]["key"], data)
        async with self._job.write() as session:
            session.add(chunk)
            if also is not None:
                await also(session)
        self._note(chunk)

    async def stream(self, part: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a part of all chunks, in the order in which they were appended."""
        async for chunk in self._chunks():
            if part in chunk.parts:
                async for data in self._blobs.stream(chunk.parts[part]["key"]):
                    yield data

    async def clear(self) -> None:
        """Forget everything, objects first, also those that a worker put whose write was refused. A job that
        runs again after this starts from nothing, so call it only if the job's state says that the results
        are in their place; the sweep does it for jobs that have ended."""
        await clear_objects(self._blobs, self._job.project_id, self._job.id)
        async with self._job.write() as session:
            await session.execute(delete(JobChunk).where(JobChunk.job_id == self._job.id))
        self._forget()

    def _new_chunk(
        self, items: Collection[int], parts: Mapping[str, bytes], counts: Mapping[str, int]
    ) -> JobChunk:
        seq, self._next = self._next, self._next + 1
        # The lock token is in the key: a worker that lost the job cannot write over its successor's object.
        key = f"{prefix(self._job.project_id, self._job.id)}{self._job.lock_token}-{seq}-"
        described = {name: {"key": key + name, "size_bytes": len(data)} for name, data in parts.items()}
        return JobChunk(
            job_id=self._job.id, seq=seq, items=_ranges(items), parts=described, counts=dict(counts)
        )

    def _note(self, chunk: JobChunk) -> None:
        self._next = max(self._next, chunk.seq + 1)
        for first, last in chunk.items:
            self._mark(first, last)
        for name, part in chunk.parts.items():
            self._sizes[name] = self.size_bytes(name) + part["size_bytes"]
        for name, number in chunk.counts.items():
            self._counts[name] = self._counts.get(name, 0) + number

    def _mark(self, first: int, last: int) -> None:
        self._bits.extend(bytes(max(0, last // 8 + 1 - len(self._bits))))
        start, end = -(-first // 8), (last + 1) // 8  # of the bytes that are all its own
        if start < end:
            self._bits[start:end] = b"\xff" * (end - start)
        for item in (*range(first, min(start * 8, last + 1)), *range(max(end * 8, first), last + 1)):
            self._bits[item // 8] |= 1 << item % 8
        self.done += last - first + 1

    async def _chunks(self) -> AsyncIterator[JobChunk]:
        page = await self._page(-1)
        while page:
            for chunk in page:
                yield chunk
            page = await self._page(page[-1].seq)

    async def _page(self, after: int) -> Sequence[JobChunk]:
        query = (
            select(JobChunk)
            .where(JobChunk.job_id == self._job.id, JobChunk.seq > after)
            .order_by(JobChunk.seq)
            .limit(_PAGE)
        )
        async with self._job.database.read() as session:
            return (await session.scalars(query)).all()


def prefix(project_id: str, job_id: str) -> str:
    return f"{project_id}/jobs/{job_id}/"


async def clear_objects(blobs: Blobs, project_id: str, job_id: str) -> None:
    for key in await blobs.list(prefix(project_id, job_id)):
        await blobs.delete(key)


def _ranges(items: Iterable[int]) -> list[list[int]]:
    """Return [first, last] of each run of consecutive numbers, ascending."""
    ranges: list[list[int]] = []
    for item in sorted(set(items)):
        if ranges and item == ranges[-1][1] + 1:
            ranges[-1][1] = item
        else:
            ranges.append([item, item])
    return ranges
