"""Hints on disk: writes that replicas missed, one row for each destination and key.

Invariants
- A newer write of a key replaces the older hint for the same destination; an older write changes nothing.
- A hint is deleted only if its row still contains that very hint, so that a newer hint in the same row is not lost.
- Hints are part of the group commit, but no operation waits for that, since no guarantee relies on hints. They survive
  the end of the process.
- A damaged hint is never delivered.

The number of hints for each destination is kept in memory; a scan counts them when the node starts.
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
"""It is not valid UTF-8, so that it differs from the beginning of any other row's name."""
_LENGTH = struct.Struct(">H")
"""Length of the destination's identity as text. The identity follows it, and then the stored key."""


class Hint(NamedTuple):
    to: Identity
    key: bytes
    entry: Entry

    @property
    def wall_ms(self) -> int:
        """The wall time of its version."""
        return self.entry.version.wall_ms

    @property
    def size_bytes(self) -> int:
        """Size of the key and the value."""
        return len(self.key) + len(self.entry.value or b"")


class StoredHints(NamedTuple):
    """The number and size of the hints for one destination."""

    hints: int = 0
    bytes: int = 0
    """Total size of the rows on disk."""
    oldest_ms: int = 0
    """A lower bound of the wall times of their versions."""

    def plus(self, size_bytes: int, wall_ms: int) -> StoredHints:
        oldest_ms = min(self.oldest_ms, wall_ms) if self.hints else wall_ms
        return StoredHints(self.hints + 1, self.bytes + size_bytes, oldest_ms)

    def minus(self, size_bytes: int) -> StoredHints:
        return StoredHints(self.hints - 1, self.bytes - size_bytes, self.oldest_ms)


NO_HINTS = StoredHints()


class Page(NamedTuple):
    """A bounded number of a destination's hints, in ring order."""

    hints: tuple[Hint, ...]
    damaged: tuple[bytes, ...]
    """Names of rows that do not match their checksum."""
    next: bytes | None
    """The name after which the next page begins; None when there are no more."""


class HintStore:
    """Rows of hints in the engine; raises as the engine does. ``max_bytes`` bounds the hints for one destination."""

    def __init__(self, engine: Engine, max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._stored: dict[Identity, StoredHints] = {}
        self.unreadable = ""
        """Why all hints were deleted when the node started; empty when they were not."""
        try:
            self._count()
        except Corruption as damage:
            self.unreadable = str(damage)
            self._stored.clear()
            engine.drop_rows(NAME_PREFIX)

    def _count(self) -> None:
        """Count all rows, without verifying their checksums; a row is verified when its hint is read."""
        to, prefix = None, NAME_PREFIX
        for name, packed in self._engine.rows(NAME_PREFIX):
            if to is None or not name.startswith(prefix):
                to = _destination(name)
                prefix = _prefix(to)
            version = peek(packed)
            wall_ms = version.wall_ms if version is not None else 0
            self._stored[to] = self.stored(to).plus(len(name) + len(packed), wall_ms)

    def destinations(self) -> list[Identity]:
        return list(self._stored)

    def stored(self, to: Identity) -> StoredHints:
        return self._stored.get(to, NO_HINTS)

    def add(self, hints: Iterable[Hint]) -> list[Hint]:
        """Store these hints in one write. Return the hints for which there is no room."""
        rows: dict[bytes, bytes] = {}
        changed: dict[Identity, StoredHints] = {}
        refused = []
        for hint in hints:
            name, stored = _name(hint.to, hint.key), changed.get(hint.to, self.stored(hint.to))
            row = rows.get(name) or self._engine.get_row(name)
            if row is not None:
                older = _entry(name, row)
                if older is not None and older.version >= hint.entry.version:
                    continue
                stored = stored.minus(len(name) + len(row))
            packed = pack(name, hint.entry)
            stored = stored.plus(len(name) + len(packed), hint.wall_ms)
            if stored.bytes > self._max_bytes:
                refused.append(hint)
            else:
                rows[name], changed[hint.to] = packed, stored
        self._engine.put_rows(list(rows.items()))
        self._stored.update(changed)
        return refused

    def page(self, to: Identity, after: bytes | None, max_hints: int, max_bytes: int) -> Page:
        """Return the hints after a row name: at least one, unless none is left."""
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

    def delete(self, hints: Iterable[Hint], damaged: Sequence[bytes] = ()) -> int:
        """Delete in one write the hints that are still stored as given, and damaged rows. Return their number."""
        deleted: dict[bytes, None] = {}
        changed: dict[Identity, StoredHints] = {}
        expected = [(_name(hint.to, hint.key), hint) for hint in hints]
        for name, hint in (*expected, *((name, None) for name in damaged)):
            row = self._engine.get_row(name) if name not in deleted else None
            if row is None or _entry(name, row) != (hint.entry if hint is not None else None):
                continue
            to = _destination(name)
            changed[to] = changed.get(to, self.stored(to)).minus(len(name) + len(row))
            deleted[name] = None
        self._engine.put_rows([(name, None) for name in deleted])
        self._stored.update(changed)
        for to in [to for to in changed if not self._stored[to].hints]:
            self.delete_all(to)
        return len(deleted)

    def delete_all(self, to: Identity) -> int:
        """Delete all hints for ``to``, including unreadable rows. Return their number."""
        self._engine.drop_rows(_prefix(to))
        return self._stored.pop(to, NO_HINTS).hints

    def note_oldest(self, to: Identity, wall_ms: int) -> None:
        """Record the oldest wall time that a scan of all hints for ``to`` has found."""
        if to in self._stored:
            self._stored[to] = self._stored[to]._replace(oldest_ms=wall_ms)


@lru_cache(maxsize=1024)
def _prefix(to: Identity) -> bytes:
    text = str(to).encode()
    return NAME_PREFIX + _LENGTH.pack(len(text)) + text


def _name(to: Identity, key: bytes) -> bytes:
    return _prefix(to) + stored_key(key)


def _destination(name: bytes) -> Identity:
    """Return the destination of a row. Raise Corruption if the name is not that of a hint."""
    begin = len(NAME_PREFIX) + _LENGTH.size
    try:
        (length,) = _LENGTH.unpack_from(name, len(NAME_PREFIX))
        return Identity.parse(name[begin : begin + length].decode())
    except (struct.error, ValueError) as error:
        raise Corruption(f"the row {name!r} is not a hint") from error


def _entry(name: bytes, packed: bytes) -> Entry | None:
    """Return the entry of a row; None when it is damaged."""
    try:
        return unpack(name, packed)
    except Corruption:
        return None
