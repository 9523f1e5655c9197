"""Operations on their way over a stream, driven in virtual time without a network."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import EOF, AioRpcError, Metadata

from covey.client import batching
from covey.client.cluster_identity import ClusterIdentity
from covey.client.errors import InvalidRequest, Timeout, Unavailable, Unreachable, WrongCluster
from covey.client.requests import Operation, get_operation, put_operation
from covey.client.sender import SWEEP_EVERY_S, OperationSender, ReplyReport
from covey.client.version import HighestSeen
from covey.proto.generated import kv_pb2
from tests.simulator.virtual_time import in_virtual_time

SOON_S = 10.0


class Stream:
    """A call of ``Operate``: keeps what is written, and brings what the test says."""

    def __init__(self, connected: asyncio.Event, opened: asyncio.Event, initial: Metadata) -> None:
        self._opened = opened
        self.written: list[kv_pb2.OperateRequest] = []
        self.room = asyncio.Event()
        self.room.set()
        self._connected = connected
        self._replies: asyncio.Queue[Any] = asyncio.Queue()
        self._over = False
        self.initial = initial
        self.trailing = Metadata()

    def reply(self, batch: int, *places: int) -> None:
        """Answer these operations of a batch, by default all: they are gets that find nothing."""
        request = self.written[batch]
        count = len(places) or len(request.kinds)
        self._replies.put_nowait(kv_pb2.OperateReply(id=request.id, places=places, kinds=bytes(count)))

    def answer(self, reply: kv_pb2.OperateReply) -> None:
        self._replies.put_nowait(reply)

    def end(self, outcome: Any = EOF) -> None:
        self._over = True
        self._connected.set()
        self._replies.put_nowait(outcome)

    async def wait_for_connection(self) -> None:
        await self._connected.wait()

    async def initial_metadata(self) -> Metadata:
        await self._opened.wait()
        return self.initial

    async def write(self, request: kv_pb2.OperateRequest) -> None:
        self.written.append(request)
        await self.room.wait()

    async def read(self) -> Any:
        brought = await self._replies.get()
        if isinstance(brought, Exception):
            raise brought
        return brought

    async def trailing_metadata(self) -> Metadata:
        return self.trailing

    def done(self) -> bool:
        return self._over

    def cancel(self) -> None:
        self._over = True


class Node:
    """Stands where the sender expects gRPC."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.heard: list[ReplyReport] = []
        self.connected = asyncio.Event()
        self.connected.set()
        self.opened = asyncio.Event()
        """The node opens streams."""
        self.opened.set()
        self.initial = Metadata(("covey-cluster-id", ""))
        """What it tells of itself then."""
        self.seen = HighestSeen()
        self.cluster = ClusterIdentity()
        self.sender = OperationSender("a:1", self, self.seen, self.heard.append, self.cluster)  # type: ignore[arg-type]

    def Operate(self) -> Stream:
        self.streams.append(Stream(self.connected, self.opened, self.initial))
        return self.streams[-1]

    @property
    def stream(self) -> Stream:
        return self.streams[-1]

    @property
    def batches(self) -> list[list[bytes]]:
        return [list(request.keys) for stream in self.streams for request in stream.written]

    def submit(self, operation: Operation, time_s: float = SOON_S) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self.sender.submit(operation, loop.time() + time_s, answer)
        return answer


def read(key: str) -> Operation:
    return get_operation(key, None)


def write(key: str) -> Operation:
    return put_operation(key, b"", None)


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@in_virtual_time
async def test_what_is_submitted_in_one_turn_travels_together() -> None:
    node = Node()
    for key in "abc":
        node.submit(read(key))
    await settle()
    assert node.batches == [[b"a", b"b", b"c"]]
    await node.sender.close()


@in_virtual_time
async def test_one_batch_at_a_time_and_who_asks_again_at_once_rides_along() -> None:
    node = Node()
    first = node.submit(read("a"))
    await settle()
    again: list[asyncio.Future[Any]] = []
    first.add_done_callback(lambda _: again.append(node.submit(read("again"))))
    node.submit(read("b"))
    await settle()
    assert node.batches == [[b"a"]]
    node.stream.reply(0)
    await settle()
    assert node.batches == [[b"a"], [b"b", b"again"]]
    await node.sender.close()


@in_virtual_time
async def test_a_part_of_the_answers_lets_the_next_batch_leave() -> None:
    node = Node()
    slow, quick = node.submit(read("slow")), node.submit(read("quick"))
    await settle()
    node.submit(read("next"))
    node.stream.reply(0, 1)
    await settle()
    assert quick.done() and not slow.done()
    assert node.batches[1:] == [[b"next"]]
    await node.sender.close()


@in_virtual_time
async def test_a_straggler_does_not_hold_back_the_next_batch() -> None:
    node = Node()
    slow = node.submit(read("slow"))
    await settle()
    quick = node.submit(read("quick"))
    await asyncio.sleep(batching.STRAGGLER_S * 0.9)
    assert len(node.batches) == 1
    await asyncio.sleep(batching.STRAGGLER_S * 0.2)
    node.stream.reply(1)
    await quick
    assert not slow.done()
    await node.sender.close()


@in_virtual_time
async def test_after_a_straggler_a_lone_operation_still_leaves_at_once() -> None:
    node = Node()
    node.submit(read("slow"))
    await settle()
    node.submit(read("waits"))
    await settle()
    node.stream.reply(0)
    await settle()
    node.stream.reply(1)
    await settle()
    node.submit(read("lone"))
    await settle()
    assert node.batches[2:] == [[b"lone"]]
    await node.sender.close()


@in_virtual_time
async def test_batches_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_IN_FLIGHT_BATCHES", 3)
    node = Node()
    for i in range(10):
        node.submit(read(f"k{i}"))
        await asyncio.sleep(2 * batching.STRAGGLER_S)
    assert len(node.batches) == 3
    node.stream.reply(1)
    await settle()
    assert len(node.batches) == 4
    await node.sender.close()


@in_virtual_time
async def test_while_the_stream_takes_no_more_what_comes_waits() -> None:
    node = Node()
    node.submit(read("first"))
    await settle()
    node.stream.room.clear()
    node.stream.reply(0)
    node.submit(read("stuck"))
    await settle()
    waiting = node.submit(write("k"), time_s=1.0)
    with pytest.raises(Timeout) as caught:
        await waiting
    assert not caught.value.maybe_applied
    await node.sender.close()


@in_virtual_time
async def test_time_limits_are_kept_whatever_their_order() -> None:
    node = Node()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ended: dict[float, float] = {}
    for time_s in (3.0, 1.0, 1.001, 2.0):
        answer = node.submit(read(str(time_s)), time_s)
        answer.add_done_callback(lambda _, time_s=time_s: ended.setdefault(time_s, loop.time() - begun))
        answer.add_done_callback(asyncio.Future.exception)
    await asyncio.sleep(5)
    assert all(time_s - 0.002 <= ended[time_s] <= time_s + SWEEP_EVERY_S + 0.002 for time_s in ended)
    assert len(ended) == 4
    await node.sender.close()


@in_virtual_time
async def test_what_is_answered_too_late_is_no_harm() -> None:
    node = Node()
    with pytest.raises(Timeout):
        await node.submit(write("k"), time_s=0.5)
    node.stream.reply(0)
    await settle()
    answer = node.submit(read("next"))
    await settle()
    node.stream.reply(1)
    assert await answer is None
    await node.sender.close()


@in_virtual_time
async def test_before_there_is_a_connection_nothing_is_sent() -> None:
    node = Node()
    node.connected.clear()
    with pytest.raises(Timeout) as caught:
        await node.submit(write("k"), time_s=0.5)
    assert not caught.value.maybe_applied
    await node.sender.close()


@in_virtual_time
async def test_without_a_connection_those_that_wait_are_told() -> None:
    node = Node()
    node.connected.clear()
    waiting = [node.submit(write(key)) for key in "ab"]
    await settle()
    text = "failed to connect to all addresses; last error: Connection refused"
    node.stream.end(AioRpcError(StatusCode.UNAVAILABLE, Metadata(), Metadata(), details=text))
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [Unreachable, Unreachable]
    assert errors[0] is not errors[1]
    await node.sender.close()


@in_virtual_time
async def test_a_stream_that_ended_is_opened_again_for_what_waits() -> None:
    node = Node()
    lost = node.submit(write("lost"))
    await settle()
    waiting = node.submit(read("waiting"))
    node.stream.end()
    with pytest.raises(Timeout) as caught:
        await lost
    assert caught.value.maybe_applied
    await settle()
    assert node.stream.written[0].keys == [b"waiting"]
    node.stream.reply(0)
    assert await waiting is None
    await node.sender.close()


@in_virtual_time
async def test_what_a_stopping_node_has_not_begun_is_certainly_not_done() -> None:
    """That it was begun last is not to say that it was done: its reply may have been lost."""
    node = Node()
    first = node.submit(write("a"))
    await asyncio.sleep(2 * batching.STRAGGLER_S)
    second, third = node.submit(write("b")), node.submit(write("c"))
    await settle()
    assert node.batches == [[b"a"], [b"b", b"c"]]
    node.stream.trailing = Metadata(("covey-last-begun", "1"))
    node.stream.end()
    with pytest.raises(Timeout) as caught:
        await first
    assert caught.value.maybe_applied
    for not_begun in (second, third):
        with pytest.raises(Unavailable) as caught_too:
            await not_begun
        assert not caught_too.value.maybe_applied
    await node.sender.close()


@pytest.mark.parametrize("others", [False, True])
@in_virtual_time
async def test_a_refused_batch_was_not_done_but_others_on_its_stream_may_have_been(others: bool) -> None:
    node = Node()
    refused = node.submit(write("refused"))
    if others:
        await asyncio.sleep(2 * batching.STRAGGLER_S)
        node.submit(read("other"))
    await settle()
    word = Metadata(("covey-maybe-applied", "0"))
    node.stream.end(AioRpcError(StatusCode.INVALID_ARGUMENT, Metadata(), word, details="no sense"))
    with pytest.raises(InvalidRequest) as caught:
        await refused
    assert caught.value.maybe_applied is others
    await node.sender.close()


@in_virtual_time
async def test_closing_tells_apart_what_was_sent_and_what_was_not() -> None:
    node = Node()
    sent = node.submit(write("sent"))
    await settle()
    waiting = node.submit(write("waiting"))
    await node.sender.close()
    with pytest.raises(Timeout) as in_flight:
        await sent
    assert in_flight.value.maybe_applied
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        node.submit(read("late"))


@in_virtual_time
async def test_a_defect_while_writing_reaches_the_callers_and_the_next_operation_goes_out() -> None:
    node = Node()
    node.submit(read("a")).cancel()
    await settle()

    async def broken(request: kv_pb2.OperateRequest) -> None:
        raise ZeroDivisionError

    ok = node.submit(read("opens"))
    await settle()
    node.stream.write = broken  # type: ignore[method-assign]
    node.stream.reply(0)
    await ok
    with pytest.raises(ZeroDivisionError):
        await node.submit(read("k"))
    del node.stream.write
    answer = node.submit(read("k"))
    await settle()
    node.stream.reply(1)
    assert await answer is None
    await node.sender.close()


@in_virtual_time
async def test_a_defect_while_reading_reaches_the_callers_and_the_next_operation_goes_out() -> None:
    node = Node()

    def broken(_: ReplyReport) -> None:
        raise ZeroDivisionError

    node.sender._on_reply = broken
    answered, left = node.submit(read("answered")), node.submit(read("left"))
    await settle()
    node.stream.reply(0, 0)
    with pytest.raises(ZeroDivisionError):
        await left
    assert await answered is None
    node.sender._on_reply = node.heard.append
    answer = node.submit(read("next"))
    await settle()
    node.stream.reply(0)
    assert await answer is None
    assert len(node.streams) == 2
    await node.sender.close()


@in_virtual_time
async def test_a_reply_tells_how_the_node_does() -> None:
    node = Node()
    node.submit(read("a"))
    node.submit(read("b"))
    await settle()
    await asyncio.sleep(0.02)
    node.stream.reply(0, 1)
    node.stream.reply(0, 0)
    await settle()
    first, second = node.heard
    assert (first.address, first.operations, first.served) == ("a:1", 2, True)
    assert first.round_trip_s == pytest.approx(0.02)
    assert second.round_trip_s is None
    await node.sender.close()


GREETING = Metadata(
    ("covey-cluster-id", "ours"), ("covey-clock-ms", "1700000000000"), ("covey-max-skew-ms", "500")
)


@in_virtual_time
async def test_nothing_is_sent_before_the_node_has_opened_the_stream() -> None:
    """So the very first operation names the cluster and a time."""
    node = Node()
    node.opened.clear()
    node.initial = GREETING
    node.submit(write("a"))
    await settle()
    assert node.batches == []
    node.opened.set()
    await settle()
    (request,) = node.stream.written
    assert (request.cluster_id, request.begin_within_ms) == ("ours", 400)
    assert abs(request.sent_ms - 1_700_000_000_000) < 1000
    await node.sender.close()


@in_virtual_time
async def test_a_node_that_does_not_open_the_stream_was_certainly_not_asked() -> None:
    node = Node()
    node.opened.clear()
    answer = node.submit(write("a"))
    with pytest.raises(Unreachable, match="does not answer"):
        await answer
    await node.sender.close()


@in_virtual_time
async def test_a_node_of_another_cluster_is_sent_nothing() -> None:
    node = Node()
    node.cluster.met("b:1", "another")
    node.initial = GREETING
    answer = node.submit(write("a"))
    with pytest.raises(WrongCluster, match="ours"):
        await answer
    assert node.batches == []
    await node.sender.close()


@in_virtual_time
async def test_what_a_write_that_timed_out_may_yet_get_counts_as_seen() -> None:
    node = Node()
    node.initial = GREETING
    with pytest.raises(Timeout):
        await node.submit(write("a"), 1.0)
    (request,) = node.stream.written
    latest_ms = request.sent_ms + request.begin_within_ms
    assert node.seen.timestamp == (latest_ms << 16) + 0xFFFF
    node.submit(write("b"))
    await settle()
    node.stream.reply(0)
    await settle()
    assert node.stream.written[-1].lost_timestamp == node.seen.timestamp
    assert node.stream.written[-1].seen_timestamp == node.seen.observed < node.seen.lost
    await node.sender.close()


@in_virtual_time
async def test_what_a_write_may_yet_get_counts_as_seen_when_the_connection_is_lost() -> None:
    node = Node()
    node.initial = GREETING
    answer = node.submit(write("a"))
    await settle()
    node.stream.end(AioRpcError(StatusCode.UNAVAILABLE, Metadata(), Metadata(), details="lost"))
    with pytest.raises(Timeout):
        await answer
    assert node.seen.timestamp >> 16 > 1_700_000_000_000
    await node.sender.close()


@in_virtual_time
async def test_a_read_that_timed_out_is_nothing_seen() -> None:
    node = Node()
    node.initial = GREETING
    with pytest.raises(Timeout):
        await node.submit(read("a"), 1.0)
    assert node.seen.timestamp == 0
    await node.sender.close()


@in_virtual_time
async def test_a_write_that_was_certainly_not_done_is_nothing_seen() -> None:
    node = Node()
    node.initial = GREETING
    answer = node.submit(write("a"))
    await settle()
    failure = kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_UNAVAILABLE, message="expired")
    node.stream.answer(kv_pb2.OperateReply(id=1, kinds=bytes([4]), failures=[failure]))
    with pytest.raises(Unavailable):
        await answer
    assert node.seen.timestamp == 0
    await node.sender.close()


@in_virtual_time
async def test_a_batch_that_another_cluster_refuses_ends_with_the_names_of_both() -> None:
    """The node has changed hands while the stream was open."""
    node = Node()
    node.initial = GREETING
    answer = node.submit(write("a"))
    await settle()
    failure = kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_WRONG_CLUSTER, message="refused")
    node.stream.answer(kv_pb2.OperateReply(id=1, kinds=bytes([4]), failures=[failure], cluster_id="another"))
    with pytest.raises(WrongCluster, match=r"another.*ours"):
        await answer
    assert "a:1" in node.cluster.foreign
    await node.sender.close()
