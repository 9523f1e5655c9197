"""Group commit: many writers share one flush.

Rules:
- Writes are numbered as they happen. A flush covers the writes that happened before it began, and no later writes.
- At most one flush runs; callers that arrive meanwhile are served by the next one.
- After a failed flush the content of the disk is unknown, so no write is ever reported durable again: all present and
  later callers get StorageFailed. (An fsync that succeeds after a failed fsync proves nothing.)
- A replica returns a version, to readers too, only once it is durable. ``UnsyncedWrites`` shows for which keys it must
  wait; for most keys it need not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ...ring.tokens import TokenRange, token_of
from ..errors import StorageFailed


class GroupCommit:
    """Runs ``flush`` for the callers of ``durable``, one flush at a time; belongs to one event loop.

    ``interval_s``: if given, a write is flushed after this time although no caller waits for it.
    ``on_synced`` receives, after each flush, the number of the last write that it covered.
    ``on_failure`` receives the first failure of a write or flush.
    """

    def __init__(
        self,
        flush: Callable[[], Awaitable[None]],
        *,
        interval_s: float | None = None,
        on_synced: Callable[[int], None] = lambda number: None,
        on_failure: Callable[[StorageFailed], None] = lambda error: None,
    ) -> None:
        self._flush = flush
        self._interval_s = interval_s
        self._on_synced = on_synced
        self._on_failure = on_failure
        self._written = 0
        self._wanted = 0
        self._synced = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failed: StorageFailed | None = None
        self._closed = False

    @property
    def failed(self) -> StorageFailed | None:
        return self._failed

    @property
    def synced(self) -> int:
        """The number of the last write that is known to be on the disk."""
        return self._synced

    def note_write(self) -> int:
        """Count a write that has just happened; return its number, counted from 1."""
        self._written += 1
        if self._interval_s is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._interval_over)
        return self._written

    async def durable(self) -> None:
        """Wait until every write counted so far is covered by a flush. Raise StorageFailed."""
        self.raise_if_failed()
        target = self._written
        if self._synced >= target:
            return
        if self._closed:
            raise StorageFailed("the engine is closed")
        await self._covered(target)

    async def close(self) -> None:
        """Flush the remaining writes and complete all waiting callers. Raise StorageFailed if that flush fails."""
        self._closed = True
        self._stop_timer()
        try:
            if self._failed is None and self._synced < self._written:
                await self._covered(self._written)
        finally:
            if self._flushing is not None:
                await asyncio.wait([self._flushing])

    def abandon(self, error: StorageFailed) -> None:
        """Stop without flushing, as a crash does; waiting callers get ``error``."""
        self._closed = True
        self._stop_timer()
        if self._flushing is not None:
            self._flushing.cancel()
        self._failed = self._failed or error
        self._release_all()

    def fail(self, error: StorageFailed) -> None:
        """Record that a write or a flush has failed: no write is reported durable from here on."""
        if self._failed is not None:
            return
        self._failed = error
        self._stop_timer()
        self._release_all()
        self._on_failure(error)

    def raise_if_failed(self) -> None:
        if self._failed is not None:
            raise StorageFailed(str(self._failed)) from self._failed

    async def _covered(self, target: int) -> None:
        covered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((target, covered))
        self._want(target)
        await covered

    def _want(self, target: int) -> None:
        self._wanted = max(self._wanted, target)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush_rounds())

    async def _flush_rounds(self) -> None:
        try:
            while self._synced < self._wanted and self._failed is None:
                covering = self._written
                await self._flush()
                self._synced = covering
                self._on_synced(covering)
                self._release(covering)
        except StorageFailed as error:
            self.fail(error)
        except BaseException as error:
            self.fail(StorageFailed(f"a flush ended by {error!r}"))
            raise
        finally:
            self._flushing = None

    def _release(self, covering: int) -> None:
        while self._waiting and self._waiting[0][0] <= covering:
            _, covered = self._waiting.popleft()
            if not covered.done():
                covered.set_result(None)

    def _release_all(self) -> None:
        while self._waiting:
            _, covered = self._waiting.popleft()
            if not covered.done():
                covered.set_exception(StorageFailed(str(self._failed)))

    def _interval_over(self) -> None:
        self._timer = None
        if self._synced < self._written:
            self._want(self._written)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_MAX_CHECKED_KEYS = 256
"""Maximum number of keys that ``UnsyncedWrites.may_contain_range`` compares with a range."""


class _Write(NamedTuple):
    number: int
    keys: Sequence[bytes]
    ranges: Sequence[TokenRange]


class UnsyncedWrites:
    """The keys and ranges changed by writes that no flush covers yet."""

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()
        self._last_write_of: dict[bytes, int] = {}
        self._dropping: deque[_Write] = deque()

    def add(self, number: int, keys: Sequence[bytes], ranges: Sequence[TokenRange] = ()) -> None:
        """Record that write ``number`` changed these keys and deleted or replaced all entries of these ranges."""
        write = _Write(number, keys, ranges)
        self._writes.append(write)
        for key in keys:
            self._last_write_of[key] = number
        if ranges:
            self._dropping.append(write)

    def synced(self, number: int) -> None:
        """Forget all writes up to ``number``, which are now on the disk."""
        while self._writes and self._writes[0].number <= number:
            write = self._writes.popleft()
            for key in write.keys:
                if self._last_write_of.get(key) == write.number:
                    del self._last_write_of[key]
        while self._dropping and self._dropping[0].number <= number:
            self._dropping.popleft()

    def __contains__(self, key: bytes) -> bool:
        return key in self._last_write_of or (bool(self._dropping) and self._dropped(token_of(key)))

    def may_contain_range(self, token_range: TokenRange) -> bool:
        """Return whether an unsynced write may have changed the range; True if there are too many to check."""
        if self._dropping or len(self._last_write_of) > _MAX_CHECKED_KEYS:
            return True
        return any(token_range.contains(token_of(key)) for key in self._last_write_of)

    def _dropped(self, token: int) -> bool:
        return any(token_range.contains(token) for write in self._dropping for token_range in write.ranges)
