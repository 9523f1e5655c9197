"""A node, assembled from its parts: the table of contents. What each part does is described in its own module."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..identity import Identity
from ..membership.gossip import Gossip, OwnChanges
from ..membership.record import HandoffProgress, Status
from ..membership.settings import GossipSettings
from ..quorum.hybrid_clock import HybridClock
from ..quorum.ranking import ReplicaRanking
from ..ring.epoch import Quorums
from ..ring.floor import floor_interval_s
from ..ring.genesis import GenesisSeat, GenesisTerms, Seat
from ..ring.planning import Policy
from .absorption.absorption import Absorption
from .absorption.reception import Reception
from .absorption.transfer import Transfer
from .admin.administration import ClusterAdmin
from .admin.cluster_repair import ClusterRepair
from .admin.explain import KeyExplainer
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
from .disk_identity.memory import MemberMemory
from .disk_identity.recall import RecallResponder
from .epoch.agreed_settings import AgreedSettings
from .epoch.epochs import Epoch, Epochs
from .epoch.fenced_client import DataPlane, FencedClient
from .epoch.paxos_driver import PaxosDriver
from .errors import StorageFailed
from .events import Event, EventLog
from .maintenance import MaintenanceTasks
from .members.admission import Admission
from .members.claim_listener import ClaimListener
from .members.claims import Claims
from .members.genesis import Genesis
from .members.gossip_driver import GossipDriver
from .members.join import JoinProcedure
from .members.members import Members
from .members.seeds import SeedClient
from .messages.absorption import CALL_TIMEOUTS
from .messages.data import Reply, Request
from .peer.client import PeerClient
from .peer.server import PeerServer
from .peer.skew_guard import SkewGuard
from .ports import Ports
from .replica.load_meter import LoadMeter
from .replica.service import ReplicaService
from .ring_change.handoff import Handoff
from .ring_change.puller import Puller
from .ring_change.steward import Steward, StewardSettings
from .routes import register_routes
from .runtime import LocalIdentity, NodeSpec, Runtime
from .tasks import Tasks
from .throttle import Throttle

LAST_WRITE_S = 1.0
"""Maximum time that a stopping node waits for its last write to be on disk."""


class Node:
    """One member of a cluster. ``on_failure`` is called when something ended that must not end."""

    def __init__(
        self,
        config: Config,
        spec: NodeSpec,
        ports: Ports,
        log: EventLog,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._config = config
        self._ports = ports
        self._began_s = ports.clock.monotonic()
        self._logged_serving = self._begun = False

        # What all parts share
        home = ports.home
        process = ports.rng.getrandbits(64)
        self.me = LocalIdentity(home.identity, home.generation, address=spec.address, process=process)
        self.me.unproven = "it has only just started"
        self._runtime = runtime = Runtime(
            me=self.me, clock=ports.clock, rng=ports.rng, log=log, tasks=Tasks(on_failure)
        )
        self._settings = AgreedSettings(config, log)

        # Members, peers, and the epoch in force
        self.members = Members(self._make_gossip(spec))
        self.epochs = Epochs(self.me.identity, ports.engine, ports.compute)
        self._hybrid_clock = HybridClock(ports.clock, config.max_clock_skew)
        self._peers = PeerClient(
            self.me,
            ports.transport,
            self._hybrid_clock,
            address_of=self.members.address_of,
            cluster_id=self.epochs.cluster_id,
            rpc_timeout_s=config.rpc_timeout,
        )
        self._data = DataPlane(self.epochs, ports.engine, FencedClient(self._peers, self.epochs))
        self._skew_guard = SkewGuard(
            ports.clock,
            max_skew_s=config.max_clock_skew,
            heartbeat_interval_s=config.heartbeat_interval,
            alive=self.members.alive,
            log=log,
        )
        if self.epochs.record is not None:
            self._skew_guard.compare_first(self.epochs.record.owners.owners.keys() - {self.me.identity})

        # Whether the disk may act under its identity
        self._disk_history = DiskHistory(home, ports.engine, process)
        member_memory = MemberMemory(runtime, home)
        self._recall = RecallResponder(
            runtime,
            self._peers,
            self.epochs,
            memory=member_memory,
            home=home,
            address_of=self.members.address_of,
        )
        self._disk_check = DiskCheck(
            runtime,
            self._peers,
            self.epochs,
            history=self._disk_history,
            home=home,
            responder=self._recall,
            seeds=spec.seeds,
        )

        # Gossip, agreement, and the steward of ring changes
        self.gossip = GossipDriver(
            runtime,
            self.members,
            self._peers,
            epochs=self.epochs,
            memory=member_memory,
            disk_check=self._disk_check,
            skew_guard=self._skew_guard,
        )
        self._agreement = PaxosDriver(runtime, self._peers, self.epochs, members=self.members)
        self._steward = self._make_steward()

        # The data path, as a replica and as a coordinator
        self._load = LoadMeter(ports.clock)
        self._replica = ReplicaService(ports.engine, self.epochs, self._load)
        self._ranking = ReplicaRanking()
        self._replica_queues = ReplicaQueues(
            self._data.peers, self._replica, self._ranking, clock=ports.clock
        )
        self.maintenance = MaintenanceTasks(
            config,
            runtime,
            self._data,
            gossip=self.gossip,
            skew_guard=self._skew_guard,
            max_timestamp=self._hybrid_clock.furthest,
        )
        self.preconditions = Preconditions(
            self.epochs.cluster_id, self._hybrid_clock.current_ms, int(config.max_clock_skew * 1000)
        )
        """The conditions for clients' requests."""
        self.coordinator = self._make_coordinator()
        self._handoff = Handoff(
            runtime, self.epochs, ports.engine, puller=self._make_puller, grace_s=config.handoff_grace
        )

        # A cluster of one, and the cluster that counts its node as a member
        claims = Claims(self._peers, self.epochs)
        self.absorption = Absorption(
            runtime,
            self.epochs,
            self.members,
            engine=ports.engine,
            claims=claims,
            transfer=Transfer(
                runtime,
                self._peers,
                claims,
                engine=ports.engine,
                timeout_s=CALL_TIMEOUTS * config.rpc_timeout,
            ),
        )
        self._reception = Reception(
            runtime,
            self.epochs,
            self.members,
            coordinator=self.coordinator,
            max_skew_s=config.max_clock_skew,
            write_timeout_s=config.rpc_timeout,
        )

        # Joining, and letting others join
        listener = ClaimListener(claims, self.me.identity.name, config.heartbeat_interval, log=log)
        self._known_addresses = list(home.peers().values())
        self._seed_addresses = [*spec.seeds, *self._known_addresses]
        self._seeds = SeedClient(
            runtime,
            self.members,
            self.gossip,
            peers=self._peers,
            epochs=self.epochs,
            skew_guard=self._skew_guard,
        )
        self._genesis = self._make_genesis(spec, listener)
        self._join = JoinProcedure(
            runtime,
            self.members,
            self.gossip,
            epochs=self.epochs,
            seeds=self._seeds,
            genesis=self._genesis,
            listener=listener,
        )

        # What peers and operators call
        self.administration = self._make_administration()
        self._server = PeerServer(
            runtime, self._hybrid_clock, cluster_id=self.epochs.cluster_id, on_stranger=claims.note
        )
        register_routes(
            self._server,
            recall=self._recall,
            admission=Admission(
                runtime,
                self.members,
                self.gossip,
                peers=self._peers,
                epochs=self.epochs,
                genesis=self._genesis,
            ),
            genesis=self._genesis,
            gossip=self.gossip,
            agreement=self._agreement,
            replica=self._replica,
            maintenance=self.maintenance,
            reception=self._reception,
        )
        if refusal := self.absorption.refusal():
            self._close_for(refusal)

        # Who is called, in this order, with each epoch that is adopted, and with each member that arrives
        self.epochs.observe(
            self.gossip.on_epoch,
            self.maintenance.anti_entropy.on_epoch,
            self.maintenance.disk.recovery.on_epoch,
            self.maintenance.tombstones.on_epoch,
            self._handoff.start,
            self.absorption.on_epoch,
            self._on_epoch,
        )
        self.gossip.observe_arrivals(self.maintenance.anti_entropy.mark, self._on_arrival)

    # --- start and stop ---

    async def handle(self, request: Request) -> Reply:
        """Answer a peer."""
        return await self._server.handle(request)

    async def join(self) -> None:
        """Find or form the cluster, and begin everything.

        Raises JoinRefused when it is not taken, DiskReplaced when the disk may not act under its identity.
        """
        await self._disk_check.run()
        if self.absorption.verdict is not None:
            await self._be_absorbed()
            await asyncio.Event().wait()  # it never serves again
        if (epoch := self.epochs.current) is not None:
            self.gossip.resume(epoch)
            self._begin()
            self._settings.compare(epoch.record)
            self._handoff.start(epoch)
        await self._join.run()
        tasks = self._runtime.tasks
        tasks.spawn(self._seeds.discover_owners(self._seed_addresses, self._config.heartbeat_interval))
        tasks.spawn(self._be_absorbed())
        self._log_serving()

    def lone(self) -> str:
        """Return a notice about a fresh node that is its only seed, as a sentence; empty for others."""
        return self._join.lone()

    async def left(self) -> None:
        """Return once this node has left the cluster for good."""
        await self.gossip.left.wait()

    async def stop(self, drain_s: float) -> None:
        """Refuse new operations, let those under way finish, end everything. The caller closes the engine."""
        self.coordinator.refuse_new()
        await self.coordinator.drained(drain_s)
        self._server.stopping = True
        await self._handoff.close()
        if self.gossip.left.is_set():
            await self.gossip.announce_departure()
        await self._runtime.tasks.close()
        await self.coordinator.close()
        await self._replica_queues.close()
        self.maintenance.hints.writer.write()
        await self.epochs.close()
        if not self.me.silent:
            # A disk that fails or hangs now counts as that of a process that was killed.
            with suppress(StorageFailed, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_S):
                    await self._disk_history.end()

    async def _be_absorbed(self) -> None:
        await self.absorption.run(self._close_for, self.coordinator.idle)

    def _close_for(self, reason: str) -> None:
        """Refuse clients and peers from now on."""
        self.coordinator.refuse_new(reason)
        self._server.closed_for = reason
        self._steward.closed = True

    def _begin(self) -> None:
        """Start the loops, once there is an epoch."""
        if not self._begun:
            self._begun = True
            self.maintenance.begin()
            self._runtime.tasks.spawn(self.gossip.run(self._own_report))
            self._runtime.tasks.spawn(self._steward.run())

    def _own_report(self) -> OwnChanges:
        """Return what each heartbeat publishes of this node."""
        return {
            "load": self._load.report(self._ports.engine.usage()),
            "condition": self.maintenance.health(),
            "mark": self._disk_history.extent().mark,
        }

    def _on_epoch(self, epoch: Epoch) -> None:
        self._begin()
        self._log_serving()
        self._settings.compare(epoch.record)

    def _on_arrival(self, member: Identity) -> None:
        self._ranking.returned(member, self._ports.clock.monotonic())

    def _log_serving(self) -> None:
        if not self._logged_serving and self.members.own_record().status is Status.SERVING:
            self._logged_serving = True
            self._runtime.log.emit(
                Event.NODE_SERVING,
                epoch=self.epochs.number,
                after_s=round(self._ports.clock.monotonic() - self._began_s, 3),
            )

    # --- the parts that need more than their neighbours ---

    def _make_gossip(self, spec: NodeSpec) -> Gossip:
        config, ports = self._config, self._ports
        settings = GossipSettings(
            heartbeat_interval_s=config.heartbeat_interval,
            indirect_probes=config.indirect_probes,
            suspicion_rounds=config.suspicion_rounds,
        )
        return Gossip(spec.first_record(self.me), settings, ports.rng, now=ports.clock.monotonic())

    def _make_steward(self) -> Steward:
        config = self._config
        policy = Policy(
            evict_after_s=config.evict_after,
            handoff_timeout_s=config.handoff_timeout,
            tokens_per_weight=config.tokens_per_weight,
            floor_interval_s=floor_interval_s(config.tombstone_age, config.handoff_grace),
        )
        return Steward(
            self._runtime,
            self.epochs,
            self.members,
            agreement=self._agreement,
            compute=self._ports.compute,
            settings=StewardSettings(policy, config.heartbeat_interval / 2, config.settled_after_s),
        )

    def _make_coordinator(self) -> Coordinator:
        config = self._config
        replicas = ReplicaSelector(
            self.me.identity,
            self._replica_queues,
            self.members,
            hints=self.maintenance.hints.writer,
            ranking=self._ranking,
            clock=self._ports.clock,
        )
        return Coordinator(
            self.me,
            self.epochs,
            replicas,
            listing=KeyListing(
                self.epochs,
                self._data.peers,
                replicas,
                replica=self._replica,
                max_key_bytes=config.max_key_bytes,
            ),
            versions=VersionSource(
                self.me, self.epochs, self._hybrid_clock, latest_on_disk=self._ports.engine.latest_timestamp
            ),
            skew_guard=self._skew_guard,
            load=self._load,
            limits=Limits(config.max_key_bytes, config.max_value_bytes, config.max_in_flight),
            rng=self._ports.rng,
            log=self._runtime.log,
            failed=self._runtime.tasks.on_failure,
        )

    def _make_puller(self, epoch: Epoch) -> Puller:
        return Puller(
            self._runtime,
            self._data,
            self.members,
            epoch=epoch,
            throttle=Throttle(self._ports.clock, self._config.handoff_rate),
            report=self._report_handoff,
        )

    def _report_handoff(self, progress: HandoffProgress) -> None:
        self.gossip.publish(handoff=progress)

    def _make_genesis(self, spec: NodeSpec, listener: ClaimListener) -> Genesis:
        config = self._config
        terms = GenesisTerms(
            seeds=tuple(sorted(set(spec.seeds))) or (spec.address,),
            quorums=Quorums(config.replication_factor, config.write_quorum, config.read_quorum),
            tokens_per_weight=config.tokens_per_weight,
            settings={"allow_weak_quorums": True} if config.allow_weak_quorums else {},
        )
        seat = Seat(spec.address, self.me.identity, zone=spec.zone, weight=spec.weight)
        return Genesis(
            self._runtime,
            self._peers,
            self.epochs,
            engine=self._ports.engine,
            listener=listener,
            seat=GenesisSeat(seat, terms),
            known_addresses=self._known_addresses,
        )

    def _make_administration(self) -> ClusterAdmin:
        return ClusterAdmin(
            self.gossip,
            self._peers,
            self.epochs,
            steward=self._steward,
            view=ClusterView(
                self._runtime,
                self.epochs,
                self.members,
                steward=self._steward,
                tombstones=self.maintenance.tombstones,
                under_way=self.absorption.status,
            ),
            explainer=KeyExplainer(
                self._data, self.members, self._replica, max_key_bytes=self._config.max_key_bytes
            ),
            repair=ClusterRepair(
                self._peers, self.epochs, self.members, repair=self.maintenance.anti_entropy
            ),
        )
