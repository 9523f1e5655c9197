"""Plans which of the waiting changes begin, with which tokens.

That a change could begin is cheap to see. Choosing tokens takes tens of milliseconds in a large ring, so ``plan`` runs
apart from the event loop, once for all inputs that it depends on (``key``).

- Changes that wait begin as one, at most MAX_CHANGES of them: each costs planning and every node's adoption, and a
  node that is not among the first is in the ring after the next change.
- While the cluster stores data, at most max(1, n - max(w, r)) new nodes come into one preference list, so that a dead
  joiner blocks neither reads nor writes.
- A change begins only when it could finish: every range has the live sources that pulling and finishing take,
  no node that would have to pull is down, and the owners after it could still agree on another change.
- An owner that is down and would have to pull is waited for ``handoff_timeout_s``; then it is removed first,
  so that a leave completes although another node is dead.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from .cluster_view import ClusterView, Policy, is_alive
from .epoch import EpochRecord, RingSpec
from .moves import RingChange, adoption_quorum
from .owner_changes import OwnerChange, apply_changes
from .ring import Ring
from .succession import Step, begin

MAX_CHANGES = 8
"""Maximum number of changes that begin as one."""
MAX_SINGLE_CHANGES = 32
"""Maximum number of changes that are tried one by one when they cannot begin as one."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Have this record chosen."""

    record: EpochRecord
    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Propose nothing now; the reason is for people."""

    reason: str


Plan = Propose | Wait


@dataclass(frozen=True, slots=True)
class BeginPlanner:
    """The changes that wait under a stable ring, and the inputs of their plan."""

    record: EpochRecord
    changes: tuple[OwnerChange, ...]
    view: ClusterView
    policy: Policy

    @property
    def key(self) -> Hashable:
        """Return a key that is equal for equal plans, except for the times that reasons name."""
        view, timeout_s = self.view, self.policy.handoff_timeout_s
        members = view.members.values()
        return (
            self.record.stamp,
            tuple((change.removes, _added_key(change)) for change in self.changes),
            frozenset(member.identity for member in members if member.alive),
            frozenset(member.identity for member in members if member.down_for_s > timeout_s),
            frozenset(member.identity for member in members if member.up_for_s < view.min_up_s),
            view.stores_data,
        )

    def missing_sources(self) -> str:
        """Return why no change could be pulled and finished now; empty otherwise. The check is cheap."""
        ring = self._ring
        owners = ring.spec
        down = sorted(identity for identity in owners.owners if not is_alive(self.view.members, identity))
        if not down:
            return ""
        # Pulling takes r live sources in every range; finishing takes a quorum that has moved on.
        needed = max(owners.r, adoption_quorum(owners))
        for found in ring.ranges():
            live = sum(identity not in down for identity in found.preference_list)
            if live < needed:
                names = ", ".join(identity.name for identity in down)
                return (
                    f"{self.changes[0].reason}: a range has {live} live replicas, and moving it takes {needed}; "
                    f"down: {names}"
                )
        return ""

    def plan(self) -> Plan:
        """Choose tokens, and check whether the change could end. This is slow in a large ring."""
        if missing := self.missing_sources():
            return Wait(missing)
        obstacles = []
        for begun, change in self._alternatives():
            reason = "; ".join(one.reason for one in begun)
            if (obstacle := self._obstacle(change)) is None:
                return Propose(begin(self.record, change.new.spec), Step.BEGIN, reason)
            obstacles.append(f"{reason}: {obstacle}")
        return Wait(obstacles[0])

    @property
    def _ring(self) -> Ring:
        return self.view.ring or Ring(self.record.owners)

    def _alternatives(self) -> Iterator[tuple[Sequence[OwnerChange], RingChange]]:
        """Yield what to begin and the ring change it makes, best first.

        First everything that waits, then the removal of nodes that have held it up too long, then single changes.
        """
        owners, members = self._ring, self.view.members
        begun, change = self._fit(owners, self.changes[:MAX_CHANGES])
        yield begun, change
        others: list[OwnerChange] = []
        for identity in change.finish_condition.pullers:
            if identity not in owners.spec.owners or is_alive(members, identity):
                continue
            down_for_s = members[identity].down_for_s if identity in members else self.view.now
            if down_for_s > self.policy.handoff_timeout_s:
                reason = f"{identity.name} would have to pull and has been down for {down_for_s:.0f} s"
                others.append(OwnerChange(reason, identity))
        if len(self.changes) > 1:
            others += self.changes[:MAX_SINGLE_CHANGES]
        for other in others:
            yield self._fit(owners, [other])

    def _fit(self, owners: Ring, changes: Sequence[OwnerChange]) -> tuple[Sequence[OwnerChange], RingChange]:
        """Return as many of ``changes``, in their order, as may begin as one, at least the first, and what they make.

        It stops at the first one that brings too many new nodes into a list: later changes are seldom smaller.
        """

        def change_by(count: int) -> RingChange:
            spec = apply_changes(owners.spec, changes[:count], self.policy.tokens_per_weight)
            return RingChange(owners, Ring(spec))

        if not self.view.stores_data:
            return changes, change_by(len(changes))
        fitting = change_by(1)
        for count in range(2, len(changes) + 1):
            tried = change_by(count)
            if tried.max_newcomers > newcomer_limit(tried.new.spec):
                return changes[: count - 1], fitting
            fitting = tried
        return changes, fitting

    def _obstacle(self, change: RingChange) -> str | None:
        """Return why the change could not be finished, or would be the last one."""
        members, successors = self.view.members, change.new.spec.owners
        after = len(successors)
        live = sum(is_alive(members, identity) for identity in successors)
        if live < after // 2 + 1:
            return (
                f"only {live} of {after} owners would be alive after it, too few to agree on another change"
            )
        for identity in change.finish_condition.pullers:
            if not is_alive(members, identity):
                return f"{identity.name} would have to pull and is down"
            if (up_for_s := members[identity].up_for_s) < self.view.min_up_s:
                return f"{identity.name} would have to pull, and a change was aborted; it is up for {up_for_s:.0f} s"
        return None


def newcomer_limit(successors: RingSpec) -> int:
    """Return how many new nodes a preference list can have beside a quorum of old nodes (at least one)."""
    return max(1, successors.n - max(successors.w, successors.r))


def _added_key(change: OwnerChange) -> Hashable:
    added = change.adds
    return None if added is None else (added.identity, added.zone, added.weight, change.tokens is None)
