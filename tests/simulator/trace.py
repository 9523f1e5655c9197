"""What happened in a run: a hash over all of it, the nodes' logs, and on demand a line for each thing.

The hash covers every delivered message (who, to whom, when, its bytes) and every log event, so that two runs with
the same hash were the same run. Lines are for people: time, who → whom (⇢ for a reply), the message in short,
without what is zero or empty in it.
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
"""When, by which node, what event, with which fields."""


class RunTrace:
    """Of one run. ``show``, when given, is called with each line."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._show = show
        self._loop = asyncio.get_running_loop()
        self.logged: list[LogRecord] = []
        self.on_log: Callable[[str, str, dict[str, Any]], None] = lambda node, event, fields: None
        """Called with each log event."""

    @property
    def digest(self) -> str:
        """Of everything so far."""
        return self._hash.hexdigest()

    def message(self, source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
        now_s = self._loop.time()
        self._hash.update(f"{now_s!r} {source} {target} {len(encoded)} ".encode())
        self._hash.update(encoded)
        if self._show is not None:
            arrow = "→" if isinstance(message, Request) else "⇢"
            self._line(now_s, f"{source} {arrow} {target}", summarize(message.body))

    def log(self, node: str, event: str, told: dict[str, Any]) -> None:
        now_s = self._loop.time()
        self._hash.update(f"{now_s!r} {node} {event} {told!r}".encode())
        self.logged.append((now_s, node, event, told))
        self.on_log(node, event, told)
        if self._show is not None:
            self._line(now_s, node, f"{event} " + " ".join(f"{name}={told[name]}" for name in told))

    def note(self, what: str) -> None:
        """Something the simulator did."""
        now_s = self._loop.time()
        self._hash.update(f"{now_s!r} {what}".encode())
        if self._show is not None:
            self._line(now_s, "***", what)

    def _line(self, now_s: float, who: str, what: str) -> None:
        assert self._show is not None
        self._show(f"{now_s:11.6f} {who:<10} {what}"[:MAX_LINE])


def summarize(value: object) -> str:
    """A message's body, or a part of one, as people want to read it."""
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
