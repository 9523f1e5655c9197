"""Lines of the nodes' logs: parsed, filtered, merged by time, and formatted for people.

A log line is a JSON object with at least ``timestamp`` (UTC, ISO 8601), ``event``, ``level`` and ``node``.
The merge interleaves files by timestamp and keeps the order of the lines within a file.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
HEAD_FIELDS = ("timestamp", "level", "node", "event")
AGO_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class LogLine:
    time: datetime
    raw: str
    fields: dict[str, Any]


def parse_line(raw: str) -> LogLine | None:
    """Parse a log line. Return None for anything else, such as a traceback or the torn last line of a killed node."""
    try:
        fields = json.loads(raw)
        time = datetime.fromisoformat(fields["timestamp"])
        fields["event"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return LogLine(time if time.tzinfo else time.replace(tzinfo=UTC), raw.rstrip("\n"), fields)


def merge(files: Iterable[Iterable[LogLine]]) -> Iterator[LogLine]:
    return heapq.merge(*files, key=lambda line: line.time)


@dataclass(frozen=True)
class LogFilter:
    """Criteria for lines; an empty criterion admits every line."""

    events: tuple[str, ...] = ()
    """Shell patterns, such as ``member.*``."""
    nodes: tuple[str, ...] = ()
    key: str | None = None
    level: str | None = None
    """The lowest level to show."""
    since: datetime | None = None
    until: datetime | None = None

    def admits(self, line: LogLine) -> bool:
        return (
            (self.since is None or line.time >= self.since)
            and (self.until is None or line.time <= self.until)
            and (self.key is None or line.fields.get("key") == self.key)
            and (not self.nodes or line.fields.get("node") in self.nodes)
            and (not self.events or any(fnmatchcase(str(line.fields["event"]), e) for e in self.events))
            and (self.level is None or _severity(line.fields.get("level")) >= _severity(self.level))
        )


def _severity(level: object) -> int:
    """Return a rank that rises with severity. An unknown level ranks highest, so that its lines are shown."""
    return LEVELS.index(level) if isinstance(level, str) and level in LEVELS else len(LEVELS)


def parse_time(text: str, now: Callable[[], datetime]) -> datetime:
    """Parse ``90s``, ``5m``, ``2h``, ``1d`` (ago), or an ISO time (UTC by default). Raise ValueError otherwise."""
    count, unit = text[:-1], text[-1:]
    if unit in AGO_UNITS_S and count.isascii() and count.isdigit():
        return now() - timedelta(seconds=int(count) * AGO_UNITS_S[unit])
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def one_line(fields: dict[str, Any]) -> str:
    """Return the event and its fields as ``key=value``, without time, level and node."""
    details = (f"{name}={_plain(value)}" for name, value in fields.items() if name not in HEAD_FIELDS)
    return " ".join((str(fields["event"]), *details))


def _plain(value: Any) -> str:
    """Return printable text without spaces unchanged, and anything else as JSON, on one line."""
    bare = isinstance(value, str) and value.isprintable() and " " not in value and value
    try:
        return value if bare else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "(nested too deeply)"
