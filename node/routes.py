"""Which part of the node answers which message of a peer."""

from __future__ import annotations

from .absorption.reception import Reception
from .disk_identity.check import DiskCheck
from .epoch.paxos_driver import PaxosDriver
from .maintenance import MaintenanceTasks
from .members.admission import Admission
from .members.gossip_driver import GossipDriver
from .members.join import JoinProcedure
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
    dispatcher: PeerServer,
    disk_check: DiskCheck,
    admission: Admission,
    joining: JoinProcedure,
    gossiping: GossipDriver,
    agreement: PaxosDriver,
    replica: ReplicaService,
    care: MaintenanceTasks,
    reception: Reception,
) -> None:
    async def leave(envelope: Envelope, message: RequestLeave) -> Acknowledged:
        gossiping.leave()
        return Acknowledged()

    dispatcher.register(Recall, disk_check.on_recall)
    dispatcher.register(Hello, admission.hello)
    dispatcher.register(ConfirmGenesis, joining.confirm)
    dispatcher.register(GossipSyn, gossiping.on_exchange)
    dispatcher.register(GossipDelta, gossiping.on_news)
    dispatcher.register(ProbeRequest, gossiping.on_probe)
    dispatcher.register(Ping, gossiping.on_ping)
    dispatcher.register(RequestLeave, leave)
    dispatcher.register(Prepare, lambda _, message: agreement.prepare(message))
    dispatcher.register(Accept, lambda _, message: agreement.accept(message))
    dispatcher.register(PushRecord, agreement.on_push_record)
    dispatcher.register(FetchRecord, agreement.on_fetch_record)
    dispatcher.register(DataBatch, lambda _, message: replica.serve(message))
    dispatcher.register(Scan, lambda _, message: replica.scan(message))
    dispatcher.register(SizeQuery, lambda _, message: replica.size(message))
    dispatcher.register(TreeQuery, care.repair.on_tree_query)
    dispatcher.register(RequestRepair, care.repair.on_request)
    dispatcher.register(Confirm, lambda _, message: care.tombstones.replica.confirm(message))
    dispatcher.register(MembershipQuery, reception.on_query)
    dispatcher.register(Contribution, reception.on_contribution)
    dispatcher.register(Purge, lambda _, message: care.tombstones.replica.purge(message))
