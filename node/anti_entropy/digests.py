"""This node's Merkle trees and their digests, for its own anti-entropy sessions and for those of its peers.

A digest is computed under the epoch of its tree. Digests are computed one group at a time, so that the event loop is
not blocked, and are sent only after their data is fsynced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import reduce
from operator import xor

from ...identity import Identity
from ...ring.tokens import TokenRange
from ..epoch.epochs import Epoch
from ..epoch.fenced_client import DataPlane
from ..errors import Quarantined
from .merkle_tree import MerkleTree, tree_between

Digest = int | None
"""None for a range in quarantine, whose contents are unknown."""


class Digests:
    def __init__(self, me: Identity, data: DataPlane) -> None:
        self._me = me
        self._data = data
        self._trees: dict[Identity, MerkleTree] = {}
        self._epoch: Epoch | None = None

    def tree(self, epoch: Epoch, peer: Identity) -> MerkleTree:
        """Return the tree of this node and ``peer`` under a stable epoch; it is cached while the epoch lasts."""
        if self._epoch is not epoch:
            self._epoch, self._trees = epoch, {}
        tree = self._trees.get(peer)
        if tree is None:
            tree = self._trees[peer] = tree_between(epoch.rings[0], self._me, peer)
        return tree

    async def of_groups(self, epoch: Epoch, tree: MerkleTree) -> list[Digest]:
        """Return one digest for each group of the tree. Raises EpochPassed."""
        return [_combined(await self._of_ranges(epoch, ranges)) for ranges in tree.group_ranges]

    async def of_leaves(self, epoch: Epoch, groups: Sequence[Sequence[TokenRange]]) -> list[Digest]:
        """Return one digest for each leaf of the groups, in order. Raises EpochPassed."""
        return [digest for group in groups for digest in await self._of_ranges(epoch, group)]

    async def _of_ranges(self, epoch: Epoch, ranges: Sequence[TokenRange]) -> list[Digest]:
        await asyncio.sleep(0)
        await self._data.epochs.ensure_current(epoch.stamp)
        try:
            return [*self._data.engine.digests(ranges)]
        except Quarantined:
            return [self._of_range(token_range) for token_range in ranges]

    def _of_range(self, token_range: TokenRange) -> Digest:
        try:
            return self._data.engine.digests([token_range])[0]
        except Quarantined:
            return None


def _combined(digests: Sequence[Digest]) -> Digest:
    known = [digest for digest in digests if digest is not None]
    return reduce(xor, known, 0) if len(known) == len(digests) else None
