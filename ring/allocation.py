"""Where a joiner's virtual nodes go, so that replicated ownership stays even.

What is evened out is the share of all copies that an owner holds (not of the ranges its tokens close), since
that is what its disk and its load follow. Tokens are chosen one after another, each the best there is: a join
can only take from others, so every token should relieve those who hold the most above their fair share, and
bring the joiner one step nearer to its own.

The cost that each step lowers is a sum of squares, relative to what is fair: of every owner's distance from
its fair share and, weighing less, of every virtual node's distance from its part of that. The second keeps
widths alike, without which later joiners find few good places. (Cassandra's replication-aware allocator has
both terms, too; it tries the middle of each range, while here the squares tell the best place within it.)

The outcome is a pure function of its arguments. Joiners are seated in order of identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..identity import Identity
from .displacement import Displacement, Slot, displacement
from .epoch import Owner, Quorums
from .fairness import fair_shares
from .hashing import TOKEN_SPACE

TOKENS_PER_WEIGHT = 32

_VIRTUAL_NODE_STIFFNESS = 0.01
"""How much evenness among virtual nodes weighs against evenness among owners.

Growing one by one to 120 equal nodes, the worst share on the way is 1.011 x the fair one with this (1.016
with 0.03, 1.031 with 0.1), but 1.39 x with 0.
"""
_MARGIN = 0.05
"""The part of a slot's width, at either end, that stays free of new tokens."""
_SLOTS_PER_TOKEN = 4
"""How many slots there are to choose from, at the least, for every token to place."""
_SHORTLIST = 200
"""How many of the best slots are kept in view between two rankings of them all."""
_RANKED_EVERY = 8
"""Tokens placed between two rankings."""


class Joiner(NamedTuple):
    """A node that is to own a part of the ring."""

    identity: Identity
    zone: str = ""
    weight: float = 1.0


def allocate(
    owners: Mapping[Identity, Owner],
    joiners: Sequence[Joiner],
    quorums: Quorums,
    tokens_per_weight: int = TOKENS_PER_WEIGHT,
) -> dict[Identity, tuple[int, ...]]:
    """Choose tokens for every joiner, ascending; ``owners`` keep theirs."""
    seated = dict(owners)
    for joiner in sorted(joiners):
        if joiner.identity in seated:
            raise ValueError(f"{joiner.identity} has tokens already")
        count = max(1, round(joiner.weight * tokens_per_weight))
        tokens = _tokens_for(joiner, tuple(seated.items()), quorums, count) if seated else _even_tokens(count)
        seated[joiner.identity] = Owner(tokens, joiner.zone, joiner.weight)
    return {joiner.identity: seated[joiner.identity].tokens for joiner in sorted(joiners)}


def _even_tokens(count: int) -> tuple[int, ...]:
    return tuple(TOKEN_SPACE * i // count for i in range(count))


@lru_cache(maxsize=16)  # a change that has to wait is planned anew at every news of a member
def _tokens_for(
    joiner: Joiner, seated: tuple[tuple[Identity, Owner], ...], quorums: Quorums, count: int
) -> tuple[int, ...]:
    owners = dict(seated)
    copies = min(quorums.replication_factor, len(owners))
    zones = {owner.zone for owner in owners.values()}
    if len(owners) < quorums.replication_factor or (joiner.zone not in zones and len(zones) < copies):
        # The joiner will hold a copy of everything wherever its tokens are. What they decide is how well
        # later joins can be evened out, and for that they had best lie as if there were no zones.
        owners = {name: Owner(owner.tokens, "", owner.weight) for name, owner in owners.items()}
        joiner = joiner._replace(zone="")
    joined = {**owners, joiner.identity: Owner((), joiner.zone, joiner.weight)}
    fair = fair_shares(joined, copies)
    view = displacement(owners, joiner.zone, copies, _SLOTS_PER_TOKEN * count)
    return _Placement(view, owners, fair, joiner.identity, count).tokens()


class _Candidate(NamedTuple):
    """A place for the next token; the least one is the best."""

    cost: float
    slot: int
    offset: float
    """How far into the slot, as a part of the ring."""


class _Placement:
    """A joiner's tokens so far, and the balance they would leave.

    Balances are kept in accounts, first one per owner, then one per virtual node: how much each holds above
    what is fair, and its stiffness, by which the square of that counts.
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
        self._excess, self._stiffness = _open_accounts(view, owners, fair)
        # Who loses what the joiner takes of a slot: an owner, and one of its virtual nodes.
        self._accounts = [(slot.owner, len(view.owners) + slot.virtual_node) for slot in view.slots]
        self._gained = 0.0
        self._goal = 0.0
        self._covered = [0.0] * len(view.slots)
        self._offsets: dict[int, float] = {}

    def tokens(self) -> tuple[int, ...]:
        """Place every token."""
        shortlist: list[int] = []
        for placed in range(self._count):
            self._goal = self._fair_share * (placed + 1) / self._count
            if placed % _RANKED_EVERY == 0:
                ranked = sorted(self._evaluate(slot) for slot in self._free(range(len(self._slots))))
                shortlist = [candidate.slot for candidate in ranked[:_SHORTLIST]]
            self._take(min(self._evaluate(slot) for slot in self._free(shortlist)))
        return tuple(sorted(_token_in(self._slots[slot], offset) for slot, offset in self._offsets.items()))

    def _free(self, slots: Sequence[int]) -> list[int]:
        return [slot for slot in slots if slot not in self._offsets and self._slots[slot].tokens > 1]

    def _evaluate(self, slot: int) -> _Candidate:
        """What a token in the slot would cost, at the best offset."""
        gain, losses = self._gain_before(slot)
        offset = self._slots[slot].width / 2
        if not self._covered[slot]:
            offset = self._best_offset(slot, gain, losses)
            gain += offset
            for account in self._accounts[slot]:
                losses[account] = losses.get(account, 0.0) + offset
        share = self._fair_share
        cost = (self._gained + gain - self._goal) ** 2 / share
        cost += _VIRTUAL_NODE_STIFFNESS * self._count * (gain - share / self._count) ** 2 / share
        for account, loss in losses.items():
            cost += self._stiffness[account] * loss * (loss - 2 * self._excess[account])
        return _Candidate(cost, slot, offset)

    def _gain_before(self, slot: int) -> tuple[float, dict[int, float]]:
        """What a token in the slot takes of the slots before it: in all, and by account."""
        gain = 0.0
        losses: dict[int, float] = {}
        for before, width in self._taken_before(slot):
            gain += width
            for account in self._accounts[before]:
                losses[account] = losses.get(account, 0.0) + width
        return gain, losses

    def _taken_before(self, slot: int) -> Iterator[tuple[int, float]]:
        """Slots from this one back that the token reaches, with the width in each not the joiner's yet.

        Slots wrap around by negative indices. None reaches beyond what the slot after it reaches, so the
        first that falls short ends the search.
        """
        for distance in range(1, len(self._slots)):
            before = self._slots[slot - distance]
            if before.reach < distance:
                return
            width = before.width - self._covered[slot - distance]
            if width > 0.0:
                yield slot - distance, width

    def _best_offset(self, slot: int, gain: float, losses: Mapping[int, float]) -> float:
        """Where in an uncovered slot the sum of squares is least, short of the margins."""
        share, virtual_node_share = self._fair_share, self._fair_share / self._count
        pull = (self._goal - self._gained - gain) / share
        pull += _VIRTUAL_NODE_STIFFNESS * (virtual_node_share - gain) / virtual_node_share
        stiffness = 1 / share + _VIRTUAL_NODE_STIFFNESS / virtual_node_share
        for account in self._accounts[slot]:
            pull += self._stiffness[account] * (self._excess[account] - losses.get(account, 0.0))
            stiffness += self._stiffness[account]
        width = self._slots[slot].width
        return min(max(pull / stiffness, _MARGIN * width), (1 - _MARGIN) * width)

    def _take(self, candidate: _Candidate) -> None:
        """Place a token."""
        for before, width in self._taken_before(candidate.slot):
            self._cover(before, width)
        if not self._covered[candidate.slot]:
            self._cover(candidate.slot, candidate.offset)
        self._offsets[candidate.slot] = candidate.offset

    def _cover(self, slot: int, width: float) -> None:
        self._gained += width
        self._covered[slot] += width
        for account in self._accounts[slot]:
            self._excess[account] -= width


def _open_accounts(
    view: Displacement, owners: Mapping[Identity, Owner], fair: Mapping[Identity, float]
) -> tuple[list[float], list[float]]:
    """Excess and stiffness per account, before the join."""
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
    stiffness = [1 / fair_held for fair_held in fair_per_owner]
    stiffness += [_VIRTUAL_NODE_STIFFNESS / fair_held for fair_held in fair_per_virtual_node]
    return excess, stiffness


def _token_in(slot: Slot, offset: float) -> int:
    """The token at an offset, short of the slot's own end."""
    return (slot.after + min(max(1, int(offset * TOKEN_SPACE)), slot.tokens - 1)) % TOKEN_SPACE
