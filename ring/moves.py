"""Which nodes must pull which ranges before the successors become the owners (docs/ring-changes.md, rules 6, 8 and 9).

The tokens of both rings divide the circle into ranges within which each ring has one preference list. Below, O and S
are the owners and the successors, and list(X) is the preference list of a range in the ring of X.

Rule 8, per range
- a. A gaining node that displaces another (list(S) \\ list(O) paired with list(O) \\ list(S), each in list
  order) pulls from the one it displaces, or from any r(O) nodes of list(O).
- b. A gaining node that displaces none pulls from r(O) nodes of list(O).
- c. When lists become shorter, or N, W or R change, every node of every list(S), including those that stay, merges the
  data of r(O) nodes of list(O), of which its own copy counts as one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from typing import NamedTuple

from ..identity import Identity
from .epoch import RingSpec
from .ring import PreferenceList, Ring
from .tokens import TokenRange, merge_adjacent


@dataclass(frozen=True, slots=True)
class Pull:
    """What one node has to pull in one range."""

    gainer: Identity
    displaced: Identity | None
    """The node from which pulling suffices; None if there is no such node."""
    sources: PreferenceList
    """list(O)."""
    needed: int
    """r(O): the number of sources that suffice otherwise."""
    own_copy_counts: bool
    """True if the gainer is a source itself and counts as one of those needed."""

    def complete(self, finished: Collection[Identity]) -> bool:
        """Return True if the entire range, pulled from each of ``finished``, is enough."""
        if self.displaced is not None and self.displaced in finished:
            return True
        counted = sum(
            source in finished or (self.own_copy_counts and source == self.gainer) for source in self.sources
        )
        return counted >= self.needed


@dataclass(frozen=True, slots=True)
class RangeMove:
    """A range whose replicas change, or whose copies must be merged."""

    token_range: TokenRange
    old: PreferenceList
    new: PreferenceList
    pulls: tuple[Pull, ...]
    """One for each node that rule 8 names, in the order of ``new``."""


class RingChange:
    """A change from one ring to another. Its consequences are computed on first use and cached."""

    def __init__(self, old: Ring, new: Ring) -> None:
        self.old = old
        self.new = new

    @classmethod
    def between(cls, owners: RingSpec, successors: RingSpec) -> RingChange:
        return cls(Ring(owners), Ring(successors))

    @cached_property
    def moves(self) -> tuple[RangeMove, ...]:
        """All ranges that must be pulled before the successors can become the owners, in ring order."""
        owners, successors = self.old.spec, self.new.spec
        merge_all = owners.quorums != successors.quorums or successors.n < owners.n
        pulls_of = _merging_pulls if merge_all else _gaining_pulls
        return tuple(
            RangeMove(*found, pulls=pulls)
            for found in self._overlay
            if (merge_all or found.old != found.new) and (pulls := pulls_of(found.old, found.new, owners.r))
        )

    @cached_property
    def finish_condition(self) -> FinishCondition:
        return FinishCondition.of(self.moves)

    @cached_property
    def max_newcomers(self) -> int:
        """The largest number of nodes that the change adds to one preference list."""
        return max(len(set(found.new).difference(found.old)) for found in self._overlay)

    def gained_ranges(self, identity: Identity) -> tuple[TokenRange, ...]:
        """Return the ranges with ``identity`` in list(S) \\ list(O).

        It drops what it stores in them when it adopts the change (rule 6).
        """
        return merge_adjacent(
            found.token_range
            for found in self._overlay
            if identity in found.new and identity not in found.old
        )

    @cached_property
    def _overlay(self) -> list[_Overlap]:
        return _overlay(self.old, self.new)


@dataclass(frozen=True, slots=True)
class FinishCondition:
    """The condition of rule 9 under which a change may finish."""

    pullers: tuple[Identity, ...]
    """The nodes that must pull: those that gain ranges and, when lists become shorter, those that stay."""
    old_lists: tuple[PreferenceList, ...]
    """Each list(O) of a range that moves, without duplicates."""

    @classmethod
    def of(cls, moves: Sequence[RangeMove]) -> FinishCondition:
        pullers = {pull.gainer for move in moves for pull in move.pulls}
        return cls(tuple(sorted(pullers)), tuple(sorted({move.old for move in moves})))

    def obstacles(
        self, done: Collection[Identity], adopted: Collection[Identity], owners: RingSpec
    ) -> list[str]:
        """Return the reasons why the change cannot finish yet, a sentence each; empty if it can.

        ``done``: nodes that have pulled everything they must. ``adopted``: nodes that have adopted the change's epoch.
        """
        found = [
            f"{puller.name} has not pulled all it gains yet" for puller in self.pullers if puller not in done
        ]
        needed = adoption_quorum(owners)
        lists = [old for old in self.old_lists if sum(identity in adopted for identity in old) < needed]
        if lists:
            behind = sorted({identity for old in lists for identity in old if identity not in adopted})
            found.append(
                f"{needed} of the {owners.n} old replicas of every moving range must have "
                f"adopted the epoch; not yet there: {', '.join(identity.name for identity in behind)}"
            )
        return found


def adoption_quorum(owners: RingSpec) -> int:
    """Return n(O) - r(O) + 1. When that many of each list(O) have left the old epoch, no read completes under it."""
    return owners.n - owners.r + 1


class _Overlap(NamedTuple):
    """A range within which each ring has a single preference list."""

    token_range: TokenRange
    old: PreferenceList
    new: PreferenceList


def _overlay(old: Ring, new: Ring) -> list[_Overlap]:
    """Divide the circle at both rings' tokens, and join adjacent ranges with equal lists; in ring order."""
    joined: list[_Overlap] = []
    for found in _cut(old, new):
        if joined and joined[-1][1:] == found[1:]:
            joined[-1] = found._replace(
                token_range=TokenRange(joined[-1].token_range.after, found.token_range.upto)
            )
        else:
            joined.append(found)
    if len(joined) > 1 and joined[-1][1:] == joined[0][1:]:
        last = joined.pop()
        joined[0] = joined[0]._replace(
            token_range=TokenRange(last.token_range.after, joined[0].token_range.upto)
        )
    if len(joined) == 1:
        return [joined[0]._replace(token_range=merge_adjacent([joined[0].token_range])[0])]
    return joined


def _cut(old: Ring, new: Ring) -> Iterator[_Overlap]:
    old_ranges, new_ranges = list(old.ranges()), list(new.ranges())
    boundaries = sorted({*old.virtual_nodes, *new.virtual_nodes})
    after = boundaries[-1]
    old_index = new_index = 0
    for upto in boundaries:
        # After the last token of a ring, its first range follows again.
        old_range, new_range = old_ranges[old_index], new_ranges[new_index]
        yield _Overlap(TokenRange(after, upto), old_range.preference_list, new_range.preference_list)
        old_index = (old_index + (upto == old_range.upto)) % len(old_ranges)
        new_index = (new_index + (upto == new_range.upto)) % len(new_ranges)
        after = upto


def _gaining_pulls(old: PreferenceList, new: PreferenceList, needed: int) -> tuple[Pull, ...]:
    """Return the pulls that rules 8a and 8b require in a range."""
    gaining = [identity for identity in new if identity not in old]
    displaced = [identity for identity in old if identity not in new]
    return tuple(
        Pull(gainer=gainer, displaced=loser, sources=old, needed=needed, own_copy_counts=False)
        for gainer, loser in zip(gaining, chain(displaced, repeat(None)), strict=False)
    )


def _merging_pulls(old: PreferenceList, new: PreferenceList, needed: int) -> tuple[Pull, ...]:
    """Return the pulls that rule 8c requires in a range."""
    return tuple(
        Pull(gainer=gainer, displaced=None, sources=old, needed=needed, own_copy_counts=gainer in old)
        for gainer in new
    )
