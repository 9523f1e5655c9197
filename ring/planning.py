"""Decides what the steward proposes next, from what it sees; it acts on nothing itself.

Planning is no safety matter: acceptors vote for legal successions only, and the rules of requests and handoff
keep data safe whatever is proposed. It is what makes changes end:

- A change is finished once its handoff is, and aborted when a node that still has to pull makes no progress for
  ``handoff_timeout_s``, or has been down for a part of that (``DOWN_PATIENCE``): one that only starts again goes on
  where it was, and after an abort would pull all of it anew. After an abort, ``abort_backoff_s`` passes, longer each
  time. From then on who has to pull must have been up for as long, and as long again: one that comes and goes would
  pull the same data again and again.
- What waits together begins together, but while the cluster stores data at most max(1, n - max(w, r)) new
  nodes come into one preference list, so that a dead joiner blocks neither reads nor writes.
- A change begins only when it could finish: every range has the live sources that pulling and finishing take,
  no node that would have to pull is down, and the owners after it could still agree on another change.
- An owner that is down and would have to pull is waited for ``handoff_timeout_s``; then it is taken out first,
  so that a leave ends although another node is dead.
- At most MAX_CHANGES begin together: each costs planning and every node's adoption, and a node that is not among the
  first is in the ring after the next change.
- The last owner stays.
- The floor rises when nothing else waits, at most once in ``floor_interval_s`` (``floor``).

Whether something could begin is seen at small cost (``consider``). What exactly, with which tokens, takes tens of
milliseconds in a large ring: that is computed apart (``Beginning.plan``), once for all inputs that it depends on
(``Beginning.key``), and may be out of date when it is done (``is_outdated``).

Members and their state are given per decision; time is given as ``now``, in seconds of any steady clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..identity import Identity
from .allocation import TOKENS_PER_WEIGHT
from .changes import Change, MemberView, Removals, Standing, apply_changes, is_alive, waiting_changes
from .epoch import EpochRecord, RingSpec
from .floor import FloorWatch, floor_wanted
from .moves import (
    RingChange,
    adoption_quorum,
)
from .ring import Ring
from .succession import Step, abort, begin, finish, raise_floor

__all__ = [
    "NOTHING_WAITS",
    "Beginning",
    "FloorWatch",
    "MemberView",
    "Plan",
    "Policy",
    "ProgressWatch",
    "Propose",
    "Standing",
    "View",
    "Wait",
    "abort_backoff_s",
    "consider",
    "is_outdated",
    "plan",
    "steward",
]

MAX_CHANGES = 8
"""Maximum number of changes that begin together."""
MAX_ALONE = 32
"""Maximum number of changes that are tried one by one when they cannot begin together."""
FIRST_BACKOFF_S = 5.0
LONGEST_BACKOFF_S = 600.0
DOWN_PATIENCE = 0.25
"""How long a change waits for a node that is down, as a part of ``handoff_timeout_s``."""


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

NOTHING_WAITS = Wait("nothing waits to change")


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that planning goes by."""

    evict_after_s: float = 600.0
    handoff_timeout_s: float = 60.0
    tokens_per_weight: int = TOKENS_PER_WEIGHT
    floor_interval_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    bytes_done: int
    since: float
    """When ``bytes_done`` was first seen."""


@dataclass(frozen=True, slots=True)
class ProgressWatch:
    """Since when each successor has been where it is; kept by the steward from decision to decision."""

    number: int = 0
    """Of the record under which this was seen; under another one everything is new."""
    seen: Mapping[Identity, Progress] = field(default_factory=dict)

    def observe(
        self, record: EpochRecord, members: Mapping[Identity, MemberView], now: float
    ) -> ProgressWatch:
        before = self.seen if record.number == self.number else {}
        watched: dict[Identity, Progress] = {}
        for identity in sorted(record.live_rings[-1].owners):
            bytes_done = members[identity].handoff_bytes if identity in members else 0
            last = before.get(identity)
            unmoved = last is not None and last.bytes_done == bytes_done
            watched[identity] = last if last is not None and unmoved else Progress(bytes_done, now)
        return ProgressWatch(record.number, watched)

    def unmoved_s(self, identity: Identity, now: float) -> float:
        """How long a successor has made no progress; 0 for one not watched yet."""
        return now - self.seen[identity].since if identity in self.seen else 0.0


@dataclass(frozen=True, slots=True)
class View:
    """What the steward sees when it decides."""

    members: Mapping[Identity, MemberView]
    """By identity; the steward itself included."""
    now: float
    progress: ProgressWatch = field(default_factory=ProgressWatch)
    """Up to date: ``observe`` was called with this view's members and ``now``."""
    removals: frozenset[Identity] = frozenset()
    """Owners that operators asked to remove; those that are alive are spared (they can leave)."""
    not_before: float = 0.0
    """Begin nothing earlier: the last abort plus its ``abort_backoff_s``."""
    steady_s: float = 0.0
    """How long whoever would have to pull must have been up: twice the ``abort_backoff_s`` of the last abort."""
    stores_data: bool = True
    """Whether any member holds data, which handoff would have to move."""
    floor: FloorWatch = field(default_factory=FloorWatch)
    """Up to date, as ``progress`` is."""
    ring: Ring | None = None
    """The owners', computed anew for every plan when it is not given."""
    change: RingChange | None = None
    """What the record changes, while it does; computed anew for every plan when it is not given."""
    settled: int = 0
    """Timestamp of a version above which writes may be under way; no floor above it is proposed."""


def steward(record: EpochRecord, alive: Collection[Identity]) -> Identity | None:
    """The owner that proposes: of those alive, the one with the lowest identity."""
    return min((identity for identity in record.owners.owners if identity in alive), default=None)


def abort_backoff_s(aborts: int) -> float:
    """How long to begin nothing after the latest of ``aborts`` in a row; none for none."""
    if aborts <= 0:
        return 0.0
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(aborts - 1, 30))


def plan(record: EpochRecord, view: View, policy: Policy) -> Plan:
    """What to propose as the record after ``record``."""
    considered = consider(record, view, policy)
    return considered.plan() if isinstance(considered, Beginning) else considered


def consider(record: EpochRecord, view: View, policy: Policy) -> Plan | Beginning:
    """The plan, or what a change to begin is planned from."""
    owners = record.owners.owners
    live = sum(is_alive(view.members, identity) for identity in owners)
    if live < record.majority:
        return Wait(
            f"only {live} of {len(owners)} owners are alive, and {record.majority} must agree on any change"
        )
    if record.changing:
        return _plan_ending(record, view, policy)
    return _consider_beginning(record, view, policy)


def is_outdated(planned: Propose, view: View) -> bool:
    """Return whether a begin is out of date: a member that it adds or removes no longer wants that.

    Others may have come meanwhile; they are next.
    """
    if planned.step is not Step.BEGIN or planned.record.successors is None:
        return False
    owners, successors = planned.record.owners.owners, planned.record.successors.owners
    for identity in successors.keys() - owners.keys():
        if not is_alive(view.members, identity):
            return True
    for identity in owners.keys() - successors.keys():
        member = view.members.get(identity)
        if member is not None and member.alive and member.standing is Standing.SERVING:
            return True
    return False


# --- ending a change ------------------------------------------------------------


def _plan_ending(record: EpochRecord, view: View, policy: Policy) -> Plan:
    members = view.members
    assert record.successors is not None, "only a change ends"
    change = view.change or RingChange.between(record.owners, record.successors)
    moving = change.moving
    done = frozenset(i for i, member in members.items() if member.handoff_done_epoch == record.number)
    adopted = frozenset(i for i, member in members.items() if member.epoch >= record.number)
    obstacles = moving.obstacles(done, adopted, record.owners)
    if not obstacles:
        return Propose(finish(record), Step.FINISH, "everything gained has been pulled")
    for identity in moving.pullers:
        if identity in done:
            continue
        if not is_alive(members, identity):
            down_for_s = _away_for_s(members, identity)
            if down_for_s <= policy.handoff_timeout_s * DOWN_PATIENCE:
                continue
            reason = f"{identity.name} still has to pull and has been down for {down_for_s:.0f} s"
            return Propose(abort(record), Step.ABORT, reason)
        unmoved_s = view.progress.unmoved_s(identity, view.now)
        if unmoved_s > policy.handoff_timeout_s:
            reason = f"{identity.name} has made no progress for {unmoved_s:.0f} s"
            return Propose(abort(record), Step.ABORT, reason)
    return Wait("; ".join(obstacles))


def _away_for_s(members: Mapping[Identity, MemberView], identity: Identity) -> float:
    """How long a node that is not alive has been down; forever if it has left, or was never heard of."""
    member = members.get(identity)
    return math.inf if member is None or member.standing is Standing.LEFT else member.down_for_s


# --- beginning one ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beginning:
    """The changes that wait under a stable ring, and the inputs of their plan."""

    record: EpochRecord
    changes: tuple[Change, ...]
    view: View
    policy: Policy

    @property
    def key(self) -> Hashable:
        """Return a key that is equal for equal plans, except for the times that reasons name."""
        view, long_s = self.view, self.policy.handoff_timeout_s
        members = view.members.values()
        return (
            self.record.stamp,
            tuple((change.removes, _seat_key(change)) for change in self.changes),
            frozenset(member.identity for member in members if member.alive),
            frozenset(member.identity for member in members if member.down_for_s > long_s),
            frozenset(member.identity for member in members if member.up_for_s < view.steady_s),
            view.stores_data,
        )

    @property
    def _ring(self) -> Ring:
        return self.view.ring or Ring(self.record.owners)

    def missing_sources(self) -> str:
        """Return why no change could be pulled and finished now; empty otherwise. The check is cheap."""
        missing = _missing_sources(self._ring, self.view)
        return "" if missing is None else f"{self.changes[0].reason}: {missing}"

    def plan(self) -> Plan:
        """Choose tokens, and check whether the change could end. It takes long in a large ring."""
        record, view, policy = self.record, self.view, self.policy
        owners = self._ring
        if missing := self.missing_sources():
            return Wait(missing)
        obstacles = []
        for begun, change in _alternatives(owners, self.changes, view, policy):
            reason = "; ".join(one.reason for one in begun)
            if (obstacle := _obstacle(change, view)) is None:
                return Propose(begin(record, change.new.spec), Step.BEGIN, reason)
            obstacles.append(f"{reason}: {obstacle}")
        return Wait(obstacles[0])


def _seat_key(change: Change) -> Hashable:
    seats = change.seats
    return None if seats is None else (seats.identity, seats.zone, seats.weight, change.tokens is None)


def _consider_beginning(record: EpochRecord, view: View, policy: Policy) -> Plan | Beginning:
    removals = Removals(policy.evict_after_s, view.removals)
    waiting = waiting_changes(record.owners, view.members, removals)
    changes = _spare_last_owner(record.owners, waiting)
    if waiting and not changes:
        return Wait(f"{waiting[0].reason}, but the last owner stays")
    if not changes:
        return _plan_floor(record, view, policy)
    if view.now < view.not_before:
        return Wait(f"a change was aborted; the next begins in {view.not_before - view.now:.0f} s")
    return Beginning(record, tuple(changes), view, policy)


def _alternatives(
    owners: Ring, changes: Sequence[Change], view: View, policy: Policy
) -> Iterator[tuple[Sequence[Change], RingChange]]:
    """Return what to begin, best first: all that waits; the removal of nodes that hold it up too long; single changes.

    Each comes with the change of the ring that it makes.
    """
    begun, change = _fit_together(owners, changes[:MAX_CHANGES], view, policy)
    yield begun, change
    absent = [
        (identity, view.members[identity].down_for_s if identity in view.members else view.now)
        for identity in change.moving.pullers
        if identity in owners.spec.owners and not is_alive(view.members, identity)
    ]
    others: list[Change] = []
    for identity, down_for_s in absent:
        if down_for_s > policy.handoff_timeout_s:
            reason = f"{identity.name} would have to pull and has been down for {down_for_s:.0f} s"
            others.append(Change(reason, identity))
    if len(changes) > 1:
        others += changes[:MAX_ALONE]
    for other in others:
        yield _fit_together(owners, [other], view, policy)


def _spare_last_owner(owners: RingSpec, changes: Sequence[Change]) -> list[Change]:
    """Leave out what would empty the ring; a departure does not count on a join that comes after it."""
    kept: list[Change] = []
    left = len(owners.owners)
    for change in changes:
        left_then = left - (change.removes is not None) + (change.seats is not None)
        if left_then > 0:
            kept.append(change)
            left = left_then
    return kept


def _fit_together(
    owners: Ring, changes: Sequence[Change], view: View, policy: Policy
) -> tuple[Sequence[Change], RingChange]:
    """Return as many of ``changes``, in their order, as may begin together, at least the first, and what they make.

    It stops at the first one that brings too many new nodes into a list: what comes after is seldom smaller.
    """

    def change_by(count: int) -> RingChange:
        return RingChange(owners, Ring(apply_changes(owners.spec, changes[:count], policy.tokens_per_weight)))

    if not view.stores_data:
        return changes, change_by(len(changes))
    fitting = change_by(1)
    for count in range(2, len(changes) + 1):
        tried = change_by(count)
        if tried.most_newcomers > newcomer_limit(tried.new.spec):
            return changes[: count - 1], fitting
        fitting = tried
    return changes, fitting


def newcomer_limit(successors: RingSpec) -> int:
    """How many new nodes a preference list can have with a quorum of old ones beside them (at least one)."""
    return max(1, successors.n - max(successors.w, successors.r))


def _missing_sources(ring: Ring, view: View) -> str | None:
    """Pulling takes r live sources in every range; finishing takes a quorum that has moved on."""
    owners = ring.spec
    down = sorted(identity for identity in owners.owners if not is_alive(view.members, identity))
    if not down:
        return None
    needed = max(owners.r, adoption_quorum(owners))
    for found in ring.ranges():
        live = sum(identity not in down for identity in found.preference_list)
        if live < needed:
            names = ", ".join(identity.name for identity in down)
            return f"a range has {live} live replicas, and moving it takes {needed}; down: {names}"
    return None


def _obstacle(change: RingChange, view: View) -> str | None:
    """Return why the change could not be finished, or would be the last one."""
    successors = change.new.spec.owners
    after = len(successors)
    live = sum(is_alive(view.members, identity) for identity in successors)
    if live < after // 2 + 1:
        return f"only {live} of {after} owners would be alive after it, too few to agree on another change"
    for identity in change.moving.pullers:
        if not is_alive(view.members, identity):
            return f"{identity.name} would have to pull and is down"
        if (up_for_s := view.members[identity].up_for_s) < view.steady_s:
            return (
                f"{identity.name} would have to pull, and a change was aborted; it is up for {up_for_s:.0f} s"
            )
    return None


# --- raising the floor ------------------------------------------------------------


def _plan_floor(record: EpochRecord, view: View, policy: Policy) -> Plan:
    floor = floor_wanted(record, view.members, view.settled)
    if floor is None or view.now - view.floor.since < policy.floor_interval_s:
        return NOTHING_WAITS
    return Propose(
        raise_floor(record, floor), Step.RAISE_FLOOR, "tombstones, or damaged segments, wait for it"
    )
