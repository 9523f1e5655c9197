"""Summaries: the exact number of keys, bytes and tombstones of each segment, and a digest of its entries.

The digest is the XOR over the entries of a hash of key, version, and whether it is a tombstone. It does not depend on
the order of arrival: replicas that hold the same keys at the same versions have the same digest.

Summaries are stored in the same batch as the entries that change them, so they are correct after any crash. Therefore
``drop`` need not read the entries that it deletes, ``size`` need not read the disk, and a segment whose entries do not
match its summary is known to be damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from operator import xor
from typing import NamedTuple

from ...ring.tokens import TOKEN_SPACE, TokenRange
from ..errors import Corruption
from ..named import as_named
from .encoding import (
    TOKEN_BYTES,
    digest_of,
    entry_bytes,
    intervals,
    is_cut_short,
    is_tombstone,
    pack_named,
)
from .interface import Usage
from .segments import SEGMENT_WIDTH, SEGMENTS, segment_of

SUMMARY_PREFIX = b"\xffsegment"
"""Not UTF-8, so that it cannot collide with the name of a named value."""

_SUMMARY = struct.Struct(">QQQQ")
_SEGMENT = struct.Struct(">H")
_CHANGE = struct.Struct(">HQQQQ")
"""A segment's number and its new summary, as in a row of the ledger's journal."""
_LATEST = struct.Struct(">Q")
_NAMES = [SUMMARY_PREFIX + _SEGMENT.pack(number) for number in range(SEGMENTS)]
"""The names of the rows that store summaries, by segment."""


class Summary(NamedTuple):
    keys: int = 0
    """Number of entries with a value."""
    bytes: int = 0
    """Length of keys and values; a tombstone's key counts too."""
    tombstones: int = 0
    digest: int = 0

    def plus(self, other: Summary) -> Summary:
        return Summary(
            keys=self.keys + other.keys,
            bytes=self.bytes + other.bytes,
            tombstones=self.tombstones + other.tombstones,
            digest=self.digest ^ other.digest,
        )


NOTHING = Summary()


def replace_row(summary: Summary, stored: bytes, before: bytes | None, after: bytes | None) -> Summary:
    """Return the summary after the row ``after`` has replaced ``before``; None for no row."""
    keys, size_bytes, tombstones, digest = summary
    if before is not None:
        tombstone = is_tombstone(before)
        keys -= not tombstone
        size_bytes -= entry_bytes(stored, before)
        tombstones -= tombstone
        digest ^= digest_of(stored, before)
    if after is not None:
        tombstone = is_tombstone(after)
        keys += not tombstone
        size_bytes += entry_bytes(stored, after)
        tombstones += tombstone
        digest ^= digest_of(stored, after)
    return as_named(Summary, (keys, size_bytes, tombstones, digest))


def summary_of_packed(stored: bytes, packed: bytes) -> Summary:
    """Return what a row adds to a summary. It is not verified: damage makes the sum differ from the stored summary."""
    if is_cut_short(packed):
        return Summary(0, len(stored) - TOKEN_BYTES)
    return replace_row(NOTHING, stored, None, packed)


def encode_summary(number: int, summary: Summary) -> tuple[bytes, bytes | None]:
    """Return the row that stores a segment's summary; None deletes it."""
    name = _NAMES[number]
    return name, None if summary == NOTHING else pack_named(name, _SUMMARY.pack(*summary))


def decode_summary(encoded: bytes) -> Summary:
    """Decode a summary. Raise Corruption if its length is wrong."""
    if len(encoded) != _SUMMARY.size:
        raise Corruption(f"a summary has {_SUMMARY.size} bytes, not {len(encoded)}")
    return Summary(*_SUMMARY.unpack(encoded))


def segment_of_summary(name: bytes) -> int | None:
    """Return the segment whose summary is stored under this name; None for any other name."""
    if len(name) != len(SUMMARY_PREFIX) + _SEGMENT.size:
        return None
    number: int = _SEGMENT.unpack_from(name, len(SUMMARY_PREFIX))[0]
    return number if number < SEGMENTS else None


def encode_changes(latest: int, summaries: Mapping[int, Summary]) -> bytes:
    """Encode the new summaries of some segments and the latest timestamp merged so far."""
    changed = [_CHANGE.pack(number, *summary) for number, summary in summaries.items()]
    return _LATEST.pack(latest) + b"".join(changed)


def decode_changes(encoded: bytes) -> tuple[int, dict[int, Summary]]:
    """Decode bytes that ``encode_changes`` wrote. Raise Corruption for any other bytes."""
    body = encoded[_LATEST.size :]
    if len(encoded) < _LATEST.size or len(body) % _CHANGE.size:
        raise Corruption(f"{len(encoded)} bytes are no changes of summaries")
    changed = {number: Summary(*fields) for number, *fields in _CHANGE.iter_unpack(body)}
    if any(number >= SEGMENTS for number in changed):
        raise Corruption("changes of the summaries of segments that do not exist")
    return _LATEST.unpack_from(encoded)[0], changed


class Summaries:
    """The summary of each segment. The caller stores changed summaries before it applies them."""

    def __init__(self) -> None:
        self._segments = [NOTHING] * SEGMENTS
        self._keys = self._bytes = 0
        """The sums over all segments."""

    @property
    def total(self) -> Usage:
        return Usage(self._keys, self._bytes)

    def __getitem__(self, number: int) -> Summary:
        return self._segments[number]

    def __iter__(self) -> Iterator[Summary]:
        return iter(self._segments)

    def apply(self, changes: Mapping[int, Summary]) -> None:
        """Replace the summaries of these segments."""
        for number, summary in changes.items():
            old = self._segments[number]
            self._keys += summary.keys - old.keys
            self._bytes += summary.bytes - old.bytes
            self._segments[number] = summary

    def digest(self, numbers: Iterable[int]) -> int:
        """Return the combined digest of segments."""
        return reduce(xor, (self._segments[number].digest for number in numbers), 0)

    def size(self, token_range: TokenRange) -> int:
        """Return the bytes of a range, estimated for segments partly in it by the share of their tokens inside."""
        if token_range.width == TOKEN_SPACE:
            return self._bytes
        return sum(self._size_of(first, last) for first, last in intervals(token_range))

    def _size_of(self, first: int, last: int) -> int:
        low, high = segment_of(first), segment_of(last)
        whole = sum(summary.bytes for summary in self._segments[low : high + 1])
        before = self._segments[low].bytes * (first - low * SEGMENT_WIDTH) // SEGMENT_WIDTH
        after = self._segments[high].bytes * ((high + 1) * SEGMENT_WIDTH - 1 - last) // SEGMENT_WIDTH
        return whole - before - after
