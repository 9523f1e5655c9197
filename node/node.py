"""A node, put together from its parts. Reads like a table of contents; what each part does stands with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..identity import Identity
from ..membership.gossip import Gossip
from ..membership.record import Condition, HandoffProgress, Status
from ..membership.settings import GossipSettings
from ..quorum.hybrid_clock import HybridClock
from ..quorum.ranking import ReplicaRanking
from ..ring.epoch import Quorums
from ..ring.floor import floor_interval_s
from ..ring.genesis import GenesisTerms
from ..ring.planning import Policy
from .absorption.assembly import make_absorption
from .admin.administration import ClusterAdmin
from .admin.cluster_repair import ClusterRepair
from .admin.status import ClusterView
from .config.config import Config
from .coordinator.coordinator import Coordinator, Limits
from .coordinator.listing import KeyListing
from .coordinator.preconditions import Preconditions
from .coordinator.replica_queue import ReplicaQueues
from .coordinator.replica_selector import ReplicaSelector
from .coordinator.version_source import VersionSource
from .disk_identity.check import DiskCheck
from .disk_identity.history import DiskHistory
from .disk_identity.memory import ExtentMemory
from .epoch.agreed_settings import AgreedSettings
from .epoch.epochs import Epoch, Epochs
from .epoch.fenced_client import DataPlane, FencedClient
from .epoch.paxos_driver import AcceptorView, PaxosDriver
from .errors import StorageFailed
from .events import Event, EventLog
from .maintenance import MaintenanceContext, MaintenanceTasks, make_maintenance
from .members.admission import Admission
from .members.gossip_driver import GossipDriver
from .members.join import JoinProcedure
from .members.owner_discovery import OwnerDiscovery
from .messages.envelope import Reply, Request
from .peer.client import LocalIdentity, PeerClient
from .peer.server import PeerServer
from .peer.skew_guard import SkewGuard
from .place import NodeSpec, Ports
from .replica.load_meter import LoadMeter
from .replica.service import ReplicaService
from .ring_change.handoff import Handoff
from .ring_change.progress import PullTracker
from .ring_change.puller import Puller
from .ring_change.steward import Steward, StewardSettings
from .routes import register_routes
from .tasks import Tasks
from .throttle import Throttle

LAST_WRITE_S = 1.0
"""Time that a stopping node waits for its last write to be on disk."""


class Node:
    """One member of a cluster. ``failed`` is called when something ended that must not end."""

    def __init__(
        self,
        config: Config,
        place: NodeSpec,
        ports: Ports,
        log: EventLog,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._config = config
        self._ports = ports
        self._log = log
        self._began_s = ports.clock.monotonic()
        self._serving_said = False
        home = ports.home
        self.me = LocalIdentity(home.identity, home.generation, place.address, ports.rng.getrandbits(64))
        self._begun = False
        self._settings = AgreedSettings(config, log)

        self._failed = failed
        self._tasks = Tasks(failed)
        self._hybrid = HybridClock(ports.clock, config.max_clock_skew)
        self.preconditions = Preconditions(
            self._cluster_id, self._hybrid.current_ms, int(config.max_clock_skew * 1000)
        )
        """The conditions for clients' requests."""
        self._skew_guard = SkewGuard(
            ports.clock, config.max_clock_skew, config.heartbeat_interval, self._alive, log
        )
        self._load = LoadMeter(ports.clock)
        self.epochs = Epochs(self.me.identity, ports.engine, ports.compute)
        if (record := self.epochs.record) is not None:
            self._skew_guard.compare_first(record.owners.owners.keys() - {self.me.identity})
        self._peers = PeerClient(
            self.me,
            ports.transport,
            self._hybrid,
            lambda member: self.gossiping.address_of(member),
            self._cluster_id,
        )
        self._fenced = FencedClient(self._peers, self.epochs)
        self._data = DataPlane(self.epochs, ports.engine, self._fenced, config.rpc_timeout)
        self.me.unproven = "it has only just started"
        self._disk = DiskHistory(home, ports.engine, self.me.process)
        self._disk_memory = ExtentMemory(self.me.identity, home, ports.clock, self._tasks)
        self._disk_check = self._make_disk_check(place)
        self.gossiping = self._make_gossiping(place)
        self._agreement = PaxosDriver(
            self._peers, self.epochs, self._acceptor_view, self._alive, ports.rng, config.rpc_timeout
        )
        self._steward = self._make_steward()
        self._replica = ReplicaService(ports.engine, self.epochs, self._load)
        self._ranking = ReplicaRanking()
        self._pipes = ReplicaQueues(
            self._fenced, self._replica, self._ranking, ports.clock, config.rpc_timeout
        )
        self._care = self._make_care()
        self.coordinator = self._make_coordinator()
        self._handoff = self._make_handoff()
        lone = make_absorption(config, ports, self._peers, self.epochs, self.gossiping, self.coordinator, log)
        self._listening, self.absorption = lone.listening, lone.absorption
        self._joining = self._make_joining(place)
        self._reunion = self._make_reunion(place)
        self.administration = self._make_administration()
        self._dispatcher = PeerServer(self.me, self._hybrid, self._cluster_id, log)
        register_routes(
            self._dispatcher,
            self._disk_check,
            self._make_admission(),
            self._joining,
            self.gossiping,
            self._agreement,
            self._replica,
            self._care,
            lone.reception,
        )
        self._dispatcher.on_stranger = lone.claims.note
        if refusal := self.absorption.refusal():
            self._close_for(refusal)
        self.epochs.observe(self._on_epoch)
        self.gossiping.observe_arrivals(
            lambda member: self._ranking.returned(member, ports.clock.monotonic())
        )

    # --- life ---

    async def handle(self, request: Request) -> Reply:
        """Answer a peer."""
        return await self._dispatcher.handle(request)

    async def join(self) -> None:
        """Find or form the cluster, and begin everything.

        Raises JoinRefused when it is not taken, DiskReplaced when the disk may not act under its identity.
        """
        await self._disk_check.run()
        if self.absorption.verdict is not None:
            await self._be_absorbed()
            await asyncio.Event().wait()  # it never serves again
        if (epoch := self.epochs.current) is not None:
            self.gossiping.resume(epoch)
            self._begin()
            self._settings.compare(epoch.record)
            self._handoff.start(epoch)
        await self._joining.run()
        self._tasks.spawn(self._reunion.run())
        self._tasks.spawn(self._be_absorbed())
        self._say_serving()

    def lone(self) -> str:
        """Return a notice about a fresh node that is its only seed, as a sentence; empty for others."""
        return self._joining.lone()

    async def left(self) -> None:
        """Return once this node has left the cluster for good."""
        await self.gossiping.left.wait()

    async def stop(self, drain_s: float) -> None:
        """Refuse new operations, let those under way finish, end everything. The engine is the caller's to close."""
        self.coordinator.refuse_new()
        await self.coordinator.drained(drain_s)
        self._dispatcher.stopping = True
        await self._handoff.close()
        if self.gossiping.left.is_set():
            await self.gossiping.farewell()
        await self._tasks.close()
        await self.coordinator.close()
        await self._pipes.close()
        self._care.hints.writer.flush()
        await self.epochs.close()
        if not self.me.silent:
            # A disk that fails or hangs is taken for that of a process that was killed.
            with suppress(StorageFailed, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_S):
                    await self._disk.end()

    async def _be_absorbed(self) -> None:
        await self.absorption.run(self._close_for, self.coordinator.idle)

    def _close_for(self, reason: str) -> None:
        """Refuse clients and peers from now on."""
        self.coordinator.refuse_new(reason)
        self._dispatcher.closed_for = reason
        self._steward.closed = True

    # --- how the parts hang together ---

    def _begin(self) -> None:
        """Start the loops, once there is an epoch to live in."""
        if not self._begun:
            self._begun = True
            self._care.begin(self._tasks)
            self._tasks.spawn(self.gossiping.run())
            self._tasks.spawn(self._steward.run())

    def _on_epoch(self, epoch: Epoch) -> None:
        self._begin()
        self._say_serving()
        self._settings.compare(epoch.record)

    def _say_serving(self) -> None:
        if not self._serving_said and self.gossiping.own_record().status is Status.SERVING:
            self._serving_said = True
            self._log.emit(
                Event.NODE_SERVING,
                epoch=self.epochs.number,
                after_s=round(self._ports.clock.monotonic() - self._began_s, 3),
            )

    def _cluster_id(self) -> str:
        record = self.epochs.record
        return record.cluster_id if record is not None else ""

    def _alive(self) -> list[Identity]:
        return [member.identity for member in self.gossiping.members() if member.in_doubt_or_alive]

    def _acceptor_view(self) -> AcceptorView:
        members = self.gossiping.members()
        return AcceptorView(
            alive=frozenset(m.identity for m in members if m.in_doubt_or_alive),
            leaving=frozenset(m.identity for m in members if m.record.status is Status.LEAVING),
        )

    def _condition(self) -> Condition:
        return self._care.condition(self._skew_guard.off_ms())

    # --- making the larger parts ---

    def _make_disk_check(self, place: NodeSpec) -> DiskCheck:
        return DiskCheck(
            self._peers,
            self.epochs,
            self._disk,
            self._ports.home,
            self._disk_memory,
            place.seeds,
            self._ports.rng,
            self._ports.clock,
            lambda member: self.gossiping.address_of(member),
            self._failed,
            self._log,
        )

    def _make_gossiping(self, place: NodeSpec) -> GossipDriver:
        config, ports = self._config, self._ports
        settings = GossipSettings(
            heartbeat_interval_s=config.heartbeat_interval,
            indirect_probes=config.indirect_probes,
            suspicion_rounds=config.suspicion_rounds,
        )
        return GossipDriver(
            Gossip(place.first_record(self.me), settings, ports.rng, ports.clock.monotonic()),
            self._peers,
            self.epochs,
            ports.clock,
            self._tasks,
            ports.home,
            self._disk,
            self._disk_memory,
            self._disk_check,
            lambda: self._load.report(ports.engine.usage()),
            self._condition,
            self._skew_guard,
            config.heartbeat_interval,
            self._failed,
            self._log,
        )

    def _make_steward(self) -> Steward:
        config, ports = self._config, self._ports
        policy = Policy(
            config.evict_after,
            config.handoff_timeout,
            config.tokens_per_weight,
            floor_interval_s(config.tombstone_age, config.handoff_grace),
        )
        return Steward(
            self.me.identity,
            self.epochs,
            self.gossiping,
            self._agreement,
            ports.clock,
            ports.rng,
            ports.compute,
            StewardSettings(policy, config.heartbeat_interval / 2, config.settled_after_s),
            self._log,
        )

    def _make_care(self) -> MaintenanceTasks:
        ports = self._ports
        return make_maintenance(
            MaintenanceContext(
                config=self._config,
                data=self._data,
                gossiping=self.gossiping,
                clock=ports.clock,
                rng=ports.rng,
                tasks=self._tasks,
                log=self._log,
            ),
            max_followed=self._hybrid.furthest,
        )

    def _make_coordinator(self) -> Coordinator:
        config = self._config
        replicas = ReplicaSelector(
            self.me.identity,
            self._pipes,
            self.gossiping,
            self._care.hints.writer,
            self._ranking,
            self._ports.clock,
        )
        return Coordinator(
            self.me,
            self.epochs,
            replicas,
            KeyListing(self.epochs, self._fenced, replicas, self._replica, config.max_key_bytes),
            VersionSource(self.me, self.epochs, self._hybrid, self._ports.engine.latest_timestamp),
            self._skew_guard,
            self._load,
            Limits(config.max_key_bytes, config.max_value_bytes, config.max_in_flight),
            self._ports.rng,
            self._log,
            self._failed,
        )

    def _make_handoff(self) -> Handoff:
        return Handoff(
            me=self.me.identity,
            epochs=self.epochs,
            engine=self._ports.engine,
            make_puller=self._make_puller,
            grace_s=self._config.handoff_grace,
            on_failure=self._failed,
            log=self._log,
        )

    def _make_administration(self) -> ClusterAdmin:
        return ClusterAdmin(
            self._peers,
            self._fenced,
            self.epochs,
            self.gossiping,
            self._replica,
            ClusterView(
                self.me.identity,
                self.epochs,
                self.gossiping,
                self._steward,
                self._care.tombstones,
                self._ports.clock,
                self.absorption.status,
            ),
            self._steward,
            ClusterRepair(self._peers, self.epochs, self.gossiping.is_down, self._care.repair),
            self._config.rpc_timeout,
            self._config.max_key_bytes,
        )

    def _make_admission(self) -> Admission:
        return Admission(
            self._peers,
            self.epochs,
            self.gossiping,
            self._ports.clock,
            self._joining.seat,
            self._config.rpc_timeout,
            self._log,
        )

    def _make_joining(self, place: NodeSpec) -> JoinProcedure:
        config, ports = self._config, self._ports
        terms = GenesisTerms(
            seeds=tuple(sorted(set(place.seeds))) or (place.address,),
            quorums=Quorums(config.replication_factor, config.write_quorum, config.read_quorum),
            tokens_per_weight=config.tokens_per_weight,
            settings={"allow_weak_quorums": True} if config.allow_weak_quorums else {},
        )
        return JoinProcedure(
            self._peers,
            self.epochs,
            ports.engine,
            self.gossiping,
            ports.clock,
            self._skew_guard,
            self._listening,
            terms,
            list(ports.home.peers().values()),
            ports.rng,
            config.rpc_timeout,
            self._log,
        )

    def _make_reunion(self, place: NodeSpec) -> OwnerDiscovery:
        return OwnerDiscovery(
            self.gossiping,
            self._joining,
            [*place.seeds, *self._ports.home.peers().values()],
            self._ports.rng,
            self._config.heartbeat_interval,
        )

    def _make_puller(self, epoch: Epoch) -> Puller:
        config, ports = self._config, self._ports

        def report(progress: HandoffProgress) -> None:
            self.gossiping.say(handoff=progress)

        return Puller(
            epoch=epoch,
            data=self._data,
            tracker=PullTracker(epoch.number, ports.engine, report, self._log),
            throttle=Throttle(ports.clock, config.handoff_rate),
            is_down=self.gossiping.is_down,
            is_known=lambda member: self.gossiping.member(member) is not None,
            rng=ports.rng,
        )
