"""The bodies of the control lane: meeting, gossip, agreement, records, administration."""

from __future__ import annotations

from typing import Final

from ....api.cluster_codec import IDENTITY
from ....api.codec import SCALAR, Codec, bounded, enumeration, expect, repeated
from ....identity import Identity
from ....proto.generated import peer_pb2
from ...messages.absorption import MAX_ADDRESS_BYTES, MAX_MEMBERS, MembershipQuery, MembershipReply
from ...messages.anti_entropy import RepairSummary, RequestRepair
from ...messages.control import (
    Accept,
    Acknowledged,
    AgreementReply,
    FetchRecord,
    Prepare,
    PushRecord,
    RecordReply,
    RequestLeave,
)
from ...messages.envelope import EpochMismatch, Refusal, RefusalCode
from ...messages.membership import (
    MAX_RECALL_ADDRESSES,
    ConfirmGenesis,
    GenesisConfirmed,
    GossipAck,
    GossipDelta,
    GossipSyn,
    Hello,
    HelloReply,
    Ping,
    ProbeReply,
    ProbeRequest,
    Recall,
    RecallReply,
)
from .values import PEER, RECORD, REMEMBERED

PEER.add(RefusalCode, enumeration(RefusalCode, peer_pb2.RefusalCode, "REFUSAL_CODE_"))
PEER.flat(
    RecallReply,
    peer_pb2.RecallReply,
    remembered=REMEMBERED,
    addresses=repeated(SCALAR, MAX_RECALL_ADDRESSES),
)
PEER.flat(GossipSyn, peer_pb2.Exchange, remembered=REMEMBERED)
PEER.flat(GossipAck, peer_pb2.ExchangeReply, remembered=REMEMBERED)


def _encode_membership(reply: MembershipReply) -> peer_pb2.MembershipReply:
    return peer_pb2.MembershipReply(
        counted=reply.counted,
        record=None if reply.record is None else RECORD.encode(reply.record),
        owners_up=reply.owners_up,
        members=[IDENTITY.encode(identity) for identity, _ in reply.members],
        addresses=[address for _, address in reply.members],
    )


def _decode_membership(message: peer_pb2.MembershipReply) -> MembershipReply:
    identities, addresses = bounded(message.members, MAX_MEMBERS), bounded(message.addresses, MAX_MEMBERS)
    expect(len(identities) == len(addresses), "members and addresses differ in number")
    members: list[tuple[Identity, str]] = []
    for identity, address in zip(identities, addresses, strict=True):
        expect(len(address) <= MAX_ADDRESS_BYTES, "an address that is too long")
        members.append((IDENTITY.decode(identity), address))
    return MembershipReply(
        counted=message.counted,
        record=RECORD.decode(message.record) if message.HasField("record") else None,
        owners_up=message.owners_up,
        members=tuple(members),
    )


PEER.add(MembershipReply, Codec(_encode_membership, _decode_membership))

REQUESTS: Final[dict[str, type]] = {
    "hello": Hello,
    "confirm_genesis": ConfirmGenesis,
    "recall": Recall,
    "exchange": GossipSyn,
    "news": GossipDelta,
    "probe": ProbeRequest,
    "ping": Ping,
    "prepare": Prepare,
    "accept": Accept,
    "push_record": PushRecord,
    "fetch_record": FetchRecord,
    "request_leave": RequestLeave,
    "request_repair": RequestRepair,
    "membership": MembershipQuery,
}

REPLIES: Final[dict[str, type]] = {
    "hello": HelloReply,
    "genesis_confirmed": GenesisConfirmed,
    "recall": RecallReply,
    "exchange": GossipAck,
    "acknowledged": Acknowledged,
    "probe": ProbeReply,
    "agreement": AgreementReply,
    "record": RecordReply,
    "repair": RepairSummary,
    "membership": MembershipReply,
}

REFUSALS: Final[dict[str, type]] = {"epoch_mismatch": EpochMismatch, "refusal": Refusal}
"""Replies that either lane can carry."""
