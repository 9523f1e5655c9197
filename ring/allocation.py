"""Token allocation: chooses tokens for joining nodes so that the owners' shares of the data stay even.

An owner's share is its part of all copies, which determines its disk usage and load; it is not the width of the ranges
that its tokens close. Tokens are chosen one after another, each the best available (greedily). A joiner can only take
data from the owners: each token should take it from those that are furthest above their fair share, and bring the
joiner nearer to its fair share.

Each step minimizes a cost, the sum of two sums of squares, each square relative to the fair value: the distance of each
owner from its fair share and, with less weight, the distance of each virtual node from its part of that share. The
second sum keeps the widths of ranges similar, without which later joiners would find few good positions. (Cassandra's
replication-aware allocator has both terms as well. It tries the middle of each range; here, the best position within a
range is computed from the squares.)

The result depends on the arguments only. Joiners are placed in order of identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ..identity import Identity
from .displacement import Displacement, Slot, displacement
from .epoch import Owner, Quorums
from .fairness import fair_shares
from .tokens import TOKEN_SPACE

TOKENS_PER_WEIGHT = 32

_VIRTUAL_NODE_WEIGHT = 0.01
"""Weight of a virtual node's square relative to that of an owner's.

Measured while a cluster grows one by one to 100 equal nodes: with this weight, the largest share is 1.012 times the
fair share; with 0, later joiners find no good positions.
"""
_MARGIN = 0.05
"""The part of a slot's width, at either end, in which no token is placed."""
_SLOTS_PER_TOKEN = 2
"""Minimum number of slots to choose from for every token to place."""
_STEADINESS = 0.7
"""For a heavy joiner, how much the target of each token is an even part of the joiner's share (1), instead of what the
joiner lacks so far (0).

When slots are ranked only once, costs must not depend on what the last token gained. Measured for a joiner thirty times
as heavy as each of 100 others: the largest share is 1.06 times the fair share with this value, and 1.11 times with 0.
"""
_RANK_ONCE_FROM = 16
"""If all slots could be ranked only once in this number of tokens or more, they are ranked only once, at the start."""
_MAX_CANDIDATES = 8
"""Maximum number of candidates that are evaluated again to place a token."""
_RANKING_BUDGET = 8000
"""Approximate maximum number of evaluations spent on ranking all slots again between tokens.

The slots of a small ring are ranked again for every token. That costs little and matters most there: there are few
slots, and each token changes the costs of most of them.
"""
MAX_TOKENS = 4096
"""Maximum number of tokens of one node; with more, every member would take too long to compute the ring."""


class Joiner(NamedTuple):
    """A node that tokens are chosen for."""

    identity: Identity
    zone: str = ""
    weight: float = 1.0


def allocate(
    owners: Mapping[Identity, Owner],
    joiners: Sequence[Joiner],
    quorums: Quorums,
    tokens_per_weight: int = TOKENS_PER_WEIGHT,
) -> dict[Identity, tuple[int, ...]]:
    """Return the tokens chosen for every joiner, ascending. ``owners`` keep theirs.

    Raise ValueError if a joiner is an owner already.
    """
    placed = dict(owners)
    for joiner in sorted(joiners):
        if joiner.identity in placed:
            raise ValueError(f"{joiner.identity} has tokens already")
        count = token_count(joiner.weight, tokens_per_weight)
        tokens = _tokens_for(joiner, tuple(placed.items()), quorums, count) if placed else _even_tokens(count)
        placed[joiner.identity] = Owner(tokens, joiner.zone, joiner.weight)
    return {joiner.identity: placed[joiner.identity].tokens for joiner in sorted(joiners)}


def token_count(weight: float, tokens_per_weight: int) -> int:
    """Return the number of virtual nodes of a node with this weight."""
    return min(MAX_TOKENS, max(1, round(weight * tokens_per_weight)))


def _even_tokens(count: int) -> tuple[int, ...]:
    return tuple(TOKEN_SPACE * i // count for i in range(count))


@lru_cache(maxsize=16)  # a change that has to wait is planned again at every change of a member
def _tokens_for(
    joiner: Joiner, present: tuple[tuple[Identity, Owner], ...], quorums: Quorums, count: int
) -> tuple[int, ...]:
    owners = dict(present)
    copies = min(quorums.replication_factor, len(owners))
    zones = {owner.zone for owner in owners.values()}
    if len(owners) < quorums.replication_factor or (joiner.zone not in zones and len(zones) < copies):
        # The joiner will hold a copy of all data whatever its tokens are. Its tokens only affect how even the shares
        # are after later joins, and for that they are placed as if there were no zones.
        owners = {name: Owner(owner.tokens, "", owner.weight) for name, owner in owners.items()}
        joiner = joiner._replace(zone="")
    joined = {**owners, joiner.identity: Owner((), joiner.zone, joiner.weight)}
    fair = fair_shares(joined, copies)
    view = displacement(owners, joiner.zone, copies, _SLOTS_PER_TOKEN * count)
    return _Placement(view=view, owners=owners, fair=fair, joiner=joiner.identity, count=count).tokens()


class _Candidate(NamedTuple):
    """A position for the next token. The minimum is the best one, since ``cost`` is compared first."""

    cost: float
    slot: int
    offset: float
    """Distance from the start of the slot, as a part of the ring."""


class _Placement:
    """The tokens of one joiner so far, and the shares of the owners after its join.

    There is one account for each owner, followed by one for each virtual node. An account has an excess, which is what
    its owner or virtual node holds above its fair value, and a weight, by which the square of the excess is multiplied
    in the cost. ``_left`` is the part of each slot that the joiner has not taken. So placing a token updates only the
    few slots and accounts that it takes from, and the evaluation of a slot reads only as many.

    Candidates are in a heap, by the cost at their last evaluation. Placing a token lowers the cost only of those slots
    that now have less to take; they are evaluated again at once. All other costs can only rise, because the owners have
    less excess. The next token goes to the best of a few candidates at the top of the heap, which are evaluated again
    until one costs no more than the next one did at its last evaluation (lazy greedy selection).
    """

    def __init__(
        self,
        view: Displacement,
        owners: Mapping[Identity, Owner],
        fair: Mapping[Identity, float],
        joiner: Identity,
        count: int,
    ) -> None:
        self._slots = view.slots
        self._count = count
        self._fair_share = fair[joiner]
        self._part = self._fair_share / count
        self._excess, self._weights = _accounts_before(view, owners, fair)
        # For each slot, the two accounts that lose what the joiner takes of it: an owner's and a virtual node's.
        self._accounts = [(slot.owner, len(view.owners) + slot.virtual_node) for slot in view.slots]
        self._reach = [slot.reach for slot in view.slots]
        self._left = [slot.width for slot in view.slots]
        """The width of each slot that the joiner has not taken."""
        self._gained = 0.0
        self._wanted = 0.0
        """The part that the next token should gain."""
        self._offsets: dict[int, float] = {}
        self._latest: dict[int, _Candidate] = {}
        """The valid candidate of each slot; the slot's other candidates in the heap are out of date."""
        self._heap: list[_Candidate] = []

    def tokens(self) -> tuple[int, ...]:
        """Place every token; return them, ascending."""
        rank_every = max(1, len(self._slots) * self._count // _RANKING_BUDGET)
        rank_once = rank_every >= _RANK_ONCE_FROM
        steadiness = _STEADINESS if rank_once else 0.0
        for placed in range(self._count):
            short = self._fair_share * (placed + 1) / self._count - self._gained
            self._wanted = steadiness * self._part + (1 - steadiness) * short
            if placed == 0 or (placed % rank_every == 0 and not rank_once):
                self._rank()
            self._take(self._best())
        return tuple(sorted(_token_in(self._slots[slot], offset) for slot, offset in self._offsets.items()))

    def _rank(self) -> None:
        free = (
            place for place, slot in enumerate(self._slots) if place not in self._offsets and slot.tokens > 1
        )
        self._latest = {slot: self._evaluate(slot) for slot in free}
        self._heap = list(self._latest.values())
        heapify(self._heap)

    def _best(self) -> _Candidate:
        """Return the best of the candidates at the top of the heap."""
        heap, latest = self._heap, self._latest
        best: _Candidate | None = None
        candidates_left = _MAX_CANDIDATES
        while best is None or (candidates_left and heap and heap[0] < best):
            top = heappop(heap)
            if latest.get(top.slot) is not top:
                continue
            candidates_left -= 1
            latest[top.slot] = candidate = self._evaluate(top.slot)
            heappush(heap, candidate)
            if best is None or candidate < best:
                best = candidate
        return best

    def _evaluate(self, slot: int) -> _Candidate:
        """Return the candidate for a token in the slot, at the best offset.

        The token also takes slots before it. The search for them goes backwards and wraps around by negative indices.
        It ends at the first slot whose reach is too short, because no slot reaches further than the slot after it.
        """
        left, accounts, reach = self._left, self._accounts, self._reach
        excess, weights = self._excess, self._weights
        gain = 0.0
        losses: dict[int, float] = {}
        before, distance = slot - 1, 1
        while reach[before] >= distance and distance < len(reach):
            width = left[before]
            if width > 0.0:
                gain += width
                for account in accounts[before]:
                    losses[account] = losses.get(account, 0.0) + width
            before -= 1
            distance += 1
        offset = width = self._slots[slot].width
        if left[slot] == width:
            offset = min(max(self._best_offset(slot, gain, losses), _MARGIN * width), (1 - _MARGIN) * width)
            gain += offset
            for account in accounts[slot]:
                losses[account] = losses.get(account, 0.0) + offset
        else:
            offset = width / 2
        cost = (gain - self._wanted) ** 2 / self._fair_share
        cost += _VIRTUAL_NODE_WEIGHT * (gain - self._part) ** 2 / self._part
        for account, loss in losses.items():
            cost += weights[account] * loss * (loss - 2 * excess[account])
        return _Candidate(cost, slot, offset)

    def _best_offset(self, slot: int, gain: float, losses: Mapping[int, float]) -> float:
        """Return the offset in an untouched slot at which the cost is lowest."""
        own, own_virtual_node = 1 / self._fair_share, _VIRTUAL_NODE_WEIGHT / self._part
        weighted = own * (self._wanted - gain) + own_virtual_node * (self._part - gain)
        total = own + own_virtual_node
        for account in self._accounts[slot]:
            weight = self._weights[account]
            weighted += weight * (self._excess[account] - losses.get(account, 0.0))
            total += weight
        return weighted / total

    def _take(self, candidate: _Candidate) -> None:
        """Place a token, and evaluate the slots again whose tokens would now take less."""
        slot, reach = candidate.slot, self._reach
        taken = [(slot, candidate.offset)] if self._left[slot] == self._slots[slot].width else []
        for distance in range(1, len(reach)):
            before = (slot - distance) % len(reach)
            if reach[before] < distance:
                break
            if self._left[before] > 0.0:
                taken.append((before, self._left[before]))
        self._offsets[slot] = candidate.offset
        del self._latest[slot]
        affected: dict[int, None] = {}
        for before, width in taken:
            self._cover(before, width)
            affected |= dict.fromkeys(
                (before + distance) % len(reach) for distance in range(min(reach[before] + 1, len(reach)))
            )
        for after in affected:
            if after in self._latest:
                self._latest[after] = again = self._evaluate(after)
                heappush(self._heap, again)

    def _cover(self, slot: int, width: float) -> None:
        self._gained += width
        self._left[slot] -= width
        for account in self._accounts[slot]:
            self._excess[account] -= width


def _accounts_before(
    view: Displacement, owners: Mapping[Identity, Owner], fair: Mapping[Identity, float]
) -> tuple[list[float], list[float]]:
    """Return the excess and the weight of each account before the join."""
    fair_per_owner = [fair[name] for name in view.owners]
    fair_per_virtual_node = [
        fair_per_owner[place] / len(owners[view.owners[place]].tokens) for place in view.virtual_nodes
    ]
    held_per_owner = [0.0] * len(view.owners)
    for place, held in zip(view.virtual_nodes, view.held, strict=True):
        held_per_owner[place] += held
    holdings = [*held_per_owner, *view.held]
    fair_holdings = [*fair_per_owner, *fair_per_virtual_node]
    excess = [held - fair_held for held, fair_held in zip(holdings, fair_holdings, strict=True)]
    weights = [1 / fair_held for fair_held in fair_per_owner]
    weights += [_VIRTUAL_NODE_WEIGHT / fair_held for fair_held in fair_per_virtual_node]
    return excess, weights


def _token_in(slot: Slot, offset: float) -> int:
    """Return the token at an offset, which is before the token that ends the slot."""
    return (slot.after + min(max(1, int(offset * TOKEN_SPACE)), slot.tokens - 1)) % TOKEN_SPACE
