"""Writes a dump to a file that is replaced only by a whole dump, or to a stream.

Rules:
- A regular file keeps what it has until the dump is complete and on disk: the dump is written beside it, synced, and
  renamed. When the dump fails, what was written beside it is deleted.
- Anything else, such as a pipe or a device, is written as the dump goes on.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .exits import CommandError, ExitCode

STDOUT = Path("-")


@contextmanager
def dump_target(file: Path) -> Iterator[BinaryIO]:
    """Raises CommandError when ``file`` cannot be written."""
    if file == STDOUT:
        yield sys.stdout.buffer
        return
    is_stream = os.path.exists(file) and not os.path.isfile(file)
    try:
        with _written_through(file) if is_stream else _replaced(file) as target:
            yield target
    except OSError as error:
        kept = "" if is_stream else "; the file is as it was before"
        raise CommandError(f"{file}: {error.strerror}{kept}", _code(error)) from error


def _code(error: OSError) -> ExitCode:
    """A path that cannot be opened is the caller's to mend; one that cannot be written on is not."""
    return ExitCode.USAGE if error.filename is not None else ExitCode.OUTPUT_FAILED


@contextmanager
def _written_through(file: Path) -> Iterator[BinaryIO]:
    with file.open("wb") as target:
        yield target


@contextmanager
def _replaced(file: Path) -> Iterator[BinaryIO]:
    file = file.resolve()  # a link stays, and what it leads to is replaced
    aside = file.with_name(f".{file.name[:200]}.{os.getpid()}.new")
    try:
        with aside.open("xb") as target:
            _take_mode(file, target)
            yield target
            target.flush()
            os.fsync(target.fileno())
        aside.replace(file)
        _sync_folder(file.parent)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


def _take_mode(file: Path, target: BinaryIO) -> None:
    with suppress(FileNotFoundError):
        os.fchmod(target.fileno(), stat.S_IMODE(file.stat().st_mode))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
