"""How far the data goes: a number that only a disk which lost something ever decreases."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from covey.node.storage.engine import StoreEngine
from covey.node.storage.interface import Entry
from covey.node.storage.rocks import RocksEngine, open_store
from covey.node.storage.salvage import request_salvage, salvage_if_requested
from covey.quorum.version import Version
from tests.node.conftest import Disk
from tests.support.memory_engine import MemoryEngine

Open = Callable[..., StoreEngine]

WRITER = """
import asyncio, os, sys
from pathlib import Path
from covey.quorum.version import Version
from covey.node.storage.engine import Entry
from covey.node.storage.rocks import RocksEngine

async def write(path):
    engine = RocksEngine.open(Path(path))
    for number in range(2000):
        engine.merge([(b"%d" % number, Entry(Version(1, 1, 1), os.urandom(4000)))])
        if number % 100 == 0:
            await engine.durable()
    await engine.durable()
    print(engine.extent(), flush=True)
    engine.merge([(b"unsynced", Entry(Version(1, 1, 1), b"v"))])
    os.kill(os.getpid(), 9)

asyncio.run(write(sys.argv[1]))
"""


def put(engine: StoreEngine, key: bytes) -> None:
    engine.merge([(key, Entry(Version(1, 1, 1), b"value"))])


async def test_what_was_made_durable_is_covered(open_engine: Open) -> None:
    engine = open_engine()
    extents = [engine.extent()]
    for key in (b"a", b"b"):
        put(engine, key)
        await engine.durable()
        extents.append(engine.extent())
    assert sorted(set(extents)) == extents


async def test_a_named_value_counts_as_an_entry_does(open_engine: Open) -> None:
    engine = open_engine()
    before = engine.extent()
    engine.put_meta({"vote": b"yes"})
    await engine.durable()
    assert engine.extent() > before


async def test_what_no_flush_covers_does_not_count(open_engine: Open) -> None:
    engine = open_engine()
    before = engine.extent()
    put(engine, b"a")
    assert engine.extent() == before


async def test_a_restart_opens_with_all_that_was_durable(disk: Disk) -> None:
    engine = disk.open()
    put(engine, b"a")
    await engine.durable()
    said = engine.extent()
    await engine.close()
    again = disk.open()
    assert again.extent() >= said
    await again.close()


async def test_losing_power_takes_nothing_of_what_was_durable() -> None:
    engine = MemoryEngine()
    put(engine, b"a")
    await engine.durable()
    said = engine.extent()
    put(engine, b"b")
    assert engine.crash().extent() == said


async def test_an_older_copy_of_the_disk_opens_with_less() -> None:
    engine = MemoryEngine()
    copy = engine.copy()
    put(engine, b"a")
    await engine.durable()
    assert copy.crash().extent() < engine.extent()


def test_a_killed_process_leaves_at_least_what_it_said(tmp_path: Path) -> None:
    """Over flushes of memtables too, which remove the log that the numbers stand in."""

    async def extent() -> int:
        engine = RocksEngine.open(tmp_path / "engine")
        try:
            return engine.extent()
        finally:
            await engine.close()

    for _ in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "engine")]
        said = int(subprocess.run(command, capture_output=True, timeout=60, check=False).stdout)
        assert asyncio.run(extent()) >= said


@pytest.mark.parametrize("times", [1, 2])
def test_a_rewritten_database_counts_on_from_the_old_one(tmp_path: Path, times: int) -> None:
    async def filled() -> int:
        engine = RocksEngine.open(tmp_path / "engine")
        for _ in range(50):
            engine.put_meta({"x": b"y"})
        await engine.durable()
        await engine.close()
        return engine.extent()

    for _ in range(times):
        said = asyncio.run(filled())
        request_salvage(tmp_path / "engine")
        salvage_if_requested(tmp_path / "engine", open_store)
        with open_store(tmp_path / "engine") as store:
            assert store.extent() >= said
