"""Stations: the data path and the vote of a node (engine, epochs, replica, peers), without gossip or steward.

They are joined by the simulator's network, which encodes and decodes every message. Who is down is told, not
found out.
"""

from __future__ import annotations

import asyncio
import random
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
from covey.node.epoch.paxos_driver import AcceptorView, PaxosDriver
from covey.node.events import Event, EventLog
from covey.node.hints.store import Hint
from covey.node.messages.anti_entropy import TreeQuery
from covey.node.messages.control import Accept, Acknowledged, Prepare, PushRecord
from covey.node.messages.data import DataBatch, Scan, SizeQuery
from covey.node.messages.envelope import Envelope
from covey.node.peer.client import LocalIdentity, PeerClient
from covey.node.peer.server import PeerServer
from covey.node.replica.load_meter import LoadMeter
from covey.node.replica.service import ReplicaService
from covey.node.storage.interface import Entry
from covey.node.storage.memory import MemoryEngine
from covey.node.throttle import Throttle
from covey.quorum.hybrid_clock import HybridClock
from covey.quorum.ranking import ReplicaRanking
from covey.quorum.version import Version
from covey.ring import EpochRecord
from tests.simulation.cluster import SimulatedClock
from tests.simulation.network import Network, SimulatedTransport
from tests.support.clocks import ManualClock

RPC_TIMEOUT_S = 0.2


class Lines(EventLog):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[Event, dict[str, Any]]] = []

    def emit(self, event: Event, **fields: object) -> None:
        assert event.value.fault(fields) is None, event.value.fault(fields)
        self.lines.append((event, fields))

    def would_log(self, event: Event) -> bool:
        return True

    def of(self, event: Event) -> list[dict[str, Any]]:
        return [fields for logged, fields in self.lines if logged is event]


class KeptHints:
    """Where a coordinator leaves its hints."""

    def __init__(self) -> None:
        self.kept: list[Hint] = []

    def keep(self, to: Identity, key: bytes, entry: Entry) -> None:
        self.kept.append(Hint(to, key, entry))


class Station:
    def __init__(self, stations: Stations, me: Identity) -> None:
        self.me = me
        self.clock = ManualClock()
        self.log = Lines()
        self.flushes = asyncio.Event()
        """Cleared, it holds every flush of the disk."""
        self.flushes.set()
        self.engine = MemoryEngine("sync", sleep=self._flush)
        self.epochs = Epochs(me, self.engine)
        hybrid = HybridClock(self.clock, 0.5)
        itself = LocalIdentity(me, 1, f"{me.name}:1")
        transport = SimulatedTransport(stations.network, me.name)
        self.peers = PeerClient(itself, transport, hybrid, stations.address_of, self._cluster_id)
        self.fenced = FencedClient(self.peers, self.epochs)
        self.load = LoadMeter(self.clock)
        self.replica = ReplicaService(self.engine, self.epochs, self.load)
        self.ranking = ReplicaRanking()
        self.pipes = ReplicaQueues(self.fenced, self.replica, self.ranking, SimulatedClock(), RPC_TIMEOUT_S)
        self.hints = KeptHints()
        self.replicas = ReplicaSelector(me, self.pipes, stations, self.hints, self.ranking, SimulatedClock())
        self.data = DataPlane(self.epochs, self.engine, self.fenced, RPC_TIMEOUT_S)
        self.digests = Digests(self.data)
        self.anti_entropy = AntiEntropyResponder(
            data=self.data,
            digests=self.digests,
            make_session=self._make_session,
            clock=SimulatedClock(),
            log=self.log,
        )
        self.agreement = PaxosDriver(
            self.peers,
            self.epochs,
            lambda: AcceptorView(frozenset(stations.up()), frozenset()),
            stations.up,
            random.Random(me.disk_id),
            RPC_TIMEOUT_S,
        )
        self.dispatcher = PeerServer(itself, hybrid, self._cluster_id, self.log)
        self._register()
        stations.network.open(itself.address, me.name, self.dispatcher.handle)

    def hold(self, *entries: tuple[bytes, Entry]) -> None:
        self.engine.merge(entries)

    def _make_session(self, epoch: Epoch, peer: Identity) -> AntiEntropySession:
        return AntiEntropySession(
            epoch=epoch,
            peer=peer,
            data=self.data,
            digests=self.digests,
            throttle=Throttle(self.clock, 0),
            rng=random.Random(self.me.disk_id),
        )

    async def _flush(self, latency_s: float) -> None:
        await self.flushes.wait()

    def _cluster_id(self) -> str:
        return self.epochs.record.cluster_id if self.epochs.record is not None else ""

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


class Stations:
    """Several stations; also the view that they have of each other."""

    def __init__(self, *who: Identity) -> None:
        self.network = Network(random.Random(1))
        self.down: set[Identity] = set()
        self.unheard: set[Identity] = set()
        """Whom gossip has not told of yet."""
        self._by_identity: dict[Identity, Station] = {}
        for identity in who:
            self._by_identity[identity] = Station(self, identity)

    def __getitem__(self, identity: Identity) -> Station:
        return self._by_identity[identity]

    def all(self) -> list[Station]:
        return list(self._by_identity.values())

    async def adopt(self, record: EpochRecord, *who: Identity) -> None:
        """Have these (all, when none is named) at ``record``."""
        for identity in who or self._by_identity:
            await self[identity].epochs.adopt(record)

    def kill(self, identity: Identity, *, noticed: bool = True) -> None:
        self.network.shut(f"{identity.name}:1")
        if noticed:
            self.down.add(identity)

    async def close(self) -> None:
        for station in self.all():
            await station.pipes.close()
            await station.epochs.close()
            await station.engine.close()

    # --- the view ---

    def up(self) -> list[Identity]:
        return [identity for identity in self._by_identity if identity not in self.down]

    def is_down(self, member: Identity) -> bool:
        return member in self.down | self.unheard

    def load_of(self, member: Identity) -> LoadReport | None:
        return LoadReport()

    def address_of(self, member: Identity) -> str | None:
        return f"{member.name}:1" if member in self._by_identity and self.has_heard_of(member) else None

    def has_heard_of(self, member: Identity) -> bool:
        return member not in self.unheard


def version(number: int) -> Version:
    return Version(number, 7, 1)


def entry(number: int, value: bytes | None = b"v") -> Entry:
    """A value, or with None a tombstone, of the version so numbered."""
    return Entry(version(number), value)
