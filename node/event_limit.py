"""Limit on the lines that events write to the log, for any rate of events and any contents of their fields.

Rules
- The first event of a kind and cause is written at once. Those that follow within a second are counted, and written as
  one line, with the fields of the last event and the number of events in ``times``.
- For each kind of event, a limited number of causes is distinguished within a second. Events of all further causes are
  counted as one cause.
- No text is longer than a bound, and none contains a character that moves a terminal's cursor or begins a new line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Event

WINDOW_S = 1.0
TIMES = "times"
"""The field with the number of events that a line represents. No event in the table has a field of this name."""
MAX_TEXT = 500
MAX_ITEMS = 100
MAX_KEY_BYTES = 64
MAX_TRACEBACK = 8000
_NUMBER = re.compile(r"\d+")
_CAUSE_TEXT = 200
_OTHERS = ("...",)

Fields = dict[str, object]
Write = Callable[["Event", Fields], None]


class _Repeats:
    """The events of one cause since its last line."""

    __slots__ = ("fields", "times")

    def __init__(self) -> None:
        self.times = 0
        self.fields: Fields = {}


class EventLimit:
    """The limit of one log. Its timer needs a running event loop; without a loop, each event is written at once."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._open: dict[Event, dict[tuple[object, ...], _Repeats]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take(self, event: Event, cause: tuple[str, ...], fields: Fields) -> None:
        """Write or count the event; ``cause`` contains the names of the fields that distinguish causes."""
        causes = self._open.setdefault(event, {})
        key = tuple([_alike(fields.get(name)) for name in cause])
        repeats = causes.get(key)
        if repeats is None and len(causes) >= event.value.causes:
            key = _OTHERS
            repeats = causes.get(key)
        if repeats is not None:
            repeats.times += 1
            repeats.fields = fields
            return
        if self._is_timed():
            causes[key] = _Repeats()
        self._write(event, fields)

    def flush(self) -> None:
        """Write a line for each cause whose events have been counted."""
        for event, causes in list(self._open.items()):
            for key, repeats in list(causes.items()):
                if not repeats.times:
                    del causes[key]
                    continue
                fields = repeats.fields if repeats.times == 1 else repeats.fields | {TIMES: repeats.times}
                repeats.times, repeats.fields = 0, {}
                self._write(event, fields)
            if not causes:
                del self._open[event]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        self._open.clear()

    def _is_timed(self) -> bool:
        """Return True if a timer runs that will write the counted events; start it if possible."""
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            self._timer = loop.call_later(WINDOW_S, self._tick)
        return True

    def _tick(self) -> None:
        self._timer = None
        self.flush()
        if self._open:
            self._is_timed()


def _alike(value: object) -> object:
    """Return the part of a value that distinguishes causes: texts that differ in numbers only are the same cause."""
    return _NUMBER.sub("#", value[:_CAUSE_TEXT]) if isinstance(value, str) else value


def bounded(fields: Mapping[str, object]) -> Fields:
    """Return the fields, each cut to its maximum length."""
    return {name: _bounded(name, value) for name, value in fields.items()}


def _bounded(name: str, value: object) -> object:
    if isinstance(value, str):
        return _tail(value) if name == "traceback" else text(value)
    if isinstance(value, list | tuple) and len(value) > MAX_ITEMS:
        return [*value[:MAX_ITEMS], f"... and {len(value) - MAX_ITEMS} more"]
    return value


def text(value: str, max_length: int = MAX_TEXT) -> str:
    """Return ``value``, cut to ``max_length`` characters, with unprintable characters escaped."""
    if len(value) > max_length:
        value = f"{value[:max_length]}... ({len(value)} characters)"
    if value.isprintable():
        return value
    return "".join([char if char.isprintable() else _escaped(char) for char in value])


def shown_key(key: bytes) -> str:
    """Return a key as readable text of bounded length: bytes that are not UTF-8 become ``\\xNN``."""
    shown = text(key[:MAX_KEY_BYTES].decode("utf-8", "backslashreplace"))
    return shown if len(key) <= MAX_KEY_BYTES else f"{shown}... ({len(key)} bytes)"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _tail(traceback: str) -> str:
    """Return the end of a traceback, which is its most informative part."""
    return traceback if len(traceback) <= MAX_TRACEBACK else f"...\n{traceback[-MAX_TRACEBACK:]}"
