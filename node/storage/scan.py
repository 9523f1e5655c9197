"""Scans: a bounded part of a range at a time, resumed by its last key, whatever is merged meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from ...ring.span import Span
from .encoding import Stretch, encode_token, key_in, stretches, token_in, unpack
from .engine import Chunk, Cursor, Entry
from .store import Row, Store

_PASSED_OVER_PER_ENTRY = 16
"""How many keys without the wanted prefix weigh as much as one entry that has it."""


def remaining(span: Span, after: Cursor | None) -> list[Stretch]:
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
    store: Store, span: Span, after: Cursor | None, max_entries: int, max_bytes: int, prefix: bytes
) -> Chunk:
    """The next entries of a span within the bounds (see ``Engine.scan``)."""
    entries: list[tuple[bytes, Entry]] = []
    gathered_bytes = passed_over = 0
    place = after
    for stored, packed in _rows(store, remaining(span, after)):
        key = key_in(stored)
        if len(entries) + passed_over // _PASSED_OVER_PER_ENTRY >= max_entries:
            return Chunk(tuple(entries), place)
        if not key.startswith(prefix):
            passed_over += 1
        else:
            entry = unpack(stored, packed)
            gathered_bytes += len(key) + len(entry.value or b"")
            if entries and gathered_bytes > max_bytes:
                return Chunk(tuple(entries), place)
            entries.append((key, entry))
        place = Cursor(token_in(stored), key)
    return Chunk(tuple(entries), None)


def _rows(store: Store, pieces: list[Stretch]) -> Iterator[Row]:
    for piece in pieces:
        yield from store.rows(piece)
