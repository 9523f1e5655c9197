"""Lines of a file or of standard input, of bounded length, read without blocking the event loop on a slow writer."""

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
"""Longest line that ``dump`` writes: the longest key and value that a cluster can be configured to take, as base64."""
CHUNK_BYTES = 1 << 16


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


async def lines_of(source: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> AsyncIterator[bytes]:
    """Each line with its newline; the last one may lack it. Raises CommandError for a line over ``max_bytes``.

    Other tasks get a turn at least once for each chunk that is read.
    """
    begun: list[bytes] = []
    begun_bytes = 0
    async for chunk in _chunks(source):
        first, *others = _split(chunk)
        begun.append(first)
        begun_bytes += len(first)
        if begun_bytes > max_bytes:
            raise CommandError(f"a line is longer than {max_bytes} bytes")
        if not first.endswith(b"\n"):
            continue
        yield b"".join(begun)
        begun, begun_bytes = [], 0
        if others and not others[-1].endswith(b"\n"):
            begun = [others.pop()]
            begun_bytes = len(begun[0])
        for line in others:
            yield line
    if begun:
        yield b"".join(begun)


def _split(chunk: bytes) -> list[bytes]:
    """The lines with their newlines; ``bytes.splitlines`` would also split at carriage returns."""
    *whole, rest = chunk.split(b"\n")
    lines = [line + b"\n" for line in whole]
    return [*lines, rest] if rest else lines


async def _chunks(source: BinaryIO) -> AsyncIterator[bytes]:
    """Yield what can be read, until the end. Raise CommandError when reading fails."""
    descriptor = source.fileno()
    waits = _can_be_waited_for(descriptor)
    while True:
        if waits:
            await _readable(descriptor)
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


def _can_be_waited_for(descriptor: int) -> bool:
    """False for files, and for devices such as /dev/null, which are always ready and which epoll refuses."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(descriptor, selectors.EVENT_READ)
        except (PermissionError, ValueError):
            return False
    return True


async def _readable(descriptor: int) -> None:
    """Return once a read does not block. The mode of the descriptor, which others may share, stays as it is."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
