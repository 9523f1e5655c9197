"""Errors and statuses map both ways, and doubt is never taken for certainty."""

from __future__ import annotations

import grpc
import pytest
from grpc import StatusCode

from covey.node import errors
from covey.node.errors import OperationError, PeerTimeout, PeerUnreachable
from covey.node.rpc.failures import failure_of, peer_error


def subclasses(kind: type[BaseException]) -> list[type[BaseException]]:
    return [kind, *(sub for child in kind.__subclasses__() for sub in subclasses(child))]


@pytest.mark.parametrize(
    "kind", [kind for kind in subclasses(OperationError)[1:] if kind.__module__ == errors.__name__]
)
def test_every_operation_error_has_a_status(kind: type[BaseException]) -> None:
    error = kind("why", maybe_applied=True) if kind is errors.OperationTimeout else kind("why")
    failure = failure_of(error)
    assert failure is not None
    assert failure.message == "why"


def status(code: StatusCode, details: str) -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, details, None)


@pytest.mark.parametrize("code", list(StatusCode))
def test_a_status_alone_does_not_say_that_nothing_was_sent(code: StatusCode) -> None:
    """Except the two with which a request is refused before any handler sees it."""
    certain = code in (StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED)
    expected = PeerUnreachable if certain else PeerTimeout
    assert type(peer_error(status(code, "connection reset"), "h:1")) is expected


def test_the_error_names_the_peer_and_the_reason() -> None:
    error = peer_error(status(StatusCode.UNAVAILABLE, "failed to connect to all addresses; last: x"), "h:1")
    assert isinstance(error, PeerUnreachable)
    assert str(error) == "there is no connection to h:1: x"
