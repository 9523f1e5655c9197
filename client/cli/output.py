"""The standard streams of a command and what is printed to them: results to stdout, everything for people to stderr.

Rules:
- File descriptors 0, 1 and 2 are always open, so that no socket or file of the process ever becomes one of them and
  receives what is printed. A closed one is opened on /dev/null in the mode in which its use fails (gnulib's stdopen).
- The first write to stdout that fails raises ``OutputError``. Later output is discarded.
- A failed write to stderr is ignored and does not affect the exit code.
- Characters that the encoding of a stream cannot express are written as backslash escapes.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from .exits import ExitCode, OutputError, cause

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console, RenderableType

STDIN, STDOUT, STDERR = 0, 1, 2
BUFFER_BYTES = 1 << 16
READER_GONE = "the reader of standard output has closed it"
PIPED_TABLE_WIDTH = 4096
"""Columns. Tables are not padded to it."""
MAX_QUOTED = 80
"""Characters of external text that a message repeats."""

Advance = Callable[[int, int], None]
"""Advances a progress bar by a number of steps and sets its number of records."""


@contextmanager
def standard_streams() -> Iterator[TextIO]:
    """Replace ``sys.stdout``, and any other standard stream that is closed, until the block ends."""
    _open_closed_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115 - lives as long as the block
    if sys.stderr is None:
        sys.stderr = open(STDERR, "w", closefd=False)  # noqa: SIM115
    raw = _Stdout()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw, BUFFER_BYTES),
        encoding=getattr(sys.stdout, "encoding", None),
        errors="backslashreplace",
        line_buffering=raw.isatty(),
        newline="\n",
    )
    try:
        yield sys.stdout
    finally:
        with suppress(OutputError):
            sys.stdout.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    for descriptor, mode in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


class _Stdout(io.RawIOBase):
    """Writer to the file descriptor of stdout."""

    def __init__(self) -> None:
        self._failed = False

    @property
    def name(self) -> str:
        return "<stdout>"

    def fileno(self) -> int:
        return STDOUT

    def isatty(self) -> bool:
        return os.isatty(STDOUT)

    def writable(self) -> bool:
        return True

    def write(self, content: ReadableBuffer, /) -> int:
        if self._failed:
            return memoryview(content).nbytes
        while True:
            try:
                return os.write(STDOUT, content)
            except BlockingIOError:
                # Another process made the pipe or terminal non-blocking for every process that shares it.
                select.select((), (STDOUT,), ())
            except BrokenPipeError as error:
                self._failed = True
                raise OutputError(READER_GONE, ExitCode.READER_GONE) from error
            except OSError as error:
                self._failed = True
                message = f"standard output cannot be written: {cause(error)}"
                raise OutputError(message, ExitCode.OUTPUT_FAILED) from error


def check_reader() -> None:
    """Raise OutputError if stdout is a pipe that its reader has closed, as a write would."""
    pipe = select.poll()
    pipe.register(STDOUT, 0)
    if any(events & select.POLLERR for _, events in pipe.poll(0)):
        raise OutputError(READER_GONE, ExitCode.READER_GONE)


# --- messages on stderr ---


def print_note(message: str) -> None:
    """Print a line for people to stderr. Do nothing if stderr cannot be written."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        # What is still buffered would fail again, and change the exit code, when the interpreter ends.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stderr.fileno())
        os.close(null)


def print_error(message: str) -> None:
    print_note(f"covey: {message}")


def printable(key: str) -> str:
    """Return a key from the command line with bytes that are not UTF-8 as ``\\xff``."""
    return os.fsencode(key).decode(errors="backslashreplace")


def quoted(content: object) -> str:
    """Return external text for use in a message: quoted and of bounded length."""
    text = repr(content[: MAX_QUOTED + 1] if isinstance(content, str) else content)
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def progress_console() -> Console:
    """Return a console for progress on stderr; it prints nothing unless stderr is a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, quiet=not sys.stderr.isatty())


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Advance]:
    """Show a bar on a terminal, towards ``total`` steps if known; show nothing elsewhere."""
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


# --- results on stdout ---


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(view: RenderableType) -> None:
    """Print a table, without colours into a pipe; lines are never cut."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_TABLE_WIDTH
    Console(highlight=False, markup=False, width=width).print(view, crop=False)
