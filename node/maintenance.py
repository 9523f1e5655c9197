"""All that keeps a node's data whole and equal to its peers', put together from its parts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..identity import Identity
from ..membership.record import Condition
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
from .epoch.epochs import Epoch, Epochs
from .epoch.fenced_client import FencedClient
from .events import EventLog
from .hints.dispatcher import HintDispatcher
from .hints.hint_log import HintEvents
from .hints.manager import HintManager
from .hints.store import HintStore
from .hints.writer import HintWriter
from .members.gossip_driver import GossipDriver
from .ports import Clock
from .storage.interface import Engine
from .tasks import Tasks
from .throttle import Throttle
from .tombstones.collector import CollectionSettings, TombstoneCollector


@dataclass(frozen=True)
class MaintenanceContext:
    """What all of it works on."""

    config: Config
    peers: FencedClient
    epochs: Epochs
    engine: Engine
    gossiping: GossipDriver
    clock: Clock
    rng: random.Random
    tasks: Tasks
    log: EventLog
    furthest: Callable[[], int]
    """The last version timestamp that clocks follow."""


@dataclass(frozen=True)
class MaintenanceTasks:
    repair: AntiEntropyService
    hints: HintManager
    upkeep: DiskMonitor
    tombstones: TombstoneCollector
    keys_ahead: KeysAhead

    def begin(self, tasks: Tasks) -> None:
        """Start the loops."""
        tasks.spawn(self.repair.run())
        tasks.spawn(self.hints.run())
        tasks.spawn(self.upkeep.run())
        tasks.spawn(self.tombstones.run())
        tasks.spawn(self.keys_ahead.run())

    def condition(self, clock_off_ms: int) -> Condition:
        """What gossip tells of this node's data, disk and clock."""
        return Condition(
            hints=self.hints.waiting(),
            comparisons=self.repair.comparisons,
            quarantined=self.upkeep.quarantined(),
            floor_wanted=max(self.tombstones.floor_wanted, self.upkeep.floor_wanted()),
            disk_full=self.upkeep.disk_full(),
            clock_off_ms=clock_off_ms,
            needs_restart=self.upkeep.needs_restart(),
            keys_ahead=self.keys_ahead.count,
        )


def make_maintenance(site: MaintenanceContext) -> MaintenanceTasks:
    repair = _make_repair(site)
    return MaintenanceTasks(
        repair,
        _make_hints(site, repair),
        _make_upkeep(site),
        _make_tombstones(site, repair),
        KeysAhead(
            site.engine,
            site.clock,
            site.furthest,
            site.gossiping.say_condition,
            site.config.heartbeat_interval,
        ),
    )


def _make_repair(site: MaintenanceContext) -> AntiEntropyService:
    peers, gossiping, config = site.peers, site.gossiping, site.config
    digests = Digests(peers.me, site.epochs, site.engine)
    throttle = Throttle(site.clock, config.repair_rate)

    def make_comparison(epoch: Epoch, peer: Identity) -> AntiEntropySession:
        return AntiEntropySession(
            epoch, peer, site.epochs, site.engine, peers, digests, throttle, site.rng, config.rpc_timeout
        )

    repair = AntiEntropyService(
        peers.me,
        site.epochs,
        AntiEntropyResponder(peers.me, site.epochs, digests, make_comparison, site.clock, site.log),
        Schedule(peers.me, config.repair_interval, site.rng),
        gossiping.is_down,
        gossiping.say_condition,
        site.clock,
    )
    gossiping.observe_arrivals(repair.mark)
    return repair


def _make_hints(site: MaintenanceContext, repair: AntiEntropyService) -> HintManager:
    config, is_down = site.config, site.gossiping.is_down
    lines = HintEvents(site.clock, site.log)
    store = HintStore(site.engine, config.hint_max_bytes)
    keeping = HintWriter(site.peers.me, store, repair.mark, lines)
    replay = HintDispatcher(
        store,
        keeping,
        site.peers,
        site.epochs,
        is_down,
        Throttle(site.clock, config.hint_rate),
        site.clock,
        site.rng,
        config.rpc_timeout,
        lines,
    )
    return HintManager(
        store,
        keeping,
        replay,
        site.epochs,
        is_down,
        site.gossiping.say_condition,
        site.clock,
        site.tasks,
        lines,
        interval_s=config.heartbeat_interval / 2,
        max_age_s=config.hint_max_age,
    )


def _make_upkeep(site: MaintenanceContext) -> DiskMonitor:
    config, gossiping = site.config, site.gossiping
    quarantine = SegmentRecovery(
        site.peers.me,
        site.epochs,
        site.engine,
        site.peers,
        gossiping.is_down,
        Throttle(site.clock, config.handoff_rate),
        site.rng,
        config.rpc_timeout,
        site.log,
        gossiping.say_condition,
    )
    scrubber = Scrubber(site.engine, site.rng, config.scrub_interval)
    return DiskMonitor(
        site.engine, quarantine, scrubber, gossiping.say_condition, site.tasks, site.log, config.disk_reserve
    )


def _make_tombstones(site: MaintenanceContext, repair: AntiEntropyService) -> TombstoneCollector:
    return TombstoneCollector(
        site.epochs,
        site.engine,
        site.peers,
        site.gossiping.is_down,
        repair.mark,
        site.clock,
        site.rng,
        CollectionSettings.of(site.config),
        site.log,
    )
