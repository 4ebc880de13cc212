"""What a live session has been sent and has not worked on yet."""

import asyncio

import pytest
from tests.support.patience import limit

from tutti.workers.transcribe.inbox import Gone, Inbox
from tutti.workers.transcribe.messages import Append, Clear, Commit


async def test_messages_come_in_order() -> None:
    inbox = Inbox(100)
    for message in (Append(b"a"), Commit(), Append(b"b")):
        await inbox.put(message)
    assert [await inbox.get() for _ in range(3)] == [Append(b"a"), Commit(), Append(b"b")]


async def test_who_sends_faster_than_it_is_worked_on_waits() -> None:
    inbox = Inbox(10)
    await inbox.put(Append(b"x" * 10))
    late = asyncio.create_task(inbox.put(Append(b"y")))
    await asyncio.sleep(0.05)
    assert not late.done()
    inbox.handled(await inbox.get())
    await asyncio.wait_for(late, limit(10))
    assert await inbox.get() == Append(b"y")


async def test_a_commit_does_not_wait() -> None:
    inbox = Inbox(1)
    await inbox.put(Append(b"xx"))
    await asyncio.wait_for(inbox.put(Commit()), limit(10))


async def test_clear_forgets_the_sound_that_was_sent_before_it() -> None:
    inbox = Inbox(10)
    for message in (Append(b"old" * 3), Commit(), Clear(), Append(b"new")):
        await inbox.put(message)
    assert [await inbox.get() for _ in range(3)] == [Commit(), Clear(), Append(b"new")]
    await asyncio.wait_for(inbox.put(Append(b"room again")), 10)


async def test_who_waits_for_a_session_that_ends_is_told() -> None:
    inbox = Inbox(1)
    await inbox.put(Append(b"x"))
    waiting = asyncio.create_task(inbox.put(Append(b"y")))
    await asyncio.sleep(0)
    inbox.end()
    with pytest.raises(Gone):
        await waiting
    with pytest.raises(Gone):
        await inbox.put(Commit())
