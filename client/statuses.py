"""The one place where gRPC statuses and operation failures become errors.

The question that matters is whether a write may have happened. A node's own word is trusted: it marks each
status with the trailing metadata ``covey-maybe-applied`` ("0" or "1"), and each failure in a batch likewise.
A status without the mark was made by gRPC on either side, so the call may have reached the node, except
when its text says that there never was a connection to send it over. In doubt: it may have happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import grpc

from ..proto.generated import kv_pb2
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

MAYBE_APPLIED_KEY = "covey-maybe-applied"
RETRY_AFTER_KEY = "covey-retry-after"
"""Seconds, with RESOURCE_EXHAUSTED; optional."""
LAST_BEGUN_KEY = "covey-last-begun"
ERROR_CODE_KEY = "covey-error-code"
CLUSTER_ID_KEY = "covey-cluster-id"
CLOCK_MS_KEY = "covey-clock-ms"
MAX_SKEW_MS_KEY = "covey-max-skew-ms"
LONGEST_NUMBER = 15
"""Longest number taken from metadata, in digits."""
LONGEST_CLUSTER_ID = 256
"""Longest cluster id taken from metadata, in characters; none is known to be longer than 64."""

DEFAULT_RETRY_AFTER_S = 0.1

_NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
)
"""How gRPC begins the text of a call that never got a connection."""

_NOT_COVEY = "what listens at {} is not a covey node"

_SIGNS = {
    "Connection refused": "nobody listens at {}",
    "before receiving SETTINGS": "what listens at {} does not answer",
    "SETTINGS frame": _NOT_COVEY,
    "errors resolving": "there is no host of the name in {}",
    "DNS resolution failed": "there is no host of the name in {}",
}
"""What the rest of that text says, in words for people."""

_TOO_LARGE = "larger than max"
_NOT_TAKEN = "SERVER: Received message larger"
"""The node has not read the message, so nothing of it was done."""

_BROKEN_OFF = "Internal error from Core"
"""How gRPC tells of a message that could not be sent because the stream is over."""

_CERTAIN_REFUSALS: dict[grpc.StatusCode, type[CoveyError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.NOT_FOUND: NotFound,
}


def error_from_status(error: grpc.aio.AioRpcError, address: str) -> CoveyError:
    """What a failed call to the node at ``address`` means."""
    pairs = cast(Iterable[tuple[str, str]], error.trailing_metadata() or ())
    metadata = dict(pairs)
    text = error.details() or error.code().name
    mark = metadata.get(MAYBE_APPLIED_KEY)
    if mark is None:
        return _unmarked(error.code(), text, address)
    if metadata.get(ERROR_CODE_KEY) == str(int(kv_pb2.ERROR_CODE_WRONG_CLUSTER)):
        return WrongCluster(text, cluster_id=_cluster_id(metadata))
    retry_after = float(metadata.get(RETRY_AFTER_KEY, DEFAULT_RETRY_AFTER_S))
    return _marked(error.code(), text, maybe_applied=mark != "0", retry_after=retry_after)


class Greeting(NamedTuple):
    """What a node sends when a stream opens; 0 or empty where it does not."""

    cluster_id: str
    clock_ms: int
    max_skew_ms: int


def greeting_from(metadata: Iterable[tuple[str, str | bytes]] | None) -> Greeting | None:
    """Read the initial metadata of a stream; return None if they are not a node's."""
    told = dict(metadata or ())
    if CLUSTER_ID_KEY not in told:
        return None
    return Greeting(_cluster_id(told), _number(told, CLOCK_MS_KEY), _number(told, MAX_SKEW_MS_KEY))


def _number(told: Mapping[str, str | bytes], key: str) -> int:
    text = told.get(key, "")
    plain = isinstance(text, str) and text.isascii() and text.isdecimal()
    return int(text) if plain and len(text) <= LONGEST_NUMBER else 0


def _cluster_id(told: Mapping[str, str | bytes]) -> str:
    text = told.get(CLUSTER_ID_KEY, "")
    return text if isinstance(text, str) and len(text) <= LONGEST_CLUSTER_ID else ""


def last_begun(metadata: Iterable[tuple[str, str | bytes]] | None) -> int | None:
    """What a node that ended a stream in good order says: the number of the last batch that it has begun, 0 for none.

    It begins batches in their order, and none after it has said so. None when it does not say.
    """
    told = dict(metadata or ()).get(LAST_BEGUN_KEY, "")
    return int(told) if isinstance(told, str) and told.isdecimal() else None


def _marked(code: grpc.StatusCode, text: str, *, maybe_applied: bool, retry_after: float) -> CoveyError:
    """A node's own word."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unavailable(text, maybe_applied=maybe_applied)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(text, retry_after=retry_after, maybe_applied=maybe_applied)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Timeout(text, maybe_applied=maybe_applied)
    return _CERTAIN_REFUSALS.get(code, InternalError)(text, maybe_applied=maybe_applied)


def _unmarked(code: grpc.StatusCode, text: str, address: str) -> CoveyError:
    """gRPC's word, or that of a node that failed outside its own error handling."""
    if code is grpc.StatusCode.UNAVAILABLE and text.startswith(_NEVER_CONNECTED):
        return Unreachable(_no_connection(text, address))
    broken_off = code is grpc.StatusCode.INTERNAL and text == _BROKEN_OFF
    if broken_off or code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unanswered(
            f"the connection to {address} was lost before an answer came: {text}", maybe_applied=True
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unanswered(f"{address} gave no answer in time", maybe_applied=True)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in text:
        if text.startswith(_NOT_TAKEN):
            return MessageTooLarge(f"the value is longer than {address} takes ({text.lower()})")
        return MessageTooLarge(f"{address}: {text}", maybe_applied=True)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Unreachable(_NOT_COVEY.format(address))
    if code in _CERTAIN_REFUSALS:
        return _CERTAIN_REFUSALS[code](text)
    return InternalError(f"{address} failed with {code.name}: {text}", maybe_applied=True)


def _no_connection(text: str, address: str) -> str:
    for sign, told in _SIGNS.items():
        if sign in text:
            return told.format(address)
    return f"{address}: {text.rpartition(': ')[2]}"


def _unavailable(text: str, *, maybe_applied: bool) -> CoveyError:
    """``Unavailable`` promises that nothing was done, so what may have been done is a ``Timeout``."""
    return Timeout(text, maybe_applied=True) if maybe_applied else Unavailable(text)


def error_from_failure(failure: kv_pb2.OperationFailure) -> CoveyError:
    """What the failure of one operation of a batch means."""
    maybe_applied = failure.maybe_applied
    match failure.code:
        case kv_pb2.ERROR_CODE_INVALID_REQUEST:
            return InvalidRequest(failure.message, maybe_applied=maybe_applied)
        case kv_pb2.ERROR_CODE_UNAVAILABLE:
            return _unavailable(failure.message, maybe_applied=maybe_applied)
        case kv_pb2.ERROR_CODE_OVERLOADED:
            retry_after = failure.retry_after or DEFAULT_RETRY_AFTER_S
            return Overloaded(failure.message, retry_after=retry_after, maybe_applied=maybe_applied)
        case kv_pb2.ERROR_CODE_TIMEOUT:
            return Timeout(failure.message, maybe_applied=maybe_applied)
        case kv_pb2.ERROR_CODE_REFUSED:
            return Refused(failure.message, maybe_applied=maybe_applied)
        case kv_pb2.ERROR_CODE_WRONG_CLUSTER:
            return WrongCluster(failure.message, maybe_applied=maybe_applied)
        case kv_pb2.ERROR_CODE_UNKNOWN_NODE:
            return NotFound(failure.message, maybe_applied=maybe_applied)
        case _:
            return InternalError(failure.message, maybe_applied=maybe_applied)
