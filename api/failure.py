"""Failures on the wire: the end of an RPC, or of one operation of a batch, that brought no result.

proto/covey/v1/kv.proto documents what clients get. A status that a covey node chose has the trailing metadata
``covey-maybe-applied``, "0" or "1". A status without it was made by gRPC on either side, so the request may have been
handled, unless its text shows that there never was a connection to send it over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, cast

import grpc
from grpc import StatusCode

from ..proto.generated import kv_pb2
from .metadata import CLUSTER_ID, ERROR_CODE, MAYBE_APPLIED, RETRY_AFTER, read_cluster_id

Code = kv_pb2.ErrorCode
INVALID_REQUEST: Final = kv_pb2.ERROR_CODE_INVALID_REQUEST
UNAVAILABLE: Final = kv_pb2.ERROR_CODE_UNAVAILABLE
OVERLOADED: Final = kv_pb2.ERROR_CODE_OVERLOADED
TIMEOUT: Final = kv_pb2.ERROR_CODE_TIMEOUT
REFUSED: Final = kv_pb2.ERROR_CODE_REFUSED
UNKNOWN_NODE: Final = kv_pb2.ERROR_CODE_UNKNOWN_NODE
INTERNAL: Final = kv_pb2.ERROR_CODE_INTERNAL
WRONG_CLUSTER: Final = kv_pb2.ERROR_CODE_WRONG_CLUSTER

_STATUS_OF: Final[dict[int, StatusCode]] = {
    INVALID_REQUEST: StatusCode.INVALID_ARGUMENT,
    UNAVAILABLE: StatusCode.UNAVAILABLE,
    OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    UNKNOWN_NODE: StatusCode.NOT_FOUND,
    INTERNAL: StatusCode.INTERNAL,
    REFUSED: StatusCode.FAILED_PRECONDITION,
    WRONG_CLUSTER: StatusCode.FAILED_PRECONDITION,
}
_CODE_OF: Final = {status: code for code, status in _STATUS_OF.items()} | {
    StatusCode.FAILED_PRECONDITION: REFUSED
}
"""The code of a status; of one that stands for several codes, the code that the metadata do not name."""


class Failure(NamedTuple):
    """A node's answer for what it could not do, or not for certain."""

    code: int
    """An ErrorCode."""
    message: str
    maybe_applied: bool
    retry_after_s: float = 0.0
    """With OVERLOADED; 0 if the node gives none."""
    cluster_id: str = ""
    """The node's, with WRONG_CLUSTER."""

    @property
    def status(self) -> StatusCode:
        return _STATUS_OF[self.code]

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        pairs = [(MAYBE_APPLIED, "1" if self.maybe_applied else "0")]
        if self.status is StatusCode.FAILED_PRECONDITION:
            pairs.append((ERROR_CODE, str(int(self.code))))
        if self.cluster_id:
            pairs.append((CLUSTER_ID, self.cluster_id))
        if self.retry_after_s:
            pairs.append((RETRY_AFTER, f"{self.retry_after_s:.3f}"))
        return tuple(pairs)

    def encode(self) -> kv_pb2.OperationFailure:
        return kv_pb2.OperationFailure(
            code=cast(Code, self.code),
            message=self.message,
            maybe_applied=self.maybe_applied,
            retry_after=self.retry_after_s,
        )


def decode_failure(message: kv_pb2.OperationFailure) -> Failure:
    return Failure(
        code=message.code,
        message=message.message,
        maybe_applied=message.maybe_applied,
        retry_after_s=message.retry_after,
    )


def failure_of(error: grpc.aio.AioRpcError) -> Failure | None:
    """Return the failure that a node ended the RPC with; None when gRPC made the status."""
    pairs = dict(cast(Iterable[tuple[str, str]], error.trailing_metadata() or ()))
    if MAYBE_APPLIED not in pairs:
        return None
    code = _CODE_OF.get(error.code(), INTERNAL)
    if pairs.get(ERROR_CODE) == str(int(WRONG_CLUSTER)):
        code = WRONG_CLUSTER
    return Failure(
        code=code,
        message=error.details() or error.code().name,
        maybe_applied=pairs[MAYBE_APPLIED] != "0",
        retry_after_s=float(pairs.get(RETRY_AFTER, 0.0)),
        cluster_id=read_cluster_id(pairs),
    )


# --- statuses that gRPC makes -------------------------------------------------------------------------------

TOO_LARGE: Final = "larger than max"
SENT_TOO_LARGE: Final = "CLIENT: Sent message larger"
RECEIVED_TOO_LARGE: Final = "SERVER: Received message larger"
"""The beginnings of gRPC's texts for messages that were not sent, and that the receiver has not read."""

NOT_COVEY: Final = "what listens at {} is not a covey node"

_NEVER_CONNECTED: Final = (
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
)
"""The beginnings of gRPC's texts for calls that never had a connection.

UNAVAILABLE without them does not imply this: a connection lost while waiting for the reply ends in it too.
"""
_REASONS: Final = {
    "Connection refused": "nothing listens at {}",
    "before receiving SETTINGS": "what listens at {} does not answer",
    "SETTINGS frame": NOT_COVEY,
    "errors resolving": "there is no host of the name in {}",
    "DNS resolution failed": "there is no host of the name in {}",
}
"""Parts of those texts, and what they mean."""


def never_connected(code: StatusCode, details: str) -> bool:
    """Return True if the call was certainly not sent, for want of a connection."""
    return code is StatusCode.UNAVAILABLE and details.startswith(_NEVER_CONNECTED)


def why_not_connected(details: str, address: str) -> str:
    """Return the reason why a call was never connected, for people."""
    for part, reason in _REASONS.items():
        if part in details:
            return reason.format(address)
    return f"there is no connection to {address}: {details.rpartition(': ')[2]}"
