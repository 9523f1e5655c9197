"""Decides which record the steward proposes next. The functions here are pure; the caller proposes the record.

Safety does not depend on planning: acceptors accept legal successions only, and the rules for requests and handoff keep
data safe whatever is proposed. Planning is responsible for progress:

- A change is finished once its handoff is complete. It is aborted when a node that still has to pull makes no progress
  for ``handoff_timeout_s``, or has been down for a part of that (``MAX_DOWN_FRACTION``). A short absence is tolerated,
  because a node that restarts resumes pulling, while after an abort it would pull everything again.
- After an abort, no change begins for ``abort_backoff_s``, which is longer after each consecutive abort. A node that
  has to pull must then have been up for twice that time: a node that fails repeatedly would pull the same data
  repeatedly.
- Waiting changes begin as ``begin_planner`` describes. The last owner is never removed.
- The floor is raised when no change waits, at most once in ``floor_interval_s`` (docs/ring-changes.md, rules 11 and
  12). Tombstones that all their replicas confirmed can be purged once the floor reaches them. Damaged segments can be
  repaired in a later epoch, which any rise brings. Every rise makes a new epoch, in which all operations under way
  restart their quorum counts; so a rise goes to the highest floor that is wanted. Nodes refuse clients' writes at or
  below the floor, so the floor stays below every write that may still be under way.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ..identity import Identity
from .begin_planner import BeginPlanner, Plan, Propose, Wait
from .epoch import EpochRecord, RingSpec
from .moves import RingChange
from .owner_changes import EvictionPolicy, OwnerChange, waiting_changes
from .steward_view import Members, MemberStatus, Policy, StewardView, is_alive
from .succession import Step, abort, finish, raise_floor

NOTHING_WAITS = Wait("nothing waits to change")
MIN_ABORT_BACKOFF_S = 5.0
MAX_ABORT_BACKOFF_S = 600.0
ABORT_BACKOFF_RESET_S = 60.0
"""Time without anything to change after which aborts are forgotten; finishing a change forgets them, too."""
MAX_DOWN_FRACTION = 0.25
"""How long a change waits for a node that is down, as a part of ``handoff_timeout_s``."""


def steward(record: EpochRecord, alive: Collection[Identity]) -> Identity | None:
    """Return the steward, the owner that proposes: the live owner with the lowest identity; None if none is alive."""
    return min((identity for identity in record.owners.owners if identity in alive), default=None)


def abort_backoff_s(aborts: int) -> float:
    """Return for how long no change begins after ``aborts`` consecutive aborts; 0 for none."""
    if aborts <= 0:
        return 0.0
    return min(MAX_ABORT_BACKOFF_S, MIN_ABORT_BACKOFF_S * 2.0 ** min(aborts - 1, 30))


def plan(record: EpochRecord, view: StewardView, policy: Policy) -> Plan:
    """Return what to propose as the record after ``record``."""
    considered = consider(record, view, policy)
    return considered.plan() if isinstance(considered, BeginPlanner) else considered


def consider(record: EpochRecord, view: StewardView, policy: Policy) -> Plan | BeginPlanner:
    """Return the plan, or, if a change may begin, its planner, which is slow to run."""
    owners = record.owners.owners
    live = sum(is_alive(view.members, identity) for identity in owners)
    if live < record.majority:
        return Wait(
            f"only {live} of {len(owners)} owners are alive, and {record.majority} must agree on any change"
        )
    if record.changing:
        return _plan_ending(record, view, policy)
    return _consider_beginning(record, view, policy)


def is_outdated(planned: Propose, view: StewardView) -> bool:
    """Return True if ``planned`` is a begin that adds a member that is not alive, or removes one that serves again.

    Members that arrived while it was planned do not make it outdated; the next change adds them.
    """
    if planned.step is not Step.BEGIN or planned.record.successors is None:
        return False
    owners, successors = planned.record.owners.owners, planned.record.successors.owners
    for identity in successors.keys() - owners.keys():
        if not is_alive(view.members, identity):
            return True
    for identity in owners.keys() - successors.keys():
        member = view.members.get(identity)
        if member is not None and member.alive and member.status is MemberStatus.SERVING:
            return True
    return False


def _plan_ending(record: EpochRecord, view: StewardView, policy: Policy) -> Plan:
    members = view.members
    assert record.successors is not None, "only a change ends"
    change = view.change or RingChange.between(record.owners, record.successors)
    condition = change.finish_condition
    done = frozenset(i for i, member in members.items() if member.handoff_done_epoch == record.number)
    adopted = frozenset(i for i, member in members.items() if member.epoch >= record.number)
    obstacles = condition.obstacles(done, adopted, record.owners)
    if not obstacles:
        return Propose(finish(record), Step.FINISH, "everything gained has been pulled")
    for identity in condition.pullers:
        if identity in done:
            continue
        if not is_alive(members, identity):
            down_for_s = _down_for_s(members, identity)
            if down_for_s <= policy.handoff_timeout_s * MAX_DOWN_FRACTION:
                continue
            reason = f"{identity.name} still has to pull and has been down for {down_for_s:.0f} s"
            return Propose(abort(record), Step.ABORT, reason)
        stalled_s = view.progress.stalled_s(identity, view.now)
        if stalled_s > policy.handoff_timeout_s:
            reason = f"{identity.name} has made no progress for {stalled_s:.0f} s"
            return Propose(abort(record), Step.ABORT, reason)
    return Wait("; ".join(obstacles))


def _down_for_s(members: Members, identity: Identity) -> float:
    """Return how long a node that is not alive has been down; infinite if it has left, or is unknown."""
    member = members.get(identity)
    return math.inf if member is None or member.status is MemberStatus.LEFT else member.down_for_s


def _consider_beginning(record: EpochRecord, view: StewardView, policy: Policy) -> Plan | BeginPlanner:
    evictions = EvictionPolicy(policy.evict_after_s, view.removals)
    waiting = waiting_changes(record.owners, view.members, evictions)
    changes = _keep_last_owner(record.owners, waiting)
    if waiting and not changes:
        return Wait(f"{waiting[0].reason}, but the last owner stays")
    if not changes:
        return _plan_floor(record, view, policy)
    if view.now < view.not_before:
        return Wait(f"a change was aborted; the next begins in {view.not_before - view.now:.0f} s")
    return BeginPlanner(record=record, changes=tuple(changes), view=view, policy=policy)


def _keep_last_owner(owners: RingSpec, changes: Sequence[OwnerChange]) -> list[OwnerChange]:
    """Return ``changes`` without those that would leave the ring empty when they are applied in this order."""
    kept: list[OwnerChange] = []
    left = len(owners.owners)
    for change in changes:
        left_then = left - (change.removes is not None) + (change.adds is not None)
        if left_then > 0:
            kept.append(change)
            left = left_then
    return kept


def _plan_floor(record: EpochRecord, view: StewardView, policy: Policy) -> Plan:
    """Plan to raise the floor to the highest that a live member wants, of those at or below ``view.settled``."""
    wanted = (member.floor_wanted for member in view.members.values() if member.alive)
    floor = max((floor for floor in wanted if record.floor < floor <= view.settled), default=None)
    if floor is None or view.now - view.floor.since < policy.floor_interval_s:
        return NOTHING_WAITS
    reason = "tombstones, or damaged segments, wait for it"
    return Propose(raise_floor(record, floor), Step.RAISE_FLOOR, reason)
