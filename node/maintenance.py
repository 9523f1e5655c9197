"""The parts of a node that keep its data whole and equal to its peers': hints, anti-entropy, tombstones, the disk."""

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
from .disk_health.monitor import Scrubber, SpaceMonitor
from .disk_health.segment_recovery import SegmentRecovery
from .epoch.epochs import Epoch
from .epoch.fenced_client import DataPlane
from .events import EventLog
from .hints.dispatcher import HintDispatcher
from .hints.manager import HintExpiry, HintManager
from .hints.store import HintStore
from .hints.writer import HintLog, HintWriter
from .members.gossip_driver import GossipDriver
from .ports import Clock
from .storage.interface import Engine
from .tasks import Tasks
from .throttle import Throttle
from .tombstones.collector import TombstoneCollector


@dataclass(frozen=True)
class MaintenanceContext:
    config: Config
    data: DataPlane
    gossiping: GossipDriver
    clock: Clock
    rng: random.Random
    tasks: Tasks
    log: EventLog


@dataclass(frozen=True)
class MaintenanceTasks:
    engine: Engine
    repair: AntiEntropyService
    hints: HintManager
    hint_expiry: HintExpiry
    tombstones: TombstoneCollector
    recovery: SegmentRecovery
    scrubber: Scrubber
    space: SpaceMonitor
    keys_ahead: KeysAhead

    def begin(self, tasks: Tasks) -> None:
        """Start the loops."""
        tasks.spawn(self.repair.run())
        tasks.spawn(self.hints.run())
        tasks.spawn(self.hint_expiry.run())
        tasks.spawn(self.space.run())
        tasks.spawn(self.recovery.run())
        tasks.spawn(self.scrubber.run())
        tasks.spawn(self.tombstones.run())
        tasks.spawn(self.keys_ahead.run())

    def condition(self, clock_off_ms: int) -> Condition:
        """Return what gossip spreads about this node's data, disk and clock."""
        return Condition(
            hints=self.hints.waiting(),
            comparisons=self.repair.comparisons,
            quarantined=len(self.engine.quarantined()),
            floor_wanted=max(self.tombstones.floor_wanted, self.recovery.floor_wanted()),
            disk_full=self.engine.disk_full(),
            clock_off_ms=clock_off_ms,
            needs_restart=self.engine.awaits_restart(),
            keys_ahead=self.keys_ahead.count,
        )


def make_maintenance(site: MaintenanceContext, max_followed: Callable[[], int]) -> MaintenanceTasks:
    """``max_followed`` returns the last version timestamp that clocks follow."""
    config, data, gossiping = site.config, site.data, site.gossiping
    repair = _make_repair(site)
    hints, hint_expiry = _make_hints(site, repair)
    return MaintenanceTasks(
        engine=data.engine,
        repair=repair,
        hints=hints,
        hint_expiry=hint_expiry,
        tombstones=TombstoneCollector(
            data=data,
            is_down=gossiping.is_down,
            on_stale=repair.mark,
            clock=site.clock,
            rng=site.rng,
            age_s=config.tombstone_age,
            log=site.log,
        ),
        recovery=SegmentRecovery(
            data=data,
            is_down=gossiping.is_down,
            on_change=gossiping.say_condition,
            throttle=Throttle(site.clock, config.handoff_rate),
            rng=site.rng,
            log=site.log,
        ),
        scrubber=Scrubber(data.engine, site.rng, config.scrub_interval),
        space=SpaceMonitor(
            engine=data.engine,
            on_change=gossiping.say_condition,
            log=site.log,
            reserve_bytes=config.disk_reserve,
        ),
        keys_ahead=KeysAhead(
            engine=data.engine,
            clock=site.clock,
            max_followed=max_followed,
            on_change=gossiping.say_condition,
            interval_s=config.heartbeat_interval,
        ),
    )


def _make_repair(site: MaintenanceContext) -> AntiEntropyService:
    config, data = site.config, site.data
    digests = Digests(data)
    throttle = Throttle(site.clock, config.repair_rate)

    def make_session(epoch: Epoch, peer: Identity) -> AntiEntropySession:
        return AntiEntropySession(
            epoch=epoch, peer=peer, data=data, digests=digests, throttle=throttle, rng=site.rng
        )

    repair = AntiEntropyService(
        me=data.me,
        epochs=data.epochs,
        responder=AntiEntropyResponder(
            data=data, digests=digests, make_session=make_session, clock=site.clock, log=site.log
        ),
        schedule=Schedule(data.me, config.repair_interval, site.rng),
        is_down=site.gossiping.is_down,
        on_change=site.gossiping.say_condition,
        clock=site.clock,
    )
    site.gossiping.observe_arrivals(repair.mark)
    return repair


def _make_hints(site: MaintenanceContext, repair: AntiEntropyService) -> tuple[HintManager, HintExpiry]:
    config, data, is_down = site.config, site.data, site.gossiping.is_down
    writer = HintWriter(
        me=data.me,
        store=HintStore(data.engine, config.hint_max_bytes),
        on_stale=repair.mark,
        log=HintLog(site.clock, site.log),
    )
    manager = HintManager(
        writer=writer,
        dispatcher=HintDispatcher(
            data=data,
            writer=writer,
            is_down=is_down,
            throttle=Throttle(site.clock, config.hint_rate),
            rng=site.rng,
        ),
        epochs=data.epochs,
        is_down=is_down,
        on_change=site.gossiping.say_condition,
        tasks=site.tasks,
        interval_s=config.heartbeat_interval / 2,
    )
    return manager, HintExpiry(writer, site.clock, config.hint_max_age)
