"""Batches as messages, and replies as answers."""

from __future__ import annotations

from typing import Any

import pytest

from covey import InvalidRequest, Version
from covey.client.batching import InFlightBatch, Pending
from covey.client.columns import deliver, request_of
from covey.client.requests import Operation, consistency_of, delete_operation, get_operation, put_operation
from covey.proto.generated import kv_pb2

from .test_batching import Waiter

NOW = 50.0
ONE, ALL = consistency_of("one", None, "r"), consistency_of("all", None, "r")


def batch_of(*operations: Operation, timeouts_s: tuple[float, ...] = ()) -> InFlightBatch:
    timeouts_s = timeouts_s or (5.0,) * len(operations)
    pendings = [
        Pending(operation, NOW + timeout_s, Waiter())
        for operation, timeout_s in zip(operations, timeouts_s, strict=True)
    ]
    return InFlightBatch(3, pendings, object(), NOW)


def request(batch: InFlightBatch) -> kv_pb2.OperateRequest:
    return request_of(batch, 77, NOW)


def outcomes(reply: kv_pb2.OperateReply, batch: InFlightBatch) -> list[Any]:
    """Of each operation, in order; None in a list of its own where there is none yet."""
    waiters = [pending.completion for pending in batch.pending]
    deliver(reply, batch)
    return [waiter.outcomes for waiter in waiters if isinstance(waiter, Waiter)]


def test_a_batch_stands_in_columns() -> None:
    batch = batch_of(get_operation("a", None), put_operation("b", "v", None), delete_operation("c", None))
    assert request(batch) == kv_pb2.OperateRequest(
        id=3,
        kinds=b"\x00\x01\x02",
        keys=[b"a", b"b", b"c"],
        values=[b"v"],
        timeouts_ms=[4900],
        seen_timestamp=77,
    )


def test_time_limits_that_are_nearly_equal_are_one_number_and_the_shortest() -> None:
    batch = batch_of(get_operation("a", None), get_operation("b", None), timeouts_s=(2.05, 2.0))
    assert request(batch).timeouts_ms == [1900]


def test_other_time_limits_stand_for_each() -> None:
    batch = batch_of(get_operation("a", None), get_operation("b", None), timeouts_s=(1.0, 3.0))
    assert request(batch).timeouts_ms == [950, 2900]


def test_time_that_is_all_but_over_is_not_the_coordinators_default() -> None:
    assert request(batch_of(get_operation("a", None), timeouts_s=(0.0001,))).timeouts_ms == [1]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((None, None), []),
        ((ONE, ONE), [ONE]),
        ((None, ONE), [kv_pb2.Consistency(), ONE]),
        ((ONE, ALL), [ONE, ALL]),
    ],
)
def test_consistencies_stand_once_or_for_each(wanted: tuple[Any, Any], expected: list[Any]) -> None:
    operations = [get_operation("k", consistency) for consistency in wanted]
    assert request(batch_of(*operations)).consistencies == expected


def test_each_kind_of_result_becomes_what_its_caller_gets() -> None:
    batch = batch_of(
        get_operation("absent", None),
        get_operation("there", None),
        put_operation("k", "v", None),
        delete_operation("k", None),
        put_operation("bad", "v", None),
    )
    failure = kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_INVALID_REQUEST, message="no")
    reply = kv_pb2.OperateReply(
        kinds=b"\x00\x01\x02\x03\x04",
        values=[b"value"],
        timestamps=[5, 6],
        disk_id=8,
        generation=9,
        failures=[failure],
    )
    absent, there, put, delete, bad = (outcome for (outcome,) in outcomes(reply, batch))
    assert (absent, there) == (None, b"value")
    assert (put, put.superseded) == (Version(5, 8, 9), False)
    assert (delete, delete.superseded) == (Version(6, 8, 9), True)
    assert isinstance(bad, InvalidRequest)
    assert batch.pending == []


def test_a_reply_for_some_leaves_the_others_waiting() -> None:
    batch = batch_of(*(get_operation(key, None) for key in "abc"))
    reply = kv_pb2.OperateReply(places=[2, 0], kinds=b"\x01\x01", values=[b"c", b"a"])
    assert outcomes(reply, batch) == [[b"a"], [], [b"c"]]
    assert [pending.operation.key for pending in batch.pending] == [b"b"]


def test_a_result_for_who_has_given_up_does_not_shift_the_others() -> None:
    batch = batch_of(get_operation("a", None), get_operation("b", None))
    first = batch.pending[0].completion
    assert isinstance(first, Waiter)
    first.given_up = True
    reply = kv_pb2.OperateReply(kinds=b"\x01\x01", values=[b"for a", b"for b"])
    assert outcomes(reply, batch) == [[], [b"for b"]]


@pytest.mark.parametrize("kind", [2, 3])
def test_a_read_that_is_answered_as_a_write_fails(kind: int) -> None:
    reply = kv_pb2.OperateReply(kinds=bytes([kind]), timestamps=[1])
    (((error,),)) = outcomes(reply, batch_of(get_operation("k", None)))
    assert not error.maybe_applied


@pytest.mark.parametrize("kind", [0, 1])
def test_a_write_that_is_answered_as_a_read_may_have_happened(kind: int) -> None:
    reply = kv_pb2.OperateReply(kinds=bytes([kind]), values=[b"v"])
    (((error,),)) = outcomes(reply, batch_of(put_operation("k", "v", None)))
    assert error.maybe_applied


@pytest.mark.parametrize(
    "reply",
    [
        kv_pb2.OperateReply(kinds=b"\x00\x00"),
        kv_pb2.OperateReply(kinds=b""),
        kv_pb2.OperateReply(kinds=b"\x01"),
        kv_pb2.OperateReply(kinds=b"\x00", places=[1]),
        kv_pb2.OperateReply(kinds=b"\x00\x00", places=[0, 0]),
        kv_pb2.OperateReply(kinds=b"\x05"),
    ],
)
def test_a_reply_that_does_not_fit_is_told(reply: kv_pb2.OperateReply) -> None:
    with pytest.raises(ValueError, match="answer"):
        deliver(reply, batch_of(get_operation("k", None)))
