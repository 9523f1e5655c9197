"""Segments: the token space divided into a fixed number of equal parts, the same at every node.

Each segment has a summary of its entries (``summary``) and is in quarantine as a whole or not. Ranges may begin and end
anywhere within segments; where a range covers a segment only in part, its entries are read one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...ring.tokens import TOKEN_SPACE, TokenRange
from .encoding import KeyRange, intervals, key_range_of, token_in

SEGMENTS = 4096
SEGMENT_WIDTH = TOKEN_SPACE // SEGMENTS


class SegmentPart(NamedTuple):
    """Tokens ``first`` to ``last``, all within the segment ``number``."""

    number: int
    first: int
    last: int

    @property
    def whole(self) -> bool:
        return self.last - self.first == SEGMENT_WIDTH - 1

    @property
    def keys(self) -> KeyRange:
        """The stored keys of these tokens."""
        return key_range_of(self.first, self.last)


def segment_of(token: int) -> int:
    return token // SEGMENT_WIDTH


def segment_in(stored: bytes) -> int:
    """Return the segment of a stored key, which is the first 12 bits of its token."""
    return stored[0] << 4 | stored[1] >> 4


def segment_range(number: int) -> TokenRange:
    first = number * SEGMENT_WIDTH
    return TokenRange((first - 1) % TOKEN_SPACE, _last_token(number))


def segment_key_range(number: int) -> KeyRange:
    """Return the range of a segment's stored keys."""
    return key_range_of(number * SEGMENT_WIDTH, _last_token(number))


def segments_within(keys: KeyRange) -> range:
    """Return the segments that a key range touches."""
    end = SEGMENTS if keys.end is None else segment_of(token_in(keys.end) - 1) + 1
    return range(segment_of(token_in(keys.begin)), end)


def clip(keys: KeyRange, number: int) -> KeyRange:
    """Return the part of a key range that lies in a segment. The range must touch the segment."""
    begin, end = segment_key_range(number)
    if keys.end is not None:
        end = keys.end if end is None else min(end, keys.end)
    return KeyRange(max(begin, keys.begin), end)


def common(token_range: TokenRange, other: TokenRange) -> list[TokenRange]:
    """Return the intersection of two ranges: none, one, or two ranges where they overlap at both ends."""
    return [
        TokenRange((max(first, begin) - 1) % TOKEN_SPACE, min(last, end))
        for first, last in intervals(token_range)
        for begin, end in intervals(other)
        if max(first, begin) <= min(last, end)
    ]


class Split(NamedTuple):
    """A range divided at the borders of segments: the segments that it covers, and parts of others."""

    whole: list[int]
    cut: list[SegmentPart]


def split(token_range: TokenRange) -> Split:
    """Return the segments that lie entirely in the range, and the parts in it of those that lie partly in it."""
    if token_range.width == TOKEN_SPACE:
        return Split(list(range(SEGMENTS)), [])
    whole: list[int] = []
    cut: list[SegmentPart] = []
    for first, last in intervals(token_range):
        low, high = segment_of(first), segment_of(last)
        head = SegmentPart(low, first, min(last, _last_token(low)))
        tail = SegmentPart(high, max(first, high * SEGMENT_WIDTH), last)
        ends = [head] if low == high else [head, tail]
        cut += [part for part in ends if not part.whole]
        whole += [part.number for part in ends if part.whole]
        whole += range(low + 1, high)
    return Split(whole, cut)


class Touched(NamedTuple):
    """The segments that lie entirely (``whole``) or partly (``cut``) in one of several ranges, ascending."""

    whole: tuple[int, ...]
    cut: tuple[int, ...]


def touched_by(ranges: Sequence[TokenRange]) -> Touched:
    whole: set[int] = set()
    cut: set[int] = set()
    for token_range in ranges:
        parts = split(token_range)
        whole.update(parts.whole)
        cut.update(part.number for part in parts.cut)
    return Touched(tuple(sorted(whole)), tuple(sorted(cut - whole)))


def _last_token(number: int) -> int:
    return (number + 1) * SEGMENT_WIDTH - 1
