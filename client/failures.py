"""Conversion of failures on the wire (``api.failure``) to the errors of a client.

The most important part is whether a write may have happened. A failure that a node sent states that. After a status
that gRPC itself made, the write may have happened, unless there never was a connection.
"""

from __future__ import annotations

import grpc
from grpc import StatusCode

from ..api import failure
from ..api.failure import Failure
from .errors import (
    CoveyError,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    Overloaded,
    PermissionDenied,
    Refused,
    Timeout,
    Unanswered,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WrongCluster,
)

DEFAULT_RETRY_AFTER_S = 0.1

_ERRORS: dict[int, type[CoveyError]] = {
    failure.INVALID_REQUEST: InvalidRequest,
    failure.UNAVAILABLE: Unavailable,
    failure.TIMEOUT: Timeout,
    failure.REFUSED: Refused,
    failure.UNKNOWN_NODE: NotFound,
}
_NO_ACCESS: dict[StatusCode, type[CoveyError]] = {
    StatusCode.UNAUTHENTICATED: Unauthenticated,
    StatusCode.PERMISSION_DENIED: PermissionDenied,
}
_CERTAIN: dict[StatusCode, type[CoveyError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequest,
    StatusCode.FAILED_PRECONDITION: Refused,
    StatusCode.NOT_FOUND: NotFound,
    **_NO_ACCESS,
}
"""Statuses with which a request is refused before any part of it is done, even if gRPC itself made them."""

_BROKEN_OFF = "Internal error from Core"
"""gRPC's text for a message that could not be sent because the stream has ended."""


def error_from_failure(failed: Failure) -> CoveyError:
    """Return the error for a failure that a node sent."""
    message, maybe_applied = failed.message, failed.maybe_applied
    if failed.code == failure.OVERLOADED:
        retry_after = failed.retry_after_s or DEFAULT_RETRY_AFTER_S
        return Overloaded(message, retry_after=retry_after, maybe_applied=maybe_applied)
    if failed.code == failure.WRONG_CLUSTER:
        return WrongCluster(message, cluster_id=failed.cluster_id, maybe_applied=maybe_applied)
    if failed.code == failure.UNAVAILABLE and maybe_applied:
        return Timeout(message, maybe_applied=True)  # Unavailable promises that nothing was done
    return _ERRORS.get(failed.code, InternalError)(message, maybe_applied=maybe_applied)


def error_from_status(error: grpc.aio.AioRpcError, address: str) -> CoveyError:
    """Return the error for a failed call to the node at ``address``."""
    failed = failure.failure_of(error)
    if failed is None:
        return _error_from_grpc(error.code(), error.details() or error.code().name, address)
    if error.code() in _NO_ACCESS:
        return _NO_ACCESS[error.code()](failed.message, maybe_applied=failed.maybe_applied)
    return error_from_failure(failed)


def _error_from_grpc(code: StatusCode, text: str, address: str) -> CoveyError:
    """Return the error for a status that gRPC made, or a node that failed outside of its error handling."""
    if failure.never_connected(code, text):
        return Unreachable(failure.why_not_connected(text, address))
    broken_off = code is StatusCode.INTERNAL and text == _BROKEN_OFF
    if broken_off or code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
        return Unanswered(
            f"the connection to {address} was lost before an answer came: {text}", maybe_applied=True
        )
    if code is StatusCode.DEADLINE_EXCEEDED:
        return Unanswered(f"{address} gave no answer in time", maybe_applied=True)
    if code is StatusCode.RESOURCE_EXHAUSTED and failure.TOO_LARGE in text:
        if text.startswith(failure.RECEIVED_TOO_LARGE):
            return MessageTooLarge(f"the value is longer than {address} takes ({text.lower()})")
        return MessageTooLarge(f"{address}: {text}", maybe_applied=True)
    if code is StatusCode.UNIMPLEMENTED:
        return Unreachable(failure.NOT_COVEY.format(address))
    if code in _CERTAIN:
        return _CERTAIN[code](text)
    return InternalError(f"{address} failed with {code.name}: {text}", maybe_applied=True)
