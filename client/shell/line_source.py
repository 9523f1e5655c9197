"""Lines of a file or of standard input, read without ever blocking the event loop on a slow writer."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .exits import CommandError

LONGEST_LINE_BYTES = 1 << 24
"""A value of the greatest size (1 MiB), every byte of it escaped, takes less than half of that."""


@contextmanager
def open_source(file: Path) -> Iterator[BinaryIO]:
    """``file``, or standard input for ``-``."""
    if file == Path("-"):
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    with source:
        yield source


def size_bytes(source: BinaryIO) -> int | None:
    """None when it has no size to measure progress by, as a pipe."""
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def lines_of(source: BinaryIO) -> AsyncIterator[bytes]:
    if stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        for line in source:
            yield line
        return
    pipe = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(pipe), source
    )
    try:
        async for line in pipe:
            yield line
    except ValueError as error:
        raise CommandError(f"a line is longer than {LONGEST_LINE_BYTES} bytes") from error
    finally:
        transport.close()
