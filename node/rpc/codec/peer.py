"""Messages between nodes and their bytes, both ways; proto/covey/v1/peer.proto is the form.

A body's lane follows from its type. Encoding a value that has no place in the form (a number out of bounds,
a body in the wrong lane) is a defect and raises as such; decoding raises MalformedMessage and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from ....proto.generated import peer_pb2
from ...errors import MalformedMessage
from ...messages.envelope import Envelope, Reply, Request, RequestBody
from . import control as codec_control
from . import data as codec_data
from . import tombstones as codec_tombstones
from .body import AnyBodyCodec
from .values import decode_identity, decode_optional, encode_identity, encode_optional


class BodyTable:
    """The bodies that one message can carry, found by type to encode and by field to decode."""

    def __init__(self, codecs: Iterable[AnyBodyCodec]) -> None:
        self._by_type: Final = {codec.body: codec for codec in codecs}
        self._by_field: Final = {codec.field: codec for codec in self._by_type.values()}

    def __contains__(self, body_type: type) -> bool:
        return body_type in self._by_type

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self._by_field)

    def encode(self, body: object) -> dict[str, Message]:
        """The body as the one keyword argument that its lane's message takes."""
        codec = self._by_type[type(body)]
        return {codec.field: codec.encode(body)}

    def decode(self, message: Message) -> Any:
        field = message.WhichOneof("body")
        if field is None:
            raise MalformedMessage("a message without a body that this version knows")
        return self._by_field[field].decode(getattr(message, field))


class Lane:
    """One of the two lanes: its messages, and the bodies they carry."""

    def __init__(
        self,
        name: str,
        request_type: type[Message],
        requests: Iterable[AnyBodyCodec],
        reply_type: type[Message],
        replies: Iterable[AnyBodyCodec],
    ) -> None:
        self.name: Final = name
        """Of its method in the service Peer."""
        self.tag: Final = name[:1].encode()
        self.requests: Final = BodyTable(requests)
        self.replies: Final = BodyTable(replies)
        self._request_type: Final[type[Any]] = request_type
        self._reply_type: Final[type[Any]] = reply_type

    def encode_request(self, request: Request, call: int = 0) -> bytes:
        """``call``: its number in a stream, which only the data lane has."""
        envelope = _encode_envelope(request.envelope)
        message = self._request_type(
            envelope=envelope, **self.requests.encode(request.body), **_numbered(call)
        )
        return _serialized(message)

    def decode_request(self, encoded: bytes) -> Request:
        return self._request(_parsed(self._request_type, encoded))

    def decode_call(self, encoded: bytes) -> tuple[int, Request]:
        """A request of a stream, and its number."""
        message = _parsed(self._request_type, encoded)
        return message.id, self._request(message)

    def encode_reply(self, reply: Reply, call: int = 0) -> bytes:
        answerer = _encode_answerer(reply)
        message = self._reply_type(answerer=answerer, **self.replies.encode(reply.body), **_numbered(call))
        return _serialized(message)

    def decode_reply(self, encoded: bytes) -> Reply:
        return self._reply(_parsed(self._reply_type, encoded))

    def decode_answer(self, encoded: bytes) -> tuple[int, Reply]:
        """A reply in a stream, and the number of the request that it answers."""
        message = _parsed(self._reply_type, encoded)
        return message.id, self._reply(message)

    def _request(self, message: Any) -> Request:
        return Request(_decode_envelope(message.envelope), self.requests.decode(message))

    def _reply(self, message: Any) -> Reply:
        answerer = message.answerer
        return Reply(
            source=decode_identity(answerer.source),
            generation=answerer.generation,
            timestamp=answerer.timestamp,
            body=self.replies.decode(message),
        )


def _numbered(call: int) -> dict[str, int]:
    return {"id": call} if call else {}


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _parsed(message_type: type[Any], encoded: bytes) -> Any:
    try:
        return message_type.FromString(encoded)
    except DecodeError as error:
        raise MalformedMessage(f"not a {message_type.__name__}: {error}") from error


def _encode_envelope(envelope: Envelope) -> peer_pb2.Envelope:
    return peer_pb2.Envelope(
        source=encode_identity(envelope.source),
        generation=envelope.generation,
        address=envelope.address,
        cluster_id=envelope.cluster_id,
        destination=encode_optional(encode_identity, envelope.destination),
        timestamp=envelope.timestamp,
        protocol=envelope.protocol,
        expires_ms=envelope.expires_ms,
    )


def _decode_envelope(message: peer_pb2.Envelope) -> Envelope:
    return Envelope(
        source=decode_identity(message.source),
        generation=message.generation,
        address=message.address,
        cluster_id=message.cluster_id,
        destination=decode_optional(decode_identity, message, "destination"),
        timestamp=message.timestamp,
        protocol=message.protocol,
        expires_ms=message.expires_ms,
    )


def _encode_answerer(reply: Reply) -> peer_pb2.Answerer:
    return peer_pb2.Answerer(
        source=encode_identity(reply.source), generation=reply.generation, timestamp=reply.timestamp
    )


CONTROL: Final = Lane(
    "Control",
    peer_pb2.ControlRequest,
    codec_control.REQUESTS,
    peer_pb2.ControlReply,
    codec_control.REPLIES,
)
DATA: Final = Lane(
    "Data",
    peer_pb2.DataRequest,
    (*codec_data.REQUESTS, *codec_tombstones.REQUESTS),
    peer_pb2.DataReply,
    (*codec_data.REPLIES, *codec_tombstones.REPLIES),
)
LANES: Final = (CONTROL, DATA)


def lane_of(body: RequestBody) -> Lane:
    return DATA if type(body) in DATA.requests else CONTROL


# --- for networks that have no lanes of their own: a byte that names the lane, then the message -------------


def request_to_bytes(request: Request) -> bytes:
    lane = lane_of(request.body)
    return lane.tag + lane.encode_request(request)


def request_from_bytes(encoded: bytes) -> Request:
    return _lane_by_tag(encoded).decode_request(encoded[1:])


def reply_to_bytes(reply: Reply) -> bytes:
    lane = CONTROL if type(reply.body) in CONTROL.replies else DATA
    return lane.tag + lane.encode_reply(reply)


def reply_from_bytes(encoded: bytes) -> Reply:
    return _lane_by_tag(encoded).decode_reply(encoded[1:])


def _lane_by_tag(encoded: bytes) -> Lane:
    for lane in LANES:
        if encoded.startswith(lane.tag):
            return lane
    raise MalformedMessage("bytes of no known lane")
