"""Every message between nodes comes back from its bytes as it was, and no other bytes are taken for one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.api.codec import MalformedMessage
from covey.identity import Identity
from covey.membership.record import MAX_WEIGHT, MIN_WEIGHT
from covey.node.messages import data, envelope
from covey.node.messages.data import DataBatch, Merge, MergeKind, Read, checksum_of
from covey.node.messages.envelope import Envelope, Reply, Request
from covey.node.messages.membership import Ping
from covey.node.rpc.codec import peer as codec
from covey.node.storage.interface import Cursor, Entry
from covey.proto.generated import peer_pb2, types_pb2
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord, EpochStamp, Owner, Quorums, RingSpec
from covey.ring.tokens import TokenRange

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
NAMES = st.text(min_size=1, max_size=8)
IDENTITIES = st.builds(Identity, NAMES, U64)
VERSIONS = st.builds(Version, U64, U64, U32)
RINGS = [RingSpec({Identity(name, 7): Owner((1, 2**64 - 1), "z", 2.0)}, Quorums()) for name in ("a", "b")]
RECORDS = [EpochRecord(3, "c", RINGS[0]), EpochRecord(4, "c", RINGS[0], RINGS[1], 2**63, {"x": True})]
GIVEN: dict[Any, st.SearchStrategy[Any]] = {
    int: U32,
    str: st.text(max_size=8),
    bytes: st.binary(max_size=40),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    NoneType: st.none(),
    Identity: IDENTITIES,
    Version: VERSIONS,
    EpochStamp: st.builds(EpochStamp, U64, NAMES),
    Cursor: st.builds(Cursor, U64, st.binary(max_size=8)),
    data.MergeResult: st.builds(data.MergeResult, VERSIONS, st.just(False))
    | st.sampled_from([data.MERGED, data.BELOW_FLOOR]),
    TokenRange: st.builds(TokenRange, U64, U64),
    EpochRecord: st.sampled_from(RECORDS),
    Mapping[str, Any]: st.dictionaries(NAMES, st.booleans() | st.text(), max_size=2),
}
FIELDS = {"weight": st.floats(MIN_WEIGHT, MAX_WEIGHT)}
"""Fields, by name, that take less than their type."""


@cache
def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type by its annotations alone, so that a new field or message needs no word here."""
    if hint in GIVEN:
        return GIVEN[hint]
    if isinstance(hint, UnionType):
        return st.one_of([values_of(member) for member in get_args(hint)])
    if get_origin(hint) is Sequence:
        return tuples_of((*get_args(hint), Ellipsis))
    if get_origin(hint) is tuple:
        return tuples_of(get_args(hint))
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    hints = get_type_hints(hint)
    names = [field.name for field in fields(hint)] if is_dataclass(hint) else list(hint._fields)
    return st.builds(hint, **{name: FIELDS.get(name) or values_of(hints[name]) for name in names})


def tuples_of(members: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if members[-1] is Ellipsis:
        return st.lists(values_of(members[0]), max_size=4).map(tuple)
    return st.tuples(*[values_of(member) for member in members])


@pytest.mark.parametrize("body_type", get_args(envelope.RequestBody), ids=lambda body: body.__name__)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_request_survives_its_bytes(body_type: type, data: st.DataObject) -> None:
    request = Request(data.draw(values_of(Envelope)), data.draw(values_of(body_type)))
    assert codec.request_from_bytes(codec.request_to_bytes(request)) == request


@pytest.mark.parametrize("body_type", get_args(envelope.ReplyBody), ids=lambda body: body.__name__)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_reply_survives_its_bytes(body_type: type, data: st.DataObject) -> None:
    reply = Reply(data.draw(IDENTITIES), data.draw(U32), data.draw(U64), data.draw(values_of(body_type)))
    assert codec.reply_from_bytes(codec.reply_to_bytes(reply)) == reply


@pytest.mark.parametrize(
    ("lane", "bodies", "replies"),
    [
        (codec.CONTROL, envelope.ControlBody, envelope.ControlReplyBody),
        (codec.DATA, envelope.DataBody, envelope.DataReplyBody),
    ],
)
def test_every_body_of_a_lane_has_a_place_in_it(lane: codec.Lane, bodies: Any, replies: Any) -> None:
    """And so have the refusals, which either lane can answer with."""
    refusals = (envelope.EpochMismatch, envelope.Refusal)
    assert all(body in lane.requests for body in get_args(bodies))
    assert all(body in lane.replies for body in (*get_args(replies), *refusals))


@pytest.mark.parametrize(
    "message", [peer_pb2.ControlRequest, peer_pb2.ControlReply, peer_pb2.DataRequest, peer_pb2.DataReply]
)
def test_every_body_on_the_wire_has_a_codec(message: Any) -> None:
    """No field of a lane's message can arrive that decoding does not know."""
    lane = codec.CONTROL if message.__name__.startswith("Control") else codec.DATA
    table = lane.requests if message.__name__.endswith("Request") else lane.replies
    for field in message.DESCRIPTOR.oneofs_by_name["body"].fields:
        assert field.name in table.fields


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_decode_or_are_refused_as_malformed(noise: bytes) -> None:
    for tagged in (noise, b"C" + noise, b"D" + noise):
        for decode in (codec.request_from_bytes, codec.reply_from_bytes):
            with contextlib.suppress(MalformedMessage):
                decode(tagged)


@given(values_of(Request), st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_message_decodes_or_is_refused_as_malformed(request_: Request, data: st.DataObject) -> None:
    encoded = bytearray(codec.request_to_bytes(request_))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        codec.request_from_bytes(bytes(encoded))


def an_envelope() -> peer_pb2.Envelope:
    envelope = Envelope(Identity("a", 1), 1, "127.0.0.1:1", "c", None, 7)
    encoded = codec.CONTROL.encode_request(Request(envelope, Ping()))
    return peer_pb2.ControlRequest.FromString(encoded).envelope


STAMP = peer_pb2.EpochStamp(number=1, digest="d")


@pytest.mark.parametrize(
    "request_message",
    [
        peer_pb2.DataRequest(envelope=an_envelope()),
        peer_pb2.DataRequest(batch=peer_pb2.DataBatch(epoch=STAMP)),
        peer_pb2.DataRequest(envelope=an_envelope(), batch=peer_pb2.DataBatch()),
        *[
            peer_pb2.DataRequest(envelope=an_envelope(), batch=batch)
            for batch in [
                peer_pb2.DataBatch(epoch=STAMP, kinds=b"\0"),
                peer_pb2.DataBatch(epoch=STAMP, keys=[b"k"]),
                peer_pb2.DataBatch(epoch=STAMP, kinds=b"\6", keys=[b"k"]),
                peer_pb2.DataBatch(epoch=STAMP, kinds=b"\2", keys=[b"k"]),
                peer_pb2.DataBatch(epoch=STAMP, kinds=b"\0", keys=[b"k"], values=[b"v"]),
                peer_pb2.DataBatch(
                    epoch=STAMP, kinds=b"\2", keys=[b"k"], versions=peer_pb2.Versions(timestamps=[1])
                ),
            ]
        ],
        peer_pb2.DataRequest(envelope=an_envelope(), confirm=peer_pb2.Confirm(epoch=STAMP, keys=[b"k"])),
        peer_pb2.DataRequest(envelope=an_envelope(), purge=peer_pb2.Purge(epoch=STAMP, keys=[b"k"])),
        peer_pb2.DataRequest(envelope=an_envelope(), scan=peer_pb2.Scan(epoch=STAMP, purpose=1)),
        peer_pb2.DataRequest(
            envelope=an_envelope(),
            scan=peer_pb2.Scan(epoch=STAMP, purpose=77, span=peer_pb2.TokenRange()),  # type: ignore[arg-type]
        ),
    ],
)
def test_a_data_request_that_does_not_fit_together_is_refused(request_message: peer_pb2.DataRequest) -> None:
    with pytest.raises(MalformedMessage):
        codec.DATA.decode_request(request_message.SerializeToString())


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"owners":{"owners":{"x":1}}}']
)
def test_bytes_that_are_no_record_are_refused(record: bytes) -> None:
    message = peer_pb2.ControlRequest(envelope=an_envelope(), push_record=peer_pb2.PushRecord(record=record))
    with pytest.raises(MalformedMessage):
        codec.CONTROL.decode_request(message.SerializeToString())


@pytest.mark.parametrize("settings_text", ["", "[]", "{", "[" * 100_000])
def test_seat_settings_that_are_no_json_object_are_refused(settings_text: str) -> None:
    identity = types_pb2.Identity(name="a")
    seat = peer_pb2.GenesisSeat(identity=identity, settings=settings_text, weight=1)
    member = peer_pb2.MemberRecord(identity=identity, status=peer_pb2.MEMBER_STATUS_JOINING, weight=1)
    message = peer_pb2.ControlRequest(envelope=an_envelope(), hello=peer_pb2.Hello(member=member, seat=seat))
    with pytest.raises(MalformedMessage, match="settings"):
        codec.CONTROL.decode_request(message.SerializeToString())


@pytest.mark.parametrize("weight", [0.0, -1.0, 0.009, 100.1, math.inf, math.nan])
def test_a_weight_out_of_bounds_is_refused_of_members_and_of_seeds(weight: float) -> None:
    identity = types_pb2.Identity(name="a")
    joining = peer_pb2.MEMBER_STATUS_JOINING
    heavy = peer_pb2.MemberRecord(identity=identity, status=joining, weight=weight)
    usual = peer_pb2.MemberRecord(identity=identity, status=joining, weight=1)
    seat = peer_pb2.GenesisSeat(identity=identity, settings="{}", weight=weight)
    for hello in (peer_pb2.Hello(member=heavy), peer_pb2.Hello(member=usual, seat=seat)):
        message = peer_pb2.ControlRequest(envelope=an_envelope(), hello=hello)
        with pytest.raises(MalformedMessage, match="weight"):
            codec.CONTROL.decode_request(message.SerializeToString())


def test_an_empty_value_is_no_tombstone() -> None:
    operations = tuple(
        Merge(b"k", Entry(Version(1, 2, 3), value), kind) for value in (b"", None) for kind in MergeKind
    )
    batch = DataBatch(EpochStamp(1, "d"), (*operations, Read(b"k")))
    envelope = Envelope(Identity("a", 1), 1, "h:1", "c", Identity("b", 2), 7)
    decoded = codec.request_from_bytes(codec.request_to_bytes(Request(envelope, batch)))
    assert decoded.body == batch


ENTRIES = st.lists(st.tuples(st.binary(max_size=6), values_of(Entry)), max_size=4).map(tuple)


@given(ENTRIES, ENTRIES)
@settings(deadline=None)
def test_the_checksum_tells_different_entries_apart(ours: Any, theirs: Any) -> None:
    assert (checksum_of(ours) == checksum_of(theirs)) == (ours == theirs)


def test_the_checksum_sees_where_a_key_ends_and_whether_a_value_is_there() -> None:
    version = Version(1, 2, 3)
    variants = [
        ((b"ab", Entry(version, b"c")),),
        ((b"a", Entry(version, b"bc")),),
        ((b"abc", Entry(version, b"")),),
        ((b"abc", Entry(version, None)),),
    ]
    assert len({checksum_of(entries) for entries in variants}) == len(variants)
