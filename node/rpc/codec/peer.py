"""Messages between nodes and their bytes, both ways; proto/covey/v1/peer.proto is the form.

A body's lane follows from its type. Encoding a value that has no place in the form (a number out of bounds,
a body in the wrong lane) is a defect and raises as such; decoding raises MalformedMessage and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from ....api.cluster_codec import IDENTITY
from ....api.codec import MalformedMessage
from ....proto.generated import peer_pb2
from ...messages.envelope import Envelope, Reply, Request, RequestBody
from . import control, data
from .values import PEER


class BodyTable:
    """The bodies that one message can carry, found by type to encode and by field to decode."""

    def __init__(self, message_type: type[Message], bodies: Mapping[str, type]) -> None:
        """Take the bodies by their fields in the ``oneof body``; those without a codec have a flat one."""
        fields: Any = message_type.DESCRIPTOR.fields_by_name
        for name, body in bodies.items():
            if body not in PEER:
                PEER.flat(body, GetMessageClass(fields[name].message_type))
        self._by_type: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
            body: (name, PEER[body].encode) for name, body in bodies.items()
        }
        self._by_field: Final[dict[str, Callable[[Any], Any]]] = {
            name: PEER[body].decode for name, body in bodies.items()
        }

    def __contains__(self, body_type: type) -> bool:
        return body_type in self._by_type

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self._by_field)

    def encode(self, body: object) -> dict[str, Message]:
        """Return the body as the one keyword argument that its lane's message takes."""
        field, encode = self._by_type[type(body)]
        return {field: encode(body)}

    def decode(self, message: Message) -> Any:
        field = message.WhichOneof("body")
        if field is None:
            raise MalformedMessage("a message without a body that this version knows")
        return self._by_field[field](getattr(message, field))


class Lane:
    """One of the two lanes: its messages, and the bodies they carry."""

    def __init__(
        self,
        name: str,
        request_type: type[Message],
        requests: Mapping[str, type],
        reply_type: type[Message],
        replies: Mapping[str, type],
    ) -> None:
        self.name: Final = name
        """The name of its method in the service Peer."""
        self.tag: Final = name[:1].encode()
        self.requests: Final = BodyTable(request_type, requests)
        self.replies: Final = BodyTable(reply_type, {**replies, **control.REFUSALS})
        self._request_type: Final[type[Any]] = request_type
        self._reply_type: Final[type[Any]] = reply_type

    def encode_request(self, request: Request, call: int = 0) -> bytes:
        """Encode a request; ``call`` is its number in a stream, which only the data lane has."""
        envelope, body = _ENVELOPE.encode(request.envelope), self.requests.encode(request.body)
        return _serialized(self._request_type(envelope=envelope, **body, **_numbered(call)))

    def decode_request(self, encoded: bytes) -> Request:
        return self._request(_parsed(self._request_type, encoded))

    def decode_call(self, encoded: bytes) -> tuple[int, Request]:
        """Decode a request of a stream, and its number."""
        message = _parsed(self._request_type, encoded)
        return message.id, self._request(message)

    def encode_reply(self, reply: Reply, call: int = 0) -> bytes:
        answerer = peer_pb2.Answerer(
            source=IDENTITY.encode(reply.source), generation=reply.generation, timestamp=reply.timestamp
        )
        return _serialized(
            self._reply_type(answerer=answerer, **self.replies.encode(reply.body), **_numbered(call))
        )

    def decode_reply(self, encoded: bytes) -> Reply:
        return self._reply(_parsed(self._reply_type, encoded))

    def decode_answer(self, encoded: bytes) -> tuple[int, Reply]:
        """Decode a reply in a stream, and the number of the request that it answers."""
        message = _parsed(self._reply_type, encoded)
        return message.id, self._reply(message)

    def _request(self, message: Any) -> Request:
        return Request(_ENVELOPE.decode(message.envelope), self.requests.decode(message))

    def _reply(self, message: Any) -> Reply:
        answerer = message.answerer
        return Reply(
            source=IDENTITY.decode(answerer.source),
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


_ENVELOPE: Final = PEER.flat(Envelope, peer_pb2.Envelope)

CONTROL: Final = Lane(
    "Control",
    request_type=peer_pb2.ControlRequest,
    requests=control.REQUESTS,
    reply_type=peer_pb2.ControlReply,
    replies=control.REPLIES,
)
DATA: Final = Lane(
    "Data",
    request_type=peer_pb2.DataRequest,
    requests=data.REQUESTS,
    reply_type=peer_pb2.DataReply,
    replies=data.REPLIES,
)
LANES: Final = (CONTROL, DATA)


def lane_of(body: RequestBody) -> Lane:
    return DATA if type(body) in DATA.requests else CONTROL


# --- for networks without separate lanes: a byte that names the lane, then the message ----------------------


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
