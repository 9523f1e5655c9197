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
from itertools import chain, repeat
from typing import NamedTuple

from ..identity import Identity
from .epoch import RingSpec
from .ring import PreferenceList, Ring
from .span import Span, merge_adjacent


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

    span: Span
    old: PreferenceList
    new: PreferenceList
    pulls: tuple[Pull, ...]
    """One for each node that rule 8 names, in the order of ``new``."""


def moves(owners: RingSpec, successors: RingSpec) -> tuple[RangeMove, ...]:
    """Everything that has to be pulled for ``successors`` to take over, in ring order."""
    merge_all = owners.quorums != successors.quorums or successors.n < owners.n
    found = []
    for piece in _overlay(owners, successors):
        if merge_all:
            pulls = _merging_pulls(piece.old, piece.new, owners.r)
        else:
            pulls = _gaining_pulls(piece.old, piece.new, owners.r)
        if pulls:
            found.append(RangeMove(piece.span, piece.old, piece.new, pulls))
    return tuple(found)


def gained_spans(owners: RingSpec, successors: RingSpec, identity: Identity) -> tuple[Span, ...]:
    """Where ``identity`` is in list(S) \\ list(O): what it drops when it adopts the change (rule 6)."""
    return merge_adjacent(
        piece.span
        for piece in _overlay(owners, successors)
        if identity in piece.new and identity not in piece.old
    )


def most_newcomers(owners: RingSpec, successors: RingSpec) -> int:
    """The largest number of new nodes that the change brings into one preference list."""
    return max(len(set(piece.new) - set(piece.old)) for piece in _overlay(owners, successors))


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
    return not _not_done(range_moves, done) and not _lists_short_of_adopters(range_moves, adopted, owners)


def finish_obstacles(
    range_moves: Sequence[RangeMove],
    done: Collection[Identity],
    adopted: Collection[Identity],
    owners: RingSpec,
) -> list[str]:
    """What keeps the change from finishing, a sentence each for people; empty when nothing does."""
    obstacles = [f"{gainer.name} has not pulled all it gains yet" for gainer in _not_done(range_moves, done)]
    lists = _lists_short_of_adopters(range_moves, adopted, owners)
    if lists:
        behind = sorted({identity for old in lists for identity in old if identity not in adopted})
        obstacles.append(
            f"{adoption_quorum(owners)} of the {owners.n} old replicas of every moving range must have "
            f"adopted the epoch; not yet there: {', '.join(identity.name for identity in behind)}"
        )
    return obstacles


def _not_done(range_moves: Sequence[RangeMove], done: Collection[Identity]) -> list[Identity]:
    return sorted({pull.gainer for move in range_moves for pull in move.pulls if pull.gainer not in done})


def _lists_short_of_adopters(
    range_moves: Sequence[RangeMove], adopted: Collection[Identity], owners: RingSpec
) -> list[PreferenceList]:
    needed = adoption_quorum(owners)
    lists = sorted({move.old for move in range_moves})
    return [old for old in lists if sum(identity in adopted for identity in old) < needed]


class _Piece(NamedTuple):
    """A span within which neither ring's preference list changes."""

    span: Span
    old: PreferenceList
    new: PreferenceList


def _overlay(owners: RingSpec, successors: RingSpec) -> list[_Piece]:
    """Cut the circle at both rings' tokens, and join what has equal lists again; in ring order."""
    pieces: list[_Piece] = []
    for piece in _cut(Ring(owners), Ring(successors)):
        if pieces and pieces[-1][1:] == piece[1:]:
            pieces[-1] = piece._replace(span=Span(pieces[-1].span.after, piece.span.upto))
        else:
            pieces.append(piece)
    if len(pieces) > 1 and pieces[-1][1:] == pieces[0][1:]:
        last = pieces.pop()
        pieces[0] = pieces[0]._replace(span=Span(last.span.after, pieces[0].span.upto))
    if len(pieces) == 1:
        return [pieces[0]._replace(span=merge_adjacent([pieces[0].span])[0])]
    return pieces


def _cut(old: Ring, new: Ring) -> Iterator[_Piece]:
    boundaries = sorted({*old.virtual_nodes, *new.virtual_nodes})
    after = boundaries[-1]
    for upto in boundaries:
        yield _Piece(Span(after, upto), old.preference_list(upto), new.preference_list(upto))
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
