"""The changes of owners that wait to be made, and the ring that results from them.

An ``OwnerChange`` removes a node, adds a node, or does both. It does both for a node that returns with an empty disk,
which takes over the tokens of its old identity, and for an owner whose zone or weight changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..identity import Identity
from .allocation import Joiner, allocate
from .epoch import Owner, RingSpec
from .steward_view import Members, MemberStatus, MemberView, is_alive


@dataclass(frozen=True, slots=True)
class OwnerChange:
    reason: str
    removes: Identity | None = None
    adds: MemberView | None = None
    tokens: tuple[int, ...] | None = None
    """Tokens of the added node; None if they are to be allocated."""

    @property
    def nodes(self) -> set[Identity]:
        added = set() if self.adds is None else {self.adds.identity}
        return added if self.removes is None else added | {self.removes}


@dataclass(frozen=True, slots=True)
class EvictionPolicy:
    """The conditions under which an owner that is down is removed from the ring."""

    evict_after_s: float
    requested: frozenset[Identity] = frozenset()
    """Owners that operators asked to remove."""


def waiting_changes(owners: RingSpec, members: Members, evictions: EvictionPolicy) -> list[OwnerChange]:
    """Return all waiting changes: those that restore lost copies first, the others by kind and identity."""
    joiners = _joiners(owners, members)
    replacements = list(_replacements(owners, joiners))
    settled = {node for change in replacements for node in change.nodes}
    departures = [*_evictions(owners, members, evictions), *_leaves(owners, members)]
    joins = [OwnerChange(f"{joiner.identity.name} joins", adds=joiner) for joiner in joiners]
    others = [*departures, *joins, *_reshapes(owners, members)]
    return [*replacements, *(change for change in others if settled.isdisjoint(change.nodes))]


def apply_changes(owners: RingSpec, changes: Sequence[OwnerChange], tokens_per_weight: int) -> RingSpec:
    """Return the ring after ``changes``. Tokens are allocated for added nodes; those of other owners stay."""
    kept = dict(owners.owners)
    for change in changes:
        if change.removes is not None:
            del kept[change.removes]
    for change in changes:
        if change.adds is not None and change.tokens is not None:
            kept[change.adds.identity] = Owner(change.tokens, change.adds.zone, change.adds.weight)
    fresh = [change.adds for change in changes if change.adds is not None and change.tokens is None]
    joiners = [Joiner(member.identity, member.zone, member.weight) for member in fresh]
    allocated = allocate(kept, joiners, owners.quorums, tokens_per_weight) if joiners else {}
    for member in fresh:
        kept[member.identity] = Owner(allocated[member.identity], member.zone, member.weight)
    return RingSpec(dict(sorted(kept.items())), owners.quorums)


def _joiners(owners: RingSpec, members: Members) -> list[MemberView]:
    """Return the members that may be added: alive, and no other live node has their name.

    Names are unique among live nodes, since operators refer to nodes by name.
    """
    taken = {identity.name for identity in owners.owners if is_alive(members, identity)}
    found: dict[str, MemberView] = {}
    for identity, member in sorted(members.items()):
        waits = identity not in owners.owners and member.status is MemberStatus.JOINING
        if waits and member.can_own and identity.name not in taken:
            found.setdefault(identity.name, member)
    return list(found.values())


def _replacements(owners: RingSpec, joiners: Sequence[MemberView]) -> Iterator[OwnerChange]:
    """Yield a change for each node that returned with another disk. There is no point in waiting for its old disk.

    The owner of that name is down; otherwise ``joiners`` would contain no node of that name.
    """
    by_name = {joiner.identity.name: joiner for joiner in joiners}
    for identity, owner in sorted(owners.owners.items()):
        joiner = by_name.pop(identity.name, None)
        if joiner is not None:
            tokens = owner.tokens if joiner.weight == owner.weight else None
            reason = f"{joiner.identity.name} on a new disk replaces the old {identity.name}"
            yield OwnerChange(reason, removes=identity, adds=joiner, tokens=tokens)


def _evictions(owners: RingSpec, members: Members, evictions: EvictionPolicy) -> Iterator[OwnerChange]:
    for identity in sorted(owners.owners):
        if is_alive(members, identity) or _is_departing(members, identity):
            continue
        down_for_s = members[identity].down_for_s if identity in members else 0.0
        if identity in evictions.requested:
            yield OwnerChange(f"{identity.name} is down and to be removed", identity)
        elif down_for_s > evictions.evict_after_s:
            yield OwnerChange(f"{identity.name} has been down for {down_for_s:.0f} s", identity)


def _leaves(owners: RingSpec, members: Members) -> Iterator[OwnerChange]:
    """Yield the departures, including those of nodes that went down while leaving, which need not return."""
    for identity in sorted(owners.owners):
        if _is_departing(members, identity):
            yield OwnerChange(f"{identity.name} leaves", identity)


def _reshapes(owners: RingSpec, members: Members) -> Iterator[OwnerChange]:
    """Yield a change for each owner whose weight or zone differs from that in the ring."""
    for identity, owner in sorted(owners.owners.items()):
        member = members.get(identity)
        if member is None or not member.can_own or member.departing:
            continue
        if member.weight != owner.weight:
            reason = f"{identity.name} now has weight {member.weight:g}"
            yield OwnerChange(reason, removes=identity, adds=member)
        elif member.zone != owner.zone:
            reason = f"{identity.name} is now in zone {member.zone!r}"
            yield OwnerChange(reason, removes=identity, adds=member, tokens=owner.tokens)


def _is_departing(members: Members, identity: Identity) -> bool:
    member = members.get(identity)
    return member is not None and member.departing
