"""The parts of a node and how they depend on each other: the table of contents of ``node``.

Each method makes some parts from those made before it. A part is described in its own module; ``node`` describes how
parts are used when a node starts, adopts an epoch, and stops.
"""

from __future__ import annotations

from collections.abc import Callable

from ..membership.record import HandoffProgress
from ..quorum.hybrid_clock import HybridClock
from ..quorum.ranking import ReplicaRanking
from .absorption.absorption import Absorption
from .absorption.reception import Reception
from .admin.administration import ClusterAdmin
from .admin.explain import KeyExplainer
from .admin.status import ClusterView
from .config.config import Config
from .coordinator.context import CoordinatorContext
from .coordinator.coordinator import Coordinator, Limits
from .coordinator.listing import KeyListing
from .coordinator.replica_queue import ReplicaQueues
from .coordinator.replica_selector import ReplicaSelector
from .coordinator.request_checks import Preconditions
from .coordinator.version_source import VersionSource
from .disk_identity.check import DiskCheck
from .disk_identity.history import DiskHistory
from .disk_identity.memory import MemberMemory
from .disk_identity.recall import RecallResponder
from .epoch.agreed_settings import AgreedSettings
from .epoch.epochs import Epoch, Epochs
from .epoch.fenced_client import DataPlane, FencedClient
from .epoch.paxos_driver import PaxosDriver
from .events import EventLog
from .maintenance import MaintenanceTasks
from .members.admission import Admission
from .members.claims import ClaimListener, Claims
from .members.genesis import Genesis, seat_of
from .members.gossip_driver import GossipDriver
from .members.join import JoinProcedure
from .members.members import Members
from .members.seeds import SeedClient
from .peer.client import PeerClient
from .peer.server import PeerServer
from .peer.skew_guard import SkewGuard
from .ports import Ports
from .replica.load_meter import LoadMeter
from .replica.service import ReplicaService
from .ring_change.handoff import Handoff
from .ring_change.progress import PullTracker
from .ring_change.puller import Puller
from .ring_change.steward import Steward, StewardSettings
from .routes import register_routes
from .runtime import LocalIdentity, NodeSpec, Runtime
from .tasks import Tasks
from .throttle import Throttle


class NodeParts:
    def __init__(
        self,
        config: Config,
        spec: NodeSpec,
        ports: Ports,
        log: EventLog,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._config = config
        self._spec = spec
        self._ports = ports
        home = ports.home
        process = ports.rng.getrandbits(64)
        self.me = LocalIdentity(home.identity, home.generation, spec.address, process=process)
        self.me.unproven = "it has only just started"
        self._runtime = Runtime(
            me=self.me, clock=ports.clock, rng=ports.rng, log=log, tasks=Tasks(on_failure)
        )
        self._known_addresses = list(home.peers().values())
        self._make_peers()
        self._make_disk_identity()
        self._make_agreement()
        self._make_data_path()
        self._make_absorption()
        self._make_joining()
        self._make_administration()
        self._make_server()

    def _make_peers(self) -> None:
        """Make the members, the epoch in force, and the clients of peers."""
        config, ports, me = self._config, self._ports, self.me
        self.members = Members(config, self._spec, self._runtime)
        self.epochs = Epochs(me.identity, ports.engine, ports.compute)
        self._settings = AgreedSettings(config, self._runtime.log)
        self._hybrid_clock = HybridClock(ports.clock, config.max_clock_skew)
        self._peers = PeerClient(
            me,
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
            log=self._runtime.log,
        )
        if self.epochs.record is not None:
            self._skew_guard.compare_first(self.epochs.record.owners.owners.keys() - {me.identity})

    def _make_disk_identity(self) -> None:
        """Make the parts that check whether the disk may be used under its identity."""
        home = self._ports.home
        self._disk_history = DiskHistory(home, self._ports.engine, self.me.process)
        self._memory = MemberMemory(self._runtime, home)
        self._recall = RecallResponder(
            self._runtime,
            self._peers,
            self.epochs,
            memory=self._memory,
            home=home,
            address_of=self.members.address_of,
        )
        self._disk_check = DiskCheck(
            self._runtime,
            self._peers,
            self.epochs,
            history=self._disk_history,
            home=home,
            responder=self._recall,
            seeds=self._spec.seeds,
        )

    def _make_agreement(self) -> None:
        """Make gossip, agreement on the next epoch, and the steward that proposes it."""
        self.gossip = GossipDriver(
            self._runtime,
            self.members,
            self._peers,
            epochs=self.epochs,
            memory=self._memory,
            disk_check=self._disk_check,
            skew_guard=self._skew_guard,
        )
        self._agreement = PaxosDriver(self._runtime, self._peers, self.epochs, members=self.members)
        self._steward = Steward(
            self._runtime,
            self.epochs,
            self.members,
            agreement=self._agreement,
            compute=self._ports.compute,
            settings=StewardSettings.of(self._config),
        )

    def _make_data_path(self) -> None:
        """Make the replica, the coordinator, the maintenance of data, and the handoff."""
        config, ports = self._config, self._ports
        self._load = LoadMeter(ports.clock)
        self._ranking = ReplicaRanking()
        self._replica = ReplicaService(ports.engine, self.epochs, self._load)
        self._replica_queues = ReplicaQueues(
            self._data.peers, self._replica, self._ranking, clock=ports.clock
        )
        self.maintenance = MaintenanceTasks(
            config,
            self._runtime,
            self._data,
            gossip=self.gossip,
            skew_guard=self._skew_guard,
            max_timestamp=self._hybrid_clock.latest_followed,
        )
        self.preconditions = Preconditions(
            self.epochs.cluster_id, self._hybrid_clock.current_ms, int(config.max_clock_skew * 1000)
        )
        """Preconditions of clients' requests."""
        self.coordinator = self._make_coordinator()
        self._handoff = Handoff(
            self._runtime,
            self.epochs,
            ports.engine,
            make_puller=self._make_puller,
            grace_s=config.handoff_grace,
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
        context = CoordinatorContext(
            me=self.me,
            epochs=self.epochs,
            replicas=replicas,
            versions=VersionSource(
                self.me, self.epochs, self._hybrid_clock, latest_on_disk=self._ports.engine.latest_timestamp
            ),
            load=self._load,
            rng=self._ports.rng,
            log=self._runtime.log,
        )
        return Coordinator(
            context,
            listing=KeyListing(
                self.epochs,
                self._data.peers,
                replicas,
                replica=self._replica,
                max_key_bytes=config.max_key_bytes,
            ),
            skew_guard=self._skew_guard,
            limits=Limits(config.max_key_bytes, config.max_value_bytes, config.max_in_flight),
            tasks=Tasks(self._runtime.tasks.on_failure, config.max_in_flight),
        )

    def _make_puller(self, epoch: Epoch) -> Puller:
        return Puller(
            self._runtime,
            self._data,
            self.members,
            epoch=epoch,
            throttle=Throttle(self._ports.clock, self._config.handoff_rate),
            tracker=PullTracker(
                epoch=epoch.number,
                engine=self._ports.engine,
                publish=self._report_handoff,
                log=self._runtime.log,
            ),
        )

    def _report_handoff(self, progress: HandoffProgress) -> None:
        self.gossip.publish(handoff=progress)

    def _make_absorption(self) -> None:
        """Make the parts by which a cluster absorbs a cluster of one node."""
        config = self._config
        self._claims = Claims(self._peers, self.epochs)
        self.absorption = Absorption(
            self._runtime,
            self._peers,
            self._data,
            members=self.members,
            claims=self._claims,
            call_timeout_s=config.rpc_timeout,
        )
        self._reception = Reception(
            self._runtime,
            self.epochs,
            self.members,
            coordinator=self.coordinator,
            max_skew_s=config.max_clock_skew,
            write_timeout_s=config.rpc_timeout,
        )

    def _make_joining(self) -> None:
        """Make the parts that join a cluster, form one, and admit other nodes."""
        config, runtime = self._config, self._runtime
        listener = ClaimListener(
            self._claims, self.me.identity.name, config.heartbeat_interval, log=runtime.log
        )
        self._seeds = SeedClient(
            runtime, self.gossip, self._peers, epochs=self.epochs, skew_guard=self._skew_guard
        )
        self._genesis = Genesis(
            runtime,
            self._peers,
            self.epochs,
            engine=self._ports.engine,
            listener=listener,
            seat=seat_of(config, self._spec, self.me),
            known_addresses=self._known_addresses,
        )
        self._join = JoinProcedure(
            runtime, self.gossip, self.epochs, seeds=self._seeds, genesis=self._genesis, listener=listener
        )
        self._admission = Admission(
            runtime, self.gossip, self._peers, epochs=self.epochs, genesis=self._genesis
        )

    def _make_administration(self) -> None:
        """Make the administration, which operators call."""
        self.administration = ClusterAdmin(
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
            anti_entropy=self.maintenance.anti_entropy,
        )

    def _make_server(self) -> None:
        """Make the server, which peers call."""
        self._server = PeerServer(
            self._runtime, self._hybrid_clock, self.epochs.cluster_id, on_foreign_request=self._claims.note
        )
        register_routes(
            self._server,
            recall=self._recall,
            admission=self._admission,
            genesis=self._genesis,
            gossip=self.gossip,
            agreement=self._agreement,
            replica=self._replica,
            maintenance=self.maintenance,
            reception=self._reception,
        )
