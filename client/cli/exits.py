"""What a command's exit code says, and which error ends in which code: one table."""

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
    """Certainly not done: unavailable, overloaded, or waiting ran out."""
    REFUSED = 4
    MAYBE_DONE = 5
    """No acknowledgement came, yet it may have happened."""
    OUTPUT_FAILED = 74
    """The result cannot be written, as on a full disk; EX_IOERR of sysexits.h. Says nothing of the operation."""
    INTERRUPTED = 130
    READER_GONE = 141
    """The reader of stdout stopped reading, as in ``covey keys | head``; what a shell shows for SIGPIPE."""


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
"""For operations that certainly did not happen; after the others it is MAYBE_DONE, whatever the class."""


class CommandError(Exception):
    """A command ends here: ``message`` for the person, ``code`` for the script."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


class OutputError(Exception):
    """stdout does not take what is written to it, because of a full disk or because nothing reads it any more."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def cause(error: OSError) -> str:
    """Return the operating system's reason, or that the caller has closed the stream."""
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
    """One or two lines: what went wrong and whether it may have happened all the same."""
    first_line = str(error).strip() or type(error).__name__
    if isinstance(error, Unreachable):
        reason = first_line.partition("\n")[0]
        return f"{reason}\nNothing was done. Give the address of any node that runs by --server."
    if error.maybe_applied:
        return f"{first_line}\nNo acknowledgement came, but it may have happened: look before trying again."
    return first_line
