"""Token allocation: places a joiner's virtual nodes so that replicated ownership stays even.

It evens out the share of all copies that an owner holds (not of the ranges its tokens close), which determines its disk
usage and load. Tokens are chosen one after another, each the best available: a join can only take from others, so every
token should take from the owners with the most above their fair share, and bring the joiner nearer to its own.

The cost that each step lowers is a sum of squares, relative to what is fair: of every owner's distance from
its fair share and, weighing less, of every virtual node's distance from its part of that. The second keeps
widths alike, without which later joiners find few good places. (Cassandra's replication-aware allocator has
both terms, too; it tries the middle of each range, while here the squares tell the best place within it.)

The result is a pure function of the arguments. Joiners are placed in order of identity.
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

_VIRTUAL_NODE_STIFFNESS = 0.01
"""Weight of evenness among virtual nodes against evenness among owners.

Growing one by one to 100 equal nodes, the worst share on the way is 1.012 x the fair one with this; without it,
later joiners find no good places.
"""
_MARGIN = 0.05
"""The part of a slot's width, at either end, that stays free of new tokens."""
_SLOTS_PER_TOKEN = 2
"""Minimum number of slots to choose from for every token to place."""
_STEADINESS = 0.7
"""How much each token of a heavy joiner aims at an even part of its share instead of what is missing so far.

Costs that are evaluated seldom must not depend on what the last token gained. A joiner thirty times as heavy
as 100 others leaves the worst share at 1.06 x the fair one with this, and at 1.11 x with 0.
"""
_SELDOM = 16
"""Number of tokens between rankings from which on only one ranking is made: more would not be worth their cost."""
_PATIENCE = 8
"""Maximum number of candidates that are evaluated anew to place a token."""
_RANKING_BUDGET = 8000
"""Approximate maximum of evaluations spent on ranking all slots anew between tokens.

A small ring is ranked for every token, which costs little, and matters most: there are few slots, and each token
changes what most of them are worth.
"""
MAX_TOKENS = 4096
"""Maximum number of tokens of one node: with more, its rings would be too slow to compute for every member."""


class Joiner(NamedTuple):
    """A node that gets a part of the ring."""

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
        count = token_count(joiner.weight, tokens_per_weight)
        tokens = _tokens_for(joiner, tuple(seated.items()), quorums, count) if seated else _even_tokens(count)
        seated[joiner.identity] = Owner(tokens, joiner.zone, joiner.weight)
    return {joiner.identity: seated[joiner.identity].tokens for joiner in sorted(joiners)}


def token_count(weight: float, tokens_per_weight: int) -> int:
    """Return the number of virtual nodes of a node with this weight."""
    return min(MAX_TOKENS, max(1, round(weight * tokens_per_weight)))


def _even_tokens(count: int) -> tuple[int, ...]:
    return tuple(TOKEN_SPACE * i // count for i in range(count))


@lru_cache(maxsize=16)  # a change that has to wait is planned anew at every change of a member
def _tokens_for(
    joiner: Joiner, seated: tuple[tuple[Identity, Owner], ...], quorums: Quorums, count: int
) -> tuple[int, ...]:
    owners = dict(seated)
    copies = min(quorums.replication_factor, len(owners))
    zones = {owner.zone for owner in owners.values()}
    if len(owners) < quorums.replication_factor or (joiner.zone not in zones and len(zones) < copies):
        # The joiner will hold a copy of everything with any tokens. They only decide how even later joins can be,
        # and for that they are placed as if there were no zones.
        owners = {name: Owner(owner.tokens, "", owner.weight) for name, owner in owners.items()}
        joiner = joiner._replace(zone="")
    joined = {**owners, joiner.identity: Owner((), joiner.zone, joiner.weight)}
    fair = fair_shares(joined, copies)
    view = displacement(owners, joiner.zone, copies, _SLOTS_PER_TOKEN * count)
    return _Placement(view=view, owners=owners, fair=fair, joiner=joiner.identity, count=count).tokens()


class _Candidate(NamedTuple):
    """A position for the next token; the minimum is the best."""

    cost: float
    slot: int
    offset: float
    """How far into the slot, as a part of the ring."""


class _Placement:
    """A joiner's tokens so far, and the balance they would leave.

    Balances are kept in accounts, first one per owner, then one per virtual node: how much each holds above
    what is fair, and its stiffness, by which the square of that counts. What is left of each slot, that is, not
    the joiner's yet, is kept too. So placing a token updates the few slots and accounts that it takes from, and
    evaluating a slot reads as few.

    Candidates wait in a heap by the cost they had when they were last evaluated. A cost falls only where a token
    leaves less for the slots after it to take, and those are evaluated anew at once. Elsewhere it rises, as owners
    have less to give. So the next token goes to the best of a few candidates at the top of the heap, each evaluated
    anew, until one is no worse than the next one's cost was (a lazy greedy choice).
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
        self._excess, self._stiffness = _open_accounts(view, owners, fair)
        # Who loses what the joiner takes of a slot: an owner, and one of its virtual nodes.
        self._accounts = [(slot.owner, len(view.owners) + slot.virtual_node) for slot in view.slots]
        self._reach = [slot.reach for slot in view.slots]
        self._left = [slot.width for slot in view.slots]
        """The part of each slot that is not the joiner's yet."""
        self._gained = 0.0
        self._wanted = 0.0
        """The part that the next token should gain."""
        self._offsets: dict[int, float] = {}
        self._latest: dict[int, _Candidate] = {}
        """The valid candidate of each slot; other entries of the slot in the heap are out of date."""
        self._heap: list[_Candidate] = []

    def tokens(self) -> tuple[int, ...]:
        """Place every token."""
        rank_every = max(1, len(self._slots) * self._count // _RANKING_BUDGET)
        seldom = rank_every >= _SELDOM
        steadiness = _STEADINESS if seldom else 0.0
        for placed in range(self._count):
            short = self._fair_share * (placed + 1) / self._count - self._gained
            self._wanted = steadiness * self._part + (1 - steadiness) * short
            if placed == 0 or (placed % rank_every == 0 and not seldom):
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
        patience = _PATIENCE
        while best is None or (patience and heap and heap[0] < best):
            top = heappop(heap)
            if latest.get(top.slot) is not top:
                continue
            patience -= 1
            latest[top.slot] = candidate = self._evaluate(top.slot)
            heappush(heap, candidate)
            if best is None or candidate < best:
                best = candidate
        return best

    def _evaluate(self, slot: int) -> _Candidate:
        """Return what a token in the slot would cost, at the best offset.

        Slots wrap around by negative indices. None reaches beyond what the slot after it reaches, so the first
        before this one that falls short ends the search for those that the token takes.
        """
        left, accounts, reach = self._left, self._accounts, self._reach
        excess, stiffness = self._excess, self._stiffness
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
        cost += _VIRTUAL_NODE_STIFFNESS * (gain - self._part) ** 2 / self._part
        for account, loss in losses.items():
            cost += stiffness[account] * loss * (loss - 2 * excess[account])
        return _Candidate(cost, slot, offset)

    def _best_offset(self, slot: int, gain: float, losses: Mapping[int, float]) -> float:
        """Return the offset in a whole slot at which the sum of squares is least."""
        own, own_virtual_node = 1 / self._fair_share, _VIRTUAL_NODE_STIFFNESS / self._part
        pull = own * (self._wanted - gain) + own_virtual_node * (self._part - gain)
        total = own + own_virtual_node
        for account in self._accounts[slot]:
            stiffness = self._stiffness[account]
            pull += stiffness * (self._excess[account] - losses.get(account, 0.0))
            total += stiffness
        return pull / total

    def _take(self, candidate: _Candidate) -> None:
        """Place a token, and evaluate anew the slots for which it leaves less to take."""
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
        poorer: dict[int, None] = {}
        for before, width in taken:
            self._cover(before, width)
            poorer |= dict.fromkeys(
                (before + distance) % len(reach) for distance in range(min(reach[before] + 1, len(reach)))
            )
        for after in poorer:
            if after in self._latest:
                self._latest[after] = again = self._evaluate(after)
                heappush(self._heap, again)

    def _cover(self, slot: int, width: float) -> None:
        self._gained += width
        self._left[slot] -= width
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
