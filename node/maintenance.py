"""Assembles the background tasks that keep a node's data intact and equal to its peers'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..membership.record import Health
from .anti_entropy.digests import Digests
from .anti_entropy.responder import AntiEntropyResponder
from .anti_entropy.schedule import Schedule
from .anti_entropy.service import AntiEntropyService
from .anti_entropy.session import AntiEntropySession
from .config.config import Config
from .disk_health.keys_ahead import KeysAhead
from .disk_health.monitor import DiskMonitor
from .disk_health.scrub import Scrubber
from .disk_health.segment_recovery import SegmentRecovery
from .epoch.fenced_client import DataPlane
from .hints.manager import HintManager, HintSettings
from .members.gossip_driver import GossipDriver
from .members.members import Members
from .peer.skew_guard import SkewGuard
from .runtime import Runtime
from .throttle import Throttle
from .tombstones.collector import CollectionSettings, TombstoneCollector


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
        """Take ``max_timestamp``, which returns the highest version timestamp that clocks follow."""
        members = gossip.members
        self._tasks = runtime.tasks
        self._skew_guard = skew_guard
        self._gossip = gossip
        self.anti_entropy = _make_anti_entropy(config, runtime, data, members, self._on_change)
        self.hints = HintManager(
            runtime,
            data,
            members,
            settings=HintSettings.of(config),
            lacks=self.anti_entropy.mark,
            on_change=self._on_change,
        )
        self.disk = DiskMonitor(
            runtime,
            data.engine,
            recovery=SegmentRecovery(
                runtime,
                data,
                members,
                throttle=Throttle(runtime.clock, config.handoff_rate),
                on_change=self._on_change,
            ),
            scrubber=Scrubber(data.engine, runtime.rng, config.scrub_interval),
            on_change=self._on_change,
            reserve_bytes=config.disk_reserve,
        )
        self.tombstones = TombstoneCollector(
            runtime, data, members, behind=self.anti_entropy.mark, settings=CollectionSettings.of(config)
        )
        self.keys_ahead = KeysAhead(
            data.engine,
            runtime.clock,
            furthest=max_timestamp,
            on_change=self._on_change,
            interval_s=config.heartbeat_interval,
        )

    def begin(self) -> None:
        """Start the loops."""
        for part in (self.anti_entropy, self.hints, self.disk, self.tombstones, self.keys_ahead):
            self._tasks.spawn(part.run())

    def health(self) -> Health:
        """Return what gossip publishes of this node's data, disk and clock."""
        return Health(
            hints=self.hints.waiting(),
            comparisons=self.anti_entropy.comparisons,
            quarantined=self.disk.quarantined(),
            floor_wanted=max(self.tombstones.floor_wanted, self.disk.floor_wanted()),
            disk_full=self.disk.disk_full(),
            clock_off_ms=self._skew_guard.off_ms(),
            needs_restart=self.disk.needs_restart(),
            keys_ahead=self.keys_ahead.count,
        )

    def _on_change(self) -> None:
        self._gossip.publish(condition=self.health())


def _make_anti_entropy(
    config: Config, runtime: Runtime, data: DataPlane, members: Members, on_change: Callable[[], None]
) -> AntiEntropyService:
    me = runtime.me.identity
    digests = Digests(me, data.epochs, data.engine)
    throttle = Throttle(runtime.clock, config.repair_rate)
    return AntiEntropyService(
        runtime,
        data.epochs,
        members,
        anti_entropy=AntiEntropyResponder(
            runtime,
            data.epochs,
            digests,
            make=partial(AntiEntropySession, runtime, data, digests, throttle),
        ),
        schedule=Schedule(me, config.repair_interval, runtime.rng),
        on_change=on_change,
    )
