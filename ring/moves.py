"""Two rings -> range moves: who must pull what before the successors may stand alone (rules 6, 8 and 9).

The rings' tokens together cut the circle into spans; within one, each ring has one preference list. Below, O
and S stand for the owners and the successors, list(X) for a span's preference list in the ring of X.

Rule 8, per span
- a. A gaining node that displaces another (list(S) \\ list(O) paired with list(O) \\ list(S), each in list
  order) pulls from the one it displaces, or from any r(O) nodes of list(O).
- b. A gaining node that displaces nobody pulls from r(O) nodes of list(O).
- c. When lists grow shorter, or N, W or R change, every node of every list(S), also those that stay, merges
  from r(O) nodes of list(O), its own copy counting as one.
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
    """What one node has to pull in one span."""

    gainer: Identity
    displaced: Identity | None
    """Whose copy alone is enough, if anyone's."""
    sources: tuple[Identity, ...]
    """list(O), in list order."""
    needed: int
    """r(O): how many sources are enough otherwise."""
    own_copy_counts: bool
    """Whether the gainer, being a source itself, is one of those needed."""

    def complete(self, finished: Collection[Identity]) -> bool:
        """Whether pulling all of the span from each of ``finished`` is enough."""
        if self.displaced is not None and self.displaced in finished:
            return True
        counted = sum(
            source in finished or (self.own_copy_counts and source == self.gainer) for source in self.sources
        )
        return counted >= self.needed


@dataclass(frozen=True, slots=True)
class RangeMove:
    """A span whose replicas change, or must be merged."""

    span: TokenRange
    old: PreferenceList
    new: PreferenceList
    pulls: tuple[Pull, ...]
    """One for each node that rule 8 names, in the order of ``new``."""


class RingChange:
    """A change from one ring to another. What is asked of it is computed on first use and kept."""

    def __init__(self, old: Ring, new: Ring) -> None:
        self.old = old
        self.new = new

    @classmethod
    def between(cls, owners: RingSpec, successors: RingSpec) -> RingChange:
        return cls(Ring(owners), Ring(successors))

    @cached_property
    def moves(self) -> tuple[RangeMove, ...]:
        """Return all ranges that must be pulled before the successors can take over, in ring order."""
        owners, successors = self.old.spec, self.new.spec
        merge_all = owners.quorums != successors.quorums or successors.n < owners.n
        pulls_of = _merging_pulls if merge_all else _gaining_pulls
        return tuple(
            RangeMove(piece.span, piece.old, piece.new, pulls)
            for piece in self._pieces
            if (merge_all or piece.old != piece.new) and (pulls := pulls_of(piece.old, piece.new, owners.r))
        )

    @cached_property
    def moving(self) -> Moving:
        return Moving.of(self.moves)

    @cached_property
    def most_newcomers(self) -> int:
        """The largest number of new nodes that the change brings into one preference list."""
        return max(len(set(piece.new).difference(piece.old)) for piece in self._pieces)

    def gained_spans(self, identity: Identity) -> tuple[TokenRange, ...]:
        """Where ``identity`` is in list(S) \\ list(O): what it drops when it adopts the change (rule 6)."""
        return merge_adjacent(
            piece.span for piece in self._pieces if identity in piece.new and identity not in piece.old
        )

    @cached_property
    def _pieces(self) -> list[_Piece]:
        return _overlay(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Moving:
    """The nodes that range moves concern."""

    pullers: tuple[Identity, ...]
    """The nodes that must pull: those that gain, and when copies become fewer also those that stay."""
    old_lists: tuple[PreferenceList, ...]
    """Each list(O) that moves, once."""

    @classmethod
    def of(cls, range_moves: Sequence[RangeMove]) -> Moving:
        return cls(tuple(pullers(range_moves)), tuple(sorted({move.old for move in range_moves})))

    def not_done(self, done: Collection[Identity]) -> list[Identity]:
        return [identity for identity in self.pullers if identity not in done]

    def short_of_adopters(self, adopted: Collection[Identity], owners: RingSpec) -> list[PreferenceList]:
        needed = adoption_quorum(owners)
        return [old for old in self.old_lists if sum(identity in adopted for identity in old) < needed]

    def obstacles(
        self, done: Collection[Identity], adopted: Collection[Identity], owners: RingSpec
    ) -> list[str]:
        """Return what keeps the change from finishing (rule 9), a sentence each; empty when nothing does."""
        found = [f"{gainer.name} has not pulled all it gains yet" for gainer in self.not_done(done)]
        if lists := self.short_of_adopters(adopted, owners):
            behind = sorted({identity for old in lists for identity in old if identity not in adopted})
            found.append(
                f"{adoption_quorum(owners)} of the {owners.n} old replicas of every moving range must have "
                f"adopted the epoch; not yet there: {', '.join(identity.name for identity in behind)}"
            )
        return found


def moves(owners: RingSpec, successors: RingSpec) -> tuple[RangeMove, ...]:
    """Everything that has to be pulled for ``successors`` to take over, in ring order."""
    return RingChange.between(owners, successors).moves


def pullers(range_moves: Sequence[RangeMove]) -> list[Identity]:
    """Return the nodes that must pull."""
    return sorted({pull.gainer for move in range_moves for pull in move.pulls})


def gained_spans(owners: RingSpec, successors: RingSpec, identity: Identity) -> tuple[TokenRange, ...]:
    """Where ``identity`` is in list(S) \\ list(O): what it drops when it adopts the change (rule 6)."""
    return RingChange.between(owners, successors).gained_spans(identity)


def most_newcomers(owners: RingSpec, successors: RingSpec) -> int:
    """The largest number of new nodes that the change brings into one preference list."""
    return RingChange.between(owners, successors).most_newcomers


def adoption_quorum(owners: RingSpec) -> int:
    """How many of every list(O) must have left the old epoch, n(O) - r(O) + 1: no old read completes then."""
    return owners.n - owners.r + 1


def handoff_finished(
    range_moves: Sequence[RangeMove],
    done: Collection[Identity],
    adopted: Collection[Identity],
    owners: RingSpec,
) -> bool:
    """Rule 9: whether the change may be finished.

    ``done`` have pulled all that ``range_moves`` ask of them; ``adopted`` are at the change's epoch.
    """
    return not Moving.of(range_moves).obstacles(done, adopted, owners)


def finish_obstacles(
    range_moves: Sequence[RangeMove],
    done: Collection[Identity],
    adopted: Collection[Identity],
    owners: RingSpec,
) -> list[str]:
    """What keeps the change from finishing, a sentence each for people; empty when nothing does."""
    return Moving.of(range_moves).obstacles(done, adopted, owners)


class _Piece(NamedTuple):
    """A span within which neither ring's preference list changes."""

    span: TokenRange
    old: PreferenceList
    new: PreferenceList


def _overlay(old: Ring, new: Ring) -> list[_Piece]:
    """Cut the circle at both rings' tokens, and join what has equal lists again; in ring order."""
    pieces: list[_Piece] = []
    for piece in _cut(old, new):
        if pieces and pieces[-1].old == piece.old and pieces[-1].new == piece.new:
            pieces[-1] = piece._replace(span=TokenRange(pieces[-1].span.after, piece.span.upto))
        else:
            pieces.append(piece)
    if len(pieces) > 1 and pieces[-1][1:] == pieces[0][1:]:
        last = pieces.pop()
        pieces[0] = pieces[0]._replace(span=TokenRange(last.span.after, pieces[0].span.upto))
    if len(pieces) == 1:
        return [pieces[0]._replace(span=merge_adjacent([pieces[0].span])[0])]
    return pieces


def _cut(old: Ring, new: Ring) -> Iterator[_Piece]:
    old_ranges, new_ranges = list(old.ranges()), list(new.ranges())
    boundaries = sorted({*old.virtual_nodes, *new.virtual_nodes})
    after = boundaries[-1]
    old_place = new_place = 0
    for upto in boundaries:
        # Beyond the last token of a ring lies its first range again.
        old_range, new_range = old_ranges[old_place], new_ranges[new_place]
        yield _Piece(TokenRange(after, upto), old_range.preference_list, new_range.preference_list)
        old_place = (old_place + (upto == old_range.upto)) % len(old_ranges)
        new_place = (new_place + (upto == new_range.upto)) % len(new_ranges)
        after = upto


def _gaining_pulls(old: PreferenceList, new: PreferenceList, needed: int) -> tuple[Pull, ...]:
    """Rules 8a and 8b."""
    gaining = [identity for identity in new if identity not in old]
    displaced = [identity for identity in old if identity not in new]
    return tuple(
        Pull(gainer, loser, old, needed, own_copy_counts=False)
        for gainer, loser in zip(gaining, chain(displaced, repeat(None)), strict=False)
    )


def _merging_pulls(old: PreferenceList, new: PreferenceList, needed: int) -> tuple[Pull, ...]:
    """Rule 8c."""
    return tuple(Pull(gainer, None, old, needed, own_copy_counts=gainer in old) for gainer in new)
