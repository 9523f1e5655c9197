"""Scans: each call returns a bounded part of a range and a cursor at which the next call resumes.

A scan is no snapshot: it sees entries that are merged between two calls if they are ahead of its cursor.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...quorum.version import Version
from ...ring.tokens import TokenRange
from ..errors import Quarantined
from .encoding import (
    KeyRange,
    encode_token,
    entry_bytes,
    entry_in,
    entry_without_value,
    key_in,
    key_ranges,
    token_in,
)
from .interface import Chunk, Cursor, Entry, TombstonePage
from .reads import VerifiedReads
from .segments import clip, segments_within
from .store import Row
from .summary import Summaries

_SKIPPED_PER_ENTRY = 16
"""Number of skipped entries that count as one returned entry."""


def remaining(token_range: TokenRange, after: Cursor | None) -> list[KeyRange]:
    """Return the part of a range after a cursor, in ring order. Raise ValueError if the cursor is not in the range."""
    parts = key_ranges(token_range)
    if after is None:
        return parts
    begin = encode_token(after.token) + after.key + b"\0"  # the least stored key after the cursor
    for index, keys in enumerate(parts):
        if keys.begin <= begin and (keys.end is None or begin < keys.end):
            return [KeyRange(begin, keys.end), *parts[index + 1 :]]
    raise ValueError(f"{after} is not in {token_range}")


def gather(
    reads: VerifiedReads,
    token_range: TokenRange,
    after: Cursor | None,
    max_entries: int,
    max_bytes: int,
    prefix: bytes,
    with_values: bool,
) -> Chunk:
    """Return the next entries of a range within the bounds (see ``Engine.scan``)."""
    found: list[tuple[bytes, Entry]] = []
    room, room_bytes = max_entries * _SKIPPED_PER_ENTRY, max_bytes
    last = b""
    entry_of = entry_in if with_values else entry_without_value
    try:
        for stored, packed in _rows(reads, remaining(token_range, after)):
            room_bytes -= entry_bytes(stored, packed)
            if last and (room <= 0 or room_bytes < 0):
                return Chunk(tuple(found), _cursor_at(last))
            key = key_in(stored)
            if key.startswith(prefix):
                reads.check(stored, packed)
                found.append((key, entry_of(packed)))
                room -= _SKIPPED_PER_ENTRY
            else:
                room -= 1
            last = stored
    except Quarantined:
        if not last:
            raise
        return Chunk(tuple(found), _cursor_at(last))
    return Chunk(tuple(found), None)


def _cursor_at(stored: bytes) -> Cursor:
    return Cursor(token_in(stored), key_in(stored))


def gather_tombstones(
    reads: VerifiedReads,
    summaries: Summaries,
    token_range: TokenRange,
    after: Cursor | None,
    up_to: int,
    max_entries: int,
) -> TombstonePage:
    """Return the next tombstones of a range (see ``Engine.tombstones``)."""
    found: list[tuple[bytes, Version]] = []
    skipped = 0
    last_read = after
    for stored, packed in _rows(reads, _with_tombstones(summaries, remaining(token_range, after))):
        if len(found) + skipped // _SKIPPED_PER_ENTRY >= max_entries:
            return TombstonePage(tuple(found), last_read)
        last_read = _cursor_at(stored)
        entry = reads.verified(stored, packed)
        if entry.tombstone and entry.version.timestamp <= up_to:
            found.append((last_read.key, entry.version))
        else:
            skipped += 1
    return TombstonePage(tuple(found), None)


def _with_tombstones(summaries: Summaries, parts: list[KeyRange]) -> list[KeyRange]:
    """Return the parts of these key ranges that lie in segments with tombstones."""
    return [
        clip(keys, number)
        for keys in parts
        for number in segments_within(keys)
        if summaries[number].tombstones
    ]


def _rows(reads: VerifiedReads, parts: list[KeyRange]) -> Iterator[Row]:
    for keys in parts:
        yield from reads.rows(keys)
