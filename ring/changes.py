"""What waits to change in a ring, and the ring that would come of it.

A ``Change`` takes one node out, puts one in, or both at once: a node that comes back on a wiped disk takes
the old one's place and tokens, and one whose zone or weight changed takes its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..identity import Identity
from .allocation import Joiner, allocate
from .epoch import Owner, RingSpec


class Standing(StrEnum):
    """Where a member stands in its own account (the values of a member record's status)."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class MemberView:
    """What the steward knows of a member."""

    identity: Identity
    alive: bool
    standing: Standing
    zone: str = ""
    weight: float = 1.0
    epoch: int = 0
    """Number of the newest record that the member has adopted."""
    handoff_done_epoch: int | None = None
    """Number of the record under which it has pulled all that it gains, on disk."""
    handoff_bytes: int = 0
    """How much it has pulled so far; that it moves is the sign of progress."""
    down_for_s: float = 0.0
    """How long it has been down; 0 while alive."""
    up_for_s: float = math.inf
    """How long nobody here has doubted that it is alive; 0 while someone does."""
    floor_wanted: int = 0
    """The floor that its tombstones, or its segments in quarantine, wait for; 0 for none."""

    @property
    def can_be_seated(self) -> bool:
        """Whether it is alive with a weight to go by; what gossip brings is not to stop the planning."""
        return self.alive and 0 < self.weight < math.inf


Members = Mapping[Identity, MemberView]


@dataclass(frozen=True, slots=True)
class Change:
    reason: str
    removes: Identity | None = None
    seats: MemberView | None = None
    tokens: tuple[int, ...] | None = None
    """What the seated node is given; None to have tokens allocated."""


@dataclass(frozen=True, slots=True)
class Removals:
    """When an owner that is down is taken out of the ring."""

    evict_after_s: float
    requested: frozenset[Identity] = frozenset()
    """What operators asked to remove."""


def waiting_changes(owners: RingSpec, members: Members, removals: Removals) -> list[Change]:
    """Everything that waits, what restores copies first, and otherwise in the order of identities."""
    joiners = _joiners(owners, members)
    replacements = list(_replacements(owners, joiners))
    settled = {node for change in replacements for node in _nodes(change)}
    departures = [*_evictions(owners, members, removals), *_leaves(owners, members)]
    others = [*departures, *_joins(joiners), *_reshapes(owners, members)]
    return [*replacements, *(change for change in others if settled.isdisjoint(_nodes(change)))]


def apply_changes(owners: RingSpec, changes: Sequence[Change], tokens_per_weight: int) -> RingSpec:
    """The ring after ``changes``; fresh tokens are allocated around all that stays where it is."""
    seats = dict(owners.owners)
    for change in changes:
        if change.removes is not None:
            del seats[change.removes]
    for change in changes:
        if change.seats is not None and change.tokens is not None:
            seats[change.seats.identity] = Owner(change.tokens, change.seats.zone, change.seats.weight)
    fresh = [change.seats for change in changes if change.seats is not None and change.tokens is None]
    joiners = [Joiner(member.identity, member.zone, member.weight) for member in fresh]
    allocated = allocate(seats, joiners, owners.quorums, tokens_per_weight) if joiners else {}
    for member in fresh:
        seats[member.identity] = Owner(allocated[member.identity], member.zone, member.weight)
    return RingSpec(dict(sorted(seats.items())), owners.quorums)


def is_alive(members: Members, identity: Identity) -> bool:
    member = members.get(identity)
    return member is not None and member.alive


def _nodes(change: Change) -> set[Identity]:
    seated = set() if change.seats is None else {change.seats.identity}
    return seated if change.removes is None else seated | {change.removes}


def _joiners(owners: RingSpec, members: Members) -> list[MemberView]:
    """Who may take a seat: alive, and alone in its name among the live (names tell people nodes apart)."""
    taken = {identity.name for identity in owners.owners if is_alive(members, identity)}
    found: dict[str, MemberView] = {}
    for identity, member in sorted(members.items()):
        waits = identity not in owners.owners and member.standing is Standing.JOINING
        if waits and member.can_be_seated and identity.name not in taken:
            found.setdefault(identity.name, member)
    return list(found.values())


def _replacements(owners: RingSpec, joiners: Sequence[MemberView]) -> Iterator[Change]:
    """A name that is back on another disk: what the old disk held is gone, so nobody waits for it.

    The owner of that name is down, or its namesake would not be among ``joiners``.
    """
    by_name = {joiner.identity.name: joiner for joiner in joiners}
    for identity, owner in sorted(owners.owners.items()):
        joiner = by_name.get(identity.name)
        if joiner is not None:
            del by_name[identity.name]
            tokens = owner.tokens if joiner.weight == owner.weight else None
            yield Change(
                f"{joiner.identity.name} on a new disk replaces the old {identity.name}",
                identity,
                joiner,
                tokens,
            )


def _evictions(owners: RingSpec, members: Members, removals: Removals) -> Iterator[Change]:
    for identity in sorted(owners.owners):
        if is_alive(members, identity) or _is_leaving(members, identity):
            continue
        down_for_s = members[identity].down_for_s if identity in members else 0.0
        if identity in removals.requested:
            yield Change(f"{identity.name} is down and to be removed", identity)
        elif down_for_s > removals.evict_after_s:
            yield Change(f"{identity.name} has been down for {down_for_s:.0f} s", identity)


def _leaves(owners: RingSpec, members: Members) -> Iterator[Change]:
    """Also of a node that went down on its way out: it was told to go, so nobody waits for its return."""
    for identity in sorted(owners.owners):
        if _is_leaving(members, identity):
            yield Change(f"{identity.name} leaves", identity)


def _joins(joiners: Sequence[MemberView]) -> Iterator[Change]:
    for joiner in joiners:
        yield Change(f"{joiner.identity.name} joins", seats=joiner)


def _reshapes(owners: RingSpec, members: Members) -> Iterator[Change]:
    for identity, owner in sorted(owners.owners.items()):
        member = members.get(identity)
        if member is None or not member.can_be_seated or _is_leaving(members, identity):
            continue
        if member.weight != owner.weight:
            reason = f"{identity.name} now has weight {member.weight:g}"
            yield Change(reason, identity, member, tokens=None)
        elif member.zone != owner.zone:
            yield Change(f"{identity.name} is now in zone {member.zone!r}", identity, member, owner.tokens)


def _is_leaving(members: Members, identity: Identity) -> bool:
    member = members.get(identity)
    return member is not None and member.standing in (Standing.LEAVING, Standing.LEFT)
