"""The handler of each type of request from peers."""

from __future__ import annotations

from .absorption.reception import Reception
from .disk_identity.recall import RecallResponder
from .epoch.paxos_driver import PaxosDriver
from .maintenance import MaintenanceTasks
from .members.admission import Admission
from .members.genesis import Genesis
from .members.gossip_driver import GossipDriver
from .messages.absorption import Contribution, MembershipQuery
from .messages.anti_entropy import RequestRepair, TreeQuery
from .messages.control import Accept, Acknowledged, FetchRecord, Prepare, PushRecord, RequestLeave
from .messages.data import DataBatch, Scan, SizeQuery
from .messages.envelope import Envelope
from .messages.membership import ConfirmGenesis, GossipDelta, GossipSyn, Hello, Ping, ProbeRequest, Recall
from .messages.tombstones import Confirm, Purge
from .peer.server import PeerServer
from .replica.service import ReplicaService


def register_routes(
    server: PeerServer,
    *,
    recall: RecallResponder,
    admission: Admission,
    genesis: Genesis,
    gossip: GossipDriver,
    agreement: PaxosDriver,
    replica: ReplicaService,
    maintenance: MaintenanceTasks,
    reception: Reception,
) -> None:
    async def leave(envelope: Envelope, message: RequestLeave) -> Acknowledged:
        gossip.leave()
        return Acknowledged()

    server.register(Recall, recall.on_recall)
    server.register(Hello, admission.hello)
    server.register(ConfirmGenesis, genesis.confirm)
    server.register(GossipSyn, gossip.on_syn)
    server.register(GossipDelta, gossip.on_delta)
    server.register(ProbeRequest, gossip.on_probe)
    server.register(Ping, gossip.on_ping)
    server.register(RequestLeave, leave)
    server.register(Prepare, lambda _, message: agreement.prepare(message))
    server.register(Accept, lambda _, message: agreement.accept(message))
    server.register(PushRecord, agreement.on_push_record)
    server.register(FetchRecord, agreement.on_fetch_record)
    server.register(DataBatch, lambda _, message: replica.serve(message))
    server.register(Scan, lambda _, message: replica.scan(message))
    server.register(SizeQuery, lambda _, message: replica.size(message))
    server.register(TreeQuery, maintenance.anti_entropy.on_tree_query)
    server.register(RequestRepair, maintenance.anti_entropy.on_request)
    server.register(Confirm, lambda _, message: maintenance.tombstones.replica.confirm(message))
    server.register(MembershipQuery, reception.on_query)
    server.register(Contribution, reception.on_contribution)
    server.register(Purge, lambda _, message: maintenance.tombstones.replica.purge(message))
