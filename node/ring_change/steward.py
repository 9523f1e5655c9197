"""The steward, which proposes ring changes: the owner with the lowest identity among the owners that are alive.

- Safety does not depend on there being only one steward. While the ring is stable, a node that was asked to remove
  another node proposes changes too, so that an operator need not know which node is the steward.
- Every owner determines which changes are waiting, which is cheap, so that its status shows what they wait for.
- Only a node that would propose a change plans it. It does so in another thread, and makes a new plan only when an
  input of the plan has changed.
- The members, the epoch and the steward may change while a plan is being made. A plan is proposed only if it is still
  valid then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from ...identity import Identity
from ...membership.member_list import Liveness, Member
from ...quorum.version import timestamp_at
from ...ring.begin_planner import BeginPlanner, Plan, Propose
from ...ring.epoch import EpochRecord
from ...ring.planning import (
    ABORT_BACKOFF_RESET_S,
    NOTHING_WAITS,
    abort_backoff_s,
    consider,
    is_outdated,
    steward,
)
from ...ring.steward_view import (
    FloorWatch,
    MemberStatus,
    MemberView,
    Policy,
    ProgressWatch,
    StewardView,
    floor_interval_s,
)
from ...ring.succession import Step
from ..config.config import Config
from ..epoch.epochs import Epochs
from ..epoch.paxos_driver import PaxosDriver
from ..events import Event
from ..members.members import Members
from ..ports import Compute
from ..runtime import Runtime
from ..tasks import wait_at_most


@dataclass(frozen=True, slots=True)
class StewardSettings:
    policy: Policy
    interval_s: float
    """Interval at which waiting changes are considered while no member changes."""
    settled_after_s: float
    """Age at which a version is settled: no write of it is in flight any more."""

    @classmethod
    def of(cls, config: Config) -> StewardSettings:
        policy = Policy(
            evict_after_s=config.evict_after,
            handoff_timeout_s=config.handoff_timeout,
            tokens_per_weight=config.tokens_per_weight,
            floor_interval_s=floor_interval_s(config.tombstone_age, config.handoff_grace),
        )
        return cls(policy, config.heartbeat_interval / 2, config.settled_after_s)


class Steward:
    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        members: Members,
        agreement: PaxosDriver,
        compute: Compute,
        settings: StewardSettings,
    ) -> None:
        self._me = runtime.me.identity
        self._epochs = epochs
        self._members = members
        self._agreement = agreement
        self._clock = runtime.clock
        self._rng = runtime.rng
        self._compute = compute
        self._settings = settings
        self._log = runtime.log
        self._progress = ProgressWatch()
        self._floor = FloorWatch()
        self._aborts = 0
        self._last_abort = 0.0
        self._last_waiting_at = 0.0
        self._removals: Counter[Identity] = Counter()
        self._unheard_since: dict[Identity, float] = {}
        self._planned: tuple[Hashable, Plan] | None = None
        """The inputs of the latest plan to begin a change, and that plan."""
        self.closed = False
        """Set when this node joins another cluster; from then on it proposes nothing."""
        self.obstacle = ""
        """Why nothing is proposed now, as shown by status; less detailed if another node makes the plans."""

    def request_removal(self, identity: Identity) -> None:
        self._removals[identity] += 1
        self._members.changed.set()

    def withdraw_removal(self, identity: Identity) -> None:
        self._removals -= Counter([identity])

    async def run(self) -> None:
        """Plan and propose until cancelled."""
        while True:
            # Progress and time are inputs of the plan too, so it is made again even if no member has changed.
            interval_s = self._settings.interval_s * (0.75 + self._rng.random() / 2)
            await wait_at_most(interval_s, self._members.changed)
            self._members.changed.clear()
            record = self._epochs.record
            if record is not None and self._me in record.owners.owners:
                await self._step(record)
            else:
                self.obstacle = ""

    async def _step(self, record: EpochRecord) -> None:
        view = self._view(record)
        considered = consider(record, view, self._settings.policy)
        planned = await self._plan(considered) if isinstance(considered, BeginPlanner) else considered
        if planned is None:
            assert isinstance(considered, BeginPlanner)
            self.obstacle = considered.missing_sources()
            self._last_waiting_at = view.now
            return
        self.obstacle = "" if isinstance(planned, Propose) or planned == NOTHING_WAITS else planned.reason
        if planned != NOTHING_WAITS:
            self._last_waiting_at = view.now
        elif view.now - self._last_waiting_at > ABORT_BACKOFF_RESET_S:
            self._aborts = 0
        if isinstance(planned, Propose) and self._is_still_valid(record, planned):
            await self._propose(record, planned)

    async def _plan(self, planner: BeginPlanner) -> Plan | None:
        """Return the plan to begin a change; None if this node may not propose it."""
        if not self._may_propose(planner.record, planner.view):
            return None
        key = planner.key
        if self._planned is None or self._planned[0] != key:
            self._planned = key, await self._compute.run(planner.plan)
        return self._planned[1]

    def _is_still_valid(self, record: EpochRecord, planned: Propose) -> bool:
        """Return whether this node may still propose the change after the time that planning took."""
        if self._epochs.stamp != record.stamp:
            return False
        view = self._view(record)
        return self._may_propose(record, view) and not is_outdated(planned, view)

    def _may_propose(self, record: EpochRecord, view: StewardView) -> bool:
        able = [i for i, member in view.members.items() if member.alive and not self._disk_is_full(i)]
        if self._me not in able or self.closed:
            return False
        return steward(record, able) == self._me or (bool(self._removals) and not record.changing)

    def _disk_is_full(self, identity: Identity) -> bool:
        """Return whether the member's disk is full, so that it may be unable to store what it proposes."""
        member = self._members.get(identity)
        return member is not None and member.record.condition.disk_full

    async def _propose(self, record: EpochRecord, planned: Propose) -> None:
        self._log.emit(
            Event.EPOCH_PROPOSED,
            epoch=planned.record.number,
            change=planned.step.value,
            reason=planned.reason,
        )
        chosen = await self._agreement.propose(record, planned.record)
        if chosen is not None and planned.step is Step.ABORT:
            self._aborts += 1
            self._last_abort = self._clock.monotonic()
        elif chosen is not None and planned.step is Step.FINISH:
            self._aborts = 0

    # --- inputs of the plan ---

    def _view(self, record: EpochRecord) -> StewardView:
        now = self._clock.monotonic()
        members = {member.identity: self._member_view(member, now) for member in self._members.all()}
        members |= self._unheard(record, members, now)
        self._progress = self._progress.observe(record, members, now)
        self._floor = self._floor.observe(record, now)
        backoff_s = abort_backoff_s(self._aborts)
        epoch = self._epochs.current
        if epoch is not None and epoch.record is not record:
            epoch = None  # a newer record was adopted while the plan was made
        return StewardView(
            members=members,
            now=now,
            progress=self._progress,
            removals=frozenset(self._removals),
            not_before=self._last_abort + backoff_s if self._aborts else 0.0,
            min_up_s=2 * backoff_s,
            stores_data=any(member.record.load.keys for member in self._members.all()),
            floor=self._floor,
            ring=epoch.rings[0] if epoch is not None else None,
            change=epoch.change if epoch is not None else None,
            settled=timestamp_at(self._clock.wall_ms() - int(self._settings.settled_after_s * 1000)),
        )

    def _unheard(
        self, record: EpochRecord, heard: Mapping[Identity, MemberView], now: float
    ) -> dict[Identity, MemberView]:
        """Return the owners that gossip does not know, for example after all nodes restarted; they count as down."""
        missing = {
            identity: owner for identity, owner in record.owners.owners.items() if identity not in heard
        }
        self._unheard_since = {identity: self._unheard_since.get(identity, now) for identity in missing}
        return {
            identity: MemberView(
                identity,
                alive=False,
                status=MemberStatus.SERVING,
                zone=owner.zone,
                weight=owner.weight,
                down_for_s=now - self._unheard_since[identity],
            )
            for identity, owner in missing.items()
        }

    def _member_view(self, member: Member, now: float) -> MemberView:
        record, handoff = member.record, member.record.handoff
        alive = member.in_doubt_or_alive
        return MemberView(
            identity=member.identity,
            alive=alive,
            status=MemberStatus(record.status.value),
            zone=record.zone,
            weight=record.weight,
            epoch=record.epoch,
            handoff_done_epoch=handoff.epoch if handoff is not None and handoff.done else None,
            handoff_bytes=handoff.bytes_done if handoff is not None else 0,
            down_for_s=now - member.since if member.liveness is Liveness.DOWN else 0.0,
            up_for_s=now - member.since if member.liveness is Liveness.ALIVE else 0.0,
            floor_wanted=record.condition.floor_wanted,
        )
