"""The hash tree of what two owners both replicate.

Rules
- It follows from a stable epoch and the two identities alone, so both sides make the same tree without a word.
- A piece is a stretch of tokens that both replicate, within one segment. Together the pieces hold every token
  that both replicate, once, and no other; most are whole segments, whose digests the engine has at hand.
- Pieces stand in token order and none wraps past zero. Groups are ``FANOUT`` pieces in a row, the last of them
  fewer. The digest of a group is the XOR of its pieces', as that of a piece is of its entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ...identity import Identity
from ...ring.ring import Ring
from ...ring.tokens import TOKEN_SPACE, TokenRange, merge_adjacent
from ..storage.encoding import intervals
from ..storage.segments import SEGMENT_WIDTH

FANOUT = 64


@dataclass(frozen=True)
class MerkleTree:
    """Two levels below the root: groups, and the pieces of each."""

    groups: tuple[tuple[TokenRange, ...], ...]

    @cached_property
    def key_ranges(self) -> tuple[tuple[TokenRange, ...], ...]:
        """The groups in as few spans as possible: what their digests are read by."""
        return tuple(merge_adjacent(group) for group in self.groups)

    @property
    def pieces(self) -> int:
        return sum(map(len, self.groups))


def tree_between(ring: Ring, one: Identity, other: Identity) -> MerkleTree:
    """The tree of what ``one`` and ``other`` both replicate; empty when that is nothing."""
    shared = (found.token_range for found in ring.ranges() if {one, other} <= set(found.preference_list))
    pieces = tuple(_cut(_joined(shared)))
    return MerkleTree(tuple(pieces[begin : begin + FANOUT] for begin in range(0, len(pieces), FANOUT)))


def peers_of(ring: Ring, me: Identity) -> frozenset[Identity]:
    """Who replicates anything that ``me`` replicates."""
    lists = (found.preference_list for found in ring.ranges())
    return frozenset(owner for owners in lists if me in owners for owner in owners) - {me}


def _joined(spans: Iterable[TokenRange]) -> Iterator[tuple[int, int]]:
    """First and last tokens of disjoint spans, ascending; those that touch are one."""
    first, last = 0, -1
    for begin, end in sorted(interval for span in spans for interval in intervals(span)):
        if begin > last + 1:
            if first <= last:
                yield first, last
            first = begin
        last = end
    if first <= last:
        yield first, last


def _cut(key_ranges: Iterable[tuple[int, int]]) -> Iterator[TokenRange]:
    """Cut stretches where segments end."""
    for first, last in key_ranges:
        while first <= last:
            end = min(last, first - first % SEGMENT_WIDTH + SEGMENT_WIDTH - 1)
            yield TokenRange((first - 1) % TOKEN_SPACE, end)
            first = end + 1


def joined(pieces: Iterable[TokenRange]) -> list[TokenRange]:
    """Ascending pieces of one group, those that touch made one stretch, which does not wrap either."""
    key_ranges: list[TokenRange] = []
    for piece in pieces:
        if key_ranges and key_ranges[-1].upto == piece.after:
            key_ranges[-1] = TokenRange(key_ranges[-1].after, piece.upto)
        else:
            key_ranges.append(piece)
    return key_ranges
