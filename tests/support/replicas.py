"""Replica hosts: a node's data path and acceptor (engine, epochs, replica, peers), without gossip and steward.

They are connected by the simulator's network, which encodes and decodes every message. A test sets which are down.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

from covey.identity import Identity
from covey.membership.record import LoadReport
from covey.node.anti_entropy.digests import Digests
from covey.node.anti_entropy.responder import AntiEntropyResponder
from covey.node.anti_entropy.session import AntiEntropySession
from covey.node.coordinator.replica_queue import ReplicaQueues
from covey.node.coordinator.replica_selector import ReplicaSelector
from covey.node.epoch.epochs import Epoch, Epochs
from covey.node.epoch.fenced_client import DataPlane, FencedClient
from covey.node.epoch.paxos_driver import PaxosDriver
from covey.node.events import Event, EventLog
from covey.node.hints.store import Hint
from covey.node.members.members import Members
from covey.node.messages.anti_entropy import TreeQuery
from covey.node.messages.control import Accept, Acknowledged, Prepare, PushRecord
from covey.node.messages.data import DataBatch, Scan, SizeQuery
from covey.node.messages.envelope import Envelope
from covey.node.peer.client import PeerClient
from covey.node.peer.server import PeerServer
from covey.node.replica.load_meter import LoadMeter
from covey.node.replica.service import ReplicaService
from covey.node.runtime import LocalIdentity, Runtime
from covey.node.storage.interface import Entry
from covey.node.tasks import Tasks
from covey.node.throttle import Throttle
from covey.quorum.hybrid_clock import HybridClock
from covey.quorum.ranking import ReplicaRanking
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord
from tests.simulator.cluster import SimulatedClock
from tests.simulator.network import Network, SimulatedTransport
from tests.support.manual_clock import ManualClock
from tests.support.memory_engine import MemoryEngine

RPC_TIMEOUT_S = 0.2


class EventRecorder(EventLog):
    """An event log that keeps all events."""

    def __init__(self) -> None:
        self.lines: list[tuple[Event, dict[str, Any]]] = []

    def emit(self, event: Event, **fields: object) -> None:
        assert event.value.fault(fields) is None, event.value.fault(fields)
        self.lines.append((event, fields))

    def would_log(self, event: Event) -> bool:
        return True

    def of(self, event: Event) -> list[dict[str, Any]]:
        return [fields for logged, fields in self.lines if logged is event]


class RecordedHints:
    """A sink that keeps a coordinator's hints."""

    def __init__(self) -> None:
        self.kept: list[Hint] = []

    def keep(self, to: Identity, key: bytes, entry: Entry) -> None:
        self.kept.append(Hint(to, key, entry))


class ReplicaHost:
    def __init__(self, hosts: ReplicaHosts, me: Identity) -> None:
        self.me = me
        self.clock = ManualClock()
        self.log = EventRecorder()
        self.failures: list[BaseException] = []
        self.flushes = asyncio.Event()
        """While cleared, no fsync of the disk completes."""
        self.flushes.set()
        self.engine = MemoryEngine("sync", sleep=self._flush)
        self.epochs = Epochs(me, self.engine)
        hybrid = HybridClock(self.clock, 0.5)
        itself = LocalIdentity(me, 1, f"{me.name}:1")
        transport = SimulatedTransport(hosts.network, me.name)
        self.runtime = Runtime(
            itself, self.clock, random.Random(me.disk_id), self.log, Tasks(self.failures.append)
        )
        self.peers = PeerClient(
            itself,
            transport,
            hybrid,
            address_of=hosts.address_of,
            cluster_id=self.epochs.cluster_id,
            rpc_timeout_s=RPC_TIMEOUT_S,
        )
        self.fenced = FencedClient(self.peers, self.epochs)
        self.data = DataPlane(self.epochs, self.engine, self.fenced)
        self.load = LoadMeter(self.clock)
        self.replica = ReplicaService(self.engine, self.epochs, self.load)
        self.ranking = ReplicaRanking()
        self.queues = ReplicaQueues(self.fenced, self.replica, self.ranking, clock=SimulatedClock())
        self.hints = RecordedHints()
        self.replicas = ReplicaSelector(
            me=me,
            queues=self.queues,
            view=hosts,
            hints=self.hints,
            ranking=self.ranking,
            clock=SimulatedClock(),
        )
        self.digests = Digests(me, self.data)
        self.anti_entropy = AntiEntropyResponder(
            self.simulated(), self.data, self.digests, make_session=self._make_session
        )
        self.agreement = PaxosDriver(self.runtime, self.peers, self.epochs, members=hosts)
        self.dispatcher = PeerServer(
            self.runtime, hybrid, cluster_id=self.epochs.cluster_id, on_foreign_request=lambda envelope: None
        )
        self._register()
        hosts.network.open(itself.address, me.name, self.dispatcher.handle)

    def hold(self, *entries: tuple[bytes, Entry]) -> None:
        self.engine.merge(entries)

    def _make_session(self, epoch: Epoch, peer: Identity) -> AntiEntropySession:
        return AntiEntropySession(
            self.simulated(),
            self.data,
            self.digests,
            throttle=Throttle(self.clock, 0),
            epoch=epoch,
            peer=peer,
        )

    def simulated(self, seed: int | None = None) -> Runtime:
        """Return the host's runtime on the simulator's clock, with a random source of this seed."""
        rng = random.Random(self.me.disk_id if seed is None else seed)
        return replace(self.runtime, clock=SimulatedClock(), rng=rng)

    async def _flush(self, latency_s: float) -> None:
        await self.flushes.wait()

    def _register(self) -> None:
        async def push(_: Envelope, message: PushRecord) -> Acknowledged:
            await self.epochs.adopt(message.record)
            return Acknowledged()

        self.dispatcher.register(PushRecord, push)
        self.dispatcher.register(Prepare, lambda _, message: self.agreement.prepare(message))
        self.dispatcher.register(Accept, lambda _, message: self.agreement.accept(message))
        self.dispatcher.register(DataBatch, lambda _, message: self.replica.serve(message))
        self.dispatcher.register(Scan, lambda _, message: self.replica.scan(message))
        self.dispatcher.register(SizeQuery, lambda _, message: self.replica.size(message))
        self.dispatcher.register(
            TreeQuery, lambda envelope, message: self.anti_entropy.answer(envelope.source, message)
        )


class ReplicaHosts(Members):
    """Several replica hosts; also the members that each of them knows."""

    def __init__(self, *who: Identity) -> None:
        self.network = Network(random.Random(1))
        self.down: set[Identity] = set()
        self.unheard: set[Identity] = set()
        """Members that gossip has not spread yet."""
        self._by_identity: dict[Identity, ReplicaHost] = {}
        for identity in who:
            self._by_identity[identity] = ReplicaHost(self, identity)

    def __getitem__(self, identity: Identity) -> ReplicaHost:
        return self._by_identity[identity]

    def each(self) -> list[ReplicaHost]:
        return list(self._by_identity.values())

    async def adopt(self, record: EpochRecord, *who: Identity) -> None:
        """Have these hosts (by default all) adopt ``record``."""
        for identity in who or self._by_identity:
            await self[identity].epochs.adopt(record)

    def kill(self, identity: Identity, *, noticed: bool = True) -> None:
        self.network.shut(f"{identity.name}:1")
        if noticed:
            self.down.add(identity)

    async def close(self) -> None:
        for host in self.each():
            await host.queues.close()
            await host.epochs.close()
            await host.engine.close()

    # --- the view ---

    def alive(self) -> list[Identity]:
        return [identity for identity in self._by_identity if identity not in self.down]

    def is_down(self, member: Identity) -> bool:
        return member in self.down | self.unheard

    def leaving(self) -> list[Identity]:
        return []

    def load_of(self, member: Identity) -> LoadReport | None:
        return LoadReport()

    def address_of(self, member: Identity) -> str | None:
        return f"{member.name}:1" if member in self._by_identity and self.is_known(member) else None

    def is_known(self, member: Identity) -> bool:
        return member not in self.unheard


def version(number: int) -> Version:
    return Version(number, 7, 1)


def entry(number: int, value: bytes | None = b"v") -> Entry:
    """A value, or with None a tombstone, of the version so numbered."""
    return Entry(version(number), value)
