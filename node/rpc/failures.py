"""Maps a node's errors to failures on the wire (``api.failure``), and gRPC statuses of peers to errors."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import grpc
from grpc import StatusCode

from ...api import failure
from ...api.codec import MalformedMessage
from ...api.failure import Failure
from ..errors import (
    InvalidRequest,
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

ReportDefect = Callable[[str, BaseException], None]
"""Called with a method and the unexpected error that ended it."""

_CODES: Final[dict[type[Exception], failure.Code]] = {
    InvalidRequest: failure.INVALID_REQUEST,
    MalformedMessage: failure.INVALID_REQUEST,
    Unavailable: failure.UNAVAILABLE,
    Overloaded: failure.OVERLOADED,
    OperationTimeout: failure.TIMEOUT,
    UnknownNode: failure.UNKNOWN_NODE,
    Refused: failure.REFUSED,
    WrongCluster: failure.WRONG_CLUSTER,
}

_DEFECT: Final = Failure(
    failure.INTERNAL, "an unexpected error in the node; its log has the details", maybe_applied=True
)
_DISK_FAILED: Final = Failure(
    failure.INTERNAL, "the node's disk failed; its log has the details", maybe_applied=True
)


def failure_of(error: BaseException) -> Failure | None:
    """Return the failure that a client receives for an error; None for an unexpected error, which is a defect."""
    if isinstance(error, StorageFailed):
        return _DISK_FAILED
    for kind in type(error).__mro__:
        if kind in _CODES:
            maybe_applied = isinstance(error, OperationError) and error.maybe_applied
            retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
            cluster_id = error.cluster_id if isinstance(error, WrongCluster) else ""
            return Failure(
                code=_CODES[kind],
                message=str(error),
                maybe_applied=maybe_applied,
                retry_after_s=retry_after_s,
                cluster_id=cluster_id,
            )
    return None


def failure_or_defect(method: str, error: BaseException, report_defect: ReportDefect) -> Failure:
    """Return the failure that the caller of ``method`` receives for an error; report a defect."""
    known = failure_of(error)
    if known is None:
        report_defect(method, error)
        return _DEFECT
    return known


class ErrorMapper:
    """Ends an RPC with the status of the error that leaves the block; reports a defect, but not to the caller."""

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
        ended = failure_or_defect(self._method, error, self._report_defect)
        await self._context.abort(ended.status, ended.message, ended.trailing_metadata)


_NEVER_HANDLED: Final = {
    StatusCode.RESOURCE_EXHAUSTED: (failure.SENT_TOO_LARGE, failure.RECEIVED_TOO_LARGE),
    StatusCode.INVALID_ARGUMENT: ("",),
}
"""For each status, the beginnings of its details that prove that no handler has received the request."""


def peer_error(error: grpc.aio.AioRpcError, address: str) -> PeerError:
    """Return PeerUnreachable when the request was certainly not handled, else PeerTimeout."""
    code, details = error.code(), error.details() or ""
    if code is StatusCode.UNIMPLEMENTED:
        return PeerUnreachable(f"{address} is not a covey node: it does not know the service of peers")
    if failure.never_connected(code, details):
        return PeerUnreachable(failure.why_not_connected(details, address))
    if details.startswith(_NEVER_HANDLED.get(code, ())):
        return PeerUnreachable(f"{address}: {code.name}: {details}")
    if code is StatusCode.DEADLINE_EXCEEDED:
        return PeerTimeout(f"{address} gave no answer in time")
    return PeerTimeout(f"{address}: {code.name}: {details}")
