"""Scans: a bounded part of a range at a time, resumed by its last key, whatever is merged meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from ...quorum.version import Version
from ...ring.tokens import TokenRange
from ..errors import Quarantined
from .encoding import (
    Stretch,
    encode_token,
    entry_bytes,
    entry_in,
    entry_without_value,
    key_in,
    stretches,
    token_in,
)
from .interface import Chunk, Cursor, Entry, TombstonePage
from .reads import Reads
from .segments import clip, within
from .store import Row
from .summary import Summaries

_PASSED_OVER_PER_ENTRY = 16
"""How many entries that are not wanted weigh as much as one that is."""


def remaining(span: TokenRange, after: Cursor | None) -> list[Stretch]:
    """What of a span lies behind a cursor, in ring order from the span's beginning."""
    pieces = stretches(span)
    if after is None:
        return pieces
    begin = encode_token(after.token) + after.key + b"\0"  # the least stored key behind the cursor
    for at, piece in enumerate(pieces):
        if piece.begin <= begin and (piece.end is None or begin < piece.end):
            return [Stretch(begin, piece.end), *pieces[at + 1 :]]
    raise ValueError(f"{after} is no place in {span}")


def gather(
    reads: Reads,
    span: TokenRange,
    after: Cursor | None,
    max_entries: int,
    max_bytes: int,
    prefix: bytes,
    with_values: bool,
) -> Chunk:
    """The next entries of a span within the bounds (see ``Engine.scan``)."""
    found: list[tuple[bytes, Entry]] = []
    room, room_bytes = max_entries * _PASSED_OVER_PER_ENTRY, max_bytes
    last = b""
    entry_of = entry_in if with_values else entry_without_value
    try:
        for stored, packed in _rows(reads, remaining(span, after)):
            room_bytes -= entry_bytes(stored, packed)
            if last and (room <= 0 or room_bytes < 0):
                return Chunk(tuple(found), _place_of(last))
            key = key_in(stored)
            if key.startswith(prefix):
                reads.check(stored, packed)
                found.append((key, entry_of(packed)))
                room -= _PASSED_OVER_PER_ENTRY
            else:
                room -= 1
            last = stored
    except Quarantined:
        if not last:
            raise
        return Chunk(tuple(found), _place_of(last))
    return Chunk(tuple(found), None)


def _place_of(stored: bytes) -> Cursor:
    return Cursor(token_in(stored), key_in(stored))


def gather_tombstones(
    reads: Reads, summaries: Summaries, span: TokenRange, after: Cursor | None, up_to: int, max_entries: int
) -> TombstonePage:
    """The next tombstones of a span (see ``Engine.tombstones``)."""
    found: list[tuple[bytes, Version]] = []
    passed_over = 0
    place = after
    for stored, packed in _rows(reads, _with_tombstones(summaries, remaining(span, after))):
        if len(found) + passed_over // _PASSED_OVER_PER_ENTRY >= max_entries:
            return TombstonePage(tuple(found), place)
        place = Cursor(token_in(stored), key_in(stored))
        entry = reads.verified(stored, packed)
        if entry.tombstone and entry.version.timestamp <= up_to:
            found.append((place.key, entry.version))
        else:
            passed_over += 1
    return TombstonePage(tuple(found), None)


def _with_tombstones(summaries: Summaries, pieces: list[Stretch]) -> list[Stretch]:
    """What of the pieces lies in segments that have tombstones."""
    return [
        clip(piece, number) for piece in pieces for number in within(piece) if summaries[number].tombstones
    ]


def _rows(reads: Reads, pieces: list[Stretch]) -> Iterator[Row]:
    for piece in pieces:
        yield from reads.rows(piece)
