"""The engine in memory, for tests and simulations, which crash it.

It simulates power failures: every unsynced batch can be undone. A torn last write is one of them, since recovery
recognizes and drops what was written of it. It also simulates flipped bits, a synced write that never reached the disk,
failed writes and flushes, and a disk that fills up and has space again.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from sortedcontainers import SortedDict

from covey.node.errors import Corruption, StorageFailed
from covey.node.storage.encoding import KeyRange, following, stored_key, unpack
from covey.node.storage.engine import Durability, StoreEngine
from covey.node.storage.store import Row, WriteBatch

Sleep = Callable[[float], Awaitable[None]]


class MemoryEngine(StoreEngine):
    """A disk that can be crashed or broken. ``sleep`` passes the time that a flush takes."""

    def __init__(
        self,
        durability: Durability = "sync",
        on_failure: Callable[[StorageFailed], None] = lambda error: None,
        *,
        sleep: Sleep = asyncio.sleep,
        flush_latency_s: float = 0.0,
        store: MemoryStore | None = None,
        reserve_bytes: int = 0,
    ) -> None:
        self._memory = store or MemoryStore(sleep, flush_latency_s)
        self._durability, self._on_failure, self._reserve_bytes = durability, on_failure, reserve_bytes
        super().__init__(self._memory, durability, on_failure, reserve_bytes=reserve_bytes)

    @property
    def unsynced_batches(self) -> int:
        """Number of batches that a power failure now could undo, the last ones first."""
        return len(self._memory.undo)

    def crash(self, *, keep_unsynced: int = 0) -> MemoryEngine:
        """End this engine and return the one that a restart finds.

        After a power failure, only synced data and the ``keep_unsynced`` oldest unsynced batches exist.
        For a crash of the process only, pass ``unsynced_batches``.
        """
        self._commit.abandon(StorageFailed("the engine has crashed"))
        self._closed = True
        left = self._memory.after_crash(keep_unsynced)
        return MemoryEngine(self._durability, self._on_failure, store=left, reserve_bytes=self._reserve_bytes)

    def copy(self) -> MemoryEngine:
        """Return a copy of the whole disk as it is now, unsynced writes included, like a copied folder."""
        return MemoryEngine(
            self._durability, self._on_failure, store=self._memory.copy(), reserve_bytes=self._reserve_bytes
        )

    def flip_bit(self, key: bytes, bit: int = 0) -> None:
        """Change a bit of what is stored for ``key``, counted from the end, without the engine noticing."""
        self._memory.flip_bit(stored_key(key), bit)

    def flip_any_bit(self, rng: random.Random) -> bool:
        """Change a random stored bit of the entries; return False when there are none."""
        stored = self._memory.any_key(rng)
        if stored is not None:
            self._memory.flip_bit(stored, rng.randrange(1 << 16))
        return stored is not None

    def unreadable(self) -> bool:
        """Return whether any entry has flipped bits, without the engine noticing."""
        return self._memory.unreadable()

    def lose_write(self, key: bytes) -> None:
        """Undo the last write of ``key``, as if it had never reached the disk although it was synced."""
        self._memory.lose_write(stored_key(key))

    def set_free_space(self, free_bytes: int) -> None:
        """Set the free space of the disk, which writes reduce."""
        self._memory.free = free_bytes

    def break_disk(self) -> None:
        """Let every write and flush from now on fail."""
        self._memory.broken = True


class _Undo(NamedTuple):
    """What a batch had replaced; None where nothing was."""

    rows: dict[bytes, bytes | None]
    named: dict[bytes, bytes | None]


class MemoryStore:
    def __init__(self, sleep: Sleep, flush_latency_s: float) -> None:
        self._sleep = sleep
        self._flush_latency_s = flush_latency_s
        self._rows: SortedDict[bytes, bytes] = SortedDict()
        self._named: SortedDict[bytes, bytes] = SortedDict()
        self.undo: deque[_Undo] = deque()
        self._batches = 0
        self._before: dict[bytes, bytes | None] = {}
        """What the last write of each row replaced."""
        self.needs_rewrite = False
        self.broken = False
        self.free = 1 << 50

    def read(self, key: bytes) -> bytes | None:
        value: bytes | None = self._rows.get(key)
        return value

    def read_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def rows(self, keys: KeyRange) -> Iterator[Row]:
        for key in self._rows.irange(keys.begin, keys.end, inclusive=(True, False)):
            yield key, self._rows[key]

    def snapshot(self, keys: KeyRange) -> Iterator[Row]:
        return iter(list(self.rows(keys)))

    def read_named(self, name: bytes) -> bytes | None:
        value: bytes | None = self._named.get(name)
        return value

    def named_rows(self, prefix: bytes, after: bytes = b"") -> Iterator[Row]:
        names = self._named.irange(max(prefix, following(after)))
        for name in takewhile(lambda name: name.startswith(prefix), names):
            yield name, self._named[name]

    def write(self, batch: WriteBatch) -> None:
        self._raise_if_broken()
        self.free -= sum(len(key) + len(value or b"") for key, value in (*batch.puts, *batch.named))
        if self.free < 0:
            self.broken = True  # a write that did not fit leaves the disk in no known state
            self._raise_if_broken()
        undo = _Undo({}, {})
        for keys in batch.deleted_ranges:
            for key in [key for key, _ in self.rows(keys)]:
                undo.rows[key] = _put(self._rows, key, None)
        for key in batch.deleted:
            undo.rows.setdefault(key, _put(self._rows, key, None))
        for key, value in batch.puts:
            replaced = self._before[key] = _put(self._rows, key, value)
            undo.rows.setdefault(key, replaced)
        for keys in batch.deleted_name_ranges:
            for name in list(self._named.irange(keys.begin, keys.end, inclusive=(True, False))):
                undo.named[name] = _put(self._named, name, None)
        for name, named in batch.named:
            replaced = _put(self._named, name, named)
            undo.named.setdefault(name, replaced)
        self.undo.append(undo)
        self._batches += 1

    def extent(self) -> int:
        return self._batches

    def free_bytes(self) -> int:
        return max(0, self.free)

    async def sync(self) -> None:
        covered = len(self.undo)
        await self._sleep(self._flush_latency_s)
        self._raise_if_broken()
        for _ in range(covered):
            self.undo.popleft()

    async def close(self) -> None:
        """Do nothing: there are no files."""

    def after_crash(self, keep_unsynced: int) -> MemoryStore:
        """Return the store that a restart finds, with that many of the oldest unsynced batches."""
        while len(self.undo) > keep_unsynced:
            undo = self.undo.pop()
            self._batches -= 1
            for key, value in undo.rows.items():
                _put(self._rows, key, value)
            for name, named in undo.named.items():
                _put(self._named, name, named)
        left = MemoryStore(self._sleep, self._flush_latency_s)
        left._rows, left._named = self._rows, self._named
        left._before, left.free = self._before, max(0, self.free)
        left._batches = self._batches
        return left

    def copy(self) -> MemoryStore:
        copied = MemoryStore(self._sleep, self._flush_latency_s)
        copied._rows, copied._named = self._rows.copy(), self._named.copy()
        copied._before, copied._batches = dict(self._before), self._batches
        return copied

    def flip_bit(self, key: bytes, bit: int) -> None:
        damaged = bytearray(self._rows[key])
        damaged[-1 - bit // 8 % len(damaged)] ^= 1 << bit % 8
        self._rows[key] = bytes(damaged)

    def unreadable(self) -> bool:
        for key, packed in self._rows.items():
            try:
                unpack(key, packed)
            except Corruption:
                return True
        return False

    def any_key(self, rng: random.Random) -> bytes | None:
        key: bytes | None = self._rows.peekitem(rng.randrange(len(self._rows)))[0] if self._rows else None
        return key

    def lose_write(self, key: bytes) -> None:
        _put(self._rows, key, self._before[key])

    def _raise_if_broken(self) -> None:
        if self.broken:
            raise StorageFailed("the disk is broken")


def _put(rows: SortedDict[bytes, bytes], key: bytes, value: bytes | None) -> bytes | None:
    """Set a row, or delete it (None); return what was there."""
    replaced: bytes | None = rows.pop(key, None) if value is None else rows.get(key)
    if value is not None:
        rows[key] = value
    return replaced
