"""Assembles the background tasks that keep a node's data intact and equal to its peers'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..membership.record import Condition
from .anti_entropy.digests import Digests
from .anti_entropy.responder import AntiEntropyResponder
from .anti_entropy.schedule import Schedule
from .anti_entropy.service import AntiEntropyService
from .anti_entropy.session import AntiEntropySession
from .config.config import Config
from .disk_health.keys_ahead import KeysAhead
from .disk_health.monitor import Scrubber, SpaceMonitor
from .disk_health.segment_recovery import SegmentRecovery
from .epoch.fenced_client import DataPlane
from .hints.dispatcher import HintDispatcher
from .hints.manager import HintExpiry, HintManager
from .hints.store import HintStore
from .hints.writer import HintLog, HintWriter
from .members.gossip_driver import GossipDriver
from .members.members import Members
from .peer.skew_guard import SkewGuard
from .runtime import Runtime
from .throttle import Throttle
from .tombstones.collector import TombstoneCollector


class MaintenanceTasks:
    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        data: DataPlane,
        gossip: GossipDriver,
        skew_guard: SkewGuard,
        max_timestamp: Callable[[], int],
    ) -> None:
        """Take ``max_timestamp``, a function that returns the highest version timestamp that clocks follow."""
        members = gossip.members
        self._tasks = runtime.tasks
        self._skew_guard = skew_guard
        self._gossip = gossip
        self._engine = data.engine
        self.anti_entropy = _make_anti_entropy(config, runtime, data, members, self._on_change)
        writer = HintWriter(
            runtime.me.identity,
            HintStore(data.engine, config.hint_max_bytes),
            on_stale=self.anti_entropy.mark,
            log=HintLog(runtime.clock, runtime.log),
        )
        self.hints = HintManager(
            runtime,
            data.epochs,
            members,
            writer=writer,
            dispatcher=HintDispatcher(
                runtime, data, members, writer=writer, throttle=Throttle(runtime.clock, config.hint_rate)
            ),
            on_change=self._on_change,
            interval_s=config.heartbeat_interval / 2,
        )
        self._hint_expiry = HintExpiry(runtime, writer, config.hint_max_age)
        self.recovery = SegmentRecovery(
            runtime,
            data,
            members,
            throttle=Throttle(runtime.clock, config.handoff_rate),
            on_change=self._on_change,
        )
        self._scrubber = Scrubber(data.engine, runtime.rng, config.scrub_interval)
        self._space = SpaceMonitor(
            runtime, data.engine, on_change=self._on_change, reserve_bytes=config.disk_reserve
        )
        self.tombstones = TombstoneCollector(
            runtime, data, members, on_stale=self.anti_entropy.mark, age_s=config.tombstone_age
        )
        self.keys_ahead = KeysAhead(
            data.engine,
            runtime.clock,
            max_followed=max_timestamp,
            on_change=self._on_change,
            interval_s=config.heartbeat_interval,
        )

    def begin(self) -> None:
        """Start the loops."""
        for part in (
            self.anti_entropy,
            self.hints,
            self._hint_expiry,
            self._space,
            self.recovery,
            self._scrubber,
            self.tombstones,
            self.keys_ahead,
        ):
            self._tasks.spawn(part.run())

    def condition(self) -> Condition:
        """Return the health of this node's data, disk and clock, as published by gossip."""
        return Condition(
            hints=self.hints.waiting(),
            comparisons=self.anti_entropy.comparisons,
            quarantined=len(self._engine.quarantined()),
            floor_wanted=max(self.tombstones.floor_wanted, self.recovery.floor_wanted()),
            disk_full=self._engine.disk_full(),
            clock_off_ms=self._skew_guard.off_ms(),
            needs_restart=self._engine.needs_restart(),
            keys_ahead=self.keys_ahead.count,
        )

    def _on_change(self) -> None:
        self._gossip.publish(condition=self.condition())


def _make_anti_entropy(
    config: Config, runtime: Runtime, data: DataPlane, members: Members, on_change: Callable[[], None]
) -> AntiEntropyService:
    me = runtime.me.identity
    digests = Digests(me, data)
    throttle = Throttle(runtime.clock, config.repair_rate)
    return AntiEntropyService(
        runtime,
        data.epochs,
        members,
        responder=AntiEntropyResponder(
            runtime,
            data,
            digests,
            make_session=partial(AntiEntropySession, runtime, data, digests, throttle),
        ),
        schedule=Schedule(me, config.repair_interval, runtime.rng),
        on_change=on_change,
    )
