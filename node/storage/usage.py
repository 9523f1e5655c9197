"""How much is held, exactly and at once: a count of entries and bytes for each slice of the token space.

The counts of a slice are stored in the same batch as the entries that change them, so they are right after
any crash. Slices keep ``drop`` from visiting what it deletes (only slices that are cut are counted anew), and
answer ``size`` without touching the disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...ring.hashing import TOKEN_SPACE
from ...ring.span import Span
from ..errors import Corruption
from .encoding import Stretch, intervals, pack_named, stretch_of, unpack_named
from .engine import Entry, Usage

SLICES = 4096
_WIDTH = TOKEN_SPACE // SLICES
_COUNT = struct.Struct(">QQ")
_SLICE = struct.Struct(">H")

NAME_PREFIX = b"\xffusage"
"""Not UTF-8, so no name given by a caller collides with it."""


class Count(NamedTuple):
    keys: int = 0
    bytes: int = 0

    def plus(self, other: Count) -> Count:
        return Count(self.keys + other.keys, self.bytes + other.bytes)

    def minus(self, other: Count) -> Count:
        return Count(self.keys - other.keys, self.bytes - other.bytes)


NOTHING = Count()


def count_of(key: bytes, entry: Entry | None) -> Count:
    """What one entry adds: a tombstone is no key, but its bytes are held."""
    if entry is None:
        return NOTHING
    return Count(0, len(key)) if entry.value is None else Count(1, len(key) + len(entry.value))


def slice_of(token: int) -> int:
    return token // _WIDTH


def slice_stretch(number: int) -> Stretch:
    """Where the keys of a slice are stored."""
    return stretch_of(number * _WIDTH, (number + 1) * _WIDTH - 1)


class UsageBySlice:
    """Counts per slice. The caller computes and stores new counts, and applies them once they are stored."""

    def __init__(self) -> None:
        self._slices = [NOTHING] * SLICES
        self._total = NOTHING

    @classmethod
    def load(cls, rows: Iterable[tuple[bytes, bytes]]) -> UsageBySlice:
        """Read what ``named_values`` had stored; raises Corruption."""
        usage = cls()
        for name, packed in rows:
            encoded = unpack_named(name, packed)
            if len(name) != len(NAME_PREFIX) + _SLICE.size or len(encoded) != _COUNT.size:
                raise Corruption(f"the named value {name!r} is no usage count")
            (number,) = _SLICE.unpack_from(name, len(NAME_PREFIX))
            usage.apply({number: Count(*_COUNT.unpack(encoded))})
        return usage

    @property
    def total(self) -> Usage:
        return Usage(*self._total)

    def __getitem__(self, number: int) -> Count:
        return self._slices[number]

    def apply(self, changes: Mapping[int, Count]) -> None:
        """Put new counts in the place of old ones."""
        for number, count in changes.items():
            self._total = self._total.plus(count).minus(self._slices[number])
            self._slices[number] = count

    def size(self, span: Span) -> int:
        """Bytes of a span; slices that it cuts count by the share of their tokens inside."""
        if span.width == TOKEN_SPACE:
            return self._total.bytes
        return sum(self._size_of(first, last) for first, last in intervals(span))

    def _size_of(self, first: int, last: int) -> int:
        low, high = slice_of(first), slice_of(last)
        whole = sum(count.bytes for count in self._slices[low : high + 1])
        before = self._slices[low].bytes * (first - low * _WIDTH) // _WIDTH
        behind = self._slices[high].bytes * ((high + 1) * _WIDTH - 1 - last) // _WIDTH
        return whole - before - behind


def named_values(changes: Mapping[int, Count]) -> Iterator[tuple[bytes, bytes | None]]:
    """The rows that keep new counts."""
    for number, count in changes.items():
        name = NAME_PREFIX + _SLICE.pack(number)
        yield name, None if count == NOTHING else pack_named(name, _COUNT.pack(*count))


class Touched(NamedTuple):
    """The slices in which spans lie: covered as a whole, or cut."""

    whole: tuple[int, ...]
    cut: tuple[int, ...]


def touched_by(spans: Sequence[Span]) -> Touched:
    whole: set[int] = set()
    touched: set[int] = set()
    for first, last in (piece for span in spans for piece in intervals(span)):
        low, high = slice_of(first), slice_of(last)
        touched.update(range(low, high + 1))
        whole.update(range(low if first == low * _WIDTH else low + 1, slice_of(last + 1)))
    return Touched(tuple(sorted(whole)), tuple(sorted(touched - whole)))
