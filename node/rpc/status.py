"""The errors of a node as gRPC statuses, and the statuses of peers as errors: the only place that maps them.

What clients get is documented in proto/covey/v1/kv.proto. A status that a covey node chose always carries the trailing
metadata ``covey-maybe-applied``, "0" or "1"; one without it was made by gRPC on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple

import grpc
from grpc import StatusCode

from ...proto.generated import kv_pb2
from ..errors import (
    InvalidRequest,
    MalformedMessage,
    NodeError,
    OperationError,
    OperationTimeout,
    Overloaded,
    PeerError,
    PeerTimeout,
    PeerUnreachable,
    Refused,
    StorageFailed,
    Unavailable,
    UnknownNode,
    WrongCluster,
)

MAYBE_APPLIED: Final = "covey-maybe-applied"
RETRY_AFTER: Final = "covey-retry-after"
ERROR_CODE: Final = "covey-error-code"
"""With a status that stands for several errors: the number of the ErrorCode."""
LAST_BEGUN: Final = "covey-last-begun"
"""At the end of a stream of batches: the id of the last one that was begun, 0 for none."""

CLUSTER_ID: Final = "covey-cluster-id"

ReportDefect = Callable[[str, BaseException], None]
"""Told the method and the error when something was raised that nobody meant to raise."""

# --- from errors to statuses, for clients -------------------------------------------------------------------


class Outcome(NamedTuple):
    """How an error ends an RPC, or one operation of a batch."""

    status: StatusCode
    code: kv_pb2.ErrorCode
    message: str
    maybe_applied: bool
    retry_after_s: float = 0.0
    cluster_id: str = ""
    """The node's, when the error is that the request names another."""

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        maybe_applied = (MAYBE_APPLIED, "1" if self.maybe_applied else "0")
        if self.status is StatusCode.FAILED_PRECONDITION:
            code = (ERROR_CODE, str(int(self.code)))
            return (maybe_applied, code, *(((CLUSTER_ID, self.cluster_id),) if self.cluster_id else ()))
        if self.retry_after_s == 0:
            return (maybe_applied,)
        return (maybe_applied, (RETRY_AFTER, f"{self.retry_after_s:.3f}"))


_CODES: Final[dict[type[NodeError], tuple[StatusCode, kv_pb2.ErrorCode]]] = {
    InvalidRequest: (StatusCode.INVALID_ARGUMENT, kv_pb2.ERROR_CODE_INVALID_REQUEST),
    MalformedMessage: (StatusCode.INVALID_ARGUMENT, kv_pb2.ERROR_CODE_INVALID_REQUEST),
    Unavailable: (StatusCode.UNAVAILABLE, kv_pb2.ERROR_CODE_UNAVAILABLE),
    Overloaded: (StatusCode.RESOURCE_EXHAUSTED, kv_pb2.ERROR_CODE_OVERLOADED),
    OperationTimeout: (StatusCode.DEADLINE_EXCEEDED, kv_pb2.ERROR_CODE_TIMEOUT),
    UnknownNode: (StatusCode.NOT_FOUND, kv_pb2.ERROR_CODE_UNKNOWN_NODE),
    Refused: (StatusCode.FAILED_PRECONDITION, kv_pb2.ERROR_CODE_REFUSED),
    WrongCluster: (StatusCode.FAILED_PRECONDITION, kv_pb2.ERROR_CODE_WRONG_CLUSTER),
}

_DEFECT: Final = Outcome(
    StatusCode.INTERNAL,
    kv_pb2.ERROR_CODE_INTERNAL,
    "the node failed in a way it did not foresee; its log says how",
    maybe_applied=True,
)

_DISK_FAILED: Final = Outcome(
    StatusCode.INTERNAL,
    kv_pb2.ERROR_CODE_INTERNAL,
    "the node's disk failed; its log says how",
    maybe_applied=True,
)


def outcome_of(error: BaseException) -> Outcome | None:
    """How the error is told to a client; None for a defect. (A disk that failed ends the node, which says why.)"""
    if isinstance(error, StorageFailed):
        return _DISK_FAILED
    for kind in type(error).__mro__:
        if kind in _CODES:
            maybe_applied = isinstance(error, OperationError) and error.maybe_applied
            retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
            cluster_id = error.cluster_id if isinstance(error, WrongCluster) else ""
            return Outcome(*_CODES[kind], str(error), maybe_applied, retry_after_s, cluster_id)
    return None


class Answering:
    """Ends an RPC with the status of what leaves the block; a defect is reported, but not to the caller."""

    def __init__(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], report_defect: ReportDefect
    ) -> None:
        self._method: Final = method
        self._context: Final = context
        self._report_defect: Final = report_defect

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            return  # done, cancelled, or the status is set already
        outcome = explained(self._method, error, self._report_defect)
        await self._context.abort(outcome.status, outcome.message, outcome.trailing_metadata)


def explained(method: str, error: BaseException, report_defect: ReportDefect) -> Outcome:
    """What the caller of ``method`` is told of the error; a defect is reported on the way."""
    outcome = outcome_of(error)
    if outcome is None:
        report_defect(method, error)
        return _DEFECT
    return outcome


# --- from a peer's statuses to errors -----------------------------------------------------------------------

_NEVER_SENT: Final = {
    StatusCode.UNAVAILABLE: (
        "failed to connect to all addresses",
        "errors resolving",
        "DNS resolution failed",
    ),
    StatusCode.RESOURCE_EXHAUSTED: ("CLIENT: Sent message larger", "SERVER: Received message larger"),
    StatusCode.INVALID_ARGUMENT: ("",),
    StatusCode.UNIMPLEMENTED: ("",),
}
"""Beginnings of the details with which a status says that no handler has seen the request.

UNAVAILABLE alone does not say so: a connection lost while waiting for the reply ends in it too.
"""


def peer_error(error: grpc.aio.AioRpcError, address: str) -> PeerError:
    """PeerUnreachable when the request was certainly not handled, else PeerTimeout."""
    code, details = error.code(), error.details() or ""
    if code is StatusCode.UNIMPLEMENTED:
        return PeerUnreachable(f"{address} is not a covey node: it does not know the service of peers")
    if details.startswith(_NEVER_SENT.get(code, ())):
        return PeerUnreachable(_why_never_sent(code, details, address))
    if code is StatusCode.DEADLINE_EXCEEDED:
        return PeerTimeout(f"{address} gave no answer in time")
    return PeerTimeout(f"{address}: {code.name}: {details}")


_NO_CONNECTION: Final = {
    "Connection refused": "nobody listens at {}",
    "before receiving SETTINGS": "what listens at {} does not answer",
    "SETTINGS frame": "what listens at {} is not a covey node",
    "errors resolving": "there is no host of the name in {}",
    "DNS resolution failed": "there is no host of the name in {}",
}
"""What gRPC's text of a connection that never came about says, in words for people."""


def _why_never_sent(code: StatusCode, details: str, address: str) -> str:
    for sign, told in _NO_CONNECTION.items():
        if sign in details:
            return told.format(address)
    if code is StatusCode.UNAVAILABLE:
        return f"there is no connection to {address}: {details.rpartition(': ')[2]}"
    return f"{address}: {code.name}: {details}"
