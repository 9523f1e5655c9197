"""Writes a node's events to a file or to stderr, as JSON lines for programs or as readable lines for people.

There is no global logger: each node has a separate log, since tests and the simulator run many nodes in one process.
A log that cannot be written (a full disk, a closed pipe, a pipe that is not read) must not stop or block the node.
Lines that cannot be written are counted, and a ``log.dropped`` line reports their number as soon as a line can be
written again. A log file may be moved away while the node runs (logrotate); ``NodeLog.reopen`` then opens a new one.
"""

from __future__ import annotations

import json
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ..errors import ConfigurationError
from ..events import ENVELOPE, SEVERITY, Event, EventLog, Level

STDERR_FILENO = 2
PIECE_BYTES = 4096
"""Number of bytes that a pipe or terminal reported as writable accepts without blocking (PIPE_BUF)."""
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class LineWriter:
    """Writes complete lines to an unbuffered file, and counts those that it could not write."""

    def __init__(
        self,
        file: IO[bytes],
        *,
        dropped_line: Callable[[int], str],
        is_ready: Callable[[], bool] | None = None,
    ) -> None:
        """Take ``is_ready``, which returns whether the file accepts PIECE_BYTES without blocking; None: it always does.

        ``dropped_line`` returns the line that reports a number of dropped lines.
        """
        self._file = file
        self._is_ready = is_ready
        self._dropped_line = dropped_line
        self._dropped = 0
        self._torn = False
        """Whether the file ends with an incomplete line."""

    def msg(self, line: str) -> None:
        """Write a line, or count it as dropped. structlog calls this method by the name of the level."""
        if self._dropped and self._write(self._dropped_line(self._dropped)):
            self._dropped = 0
        if self._dropped or not self._write(line):
            self._dropped += 1

    log = debug = info = warning = error = critical = msg

    def _write(self, line: str) -> bool:
        data = b"\n" * self._torn + line.encode("utf-8", "backslashreplace") + b"\n"
        written = self._write_bytes(data)
        # A full disk may accept only the beginning of a line; the next line must then begin with a line break.
        self._torn = self._torn if written == 0 else written < len(data)
        return written == len(data)

    def _write_bytes(self, data: bytes) -> int:
        """Write as many of the bytes as the file accepts; return their number."""
        piece = len(data) if self._is_ready is None else PIECE_BYTES
        written = 0
        try:
            while written < len(data) and (self._is_ready is None or self._is_ready()):
                taken = self._file.write(data[written : written + piece]) or 0
                written += taken
                if not taken or self._is_ready is None:
                    break
        except OSError:
            pass  # the caller counts the line
        return written

    def replace(self, file: IO[bytes]) -> None:
        """Write to another file from here on, and close the previous one."""
        previous, self._file, self._torn = self._file, file, False
        _close(previous)

    def close(self) -> None:
        _close(self._file)


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # a network file system may report a full disk only when the file is closed
        file.close()


class NodeLog(EventLog):
    """An event log that owns its file."""

    def __init__(self, logger: Any, writer: LineWriter, file: Path | None) -> None:
        super().__init__(logger)
        self._writer = writer
        self._file = file

    def reopen(self) -> None:
        """Open the log's file again after it was moved away; do nothing for a log to stderr."""
        if self._file is None:
            return
        try:
            stream = _open(self._file)
        except ConfigurationError as error:
            self.emit(Event.LOG_KEPT, file=str(self._file), reason=str(error))
            return
        self._writer.replace(stream)
        self.emit(Event.LOG_REOPENED, file=str(self._file))

    def close(self) -> None:
        super().close()
        self._writer.close()


def system_wall_us() -> int:
    """Return the microseconds since the Unix epoch by this machine's clock."""
    return time.time_ns() // 1000


def open_log(
    node: str,
    log_format: LogFormat,
    file: Path | None,
    level: Level,
    *,
    wall_us: Callable[[], int] = system_wall_us,
) -> NodeLog:
    """Open the log of the node called ``node``, appended to ``file`` (None: stderr).

    Raises ConfigurationError when the file cannot be opened.
    """
    stream = _open(file)
    render = _renderer(log_format, colours=stream.isatty())
    stamp = _stamp(wall_us)

    def dropped_line(lines: int) -> str:
        spec = Event.LOG_DROPPED.value
        line: EventDict = {"node": node, "event": spec.name, "lines": lines}
        return str(render(None, spec.level, stamp(None, spec.level, line)))

    writer = LineWriter(stream, dropped_line=dropped_line, is_ready=_readiness(stream))
    logger = structlog.wrap_logger(
        writer,
        processors=[stamp, render],
        wrapper_class=structlog.make_filtering_bound_logger(SEVERITY[level]),
        context_class=dict,
        cache_logger_on_first_use=False,
        node=node,
    ).bind()
    return NodeLog(logger, writer, file)


def _open(file: Path | None) -> IO[bytes]:
    try:
        if file is None:
            return open(os.dup(STDERR_FILENO), "wb", buffering=0)
        file.parent.mkdir(parents=True, exist_ok=True)
        return open(file, "ab", buffering=0, opener=_without_waiting)
    except OSError as error:
        raise ConfigurationError(f"cannot write the log {file or 'to stderr'}: {error.strerror}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Open a log file without blocking, so that a named pipe without a reader is an error. Files never block."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _readiness(stream: IO[bytes]) -> Callable[[], bool] | None:
    """Return a function that checks whether a pipe, socket or terminal is writable; None for a file.

    The stream is not set to non-blocking mode, since other processes may share it.
    """
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return None
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return lambda: bool(poll.poll(0))


def _stamp(wall_us: Callable[[], int]) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    """Return a processor that adds time and level, and moves the fields of ``ENVELOPE`` to the front."""

    def stamp(_: WrappedLogger, level: str, fields: EventDict) -> EventDict:
        now = (UNIX_EPOCH + timedelta(microseconds=wall_us())).replace(tzinfo=None)
        envelope = {"timestamp": f"{now.isoformat(timespec='microseconds')}Z", "level": str(level)}
        envelope |= {name: fields.pop(name) for name in ENVELOPE if name in fields}
        return {**envelope, **fields}

    return stamp


def _renderer(log_format: LogFormat, *, colours: bool) -> Processor:
    if log_format is LogFormat.CONSOLE:
        return structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)
    return structlog.processors.JSONRenderer(serializer=json.dumps, ensure_ascii=False)
