"""Summaries: what each segment holds, exactly and up to date: keys, bytes, tombstones, and a digest.

The digest is the XOR over the entries of a hash of key, version and whether it is a tombstone, so it does not
depend on the order of arrival: replicas that hold the same keys at the same versions have the same.

Summaries are stored in the same batch as the entries that change them, so they are right after any crash. So ``drop``
need not visit what it deletes, ``size`` need not touch the disk, and entries that do not match their summary are known
to be damaged.
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
"""Not UTF-8, so no name given by a caller collides with it."""

_SUMMARY = struct.Struct(">QQQQ")
_SEGMENT = struct.Struct(">H")
_NOTE = struct.Struct(">HQQQQ")
"""A segment's number and its new summary."""
_LATEST = struct.Struct(">Q")
_NAMES = [SUMMARY_PREFIX + _SEGMENT.pack(number) for number in range(SEGMENTS)]
"""Of the rows that keep summaries."""


class Summary(NamedTuple):
    keys: int = 0
    """Entries with a value."""
    bytes: int = 0
    """Key and value bytes; a tombstone's key counts too."""
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
        gone = is_tombstone(before)
        keys -= not gone
        size_bytes -= entry_bytes(stored, before)
        tombstones -= gone
        digest ^= digest_of(stored, before)
    if after is not None:
        gone = is_tombstone(after)
        keys += not gone
        size_bytes += entry_bytes(stored, after)
        tombstones += gone
        digest ^= digest_of(stored, after)
    return as_named(Summary, (keys, size_bytes, tombstones, digest))


def summary_of_packed(stored: bytes, packed: bytes) -> Summary:
    """Return what a row adds, unverified: damage must not stop the count, but show in it."""
    if is_cut_short(packed):
        return Summary(0, len(stored) - TOKEN_BYTES)
    return replace_row(NOTHING, stored, None, packed)


def encode_summary(number: int, summary: Summary) -> tuple[bytes, bytes | None]:
    """Return the row that stores a segment's summary; None deletes it."""
    name = _NAMES[number]
    return name, None if summary == NOTHING else pack_named(name, _SUMMARY.pack(*summary))


def decode_summary(encoded: bytes) -> Summary:
    """Decode a summary. Raise Corruption for anything else."""
    if len(encoded) != _SUMMARY.size:
        raise Corruption(f"a summary has {_SUMMARY.size} bytes, not {len(encoded)}")
    return Summary(*_SUMMARY.unpack(encoded))


def segment_of_summary(name: bytes) -> int | None:
    """Return the segment whose summary a row of this name stores; None for any other row."""
    if len(name) != len(SUMMARY_PREFIX) + _SEGMENT.size:
        return None
    number: int = _SEGMENT.unpack_from(name, len(SUMMARY_PREFIX))[0]
    return number if number < SEGMENTS else None


def encode_changes(latest: int, summaries: Mapping[int, Summary]) -> bytes:
    """Encode the new summaries of some segments, with the latest timestamp merged so far."""
    noted = [_NOTE.pack(number, *summary) for number, summary in summaries.items()]
    return _LATEST.pack(latest) + b"".join(noted)


def decode_changes(encoded: bytes) -> tuple[int, dict[int, Summary]]:
    """Decode what ``encode_changes`` wrote. Raise Corruption for anything else."""
    body = encoded[_LATEST.size :]
    if len(encoded) < _LATEST.size or len(body) % _NOTE.size:
        raise Corruption(f"{len(encoded)} bytes are no changes of summaries")
    noted = {number: Summary(*fields) for number, *fields in _NOTE.iter_unpack(body)}
    if any(number >= SEGMENTS for number in noted):
        raise Corruption("changes of the summaries of segments that do not exist")
    return _LATEST.unpack_from(encoded)[0], noted


class Summaries:
    """One per segment. The caller computes and stores new ones, and applies them once they are stored."""

    def __init__(self) -> None:
        self._segments = [NOTHING] * SEGMENTS
        self._keys = self._bytes = 0
        """Totals of all segments."""

    @property
    def total(self) -> Usage:
        return Usage(self._keys, self._bytes)

    def __getitem__(self, number: int) -> Summary:
        return self._segments[number]

    def __iter__(self) -> Iterator[Summary]:
        return iter(self._segments)

    def apply(self, changes: Mapping[int, Summary]) -> None:
        """Replace old summaries by new ones."""
        for number, summary in changes.items():
            former = self._segments[number]
            self._keys += summary.keys - former.keys
            self._bytes += summary.bytes - former.bytes
            self._segments[number] = summary

    def digest(self, numbers: Iterable[int]) -> int:
        """Return the combined digest of segments."""
        return reduce(xor, (self._segments[number].digest for number in numbers), 0)

    def size(self, token_range: TokenRange) -> int:
        """Return the bytes of a range; segments that it cuts count by the share of their tokens inside."""
        if token_range.width == TOKEN_SPACE:
            return self._bytes
        return sum(self._size_of(first, last) for first, last in intervals(token_range))

    def _size_of(self, first: int, last: int) -> int:
        low, high = segment_of(first), segment_of(last)
        whole = sum(summary.bytes for summary in self._segments[low : high + 1])
        before = self._segments[low].bytes * (first - low * SEGMENT_WIDTH) // SEGMENT_WIDTH
        behind = self._segments[high].bytes * ((high + 1) * SEGMENT_WIDTH - 1 - last) // SEGMENT_WIDTH
        return whole - before - behind
