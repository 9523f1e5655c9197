"""Group commit: who shares a flush with whom, and what one failure means for all."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import StorageFailed
from covey.node.storage.commit import GroupCommit


class Flushes:
    """Flushes that end when the test says so."""

    def __init__(self) -> None:
        self.beginning = asyncio.Event()
        self.begun: list[asyncio.Future[None]] = []
        self.synced: list[int] = []
        self.failures: list[StorageFailed] = []

    async def __call__(self) -> None:
        self.begun.append(asyncio.get_running_loop().create_future())
        self.beginning.set()
        await self.begun[-1]

    def end(self) -> None:
        self.begun[-1].set_result(None)

    def fail(self) -> None:
        self.begun[-1].set_exception(StorageFailed("no space"))

    def commit(self, interval_s: float | None = None) -> GroupCommit:
        return GroupCommit(
            self, interval_s=interval_s, on_synced=self.synced.append, on_failure=self.failures.append
        )


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


def durable(commit: GroupCommit) -> asyncio.Task[None]:
    """Write, then wait for it."""
    commit.note_write()
    return asyncio.create_task(commit.durable())


async def test_nothing_written_needs_no_flush() -> None:
    flushes = Flushes()
    await flushes.commit().durable()
    assert flushes.begun == []


async def test_what_is_synced_needs_no_second_flush() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    first = durable(commit)
    await settle()
    flushes.end()
    await first
    await commit.durable()
    assert len(flushes.begun) == 1


async def test_those_who_come_before_a_flush_begins_share_it() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    callers = [durable(commit) for _ in range(5)]
    await settle()
    flushes.end()
    await asyncio.gather(*callers)
    assert len(flushes.begun) == 1
    assert flushes.synced == [5]


async def test_those_who_come_during_a_flush_share_the_next() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    first = durable(commit)
    await settle()
    late = [durable(commit) for _ in range(5)]
    await settle()
    assert len(flushes.begun) == 1, "two flushes at a time"
    flushes.end()
    await settle()
    assert first.done()
    assert not any(caller.done() for caller in late)
    assert len(flushes.begun) == 2
    flushes.end()
    await asyncio.gather(*late)
    assert flushes.synced == [1, 6]


async def test_a_reader_waits_only_for_the_flush_that_covers_what_was_written() -> None:
    """Its write was there when the running flush began, so it need not wait for the next."""
    flushes = Flushes()
    commit = flushes.commit()
    writer = durable(commit)
    await settle()
    reader = asyncio.create_task(commit.durable())
    await settle()
    flushes.end()
    await asyncio.gather(writer, reader)
    assert len(flushes.begun) == 1


async def test_one_who_gives_up_disturbs_nobody() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    impatient, patient = durable(commit), durable(commit)
    await settle()
    impatient.cancel()
    await settle()
    flushes.end()
    await patient
    assert impatient.cancelled()


async def test_a_failed_flush_fails_all_who_wait_and_all_who_come() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    covered = durable(commit)
    await settle()
    late = durable(commit)
    await settle()
    flushes.fail()
    for caller in (covered, late, asyncio.create_task(commit.durable())):
        with pytest.raises(StorageFailed, match="no space"):
            await caller
    assert len(flushes.begun) == 1
    assert [str(error) for error in flushes.failures] == ["no space"]
    assert commit.synced == 0


async def test_a_failed_write_fails_those_who_wait_for_a_flush() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    caller = durable(commit)
    await settle()
    commit.fail(StorageFailed("cannot write"))
    with pytest.raises(StorageFailed, match="cannot write"):
        await caller
    flushes.end()
    await commit.close()
    assert len(flushes.failures) == 1


async def test_a_flush_that_ends_by_a_bug_leaves_nobody_waiting() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    commit = GroupCommit(broken)
    loop = asyncio.get_running_loop()
    surfaced: list[object] = []
    loop.set_exception_handler(lambda loop, context: surfaced.append(context.get("exception")))
    with pytest.raises(StorageFailed, match="ZeroDivisionError"):
        await durable(commit)
    await settle()
    assert [type(error) for error in surfaced] == [ZeroDivisionError]


async def test_closing_flushes_what_nobody_waits_for() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    commit.note_write()
    closing = asyncio.create_task(commit.close())
    await settle()
    flushes.end()
    await closing
    assert commit.synced == 1


async def test_closing_waits_for_the_running_flush() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    caller = durable(commit)
    await settle()
    closing = asyncio.create_task(commit.close())
    await settle()
    assert not closing.done()
    flushes.end()
    await asyncio.gather(caller, closing)
    assert len(flushes.begun) == 1


async def test_closing_reports_a_failed_last_flush() -> None:
    flushes = Flushes()
    commit = flushes.commit()
    commit.note_write()
    closing = asyncio.create_task(commit.close())
    await settle()
    flushes.fail()
    with pytest.raises(StorageFailed, match="no space"):
        await closing


async def test_an_interval_flushes_by_itself() -> None:
    flushes = Flushes()
    commit = flushes.commit(interval_s=0.001)
    commit.note_write()
    assert flushes.begun == []
    await flushes.beginning.wait()
    flushes.end()
    await settle()
    assert flushes.synced == [1]
    flushes.beginning.clear()
    commit.note_write()
    await flushes.beginning.wait()
    flushes.end()
    await commit.close()
    assert flushes.synced == [1, 2]


async def test_waiting_does_not_wait_for_the_interval() -> None:
    flushes = Flushes()
    commit = flushes.commit(interval_s=3600)
    caller = durable(commit)
    await settle()
    flushes.end()
    await caller
    await commit.close()
