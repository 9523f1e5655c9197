"""This node's side of the hash trees: its digests, for its own comparisons and for those of its peers.

A digest is taken under the epoch that the tree belongs to, a group at a time so that nobody waits long, and is
told to a peer only once an fsync covers what it vouches for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import reduce
from operator import xor

from ...identity import Identity
from ...ring.tokens import TokenRange
from ..epoch.epochs import Epoch, Epochs
from ..errors import Quarantined
from ..storage.interface import Engine
from .merkle_tree import MerkleTree, tree_between

Digest = int | None
"""None where something is quarantined: nothing can be said."""


class Digests:
    def __init__(self, me: Identity, epochs: Epochs, engine: Engine) -> None:
        self._me = me
        self._epochs = epochs
        self._engine = engine
        self._trees: dict[Identity, MerkleTree] = {}
        self._of: Epoch | None = None

    def tree(self, epoch: Epoch, peer: Identity) -> MerkleTree:
        """What this node shares with ``peer`` under a stable epoch; kept while the epoch lasts."""
        if self._of is not epoch:
            self._of, self._trees = epoch, {}
        tree = self._trees.get(peer)
        if tree is None:
            tree = self._trees[peer] = tree_between(epoch.rings[0], self._me, peer)
        return tree

    async def of_groups(self, epoch: Epoch, tree: MerkleTree) -> list[Digest]:
        """One digest for each group of the tree. Raises EpochPassed."""
        return [_combined(await self._of_spans(epoch, key_ranges)) for key_ranges in tree.key_ranges]

    async def of_pieces(self, epoch: Epoch, groups: Sequence[Sequence[TokenRange]]) -> list[Digest]:
        """One digest for each piece of the groups, in order. Raises EpochPassed."""
        return [digest for group in groups for digest in await self._of_spans(epoch, group)]

    async def durable(self) -> None:
        """Return once an fsync covers what the digests taken so far vouch for."""
        await self._engine.durable()

    async def _of_spans(self, epoch: Epoch, spans: Sequence[TokenRange]) -> list[Digest]:
        await asyncio.sleep(0)
        await self._epochs.held(epoch.stamp)
        try:
            return [*self._engine.digests(spans)]
        except Quarantined:
            return [self._of_span(span) for span in spans]

    def _of_span(self, span: TokenRange) -> Digest:
        try:
            return self._engine.digests([span])[0]
        except Quarantined:
            return None


def _combined(digests: Sequence[Digest]) -> Digest:
    known = [digest for digest in digests if digest is not None]
    return reduce(xor, known, 0) if len(known) == len(digests) else None
