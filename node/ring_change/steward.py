"""The steward: the owner, lowest in identity of those alive, that proposes what the plan says.

Safety never depends on there being just one. A node that was asked to remove another proposes too while the
ring is stable, so that an operator need not know who the steward is.

Every owner considers what waits, which costs little, so that its status says what a change waits for. Only a node
that would propose plans a change to begin: apart from the event loop, once for all that the plan depends on. When the
plan is there, the members, the epoch and the steward may be others; it is proposed only if it still holds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from ...identity import Identity
from ...membership.member_list import Liveness, Member
from ...quorum.version import timestamp_at
from ...ring.begin_planner import BeginPlanner, Plan, Propose
from ...ring.cluster_view import (
    ClusterView,
    FloorWatch,
    MemberStatus,
    MemberView,
    Policy,
    ProgressWatch,
    floor_interval_s,
)
from ...ring.epoch import EpochRecord
from ...ring.planning import (
    NOTHING_WAITS,
    abort_backoff_s,
    consider,
    is_outdated,
    steward,
)
from ...ring.succession import Step
from ..config.config import Config
from ..epoch.epochs import Epochs
from ..epoch.paxos_driver import PaxosDriver
from ..events import Event
from ..members.members import Members
from ..ports import Compute
from ..runtime import Runtime

STANDS_LONG_ENOUGH_S = 60.0
"""So long with nothing that waits ends a row of aborts; so does a change that is finished."""


@dataclass(frozen=True, slots=True)
class StewardSettings:
    policy: Policy
    interval_s: float
    """How often the plan is made anew without news."""
    settled_after_s: float
    """How old a version is when no write of it is under way any more."""

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
        self._clock = runtime.clock
        self._rng = runtime.rng
        self._log = runtime.log
        self._epochs = epochs
        self._members = members
        self._agreement = agreement
        self._compute = compute
        self._settings = settings
        self._progress = ProgressWatch()
        self._floor = FloorWatch()
        self._aborts = 0
        self._last_abort = 0.0
        self._waited_at = 0.0
        self._removals: Counter[Identity] = Counter()
        self._unheard_since: dict[Identity, float] = {}
        self._planned: tuple[Hashable, Plan] | None = None
        """The last plan of a change to begin, and what it was made from."""
        self.closed = False
        """Set when this node leaves its cluster for another: it proposes nothing any more."""
        self.obstacle = ""
        """Why nothing is proposed now, for status; without a whole plan when another node plans."""

    def request_removal(self, identity: Identity) -> None:
        self._removals[identity] += 1
        self._members.changed.set()

    def withdraw_removal(self, identity: Identity) -> None:
        self._removals -= Counter([identity])

    async def run(self) -> None:
        """Plan and propose until cancelled."""
        while True:
            await self._news_or_interval()
            record = self._epochs.record
            if record is not None and self._me in record.owners.owners:
                await self._step(record)
            else:
                self.obstacle = ""

    async def _news_or_interval(self) -> None:
        changed = self._members.changed
        try:
            async with asyncio.timeout(self._settings.interval_s * (0.75 + self._rng.random() / 2)):
                await changed.wait()
        except TimeoutError:
            pass  # nothing new: progress and time still matter to the plan
        changed.clear()

    async def _step(self, record: EpochRecord) -> None:
        view = self._view(record)
        considered = consider(record, view, self._settings.policy)
        planned = await self._plan(considered) if isinstance(considered, BeginPlanner) else considered
        if planned is None:
            assert isinstance(considered, BeginPlanner)
            self.obstacle = considered.missing_sources()
            self._waited_at = view.now
            return
        self.obstacle = "" if isinstance(planned, Propose) or planned == NOTHING_WAITS else planned.reason
        if planned != NOTHING_WAITS:
            self._waited_at = view.now
        elif view.now - self._waited_at > STANDS_LONG_ENOUGH_S:
            self._aborts = 0
        if isinstance(planned, Propose) and self._still_holds(record, planned):
            await self._propose(record, planned)

    async def _plan(self, beginning: BeginPlanner) -> Plan | None:
        """Return the change to begin; None on a node that would not propose it."""
        if not self._acts(beginning.record, beginning.view):
            return None
        key = beginning.key
        if self._planned is None or self._planned[0] != key:
            self._planned = key, await self._compute.run(beginning.plan)
        return self._planned[1]

    def _still_holds(self, record: EpochRecord, planned: Propose) -> bool:
        """Return whether this node is to propose the change now. Planning may have taken a while."""
        if self._epochs.stamp != record.stamp:
            return False
        view = self._view(record)
        return self._acts(record, view) and not is_outdated(planned, view)

    def _acts(self, record: EpochRecord, view: ClusterView) -> bool:
        able = [i for i, member in view.members.items() if member.alive and not self._disk_is_full(i)]
        if self._me not in able or self.closed:
            return False
        return steward(record, able) == self._me or (bool(self._removals) and not record.changing)

    def _disk_is_full(self, identity: Identity) -> bool:
        """Whether it may soon be unable to put on disk what it proposes."""
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

    # --- what the plan is made from ---

    def _view(self, record: EpochRecord) -> ClusterView:
        now = self._clock.monotonic()
        members = {member.identity: self._member_view(member, now) for member in self._members.all()}
        members |= self._unheard(record, members, now)
        self._progress = self._progress.observe(record, members, now)
        self._floor = self._floor.observe(record, now)
        backoff_s = abort_backoff_s(self._aborts)
        epoch = self._epochs.current
        if epoch is not None and epoch.record is not record:
            epoch = None  # another one was adopted while the plan was made
        return ClusterView(
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
        """Owners that no member has told of, as when all others have restarted since: down as far as anyone knows."""
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
