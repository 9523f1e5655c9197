"""Which status becomes which error, and above all whether the operation may have happened."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from covey import errors
from covey.api.failure import decode_failure
from covey.api.metadata import read_last_begun
from covey.client.failures import error_from_failure, error_from_status
from covey.proto.generated import kv_pb2

Code = grpc.StatusCode


def status(code: grpc.StatusCode, text: str = "text", mark: str | None = None) -> AioRpcError:
    trailing = Metadata() if mark is None else Metadata(("covey-maybe-applied", mark))
    return AioRpcError(code, Metadata(), trailing, details=text)


@pytest.mark.parametrize(
    ("code", "mark", "expected", "maybe_applied"),
    [
        (Code.UNAVAILABLE, "0", errors.Unavailable, False),
        (Code.UNAVAILABLE, "1", errors.Timeout, True),
        (Code.UNAVAILABLE, None, errors.Unanswered, True),
        (Code.UNAVAILABLE, "unheard of", errors.Timeout, True),
        (Code.CANCELLED, None, errors.Unanswered, True),
        (Code.DEADLINE_EXCEEDED, "0", errors.Timeout, False),
        (Code.DEADLINE_EXCEEDED, "1", errors.Timeout, True),
        (Code.DEADLINE_EXCEEDED, None, errors.Unanswered, True),
        (Code.RESOURCE_EXHAUSTED, "0", errors.Overloaded, False),
        (Code.RESOURCE_EXHAUSTED, None, errors.InternalError, True),
        (Code.INVALID_ARGUMENT, "0", errors.InvalidRequest, False),
        (Code.INVALID_ARGUMENT, None, errors.InvalidRequest, False),
        (Code.UNAUTHENTICATED, None, errors.Unauthenticated, False),
        (Code.PERMISSION_DENIED, None, errors.PermissionDenied, False),
        (Code.FAILED_PRECONDITION, "0", errors.Refused, False),
        (Code.NOT_FOUND, "0", errors.NotFound, False),
        (Code.UNIMPLEMENTED, None, errors.Unreachable, False),
        (Code.INTERNAL, "0", errors.InternalError, False),
        (Code.INTERNAL, None, errors.InternalError, True),
        (Code.UNKNOWN, None, errors.InternalError, True),
    ],
)
def test_a_status_becomes_one_error(code, mark, expected, maybe_applied) -> None:
    error = error_from_status(status(code, mark=mark), "a:1")
    assert type(error) is expected
    assert error.maybe_applied is maybe_applied


@pytest.mark.parametrize(
    "text",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
        "errors resolving nosuch.invalid:1: [field:hostname lookup error:Domain name not found]",
        "DNS resolution failed for nosuch.invalid:1",
    ],
)
def test_without_a_connection_nothing_was_sent(text: str) -> None:
    error = error_from_status(status(Code.UNAVAILABLE, text), "a:1")
    assert type(error) is errors.Unreachable
    assert not error.maybe_applied


@pytest.mark.parametrize(
    "text", ["Socket closed", "GOAWAY received", "recvmsg:Connection reset by peer", "", "new words"]
)
def test_a_broken_connection_leaves_it_open_whether_the_call_was_handled(text: str) -> None:
    error = error_from_status(status(Code.UNAVAILABLE, text), "a:1")
    assert type(error) is errors.Unanswered
    assert error.maybe_applied


def test_a_message_that_could_not_be_sent_any_more_tells_of_a_broken_connection() -> None:
    error = error_from_status(status(Code.INTERNAL, "Internal error from Core"), "a:1")
    assert type(error) is errors.Unanswered
    assert error.maybe_applied


@pytest.mark.parametrize(
    ("told", "expected"), [("0", 0), ("17", 17), ("", None), ("-1", None), ("many", None), (None, None)]
)
def test_a_node_may_say_at_the_end_of_a_stream_which_batch_it_began_last(told, expected) -> None:
    trailing = Metadata() if told is None else Metadata(("covey-last-begun", told))
    assert read_last_begun(trailing) == expected


def test_the_nodes_word_counts_even_when_it_sounds_like_grpcs() -> None:
    error = error_from_status(status(Code.UNAVAILABLE, "failed to connect to all addresses", "1"), "a:1")
    assert error.maybe_applied


@pytest.mark.parametrize("code", kv_pb2.ErrorCode.values())
@pytest.mark.parametrize("maybe_applied", [False, True])
def test_a_failure_keeps_the_nodes_word(code: kv_pb2.ErrorCode, maybe_applied: bool) -> None:
    failure = kv_pb2.OperationFailure(code=code, message="text", maybe_applied=maybe_applied)
    error = error_from_failure(decode_failure(failure))
    assert error.maybe_applied is maybe_applied
    assert str(error) == "text"
    assert not (maybe_applied and isinstance(error, errors.Unavailable))


def test_how_long_to_wait_comes_with_an_overload() -> None:
    failure = kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_OVERLOADED, retry_after=2.5)
    error = error_from_failure(decode_failure(failure))
    assert isinstance(error, errors.Overloaded)
    assert error.retry_after == 2.5


def test_a_value_that_the_node_has_not_even_read_was_certainly_not_stored() -> None:
    text = "SERVER: Received message larger than max (20971600 vs. 8388608)"
    error = error_from_status(status(Code.RESOURCE_EXHAUSTED, text), "a:1")
    assert isinstance(error, errors.InvalidRequest)
    assert not error.maybe_applied
    assert "value" in str(error)
