"""The Merkle tree of the ranges that two owners both replicate. Pure.

Rules
- The tree follows from a stable epoch and the two identities, so both sides compute the same tree without exchanging
  it.
- A leaf is a range that both replicate, within one segment. The leaves cover each token that both replicate exactly
  once, and no other token. Most leaves are whole segments, whose digests the engine maintains.
- Leaves are in token order, and none wraps past zero. A group is ``FANOUT`` consecutive leaves; the last group may have
  fewer.
- The digest of a leaf is the XOR of its entries' digests. The digest of a group is the XOR of its leaves' digests.
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
    """Two levels below the root: groups, and the leaves of each."""

    groups: tuple[tuple[TokenRange, ...], ...]

    @cached_property
    def group_ranges(self) -> tuple[tuple[TokenRange, ...], ...]:
        """Each group as the fewest possible ranges, from which its digest is computed."""
        return tuple(merge_adjacent(group) for group in self.groups)

    @property
    def leaves(self) -> int:
        return sum(map(len, self.groups))


def tree_between(ring: Ring, one: Identity, other: Identity) -> MerkleTree:
    """Return the tree of the ranges that ``one`` and ``other`` both replicate; empty if there are none."""
    shared = (found.token_range for found in ring.ranges() if {one, other} <= set(found.preference_list))
    leaves = tuple(_cut_at_segments(_merged_intervals(shared)))
    return MerkleTree(tuple(leaves[begin : begin + FANOUT] for begin in range(0, len(leaves), FANOUT)))


def peers_of(ring: Ring, me: Identity) -> frozenset[Identity]:
    """Return the other owners that replicate a range that ``me`` replicates."""
    lists = (found.preference_list for found in ring.ranges())
    return frozenset(owner for owners in lists if me in owners for owner in owners) - {me}


def _merged_intervals(ranges: Iterable[TokenRange]) -> list[tuple[int, int]]:
    """Return the first and last tokens of disjoint ranges, ascending; adjacent ranges are merged."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(interval for token_range in ranges for interval in intervals(token_range)):
        if merged and first == merged[-1][1] + 1:
            first, _ = merged.pop()
        merged.append((first, last))
    return merged


def _cut_at_segments(merged: Iterable[tuple[int, int]]) -> Iterator[TokenRange]:
    for first, last in merged:
        while first <= last:
            end = min(last, first - first % SEGMENT_WIDTH + SEGMENT_WIDTH - 1)
            yield TokenRange((first - 1) % TOKEN_SPACE, end)
            first = end + 1


def merge_leaves(leaves: Iterable[TokenRange]) -> list[TokenRange]:
    """Merge adjacent leaves of one group, given in order. As with leaves, no resulting range wraps past zero."""
    merged: list[TokenRange] = []
    for leaf in leaves:
        if merged and merged[-1].upto == leaf.after:
            merged[-1] = TokenRange(merged[-1].after, leaf.upto)
        else:
            merged.append(leaf)
    return merged
