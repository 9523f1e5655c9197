"""Loading a file: many writes in flight, each acknowledged key noted, memory bounded.

Loading again is safe: the same keys get the same values. Of lines with equal keys the last one wins: while a key is
in flight, only the newest of its later lines is kept, and written next. The lines that it replaced count as it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import CoveyError, InvalidRequest
from .exits import CommandError, ExitCode, exit_code
from .records import Record, decode_record

WRITES_IN_FLIGHT = 128
BYTES_IN_FLIGHT = 2 << 20
"""Of keys and values; a single larger record is written alone. With more it is no faster, and others wait for it."""
GIVE_UP_AFTER_S = 30.0
"""Without any acknowledgement, while writes fail."""


class Writer(Protocol):
    async def put(self, key: bytes, value: bytes) -> object: ...


@dataclass
class Tally:
    """What became of the writes."""

    acknowledged: int = 0
    failed: int = 0
    """Certainly not done."""
    maybe_applied: int = 0
    worst: ExitCode = ExitCode.DONE
    first_failure: str | None = None
    stopped: str | None = None
    """Why the file was not read to its end."""

    def note_failure(self, key: bytes, lines: int, error: CoveyError) -> None:
        if error.maybe_applied:
            self.maybe_applied += lines
        else:
            self.failed += lines
        self.worst = max(self.worst, exit_code(error))
        if self.first_failure is None:
            self.first_failure = f"{key.decode(errors='backslashreplace')}: {error}"

    def stop(self, reason: str, code: ExitCode) -> None:
        self.stopped = reason
        self.worst = max(self.worst, code)


class Pacer:
    """Lets one pass every ``1 / rate`` seconds; after a delay at most a second's worth is made up for."""

    def __init__(self, rate: float | None, now: Callable[[], float]) -> None:
        self._interval_s = 1 / rate if rate else 0.0
        self._now = now
        self.next_at = now()

    async def turn(self) -> None:
        if self._interval_s:
            self.next_at = max(self.next_at + self._interval_s, self._now() - 1.0)
            await asyncio.sleep(max(0.0, self.next_at - self._now()))


@dataclass(slots=True)
class _Write:
    """A record to write, and how many lines of the file it stands for."""

    record: Record
    lines: int = 1

    @property
    def size_bytes(self) -> int:
        return len(self.record.key) + len(self.record.value)


class Loader:
    """Writes the records of one file; ``acknowledged`` is called with each key as its write is.

    When ``acknowledged`` raises CommandError, the load stops with its message and code.
    """

    def __init__(
        self, client: Writer, acknowledged: Callable[[bytes], None], pacer: Pacer, now: Callable[[], float]
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._acknowledged = acknowledged
        self._pacer = pacer
        self._now = now
        self._room = asyncio.Semaphore(WRITES_IN_FLIGHT)
        self._in_flight: dict[bytes, asyncio.Task[None]] = {}
        self._next: dict[bytes, _Write] = {}
        """The write that follows, by key in flight."""
        self._bytes = 0
        """Total size of all keys and values in flight or next."""
        self._success_at = now()
        """When the last write was acknowledged, or the load began."""

    async def load(self, lines: AsyncIterator[bytes]) -> None:
        """Ends at the end of the lines, at a malformed one, or when nothing gets acknowledged any more.

        What is in flight by then is waited for in each case.
        """
        number = 0
        async with asyncio.TaskGroup() as writes:
            try:
                async for line in lines:
                    number += 1
                    record = self._decoded(line, number)
                    await self._pacer.turn()
                    if record is not None:
                        await self._begin(_Write(record), writes)
                    if self.tally.stopped:
                        break
            except CommandError as error:
                self.tally.stop(f"after line {number}: {error}", error.code)

    def _decoded(self, line: bytes, number: int) -> Record | None:
        """None for an empty line, and for a malformed one, which stops the load."""
        if not line.strip():
            return None
        try:
            return decode_record(line)
        except ValueError as error:
            self.tally.stop(f"line {number}: {error}", ExitCode.USAGE)
            return None

    async def _begin(self, write: _Write, writes: asyncio.TaskGroup) -> None:
        key = write.record.key
        while self._in_flight and self._bytes + self._growth_bytes(write) > BYTES_IN_FLIGHT:
            await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)
        if key not in self._in_flight:
            # A write of this key cannot begin meanwhile: only this loop begins any.
            await self._room.acquire()
            self._bytes += write.size_bytes
            self._in_flight[key] = writes.create_task(self._write(write))
            return
        self._bytes += self._growth_bytes(write)
        if (replaced := self._next.get(key)) is not None:
            write.lines += replaced.lines
        self._next[key] = write

    def _growth_bytes(self, write: _Write) -> int:
        """Return how many more bytes are held once ``write`` has replaced the write that waits."""
        replaced = self._next.get(write.record.key)
        return write.size_bytes - (replaced.size_bytes if replaced else 0)

    async def _write(self, write: _Write) -> None:
        """Write a record, then the newest records of its key that came meanwhile."""
        key = write.record.key
        try:
            await self._attempt(write)
            while (following := self._next.pop(key, None)) is not None:
                await self._attempt(following)
        finally:
            del self._in_flight[key]
            self._room.release()

    async def _attempt(self, write: _Write) -> None:
        try:
            await self._client.put(*write.record)
        except CoveyError as error:
            self._failed(write, error)
            return
        finally:
            self._bytes -= write.size_bytes
        self.tally.acknowledged += write.lines
        self._success_at = self._now()
        try:
            for _ in range(write.lines):
                self._acknowledged(write.record.key)
        except CommandError as error:
            self.tally.stop(str(error), error.code)

    def _failed(self, write: _Write, error: CoveyError) -> None:
        self.tally.note_failure(write.record.key, write.lines, error)
        silent_s = self._now() - self._success_at
        if silent_s > GIVE_UP_AFTER_S and not isinstance(error, InvalidRequest):
            self.tally.stop(f"gave up: nothing was acknowledged for {silent_s:.0f} s", ExitCode.NOT_DONE)
