"""Plans the begin of a ring change: which of the waiting changes it combines, and which tokens new owners get.

To find out whether a change could begin is cheap. To choose tokens takes tens of milliseconds in a large ring, so
``plan`` runs outside of the event loop, and only once for equal inputs (``key``).

- Waiting changes are combined into one, at most MAX_CHANGES of them, because each ring change has to be planned, and
  adopted by every node. Other nodes join with the next one.
- While the cluster stores data, at most max(1, n - max(w, r)) new nodes are added to one preference list, so that a
  dead joiner blocks neither reads nor writes.
- A change begins only when it could finish: every range has enough live sources to pull from and to finish, no node
  that would have to pull is down, and enough of the new owners are alive to agree on another change.
- If an owner that would have to pull is down, the change waits for it for ``handoff_timeout_s``. Then that owner is
  removed first, so that a leave completes although another node is dead.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from .epoch import EpochRecord, RingSpec
from .moves import RingChange, adoption_quorum
from .owner_changes import OwnerChange, apply_changes
from .ring import Ring
from .steward_view import Policy, StewardView, is_alive
from .succession import Step, begin

MAX_CHANGES = 8
"""Maximum number of waiting changes that one ring change combines."""
MAX_SINGLE_CHANGES = 32
"""Maximum number of waiting changes that are tried one by one when they cannot be combined."""


@dataclass(frozen=True, slots=True)
class Propose:
    """A record to propose."""

    record: EpochRecord
    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to propose now; ``reason`` is shown to operators."""

    reason: str


Plan = Propose | Wait


@dataclass(frozen=True, slots=True)
class BeginPlanner:
    """The changes that wait while the ring is stable, and the inputs of their plan."""

    record: EpochRecord
    changes: tuple[OwnerChange, ...]
    view: StewardView
    policy: Policy

    @property
    def key(self) -> Hashable:
        """A key of the inputs: equal keys give equal plans, except for the times in their reasons."""
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
        """Return why no change could finish now, for lack of live replicas; empty if one could. This is fast."""
        ring = self._ring
        owners = ring.spec
        down = sorted(identity for identity in owners.owners if not is_alive(self.view.members, identity))
        if not down:
            return ""
        # To pull takes r live sources in every range; to finish takes a quorum that has adopted the new epoch.
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
        """Choose tokens, and check whether the change could finish. This is slow in a large ring."""
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
        """Yield the waiting changes to combine, with the ring change that they make, the preferred choice first.

        These are all that fit, then the removal of each node that has held them up too long, then single changes.
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
        """Return as many of ``changes`` as may be combined, at least the first, and the ring change that they make.

        Later changes are not tried after the first one that adds too many new nodes to a list: few would fit.
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
        """Return why the change could not finish, or why no change could follow it; None if both are possible."""
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
    """Return how many new nodes a list may have: as many as leave a quorum of earlier nodes, and at least one."""
    return max(1, successors.n - max(successors.w, successors.r))


def _added_key(change: OwnerChange) -> Hashable:
    added = change.adds
    return None if added is None else (added.identity, added.zone, added.weight, change.tokens is None)
