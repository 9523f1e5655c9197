"""Changes of the owners that wait, and the ring that results from them.

An ``OwnerChange`` removes one node, adds one, or both: a node that returns on a wiped disk takes over the tokens of its
old identity, and one whose zone or weight changed replaces itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..identity import Identity
from .allocation import Joiner, allocate
from .cluster_view import Members, MemberStatus, MemberView, is_alive
from .epoch import Owner, RingSpec


@dataclass(frozen=True, slots=True)
class OwnerChange:
    reason: str
    removes: Identity | None = None
    adds: MemberView | None = None
    tokens: tuple[int, ...] | None = None
    """Tokens of the added node; None to have them allocated."""

    @property
    def nodes(self) -> set[Identity]:
        added = set() if self.adds is None else {self.adds.identity}
        return added if self.removes is None else added | {self.removes}


@dataclass(frozen=True, slots=True)
class EvictionPolicy:
    """When an owner that is down is removed from the ring."""

    evict_after_s: float
    requested: frozenset[Identity] = frozenset()
    """Owners that operators asked to remove."""


def waiting_changes(owners: RingSpec, members: Members, evictions: EvictionPolicy) -> list[OwnerChange]:
    """Return every change that waits, those that restore copies first, and otherwise in the order of identities."""
    joiners = _joiners(owners, members)
    replacements = list(_replacements(owners, joiners))
    settled = {node for change in replacements for node in change.nodes}
    departures = [*_evictions(owners, members, evictions), *_leaves(owners, members)]
    joins = [OwnerChange(f"{joiner.identity.name} joins", adds=joiner) for joiner in joiners]
    others = [*departures, *joins, *_reshapes(owners, members)]
    return [*replacements, *(change for change in others if settled.isdisjoint(change.nodes))]


def apply_changes(owners: RingSpec, changes: Sequence[OwnerChange], tokens_per_weight: int) -> RingSpec:
    """Return the ring after ``changes``; new tokens are allocated around those that stay."""
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
    """Return the members that may be added: alive, and the only live node of that name (people use names)."""
    taken = {identity.name for identity in owners.owners if is_alive(members, identity)}
    found: dict[str, MemberView] = {}
    for identity, member in sorted(members.items()):
        waits = identity not in owners.owners and member.status is MemberStatus.JOINING
        if waits and member.can_own and identity.name not in taken:
            found.setdefault(identity.name, member)
    return list(found.values())


def _replacements(owners: RingSpec, joiners: Sequence[MemberView]) -> Iterator[OwnerChange]:
    """Yield the nodes that returned on another disk. The data of the old disk is lost, so waiting for it is useless.

    The owner of that name is down; otherwise no node of the same name would be among ``joiners``.
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
    """Yield departures, also of a node that went down while leaving: its return is not expected."""
    for identity in sorted(owners.owners):
        if _is_departing(members, identity):
            yield OwnerChange(f"{identity.name} leaves", identity)


def _reshapes(owners: RingSpec, members: Members) -> Iterator[OwnerChange]:
    """Yield the owners whose weight or zone is no longer that of the ring."""
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
