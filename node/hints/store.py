"""Hints on disk: writes kept for replicas that missed them, one row for each destination and key.

What must hold:
- A newer write of a key takes the place of the older hint for the same destination; an older one changes nothing.
- A hint is forgotten only while it is still the one that was meant, so that what took its place is not lost.
- Hints ride on the group commit and nobody waits for it: nothing relies on them. They survive the process.
- A damaged hint is never delivered.

How many there are is held in memory, and counted by one scan when the node starts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from ...identity import Identity
from ..errors import Corruption
from ..storage.encoding import key_in, pack, peek, stored_key, unpack
from ..storage.interface import Engine, Entry

NAME_PREFIX = b"\xffhint"
"""Not UTF-8, so no name given by a caller collides with it."""
_LENGTH = struct.Struct(">H")
"""Of the destination's identity as text, which follows; then comes the stored key."""


class Hint(NamedTuple):
    to: Identity
    key: bytes
    entry: Entry

    @property
    def wall_ms(self) -> int:
        """When it was written, by the clock of the node that keeps it."""
        return self.entry.version.wall_ms

    @property
    def size_bytes(self) -> int:
        """Of key and value."""
        return len(self.key) + len(self.entry.value or b"")


class Kept(NamedTuple):
    """What is kept for one destination."""

    hints: int = 0
    bytes: int = 0
    """Of the rows, as they lie on disk."""
    oldest_ms: int = 0
    """No hint is of a version from before this wall time."""

    def plus(self, size_bytes: int, wall_ms: int) -> Kept:
        oldest_ms = min(self.oldest_ms, wall_ms) if self.hints else wall_ms
        return Kept(self.hints + 1, self.bytes + size_bytes, oldest_ms)

    def minus(self, size_bytes: int) -> Kept:
        return Kept(self.hints - 1, self.bytes - size_bytes, self.oldest_ms)


NOTHING = Kept()


class Page(NamedTuple):
    """A bounded part of a destination's hints, in ring order."""

    hints: tuple[Hint, ...]
    damaged: tuple[bytes, ...]
    """Names of the rows among them that do not match their checksum."""
    next: bytes | None
    """The place to go on after; None when there are no more."""


class HintStore:
    """Hints on an engine; ``max_bytes`` bounds what is kept for one destination. Raises as the engine does."""

    def __init__(self, engine: Engine, max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._kept: dict[Identity, Kept] = {}
        self.unreadable = ""
        """Why all hints were given up when the node started; empty when they were not."""
        try:
            self._count()
        except Corruption as damage:
            self.unreadable = str(damage)
            self._kept.clear()
            engine.drop_rows(NAME_PREFIX)

    def _count(self) -> None:
        """Unverified, since it reads all there is: a row is verified when its hint is brought."""
        to, prefix = None, NAME_PREFIX
        for name, packed in self._engine.rows(NAME_PREFIX):
            if to is None or not name.startswith(prefix):
                to = _destination(name)
                prefix = _prefix(to)
            version = peek(packed)
            wall_ms = version.wall_ms if version is not None else 0
            self._kept[to] = self.kept(to).plus(len(name) + len(packed), wall_ms)

    def destinations(self) -> list[Identity]:
        return list(self._kept)

    def kept(self, to: Identity) -> Kept:
        return self._kept.get(to, NOTHING)

    def add(self, hints: Iterable[Hint]) -> list[Hint]:
        """Keep all of these, in one write; returns those for which there is no room."""
        rows: dict[bytes, bytes] = {}
        changed: dict[Identity, Kept] = {}
        refused = []
        for hint in hints:
            name, kept = _name(hint.to, hint.key), changed.get(hint.to, self.kept(hint.to))
            held = rows.get(name) or self._engine.get_row(name)
            if held is not None:
                older = _entry(name, held)
                if older is not None and older.version >= hint.entry.version:
                    continue
                kept = kept.minus(len(name) + len(held))
            packed = pack(name, hint.entry)
            kept = kept.plus(len(name) + len(packed), hint.wall_ms)
            if kept.bytes > self._max_bytes:
                refused.append(hint)
            else:
                rows[name], changed[hint.to] = packed, kept
        self._engine.put_rows(list(rows.items()))
        self._kept.update(changed)
        return refused

    def page(self, to: Identity, after: bytes | None, max_hints: int, max_bytes: int) -> Page:
        """The hints after a place, at least one unless there are no more."""
        hints: list[Hint] = []
        damaged: list[bytes] = []
        size_bytes, last = 0, None
        for name, packed in self._engine.rows(_prefix(to), after or b""):
            full = len(hints) + len(damaged) >= max_hints or size_bytes + len(packed) > max_bytes
            if last is not None and full:
                return Page(tuple(hints), tuple(damaged), last)
            if (entry := _entry(name, packed)) is not None:
                hints.append(Hint(to, key_in(name[len(_prefix(to)) :]), entry))
            else:
                damaged.append(name)
            size_bytes, last = size_bytes + len(packed), name
        return Page(tuple(hints), tuple(damaged), None)

    def forget(self, hints: Iterable[Hint], damaged: Sequence[bytes] = ()) -> int:
        """Delete, in one write, those hints that are still kept as given, and damaged rows; returns how many."""
        gone: dict[bytes, None] = {}
        changed: dict[Identity, Kept] = {}
        meant = [(_name(hint.to, hint.key), hint) for hint in hints]
        for name, hint in (*meant, *((name, None) for name in damaged)):
            held = self._engine.get_row(name) if name not in gone else None
            if held is None or _entry(name, held) != (hint.entry if hint is not None else None):
                continue
            to = _destination(name)
            changed[to] = changed.get(to, self.kept(to)).minus(len(name) + len(held))
            gone[name] = None
        self._engine.put_rows([(name, None) for name in gone])
        self._kept.update(changed)
        for to in [to for to in changed if not self._kept[to].hints]:
            self.drop_all(to)
        return len(gone)

    def drop_all(self, to: Identity) -> int:
        """Delete all hints for ``to``, also what cannot be read; returns how many there were."""
        self._engine.drop_rows(_prefix(to))
        return self._kept.pop(to, NOTHING).hints

    def none_before(self, to: Identity, wall_ms: int) -> None:
        """Note what a look at all hints for ``to`` has found to be the oldest."""
        if to in self._kept:
            self._kept[to] = self._kept[to]._replace(oldest_ms=wall_ms)


@lru_cache(maxsize=1024)
def _prefix(to: Identity) -> bytes:
    text = str(to).encode()
    return NAME_PREFIX + _LENGTH.pack(len(text)) + text


def _name(to: Identity, key: bytes) -> bytes:
    return _prefix(to) + stored_key(key)


def _destination(name: bytes) -> Identity:
    """Whom a row is for. Raises Corruption for a name that this module never gave."""
    begin = len(NAME_PREFIX) + _LENGTH.size
    try:
        (length,) = _LENGTH.unpack_from(name, len(NAME_PREFIX))
        return Identity.parse(name[begin : begin + length].decode())
    except (struct.error, ValueError) as error:
        raise Corruption(f"the row {name!r} is no hint") from error


def _entry(name: bytes, packed: bytes) -> Entry | None:
    """What a row keeps; None when it is damaged."""
    try:
        return unpack(name, packed)
    except Corruption:
        return None
