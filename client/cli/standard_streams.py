"""The three standard streams of a command, made safe to use before anything else runs.

Rules:
- File descriptors 0, 1 and 2 are always open, so that no socket or file of the process ever becomes one of them and
  receives what is printed. A closed one is opened on /dev/null in the mode in which its use fails (gnulib's stdopen).
- A write to stdout that fails raises ``OutputError`` wherever it happens, once. Later output is discarded.
- What stderr does not take is lost; the exit code is not affected.
- Text that the encoding of a stream cannot express is written with backslashes.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from .exits import ExitCode, OutputError, cause

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = 0, 1, 2
BUFFER_BYTES = 1 << 16


@contextmanager
def standard_streams() -> Iterator[TextIO]:
    """Replace ``sys.stdout``, and whichever other stream is closed, until the block ends."""
    _open_closed_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115 - lives as long as the block
    if sys.stderr is None:
        sys.stderr = open(STDERR, "w", closefd=False)  # noqa: SIM115
    sys.stdout = _text_output()
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


def _text_output() -> TextIO:
    raw = _Output()
    return io.TextIOWrapper(
        io.BufferedWriter(raw, BUFFER_BYTES),
        encoding=getattr(sys.stdout, "encoding", None),
        errors="backslashreplace",
        line_buffering=raw.isatty(),
        newline="\n",
    )


class _Output(io.RawIOBase):
    """Writes to the descriptor of stdout."""

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
                # Another process made the pipe or terminal non-blocking for all that share it.
                select.select((), (STDOUT,), ())
            except BrokenPipeError as error:
                self._failed = True
                raise OutputError("nothing reads standard output", ExitCode.READER_GONE) from error
            except OSError as error:
                self._failed = True
                message = f"standard output cannot be written: {cause(error)}"
                raise OutputError(message, ExitCode.OUTPUT_FAILED) from error
