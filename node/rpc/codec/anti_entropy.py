"""Encoding of the bodies by which nodes become equal, in either lane."""

from __future__ import annotations

from typing import Final

from ....proto.generated import peer_pb2
from ...messages.anti_entropy import RepairSummary, RequestRepair, TreeQuery, TreeReply
from .body import AnyBodyCodec, BodyCodec
from .values import bounded, decode_stamp, encode_stamp, expect

MOST_DIGESTS: Final = 100_000
"""Maximum number of pieces in one tree: segments are cut where ranges end, so there are more pieces than either."""

# --- data lane ----------------------------------------------------------------------------------------------


def encode_tree_query(query: TreeQuery) -> peer_pb2.TreeQuery:
    return peer_pb2.TreeQuery(epoch=encode_stamp(query.epoch), groups=query.groups)


def decode_tree_query(message: peer_pb2.TreeQuery) -> TreeQuery:
    return TreeQuery(decode_stamp(message.epoch), tuple(bounded(message.groups)))


def encode_tree_reply(reply: TreeReply) -> peer_pb2.TreeReply:
    return peer_pb2.TreeReply(
        digests=[digest or 0 for digest in reply.digests],
        unknown=[place for place, digest in enumerate(reply.digests) if digest is None],
    )


def decode_tree_reply(message: peer_pb2.TreeReply) -> TreeReply:
    digests: list[int | None] = list(bounded(message.digests, MOST_DIGESTS))
    for place in bounded(message.unknown, MOST_DIGESTS):
        expect(place < len(digests), "an unknown digest beyond the last one")
        digests[place] = None
    return TreeReply(tuple(digests))


DATA_REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(TreeQuery, "tree", encode_tree_query, decode_tree_query),
)

DATA_REPLIES: tuple[AnyBodyCodec, ...] = (BodyCodec(TreeReply, "tree", encode_tree_reply, decode_tree_reply),)

# --- control lane -------------------------------------------------------------------------------------------


def encode_summary(summary: RepairSummary) -> peer_pb2.RepairSummary:
    return peer_pb2.RepairSummary(
        compared=summary.compared,
        differing=summary.differing,
        received=summary.received,
        sent=summary.sent,
        bytes=summary.bytes,
        unfinished=summary.unfinished,
    )


def decode_summary(message: peer_pb2.RepairSummary) -> RepairSummary:
    return RepairSummary(
        compared=message.compared,
        differing=message.differing,
        received=message.received,
        sent=message.sent,
        bytes=message.bytes,
        unfinished=tuple(bounded(message.unfinished)),
    )


CONTROL_REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(
        RequestRepair,
        "request_repair",
        lambda body: peer_pb2.RequestRepair(timeout_ms=body.timeout_ms),
        lambda message: RequestRepair(message.timeout_ms),
    ),
)

CONTROL_REPLIES: tuple[AnyBodyCodec, ...] = (
    BodyCodec(RepairSummary, "repair", encode_summary, decode_summary),
)
