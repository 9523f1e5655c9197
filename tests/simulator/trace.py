"""The trace of a run: a hash over everything that happened, the nodes' logs, and on demand a line per event.

The hash covers every delivered message (source, target, time, bytes) and every log event: two runs with the same hash
are the same run. A line has the time, source → target (⇢ for a reply), and the message without fields that are zero
or empty. ``transcript`` makes shorter ones for the golden traces.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from covey.identity import Identity
from covey.node.messages.envelope import Reply, Request
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord, EpochStamp
from covey.ring.tokens import TokenRange

MAX_LINE = 400
MAX_ITEMS = 4

LogRecord = tuple[float, str, str, dict[str, Any]]
"""Time, node, event and fields."""


class RunTrace:
    """The trace of one run. ``show``, if given, is called with each line."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._show = show
        self._loop = asyncio.get_running_loop()
        self.logged: list[LogRecord] = []
        self.on_log: Callable[[str, str, dict[str, Any]], None] = lambda node, event, fields: None
        """Called with each log event."""

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()

    def message(self, source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
        now_s = self._loop.time()
        self._hash.update(f"{now_s!r} {source} {target} {len(encoded)} ".encode())
        self._hash.update(encoded)
        if self._show is not None:
            arrow = "→" if isinstance(message, Request) else "⇢"
            self._line(now_s, f"{source} {arrow} {target}", summarize(message.body))

    def log(self, node: str, event: str, fields: dict[str, Any]) -> None:
        now_s = self._loop.time()
        self._hash.update(f"{now_s!r} {node} {event} {fields!r}".encode())
        self.logged.append((now_s, node, event, fields))
        self.on_log(node, event, fields)
        if self._show is not None:
            self._line(
                now_s, node, f"{event} " + " ".join(f"{name}={value}" for name, value in fields.items())
            )

    def note(self, what: str) -> None:
        """Record an action of the simulator."""
        now_s = self._loop.time()
        self._hash.update(f"{now_s!r} {what}".encode())
        if self._show is not None:
            self._line(now_s, "***", what)

    def _line(self, now_s: float, who: str, what: str) -> None:
        assert self._show is not None
        self._show(f"{now_s:11.6f} {who:<10} {what}"[:MAX_LINE])


def summarize(value: object) -> str:
    """Return a message's body, or a part of one, as short text."""
    if isinstance(value, Identity):
        return value.name
    if isinstance(value, EpochStamp):
        return f"{value.number}/{value.digest[:6]}"
    if isinstance(value, Version | TokenRange):
        return str(value)
    if isinstance(value, EpochRecord):
        return f"record {value.number}{' changing' if value.changing else ''}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if is_dataclass(value) or hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(_parts(value))})"
    if isinstance(value, tuple | list | frozenset | dict):
        return _several(list(value.items() if isinstance(value, dict) else value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parts(value: Any) -> list[str]:
    names = value._fields if hasattr(value, "_fields") else [field.name for field in fields(value)]
    return [summarize(part) for name in names if (part := getattr(value, name)) or part == b""]


def _several(values: list[Any]) -> str:
    shown = ", ".join(summarize(value) for value in values[:MAX_ITEMS])
    more = len(values) - MAX_ITEMS
    return f"[{shown}, and {more} more]" if more > 0 else f"[{shown}]"
