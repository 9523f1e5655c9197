"""Disks: where an engine lives on from one opening to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from covey.node.errors import StorageFailed
from covey.node.storage.engine import Durability, StoreEngine
from covey.node.storage.rocks import RocksEngine
from tests.support.memory_engine import MemoryEngine


class Disk(Protocol):
    failures: list[StorageFailed]
    """What the engine told its owner."""

    def open(self, durability: Durability = "sync") -> StoreEngine: ...


class RocksDisk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures: list[StorageFailed] = []

    def open(self, durability: Durability = "sync") -> StoreEngine:
        return RocksEngine.open(self.path, durability, self.failures.append)


class MemoryDisk:
    def __init__(self) -> None:
        self.failures: list[StorageFailed] = []
        self._engine: MemoryEngine | None = None

    def open(self, durability: Durability = "sync") -> StoreEngine:
        if self._engine is None:
            self._engine = MemoryEngine(durability, self.failures.append)
        else:
            self._engine = self._engine.crash(keep_unsynced=self._engine.unsynced_batches)
        return self._engine


@pytest.fixture(params=["memory", "rocks"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return MemoryDisk() if request.param == "memory" else RocksDisk(tmp_path / "engine")


@pytest.fixture
async def open_engine(disk: Disk) -> AsyncIterator[Callable[..., StoreEngine]]:
    """Opens engines on ``disk``, and closes them in the end."""
    opened: list[StoreEngine] = []

    def open_one(durability: Durability = "sync") -> StoreEngine:
        opened.append(disk.open(durability))
        return opened[-1]

    yield open_one
    for engine in opened:
        await engine.close()


@pytest.fixture
async def engine(open_engine: Callable[..., StoreEngine]) -> StoreEngine:
    return open_engine()
