"""``covey load`` and ``covey dump``: whole files of JSON lines."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..errors import CoveyError
from .dump import dump_target
from .exits import CommandError, ExitCode, exit_code, explanation
from .line_source import lines_of, open_source, size_bytes
from .load import Loader, Pacer, Tally
from .options import ServerFlag, TimeoutFlag
from .output import complain, print_json, progress_console
from .records import Record, encode_record
from .servers import choose_servers
from .session import with_client, with_client_of

if TYPE_CHECKING:
    from ..aio import AsyncClient

PANEL = "Data"
BULK_TIMEOUT_S = 10.0
READ_TOGETHER = 64
"""Keys that a dump reads by one call."""
READ_AHEAD = 4
"""Calls under way at once. So many times ``READ_TOGETHER`` values are in memory at most."""

Advance = Callable[[int, int], None]
"""Moves a progress bar by so many steps, to so many records."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(load)
    app.command(rich_help_panel=PANEL)(dump)


def load(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help='JSON lines {"key": ..., "value": ...}; - is standard input.'),
    ],
    acked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append each key, one a line, as it is acknowledged.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="At most N lines a second.")
    ] = None,
    server: ServerFlag = None,
    timeout: TimeoutFlag = BULK_TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> int:
    """Store the records of a file and print how many were acknowledged. Loading again is safe."""

    async def command(client: AsyncClient) -> int:
        with open_source(file) as source, _noting(acked) as note:
            loader = Loader(client, note, Pacer(rate, time.monotonic), time.monotonic)
            await _load(loader, source, file, as_json)
        return loader.tally.worst

    return with_client(server, timeout, command)


async def _load(loader: Loader, source: BinaryIO, file: Path, as_json: bool) -> None:
    """What was acknowledged is reported also when the load is interrupted."""
    began_at = time.monotonic()
    try:
        with _progress(f"loading {file}", size_bytes(source)) as advance:
            await loader.load(_counted(lines_of(source), loader.tally, advance))
    finally:
        _report(loader.tally, file, time.monotonic() - began_at, as_json)


async def _counted(lines: AsyncIterator[bytes], tally: Tally, advance: Advance) -> AsyncIterator[bytes]:
    async for line in lines:
        yield line
        advance(len(line), tally.acknowledged)


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
        complain(f"the first that failed: {tally.first_failure}")
    if tally.stopped:
        complain(f"{file}: {tally.stopped}")


@contextmanager
def _noting(acked: Path | None) -> Iterator[Callable[[bytes], None]]:
    """Each key reaches the file as it is acknowledged, so a killed load leaves a true list."""
    if acked is None:
        yield lambda key: None
        return
    with _opened(acked, "ab", buffering=0) as noted:

        def note(key: bytes) -> None:
            try:
                noted.write(key + b"\n")
            except OSError as error:
                raise CommandError(f"{acked}: {error.strerror}", ExitCode.OUTPUT_FAILED) from error

        yield note


def dump(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; - is standard output.")] = Path("-"),
    prefix: Annotated[str, typer.Option(metavar="P", help="Only keys that begin with P.")] = "",
    server: ServerFlag = None,
    timeout: TimeoutFlag = BULK_TIMEOUT_S,
) -> int:
    """Write every key and value as JSON lines, in token order; `covey load` reads them back."""

    addresses = choose_servers(server)
    with dump_target(file) as target:

        async def command(client: AsyncClient) -> int:
            with _progress(f"dumping to {file}", None) as advance:
                await _dump(client, os.fsencode(prefix), target, advance)
            return ExitCode.DONE

        return with_client_of(addresses, timeout, command)


async def _dump(client: AsyncClient, prefix: bytes, target: BinaryIO, advance: Advance) -> None:
    """Stops at the first key that cannot be read: what is incomplete must not look complete."""
    written = 0
    try:
        async for values in _read_ahead(client, _grouped(client.keys(prefix=prefix))):
            # A key that was deleted since it was listed has no value any more.
            records = [Record(key, value) for key, value in values.items() if value is not None]
            target.writelines(map(encode_record, records))
            written += len(records)
            advance(0, written)
    except CoveyError as error:
        message = f"the dump is incomplete, after {written} records: {explanation(error)}"
        raise CommandError(message, exit_code(error)) from error


async def _read_ahead(
    client: AsyncClient, groups: AsyncIterator[list[bytes]]
) -> AsyncIterator[dict[bytes, bytes | None]]:
    """The values of each group, in order, some groups being read while those before are written."""
    under_way: deque[asyncio.Task[dict[bytes, bytes | None]]] = deque()
    try:
        async for keys in groups:
            under_way.append(asyncio.create_task(client.get_many(keys)))
            if len(under_way) == READ_AHEAD:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _grouped(keys: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    group: list[bytes] = []
    async for key in keys:
        group.append(key)
        if len(group) == READ_TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _opened(file: Path, mode: str, buffering: int = -1) -> BinaryIO:
    try:
        return file.open(mode, buffering)  # type: ignore[return-value]
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Advance]:
    """A bar on a terminal, towards ``total`` steps or just alive; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda steps, records: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]} records"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=progress_console(), transient=True) as progress:
        task = progress.add_task(title, total=total, records=0)
        yield lambda steps, records: progress.update(task, advance=steps, records=records)
