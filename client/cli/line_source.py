"""Lines of bounded length from a file or standard input, read without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import selectors
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .exits import CommandError, cause

MAX_LINE_BYTES = 26 << 20
"""Longest line that ``dump`` writes: base64 of the longest key and value that a cluster can be configured to accept."""
CHUNK_BYTES = 1 << 16


@contextmanager
def open_source(file: Path) -> Iterator[BinaryIO]:
    """Open ``file``, or standard input for ``-``. Raise CommandError if it cannot be opened."""
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
    """Return the size of a file; None for a source of unknown size, such as a pipe."""
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def lines_of(source: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> AsyncIterator[bytes]:
    """Yield each line with its newline, which the last line may lack. Raise CommandError for one over ``max_bytes``.

    Other tasks run at least once for each chunk that is read.
    """
    begun: list[bytes] = []
    begun_bytes = 0
    async for chunk in _chunks(source):
        first, *others = chunk.split(b"\n")  # splitlines would also split at carriage returns
        begun.append(first)
        begun_bytes += len(first)
        if begun_bytes + bool(others) > max_bytes:
            raise CommandError(f"a line is longer than {max_bytes} bytes")
        if not others:
            continue
        yield b"".join(begun) + b"\n"
        *complete, rest = others
        for line in complete:
            yield line + b"\n"
        begun, begun_bytes = [rest], len(rest)
    if begun_bytes:
        yield b"".join(begun)


async def _chunks(source: BinaryIO) -> AsyncIterator[bytes]:
    """Yield chunks until the end of the source. Raise CommandError if reading fails."""
    descriptor = source.fileno()
    can_poll = _can_poll(descriptor)
    while True:
        if can_poll:
            await _wait_readable(descriptor)
        else:
            await asyncio.sleep(0)
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            name = "standard input" if descriptor == 0 else source.name
            raise CommandError(f"{name} cannot be read: {cause(error)}") from error
        if not chunk:
            return
        yield chunk


def _can_poll(descriptor: int) -> bool:
    """Return False for files and for devices such as /dev/null, which are always ready and which epoll refuses."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(descriptor, selectors.EVENT_READ)
        except (PermissionError, ValueError):
            return False
    return True


async def _wait_readable(descriptor: int) -> None:
    """Wait until a read does not block. The mode of the descriptor, which other processes may share, is unchanged."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
