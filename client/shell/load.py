"""Loading a file: many writes in flight, each acknowledged key noted, memory bounded.

Loading again is safe: the same keys get the same values. Lines with equal keys are written in file order: a
key that is in flight is waited for before it is written again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import CoveyError, InvalidRequest
from .exits import ExitCode, exit_code
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

    def note_failure(self, key: bytes, error: CoveyError) -> None:
        if error.maybe_applied:
            self.maybe_applied += 1
        else:
            self.failed += 1
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


class Loader:
    """Writes the records of one file; ``acknowledged`` is called with each key as its write is."""

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
        self._bytes_in_flight = 0
        self._success_at = now()
        """When the last write was acknowledged, or the load began."""

    async def load(self, lines: AsyncIterator[bytes]) -> None:
        """Ends at the end of the lines, at a malformed one, or when nothing gets acknowledged any more.

        What is in flight by then is waited for in each case.
        """
        number = 0
        async with asyncio.TaskGroup() as writes:
            async for line in lines:
                number += 1
                record = self._decoded(line, number)
                await self._pacer.turn()
                if record is not None:
                    await self._begin(record, writes)
                if self.tally.stopped:
                    break

    def _decoded(self, line: bytes, number: int) -> Record | None:
        """None for an empty line, and for a malformed one, which stops the load."""
        if not line.strip():
            return None
        try:
            return decode_record(line)
        except ValueError as error:
            self.tally.stop(f"line {number}: {error}", ExitCode.USAGE)
            return None

    async def _begin(self, record: Record, writes: asyncio.TaskGroup) -> None:
        await self._room.acquire()
        if record.key in self._in_flight:
            await asyncio.wait([self._in_flight[record.key]])
        size_bytes = len(record.key) + len(record.value)
        while self._in_flight and self._bytes_in_flight + size_bytes > BYTES_IN_FLIGHT:
            await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)
        self._bytes_in_flight += size_bytes
        self._in_flight[record.key] = writes.create_task(self._write(record))

    async def _write(self, record: Record) -> None:
        try:
            await self._client.put(record.key, record.value)
        except CoveyError as error:
            self._failed(record.key, error)
        else:
            self.tally.acknowledged += 1
            self._success_at = self._now()
            self._acknowledged(record.key)
        finally:
            del self._in_flight[record.key]
            self._bytes_in_flight -= len(record.key) + len(record.value)
            self._room.release()

    def _failed(self, key: bytes, error: CoveyError) -> None:
        self.tally.note_failure(key, error)
        silent_s = self._now() - self._success_at
        if silent_s > GIVE_UP_AFTER_S and not isinstance(error, InvalidRequest):
            self.tally.stop(f"gave up: nothing was acknowledged for {silent_s:.0f} s", ExitCode.NOT_DONE)
