"""Exit codes of commands, and the code of each error."""

from __future__ import annotations

import errno
from enum import IntEnum

from ..errors import (
    CoveyError,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PartialFailure,
    PermissionDenied,
    Refused,
    Timeout,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WrongCluster,
)


class ExitCode(IntEnum):
    DONE = 0
    NOT_FOUND = 1
    USAGE = 2
    """The command line or a configuration file is wrong; nothing was sent or stored."""
    NOT_DONE = 3
    """Certainly not done: unavailable, overloaded, or the time limit of ``wait`` has passed."""
    REFUSED = 4
    MAYBE_DONE = 5
    """Not acknowledged, but it may have happened."""
    OUTPUT_FAILED = 74
    """The result cannot be written, as on a full disk; EX_IOERR of sysexits.h. The operation may have succeeded."""
    INTERRUPTED = 130
    READER_GONE = 141
    """The reader of stdout has closed it, as in ``covey keys | head``; the code that a shell shows for SIGPIPE."""


CODE_OF_ERROR: tuple[tuple[type[CoveyError], ExitCode], ...] = (
    (InvalidRequest, ExitCode.USAGE),
    (Unavailable, ExitCode.NOT_DONE),
    (Overloaded, ExitCode.NOT_DONE),
    (Timeout, ExitCode.NOT_DONE),
    (InternalError, ExitCode.NOT_DONE),
    (NotFound, ExitCode.REFUSED),
    (Unauthenticated, ExitCode.REFUSED),
    (PermissionDenied, ExitCode.REFUSED),
    (Refused, ExitCode.REFUSED),
    (WrongCluster, ExitCode.REFUSED),
)
"""For operations that certainly did not happen; for the others the code is MAYBE_DONE."""


class CommandError(Exception):
    """The reason why a command fails, and its exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


class OutputError(Exception):
    """The reason why stdout cannot be written, such as a full disk or a closed reader, and the exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def cause(error: OSError) -> str:
    """Return the operating system's reason, or that the stream is closed."""
    return "it is closed" if error.errno == errno.EBADF else str(error.strerror)


def exit_code(error: CoveyError) -> ExitCode:
    if error.maybe_applied:
        return ExitCode.MAYBE_DONE
    if isinstance(error, PartialFailure):
        return max(exit_code(part) for part in error.failed.values())
    for kind, code in CODE_OF_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.NOT_DONE


def explanation(error: CoveyError) -> str:
    """Return one or two lines: the cause, and whether the operation may have happened."""
    first_line = str(error).strip() or type(error).__name__
    if isinstance(error, Unreachable):
        reason = first_line.partition("\n")[0]
        return f"{reason}\nNothing was done. Give the address of a running node with --server."
    if error.maybe_applied:
        return f"{first_line}\nIt was not acknowledged, but it may have happened: check before you try again."
    return first_line
