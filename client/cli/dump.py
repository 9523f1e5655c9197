"""``covey dump``: write all keys and values to a file or stream.

Rules:
- A regular file keeps its content until the dump is complete and on disk: the dump is written to a file beside it,
  synced, and renamed. If the dump fails, the file beside it is deleted.
- Any other target, such as a pipe or a device, is written directly.
- A dump stops at the first key that cannot be read, with an error.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..errors import CoveyError
from .exits import CommandError, ExitCode, exit_code, explanation
from .options import BULK_TIMEOUT_S, ServerFlag, TimeoutFlag, with_client_of
from .output import progress_bar
from .records import Record, encode_record
from .servers import choose_servers

if TYPE_CHECKING:
    from ..aio import AsyncClient

STDOUT = Path("-")
READ_BATCH_KEYS = 64
"""Keys read by one call."""
MAX_READS_IN_FLIGHT = 4
"""Calls in flight. At most this number of batches of values are in memory."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Data")(dump)


def dump(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; - is standard output.")
    ] = STDOUT,
    prefix: Annotated[str, typer.Option(metavar="P", help="Only keys that begin with P.")] = "",
    server: ServerFlag = None,
    timeout: TimeoutFlag = BULK_TIMEOUT_S,
) -> int:
    """Write every key and value as JSON lines, in token order; `covey load` reads them back."""
    addresses = choose_servers(server)
    with dump_target(file) as target:

        async def command(client: AsyncClient) -> int:
            await _dump(client, os.fsencode(prefix), file, target)
            return ExitCode.DONE

        return with_client_of(addresses, timeout, command)


async def _dump(client: AsyncClient, prefix: bytes, file: Path, target: BinaryIO) -> None:
    written = 0
    try:
        with progress_bar(f"dumping to {file}", None) as advance:
            async for values in _read_ahead(client, _key_batches(client.keys(prefix=prefix))):
                # A key that was deleted after it was listed has no value.
                records = [Record(key, value) for key, value in values.items() if value is not None]
                target.writelines(map(encode_record, records))
                written += len(records)
                advance(0, written)
    except CoveyError as error:
        message = f"the dump is incomplete, after {written} records: {explanation(error)}"
        raise CommandError(message, exit_code(error)) from error


async def _read_ahead(
    client: AsyncClient, batches: AsyncIterator[list[bytes]]
) -> AsyncIterator[dict[bytes, bytes | None]]:
    """Yield the values of each batch, in order. The next batches are read while one is written."""
    in_flight: deque[asyncio.Task[dict[bytes, bytes | None]]] = deque()
    try:
        async for keys in batches:
            in_flight.append(asyncio.create_task(client.get_many(keys)))
            if len(in_flight) == MAX_READS_IN_FLIGHT:
                yield await in_flight.popleft()
        while in_flight:
            yield await in_flight.popleft()
    finally:
        for task in in_flight:
            task.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)


async def _key_batches(keys: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    batch: list[bytes] = []
    async for key in keys:
        batch.append(key)
        if len(batch) == READ_BATCH_KEYS:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def dump_target(file: Path) -> Iterator[BinaryIO]:
    """Open ``file`` for a dump. Raise CommandError if it cannot be written."""
    if file == STDOUT:
        yield sys.stdout.buffer
        return
    is_stream = os.path.exists(file) and not os.path.isfile(file)
    try:
        with file.open("wb") if is_stream else _replaced(file) as target:
            yield target
    except OSError as error:
        kept = "" if is_stream else "; the file is unchanged"
        # An error with a file name comes from opening the file: the path is wrong. Any other is a failed write.
        code = ExitCode.USAGE if error.filename is not None else ExitCode.OUTPUT_FAILED
        raise CommandError(f"{file}: {error.strerror}{kept}", code) from error


@contextmanager
def _replaced(file: Path) -> Iterator[BinaryIO]:
    file = file.resolve()  # a link remains, and the file that it points to is replaced
    new = file.with_name(f".{file.name[:200]}.{os.getpid()}.new")
    try:
        with new.open("xb") as target:
            with suppress(FileNotFoundError):
                os.fchmod(target.fileno(), stat.S_IMODE(file.stat().st_mode))
            yield target
            target.flush()
            os.fsync(target.fileno())
        new.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()
