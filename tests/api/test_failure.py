"""A node's failure is the same after a trip over the wire, as a status or in a batch."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from covey.api.failure import OVERLOADED, WRONG_CLUSTER, Failure, decode_failure, failure_of
from covey.api.metadata import Greeting, read_greeting
from covey.proto.generated import kv_pb2

CODES = [code for code in kv_pb2.ErrorCode.values() if code != kv_pb2.ERROR_CODE_UNSPECIFIED]


def failures(code: int) -> list[Failure]:
    retry_after_s = 2.5 if code == OVERLOADED else 0.0
    cluster_id = "c" if code == WRONG_CLUSTER else ""
    return [Failure(code, "why", maybe, retry_after_s, cluster_id) for maybe in (False, True)]


@pytest.mark.parametrize("code", CODES, ids=kv_pb2.ErrorCode.Name)
def test_a_failure_survives_as_a_status(code: int) -> None:
    for failure in failures(code):
        trailing = Metadata(*failure.trailing_metadata)
        assert failure_of(AioRpcError(failure.status, Metadata(), trailing, failure.message)) == failure


@pytest.mark.parametrize("code", CODES, ids=kv_pb2.ErrorCode.Name)
def test_a_failure_survives_in_a_batch(code: int) -> None:
    for failure in failures(code):
        assert decode_failure(failure.encode()) == failure._replace(cluster_id="")


def test_a_status_that_grpc_made_is_no_failure_of_a_node() -> None:
    assert failure_of(AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "x")) is None


def test_a_greeting_survives_as_metadata() -> None:
    greeting = Greeting("c", 1_700_000_000_000, 500)
    assert read_greeting(greeting.metadata) == greeting


@pytest.mark.parametrize("number", ["", "-1", "1.5", "9" * 16, "٣"])
def test_what_is_no_number_is_read_as_none(number: str) -> None:
    pairs = [("covey-cluster-id", "c"), ("covey-clock-ms", number)]
    assert read_greeting(pairs) == Greeting("c", 0, 0)
