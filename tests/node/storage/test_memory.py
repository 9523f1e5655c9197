"""The engine in memory: what a crash leaves, and that flushes take the time they are told to."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import StorageFailed
from covey.node.storage.encoding import KeyRange
from covey.node.storage.interface import Entry
from covey.node.storage.store import WriteBatch
from covey.quorum.version import Version
from covey.ring.tokens import WHOLE_RING
from tests.support.memory_engine import MemoryEngine, MemoryStore


def put(engine: MemoryEngine, key: bytes, timestamp: int = 1) -> None:
    engine.merge([(key, Entry(Version(timestamp, 1, 1), b"v%d" % timestamp))], {"last": key})


async def test_power_loss_takes_what_was_not_synced() -> None:
    engine = MemoryEngine()
    put(engine, b"a")
    await engine.durable()
    put(engine, b"a", 2)
    put(engine, b"b")
    left = engine.crash()
    held = left.get(b"a")
    assert held is not None
    assert held.value == b"v1"
    assert left.get(b"b") is None
    assert left.get_meta("last") == b"a"
    assert left.usage().keys == 1


async def test_the_death_of_the_process_takes_nothing() -> None:
    engine = MemoryEngine("periodic")
    put(engine, b"a")
    left = engine.crash(keep_unsynced=engine.unsynced_batches)
    assert left.get(b"a") is not None
    await left.close()


async def test_power_loss_brings_back_rows_that_were_dropped_unsynced() -> None:
    engine = MemoryEngine()
    engine.put_rows([(b"\xffa", b"1")])
    await engine.durable()
    engine.drop_rows(b"\xff")
    assert engine.get_row(b"\xffa") is None
    assert engine.crash().get_row(b"\xffa") == b"1"


async def test_power_loss_takes_the_latest_batches_first() -> None:
    engine = MemoryEngine()
    for key in (b"a", b"b", b"c"):
        put(engine, key)
    left = engine.crash(keep_unsynced=2)
    assert [left.get(key) is not None for key in (b"a", b"b", b"c")] == [True, True, False]
    assert left.get_meta("last") == b"b"


async def test_power_loss_brings_back_what_was_dropped_unsynced() -> None:
    engine = MemoryEngine()
    put(engine, b"a")
    await engine.durable()
    engine.drop([WHOLE_RING])
    left = engine.crash()
    assert left.get(b"a") is not None
    assert left.usage().keys == 1


def test_a_batch_that_erases_and_puts_one_key_is_undone_as_one() -> None:
    store = MemoryStore(asyncio.sleep, 0.0)
    store.write(WriteBatch(puts=[(b"a", b"first")]))
    store.write(WriteBatch(deleted_ranges=[KeyRange(b"", None)], puts=[(b"a", b"second")]))
    assert store.read(b"a") == b"second"
    assert store.after_crash(keep_unsynced=1).read(b"a") == b"first"


async def test_a_flush_takes_its_time_and_covers_only_what_came_before() -> None:
    asleep, let_it_end = asyncio.Event(), asyncio.Event()
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        asleep.set()
        await let_it_end.wait()

    engine = MemoryEngine(sleep=sleep, flush_latency_s=0.25)
    put(engine, b"a")
    flush = asyncio.create_task(engine.durable())
    await asleep.wait()
    put(engine, b"b")
    let_it_end.set()
    await flush
    left = engine.crash()
    assert naps == [0.25]
    assert left.get(b"a") is not None
    assert left.get(b"b") is None


async def test_a_crash_in_the_middle_of_a_flush_loses_what_it_would_have_covered() -> None:
    never = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await never.wait()

    engine = MemoryEngine(sleep=sleep)
    put(engine, b"a")
    flush = asyncio.create_task(engine.durable())
    await asyncio.sleep(0)
    left = engine.crash()
    with pytest.raises(StorageFailed, match="crashed"):
        await flush
    assert left.get(b"a") is None


async def test_a_crashed_engine_refuses() -> None:
    engine = MemoryEngine()
    engine.crash()
    with pytest.raises(StorageFailed):
        engine.get(b"a")


async def test_a_broken_disk_fails_writes_and_flushes_but_not_reads() -> None:
    failures: list[StorageFailed] = []
    engine = MemoryEngine(on_failure=failures.append)
    put(engine, b"a")
    engine.break_disk()
    with pytest.raises(StorageFailed, match="broken"):
        await engine.durable()
    with pytest.raises(StorageFailed, match="broken"):
        put(engine, b"b")
    assert engine.get(b"a") is not None
    assert not engine.is_durable(b"a")
    assert engine.failed is failures[0]
    assert len(failures) == 1


async def test_a_failed_write_changes_nothing() -> None:
    engine = MemoryEngine()
    engine.break_disk()
    with pytest.raises(StorageFailed):
        put(engine, b"a")
    assert engine.get(b"a") is None
    assert engine.usage().keys == 0
