"""Encoding of the bodies by which a cluster of one becomes part of another cluster, in either lane."""

from __future__ import annotations

from ....identity import Identity
from ....proto.generated import peer_pb2
from ...messages.absorption import (
    MAX_ADDRESS_BYTES,
    MAX_ENTRIES,
    MAX_KEY_BYTES,
    MAX_MEMBERS,
    Contribution,
    ContributionReply,
    MembershipQuery,
    MembershipReply,
)
from ...storage.interface import Entry
from .body import AnyBodyCodec, BodyCodec
from .values import (
    bounded,
    decode_identity,
    decode_optional,
    decode_record,
    decode_versions,
    encode_identity,
    encode_optional,
    encode_record,
    encode_versions,
    expect,
)

# --- control lane -------------------------------------------------------------------------------------------


def encode_membership_reply(reply: MembershipReply) -> peer_pb2.MembershipReply:
    return peer_pb2.MembershipReply(
        counted=reply.counted,
        record=encode_optional(encode_record, reply.record),
        owners_up=reply.owners_up,
        members=[encode_identity(identity) for identity, _ in reply.members],
        addresses=[address for _, address in reply.members],
    )


def decode_membership_reply(message: peer_pb2.MembershipReply) -> MembershipReply:
    identities, addresses = bounded(message.members, MAX_MEMBERS), bounded(message.addresses, MAX_MEMBERS)
    expect(len(identities) == len(addresses), "members and addresses differ in number")
    members: list[tuple[Identity, str]] = []
    for identity, address in zip(identities, addresses, strict=True):
        expect(len(address) <= MAX_ADDRESS_BYTES, "an address that is too long")
        members.append((decode_identity(identity), address))
    return MembershipReply(
        counted=message.counted,
        record=decode_optional(decode_record, message, "record"),
        owners_up=message.owners_up,
        members=tuple(members),
    )


CONTROL_REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(
        MembershipQuery,
        "membership",
        lambda _: peer_pb2.MembershipQuery(),
        lambda _: MembershipQuery(),
    ),
)

CONTROL_REPLIES: tuple[AnyBodyCodec, ...] = (
    BodyCodec(MembershipReply, "membership", encode_membership_reply, decode_membership_reply),
)

# --- data lane ----------------------------------------------------------------------------------------------


def encode_contribution(contribution: Contribution) -> peer_pb2.Contribution:
    entries = contribution.entries
    return peer_pb2.Contribution(
        cluster_id=contribution.cluster_id,
        kinds=bytes([entry.tombstone for _, entry in entries]),
        keys=[key for key, _ in entries],
        versions=encode_versions([entry.version for _, entry in entries]),
        values=[entry.value for _, entry in entries if entry.value is not None],
        written=contribution.written,
        last=contribution.last,
    )


def decode_contribution(message: peer_pb2.Contribution) -> Contribution:
    kinds, versions = message.kinds, decode_versions(message.versions)
    keys, values = bounded(message.keys, MAX_ENTRIES), bounded(message.values, MAX_ENTRIES)
    expect(max(kinds, default=0) <= 1, "an entry of an unknown kind")
    expect(len(keys) == len(versions) == len(kinds), "columns of a contribution differ in length")
    expect(len(values) == kinds.count(0), "a contribution with more or fewer values than live entries")
    expect(all(len(key) <= MAX_KEY_BYTES for key in keys), "a key that is too long")
    next_value = iter(values).__next__
    entries = [
        (key, Entry(version, None if tombstone else next_value()))
        for key, version, tombstone in zip(keys, versions, kinds, strict=True)
    ]
    return Contribution(message.cluster_id, tuple(entries), message.written, message.last)


DATA_REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(Contribution, "contribution", encode_contribution, decode_contribution),
)

DATA_REPLIES: tuple[AnyBodyCodec, ...] = (
    BodyCodec(
        ContributionReply,
        "contribution",
        lambda body: peer_pb2.ContributionReply(trouble=body.trouble),
        lambda message: ContributionReply(message.trouble),
    ),
)
