"""Encoding of the control lane's bodies: meeting, gossip, agreement, records, administration."""

from __future__ import annotations

import json
from typing import Any

from ....proto.generated import peer_pb2
from ....ring.genesis import GenesisSeat, GenesisTerms, Seat
from ....ring.paxos import Answer as AgreementReply
from ...errors import MalformedMessage
from ...messages.control import (
    Accept,
    Acknowledged,
    FetchRecord,
    Prepare,
    PushRecord,
    RecordReply,
    RequestLeave,
)
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
from . import absorption as codec_absorption
from . import anti_entropy as codec_repair
from .body import REFUSALS, AnyBodyCodec, BodyCodec
from .values import (
    bounded,
    decode_ballot,
    decode_digest,
    decode_extent,
    decode_extents,
    decode_identity,
    decode_member,
    decode_members,
    decode_optional,
    decode_quorums,
    decode_record,
    decode_stamp,
    decode_suspicions,
    decode_weight,
    encode_ballot,
    encode_digest,
    encode_extent,
    encode_extents,
    encode_identity,
    encode_member,
    encode_members,
    encode_optional,
    encode_quorums,
    encode_record,
    encode_stamp,
    encode_suspicions,
)

# --- meeting ------------------------------------------------------------------------------------------------


def encode_seat(offered: GenesisSeat) -> peer_pb2.GenesisSeat:
    seat, terms = offered.seat, offered.terms
    return peer_pb2.GenesisSeat(
        address=seat.address,
        identity=encode_identity(seat.identity),
        zone=seat.zone,
        weight=seat.weight,
        quorums=encode_quorums(terms.quorums),
        tokens_per_weight=terms.tokens_per_weight,
        seeds=terms.seeds,
        settings=json.dumps(dict(terms.settings), sort_keys=True, allow_nan=False),
    )


def decode_seat(message: peer_pb2.GenesisSeat) -> GenesisSeat:
    return GenesisSeat(
        Seat(message.address, decode_identity(message.identity), message.zone, decode_weight(message.weight)),
        GenesisTerms(
            seeds=tuple(bounded(message.seeds)),
            quorums=decode_quorums(message.quorums),
            tokens_per_weight=message.tokens_per_weight,
            settings=_decode_settings(message.settings),
        ),
    )


def _decode_settings(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the settings of a genesis seat: {error}") from error
    if not isinstance(settings, dict):
        raise MalformedMessage("the settings of a genesis seat are not a JSON object")
    return settings


def encode_hello(hello: Hello) -> peer_pb2.Hello:
    return peer_pb2.Hello(member=encode_member(hello.member), seat=encode_optional(encode_seat, hello.seat))


def decode_hello(message: peer_pb2.Hello) -> Hello:
    return Hello(decode_member(message.member), decode_optional(decode_seat, message, "seat"))


def encode_hello_reply(reply: HelloReply) -> peer_pb2.HelloReply:
    return peer_pb2.HelloReply(
        member=encode_member(reply.member),
        record=encode_optional(encode_record, reply.record),
        seat=encode_optional(encode_seat, reply.seat),
        refused=reply.refused,
        wall_ms=reply.wall_ms,
    )


def decode_hello_reply(message: peer_pb2.HelloReply) -> HelloReply:
    return HelloReply(
        member=decode_member(message.member),
        record=decode_optional(decode_record, message, "record"),
        seat=decode_optional(decode_seat, message, "seat"),
        refused=message.refused,
        wall_ms=message.wall_ms,
    )


def encode_genesis_confirmed(reply: GenesisConfirmed) -> peer_pb2.GenesisConfirmed:
    return peer_pb2.GenesisConfirmed(
        confirmed=reply.confirmed,
        reason=reply.reason,
        record=encode_optional(encode_record, reply.record),
    )


def decode_genesis_confirmed(message: peer_pb2.GenesisConfirmed) -> GenesisConfirmed:
    record = decode_optional(decode_record, message, "record")
    return GenesisConfirmed(message.confirmed, message.reason, record)


def encode_recall_reply(reply: RecallReply) -> peer_pb2.RecallReply:
    return peer_pb2.RecallReply(
        remembered=encode_extents(reply.remembered),
        doubtful=reply.doubtful,
        record=encode_optional(encode_record, reply.record),
        runs_at=reply.runs_at,
        addresses=reply.addresses,
    )


def decode_recall_reply(message: peer_pb2.RecallReply) -> RecallReply:
    return RecallReply(
        remembered=decode_extents(message.remembered),
        doubtful=message.doubtful,
        record=decode_optional(decode_record, message, "record"),
        runs_at=message.runs_at,
        addresses=tuple(bounded(message.addresses, MAX_RECALL_ADDRESSES)),
    )


# --- gossip -------------------------------------------------------------------------------------------------


def encode_exchange(exchange: GossipSyn) -> peer_pb2.Exchange:
    return peer_pb2.Exchange(
        digest=encode_digest(exchange.digest),
        suspicions=encode_suspicions(exchange.suspicions),
        epoch=encode_optional(encode_stamp, exchange.epoch),
        remembered=encode_extents(exchange.remembered),
    )


def decode_exchange(message: peer_pb2.Exchange) -> GossipSyn:
    return GossipSyn(
        digest=decode_digest(message.digest),
        suspicions=decode_suspicions(message.suspicions),
        epoch=decode_optional(decode_stamp, message, "epoch"),
        remembered=decode_extents(message.remembered),
    )


def encode_exchange_reply(reply: GossipAck) -> peer_pb2.ExchangeReply:
    return peer_pb2.ExchangeReply(
        records=encode_members(reply.records),
        wanted=encode_digest(reply.wanted),
        suspicions=encode_suspicions(reply.suspicions),
        epoch=encode_optional(encode_stamp, reply.epoch),
        wall_ms=reply.wall_ms,
        remembered=encode_extents(reply.remembered),
    )


def decode_exchange_reply(message: peer_pb2.ExchangeReply) -> GossipAck:
    return GossipAck(
        records=decode_members(message.records),
        wanted=decode_digest(message.wanted),
        suspicions=decode_suspicions(message.suspicions),
        epoch=decode_optional(decode_stamp, message, "epoch"),
        wall_ms=message.wall_ms,
        remembered=decode_extents(message.remembered),
    )


def encode_news(news: GossipDelta) -> peer_pb2.News:
    return peer_pb2.News(
        records=encode_members(news.records),
        suspicions=encode_suspicions(news.suspicions),
        epoch=encode_optional(encode_stamp, news.epoch),
    )


def decode_news(message: peer_pb2.News) -> GossipDelta:
    return GossipDelta(
        records=decode_members(message.records),
        suspicions=decode_suspicions(message.suspicions),
        epoch=decode_optional(decode_stamp, message, "epoch"),
    )


def encode_probe(probe: ProbeRequest) -> peer_pb2.ProbeRequest:
    return peer_pb2.ProbeRequest(target=encode_identity(probe.target), address=probe.address)


def decode_probe(message: peer_pb2.ProbeRequest) -> ProbeRequest:
    return ProbeRequest(decode_identity(message.target), message.address)


# --- agreement ----------------------------------------------------------------------------------------------


def encode_prepare(prepare: Prepare) -> peer_pb2.Prepare:
    return peer_pb2.Prepare(base=encode_record(prepare.base), ballot=encode_ballot(prepare.ballot))


def decode_prepare(message: peer_pb2.Prepare) -> Prepare:
    return Prepare(decode_record(message.base), decode_ballot(message.ballot))


def encode_accept(accept: Accept) -> peer_pb2.Accept:
    return peer_pb2.Accept(
        base=encode_stamp(accept.base),
        ballot=encode_ballot(accept.ballot),
        proposal=encode_record(accept.proposal),
        bound=accept.bound,
    )


def decode_accept(message: peer_pb2.Accept) -> Accept:
    return Accept(
        base=decode_stamp(message.base),
        ballot=decode_ballot(message.ballot),
        proposal=decode_record(message.proposal),
        bound=message.bound,
    )


def encode_agreement_reply(reply: AgreementReply) -> peer_pb2.AgreementReply:
    return peer_pb2.AgreementReply(
        granted=reply.granted,
        promised=encode_optional(encode_ballot, reply.promised),
        accepted_ballot=encode_optional(encode_ballot, reply.accepted_ballot),
        accepted=encode_optional(encode_record, reply.accepted),
        newer=encode_optional(encode_record, reply.newer),
        reason=reply.reason,
    )


def decode_agreement_reply(message: peer_pb2.AgreementReply) -> AgreementReply:
    return AgreementReply(
        granted=message.granted,
        promised=decode_optional(decode_ballot, message, "promised"),
        accepted_ballot=decode_optional(decode_ballot, message, "accepted_ballot"),
        accepted=decode_optional(decode_record, message, "accepted"),
        newer=decode_optional(decode_record, message, "newer"),
        reason=message.reason,
    )


# --- the tables: short bodies are encoded where they are listed ---------------------------------------------

REQUESTS: tuple[AnyBodyCodec, ...] = (
    BodyCodec(Hello, "hello", encode_hello, decode_hello),
    BodyCodec(
        ConfirmGenesis,
        "confirm_genesis",
        lambda body: peer_pb2.ConfirmGenesis(record=encode_record(body.record)),
        lambda message: ConfirmGenesis(decode_record(message.record)),
    ),
    BodyCodec(
        Recall,
        "recall",
        lambda body: peer_pb2.Recall(extent=encode_optional(encode_extent, body.extent)),
        lambda message: Recall(decode_optional(decode_extent, message, "extent")),
    ),
    BodyCodec(GossipSyn, "exchange", encode_exchange, decode_exchange),
    BodyCodec(GossipDelta, "news", encode_news, decode_news),
    BodyCodec(ProbeRequest, "probe", encode_probe, decode_probe),
    BodyCodec(Ping, "ping", lambda _: peer_pb2.Ping(), lambda _: Ping()),
    BodyCodec(Prepare, "prepare", encode_prepare, decode_prepare),
    BodyCodec(Accept, "accept", encode_accept, decode_accept),
    BodyCodec(
        PushRecord,
        "push_record",
        lambda body: peer_pb2.PushRecord(record=encode_record(body.record)),
        lambda message: PushRecord(decode_record(message.record)),
    ),
    BodyCodec(FetchRecord, "fetch_record", lambda _: peer_pb2.FetchRecord(), lambda _: FetchRecord()),
    BodyCodec(RequestLeave, "request_leave", lambda _: peer_pb2.RequestLeave(), lambda _: RequestLeave()),
    *codec_repair.CONTROL_REQUESTS,
    *codec_absorption.CONTROL_REQUESTS,
)

REPLIES: tuple[AnyBodyCodec, ...] = (
    *REFUSALS,
    BodyCodec(HelloReply, "hello", encode_hello_reply, decode_hello_reply),
    BodyCodec(GenesisConfirmed, "genesis_confirmed", encode_genesis_confirmed, decode_genesis_confirmed),
    BodyCodec(RecallReply, "recall", encode_recall_reply, decode_recall_reply),
    BodyCodec(GossipAck, "exchange", encode_exchange_reply, decode_exchange_reply),
    BodyCodec(Acknowledged, "acknowledged", lambda _: peer_pb2.Acknowledged(), lambda _: Acknowledged()),
    BodyCodec(
        ProbeReply,
        "probe",
        lambda body: peer_pb2.ProbeReply(reached=body.reached),
        lambda message: ProbeReply(message.reached),
    ),
    BodyCodec(AgreementReply, "agreement", encode_agreement_reply, decode_agreement_reply),
    BodyCodec(
        RecordReply,
        "record",
        lambda body: peer_pb2.RecordReply(record=encode_optional(encode_record, body.record)),
        lambda message: RecordReply(decode_optional(decode_record, message, "record")),
    ),
    *codec_repair.CONTROL_REPLIES,
    *codec_absorption.CONTROL_REPLIES,
)
