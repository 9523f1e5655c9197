"""``covey load``: write the records of a file, with bounded memory and a list of acknowledged keys.

Loading a file again is safe: the same keys get the same values. Of lines with equal keys the last one wins: while a
write of a key is in flight, only the newest of its later lines is kept, and written next. The lines that it replaced
count as it does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Protocol

import typer

from ..errors import CoveyError, InvalidRequest
from .exits import CommandError, ExitCode, exit_code
from .line_source import lines_of, open_source, size_bytes
from .options import BULK_TIMEOUT_S, ServerFlag, TimeoutFlag, with_client
from .output import print_error, print_json, progress_bar
from .records import Record, decode_record

if TYPE_CHECKING:
    from ..aio import AsyncClient

MAX_WRITES_IN_FLIGHT = 128
MAX_BYTES_IN_FLIGHT = 2 << 20
"""Of keys and values; a single larger record is written by itself. A larger limit makes a load no faster, and delays
other clients."""
GIVE_UP_AFTER_S = 30.0
"""Time without an acknowledgement, while writes fail, after which a load stops."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Data")(load)


def load(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help='JSON lines {"key": ..., "value": ...}; - is standard input.'),
    ],
    acked: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append each key, one per line, when it is acknowledged."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="At most N lines per second.")
    ] = None,
    server: ServerFlag = None,
    timeout: TimeoutFlag = BULK_TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> int:
    """Store the records of a file and print the number that was acknowledged. Loading again is safe."""

    async def command(client: AsyncClient) -> int:
        with open_source(file) as source, _acked_file(acked) as on_acknowledged:
            loader = Loader(client, on_acknowledged, rate=rate, clock=time.monotonic)
            await _load(loader, source, file, as_json)
        return loader.tally.worst

    return with_client(server, timeout, command)


async def _load(loader: Loader, source: BinaryIO, file: Path, as_json: bool) -> None:
    """Load ``source`` and print the counts, also if the load is interrupted."""
    began_at = time.monotonic()
    try:
        with progress_bar(f"loading {file}", size_bytes(source)) as advance:

            async def counted_lines() -> AsyncIterator[bytes]:
                async for line in lines_of(source):
                    yield line
                    advance(len(line), loader.tally.acknowledged)

            await loader.load(counted_lines())
    finally:
        _report(loader.tally, file, time.monotonic() - began_at, as_json)


def _report(tally: Tally, file: Path, took_s: float, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "acknowledged": tally.acknowledged,
                "failed": tally.failed,
                "maybe_applied": tally.maybe_applied,
                "seconds": round(took_s, 3),
            }
        )
    else:
        print(
            f"{tally.acknowledged} acknowledged, {tally.failed} failed,"
            f" {tally.maybe_applied} may have happened, in {took_s:.1f} s"
        )
    if tally.first_failure:
        print_error(f"the first that failed: {tally.first_failure}")
    if tally.stopped:
        print_error(f"{file}: {tally.stopped}")


@contextmanager
def _acked_file(acked: Path | None) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that appends a key to ``acked``, unbuffered, so that the list is correct if a load is killed."""
    if acked is None:
        yield lambda key: None
        return
    try:
        file = acked.open("ab", buffering=0)
    except OSError as error:
        raise CommandError(f"{acked}: {error.strerror}") from error
    with file:

        def append(key: bytes) -> None:
            try:
                file.write(key + b"\n")
            except OSError as error:
                raise CommandError(f"{acked}: {error.strerror}", ExitCode.OUTPUT_FAILED) from error

        yield append


class Writer(Protocol):
    async def put(self, key: bytes, value: bytes) -> object: ...


@dataclass
class Tally:
    """Number of lines by outcome, and what else a load reports."""

    acknowledged: int = 0
    failed: int = 0
    """Certainly not done."""
    maybe_applied: int = 0
    worst: ExitCode = ExitCode.DONE
    first_failure: str | None = None
    stopped: str | None = None
    """Why the file was not read to its end."""

    def add_failure(self, key: bytes, lines: int, error: CoveyError) -> None:
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
    """Rate limiter: one line every ``1 / rate`` seconds. After a delay, the lines of at most one second catch up."""

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        self._interval_s = 1 / rate if rate else 0.0
        self._clock = clock
        self.next_at = clock()

    async def wait(self) -> None:
        if self._interval_s:
            self.next_at = max(self.next_at + self._interval_s, self._clock() - 1.0)
            await asyncio.sleep(max(0.0, self.next_at - self._clock()))


@dataclass(slots=True)
class _Write:
    """A record to write, and the number of lines of the file that it represents."""

    record: Record
    lines: int = 1

    @property
    def size_bytes(self) -> int:
        return len(self.record.key) + len(self.record.value)


class Loader:
    """Concurrent writer of the records of one file; calls ``on_acknowledged`` with each key that is acknowledged.

    If ``on_acknowledged`` raises CommandError, the load stops with its message and code.
    """

    def __init__(
        self,
        client: Writer,
        on_acknowledged: Callable[[bytes], None],
        rate: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._on_acknowledged = on_acknowledged
        self._pacer = Pacer(rate, clock)
        self._clock = clock
        self._write_slots = asyncio.Semaphore(MAX_WRITES_IN_FLIGHT)
        self._in_flight: dict[bytes, asyncio.Task[None]] = {}
        self._next: dict[bytes, _Write] = {}
        """The write that follows the one in flight, by key."""
        self._bytes = 0
        """Total size of all keys and values in flight or next."""
        self._success_at = clock()
        """Time of the last acknowledgement, or of the start."""

    async def load(self, lines: AsyncIterator[bytes]) -> None:
        """Write records until the lines end, one is malformed, or writes are no longer acknowledged.

        In each case, return only after the writes in flight have ended.
        """
        number = 0
        async with asyncio.TaskGroup() as writes:
            try:
                async for line in lines:
                    number += 1
                    record = self._decoded(line, number)
                    await self._pacer.wait()
                    if record is not None:
                        await self._begin(_Write(record), writes)
                    if self.tally.stopped:
                        break
            except CommandError as error:
                self.tally.stop(f"after line {number}: {error}", error.code)

    def _decoded(self, line: bytes, number: int) -> Record | None:
        """Return None for an empty line, and for a malformed one, which stops the load."""
        if not line.strip():
            return None
        try:
            return decode_record(line)
        except ValueError as error:
            self.tally.stop(f"line {number}: {error}", ExitCode.USAGE)
            return None

    async def _begin(self, write: _Write, writes: asyncio.TaskGroup) -> None:
        key = write.record.key
        while self._in_flight and self._bytes + self._growth_bytes(write) > MAX_BYTES_IN_FLIGHT:
            await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)
        if key not in self._in_flight:
            # Only this loop begins writes, so no other write of this key begins during the wait.
            await self._write_slots.acquire()
            self._bytes += write.size_bytes
            self._in_flight[key] = writes.create_task(self._write_all(write))
            return
        self._bytes += self._growth_bytes(write)
        if (replaced := self._next.get(key)) is not None:
            write.lines += replaced.lines
        self._next[key] = write

    def _growth_bytes(self, write: _Write) -> int:
        """Return the additional bytes held after ``write`` has replaced the next write of its key."""
        replaced = self._next.get(write.record.key)
        return write.size_bytes - (replaced.size_bytes if replaced else 0)

    async def _write_all(self, write: _Write) -> None:
        """Write a record, then the newest record of its key that was read meanwhile."""
        key = write.record.key
        try:
            await self._write(write)
            while (following := self._next.pop(key, None)) is not None:
                await self._write(following)
        finally:
            del self._in_flight[key]
            self._write_slots.release()

    async def _write(self, write: _Write) -> None:
        key = write.record.key
        try:
            await self._client.put(*write.record)
        except CoveyError as error:
            self.tally.add_failure(key, write.lines, error)
            silent_s = self._clock() - self._success_at
            if silent_s > GIVE_UP_AFTER_S and not isinstance(error, InvalidRequest):
                self.tally.stop(f"gave up: nothing was acknowledged for {silent_s:.0f} s", ExitCode.NOT_DONE)
            return
        finally:
            self._bytes -= write.size_bytes
        self.tally.acknowledged += write.lines
        self._success_at = self._clock()
        try:
            for _ in range(write.lines):
                self._on_acknowledged(key)
        except CommandError as error:
            self.tally.stop(str(error), error.code)
