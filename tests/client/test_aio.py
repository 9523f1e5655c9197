"""The asynchronous client against real gRPC servers."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from covey import (
    AsyncClient,
    InternalError,
    InvalidRequest,
    Overloaded,
    PartialFailure,
    Timeout,
    Unauthenticated,
    Unavailable,
    WrongCluster,
)
from covey.client import dispatch, many, topology_learner
from covey.proto.generated import kv_pb2
from covey.ring.tokens import token_of

from .conftest import CLOCK_MS, FakeCluster, MortalNode, abort, eventually, finish, hold, never, one_by_one

UNAVAILABLE = abort(grpc.StatusCode.UNAVAILABLE, mark="0")


async def learned(client: AsyncClient) -> None:
    """Return once the client knows the ring."""
    await client.get("first")
    await eventually(lambda: client.admin._dispatcher._router._topology is not None)


async def test_what_was_put_is_got(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        version = await kv.put("grün", "schön")
        assert await kv.get("grün".encode()) == "schön".encode()
        assert version.timestamp == 1001
        assert not version.superseded


async def test_an_empty_value_is_not_an_absent_one(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient(node.address) as kv:
        await kv.put("k", b"")
        assert await kv.get("k") == b""
        assert await kv.get("other") is None


async def test_delete_returns_its_version_and_whether_a_newer_one_stood(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        put = await kv.put("k", b"v")
        deleted = await kv.delete("k")
        assert deleted > put
        assert deleted.superseded
        assert await kv.get("k") is None


async def test_a_lone_get_is_one_call(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.get("k")
    assert len(node.batches) == 1
    assert node.ring_asked == 0


async def test_the_highest_seen_timestamp_travels_with_every_request(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        version = await kv.put("a", b"1")
        await kv.get("a")
        await kv.delete("b")
    assert [batch.seen_timestamp for batch in node.batches] == [0, version.timestamp, version.timestamp]


async def test_a_read_raises_the_seen_timestamp(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    cluster.store.clock = 5_000_000
    async with AsyncClient([node.address]) as kv:
        await kv.get("a")
        assert kv.seen_timestamp == 5_000_000


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"consistency": "one"}, [kv_pb2.Consistency(level=kv_pb2.LEVEL_ONE)]),
        ({"consistency": "quorum"}, [kv_pb2.Consistency(level=kv_pb2.LEVEL_QUORUM)]),
        ({"consistency": "all"}, [kv_pb2.Consistency(level=kv_pb2.LEVEL_ALL)]),
        ({"r": 3}, [kv_pb2.Consistency(replicas=3)]),
    ],
)
async def test_consistency_travels(
    cluster: FakeCluster, options: dict, expected: list[kv_pb2.Consistency]
) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.get("k", **options)
    assert node.batches[0].consistencies == expected


@pytest.mark.parametrize(
    "options", [{"consistency": "most"}, {"w": 0}, {"consistency": "one", "w": 1}, {"timeout": 0}]
)
async def test_impossible_options_are_refused_before_anything_is_sent(
    cluster: FakeCluster, options: dict
) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(InvalidRequest):
            await kv.put("k", b"v", **options)
    assert not node.batches


async def test_the_node_is_given_a_little_less_time_than_the_caller_has(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.put("k", b"v", timeout=2.0)
    assert 1500 < node.batches[0].timeouts_ms[0] < 2000


# --- batches ------------------------------------------------------------------------------------------------


async def test_what_comes_while_a_batch_is_in_flight_rides_in_the_next(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    gate = asyncio.Event()
    node.faults.append(hold(gate))
    async with AsyncClient([node.address]) as kv:
        first = asyncio.create_task(kv.put("first", b""))
        await eventually(lambda: node.batches)
        rest = [asyncio.create_task(kv.put(f"k{i}", b"")) for i in range(20)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *rest)
    assert [len(batch.kinds) for batch in node.batches] == [1, 20]


async def test_a_failed_operation_does_not_fail_its_batch(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    cluster.store.failures[b"bad"] = kv_pb2.OperationFailure(
        code=kv_pb2.ERROR_CODE_INVALID_REQUEST, message="no"
    )
    async with AsyncClient([node.address]) as kv:
        good, bad = await asyncio.gather(kv.get("good"), kv.get("bad"), return_exceptions=True)
    assert good is None
    assert isinstance(bad, InvalidRequest)
    assert len(node.batches) == 1


async def test_an_operation_that_is_answered_early_does_not_wait_for_the_rest_of_its_batch(
    cluster: FakeCluster,
) -> None:
    (node,) = await cluster.start(1)
    gate = asyncio.Event()
    node.between_replies = gate.wait
    node.split = one_by_one
    async with AsyncClient([node.address]) as kv:
        first, second = (asyncio.create_task(kv.put(key, b"")) for key in "ab")
        await first
        assert not second.done()
        gate.set()
        await second
    assert len(node.batches) == 1


async def test_answers_that_are_too_large_for_one_message_come_in_several(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.split = one_by_one
    keys = [f"k{i}" for i in range(24)]
    cluster.store.values.update({key.encode(): bytes(4 << 20) for key in keys})  # 96 MiB together
    async with AsyncClient([node.address], timeout=20) as kv:
        values = await kv.get_many(keys)
    assert all(len(value or b"") == 4 << 20 for value in values.values())
    assert len(node.batches) == 1


async def test_batches_travel_over_one_stream(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        for i in range(5):
            await kv.put(f"k{i}", b"")
            await kv.get(f"k{i}")
    assert len(node.batches) == 10
    assert node.streams == 1


@pytest.mark.parametrize(
    "reply",
    [
        kv_pb2.OperateReply(kinds=b"\x02\x02", timestamps=[1, 2]),
        kv_pb2.OperateReply(kinds=b"\x02"),
        kv_pb2.OperateReply(kinds=b"\x01", values=[b""]),
        kv_pb2.OperateReply(kinds=b"\x02", timestamps=[1], places=[7]),
        kv_pb2.OperateReply(kinds=b"\x09"),
    ],
)
async def test_an_answer_that_fits_nothing_is_the_nodes_fault_and_leaves_open_what_happened(
    cluster: FakeCluster, reply: kv_pb2.OperateReply
) -> None:
    (node,) = await cluster.start(1)
    node.nonsense = reply
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(InternalError) as caught:
            await kv.put("k", b"")
    assert caught.value.maybe_applied


# --- routing ------------------------------------------------------------------------------------------------


async def test_few_operations_go_to_one_owner_and_many_to_all(cluster: FakeCluster) -> None:
    nodes = await cluster.start(3)
    async with AsyncClient([nodes[0].address]) as kv:
        await learned(kv)
        for node in nodes:
            node.batches.clear()
        for i in range(30):
            await kv.get(f"key{i}")
        assert sorted(len(node.batches) for node in nodes) == [0, 0, 30]
        await kv.get_many([f"key{i}" for i in range(512)])
        assert all(node.batches for node in nodes)


async def test_a_new_epoch_is_learned_after_a_failure(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology_learner, "MIN_INTERVAL_S", 0.01)
    nodes = await cluster.start(3)
    async with AsyncClient([node.address for node in nodes[:2]]) as kv:
        await learned(kv)
        await nodes[2].stop()
        cluster.owners, cluster.epoch = nodes[:2], 2
        router = kv.admin._dispatcher._router
        async with asyncio.timeout(5):
            while router._topology.record.number < 2:
                await kv.get_many([f"k{i}" for i in range(512)])  # so many that every owner gets some
        links = kv.admin._dispatcher._links
        await eventually(lambda: nodes[2].address not in links._links)  # its connection is given up


# --- failing over -------------------------------------------------------------------------------------------


async def test_an_answering_nodes_refusal_is_told_rather_than_that_others_cannot_be_reached(
    cluster: FakeCluster, closed_address: str
) -> None:
    (node,) = await cluster.start(1)
    node.every_time = UNAVAILABLE
    for addresses in ([node.address, closed_address], [closed_address, node.address]):
        async with AsyncClient(addresses, timeout=0.4) as kv:
            for asked in (kv.get("k"), kv.put("k", b""), kv.admin.status()):
                with pytest.raises(Unavailable, match="as told"):
                    await asked


async def test_a_refusal_is_told_rather_than_that_a_later_attempt_was_not_sent(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    nodes[0].every_time = UNAVAILABLE
    nodes[1].every_time = never
    async with AsyncClient([node.address for node in nodes], timeout=0.5) as kv:
        link = kv.admin._dispatcher._links.to(nodes[1].address)
        link.sender.queue.departure = lambda: None  # type: ignore[method-assign]  # as while nothing connects
        with pytest.raises(Unavailable, match="as told") as caught:
            await kv.put("k", b"")
    assert not caught.value.maybe_applied


async def test_what_a_node_answered_is_told_rather_than_that_a_later_one_was_silent(
    cluster: FakeCluster,
) -> None:
    """Whichever of the two is asked first: the one that answers knows why."""
    one, other = await cluster.start(2)
    cluster.store.failures[b"k"] = kv_pb2.OperationFailure(
        code=kv_pb2.ERROR_CODE_TIMEOUT, message="too few replicas answered"
    )
    other.every_time = never
    for addresses in ([one.address, other.address], [other.address, one.address]):
        async with AsyncClient(addresses, timeout=1.0) as kv:
            with pytest.raises(Timeout, match="too few replicas answered"):
                await kv.get("k")


async def test_a_write_that_may_have_happened_says_so_whatever_failed_before(
    cluster: FakeCluster, closed_address: str
) -> None:
    (node,) = await cluster.start(1)
    node.every_time = never
    async with AsyncClient([closed_address, node.address], timeout=0.4) as kv:
        with pytest.raises(Timeout) as caught:
            await kv.put("k", b"")
    assert caught.value.maybe_applied


async def test_an_address_where_nobody_listens_is_passed_over(
    cluster: FakeCluster, closed_address: str
) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([closed_address, node.address]) as kv:
        await kv.put("k", b"v")
        assert await kv.get("k") == b"v"


async def test_an_unreachable_cluster_is_told_at_once_in_two_lines_that_name_the_addresses(
    closed_address: str,
) -> None:
    async with AsyncClient([closed_address, "127.0.0.1:1"], timeout=60) as kv:
        with pytest.raises(Unavailable) as caught:
            await asyncio.wait_for(kv.put("k", b"v"), 5)
    assert not caught.value.maybe_applied
    first, second = str(caught.value).splitlines()
    assert closed_address in first
    assert "127.0.0.1:1" in first
    assert "Nothing was done" in second


async def test_a_server_that_is_no_covey_node_is_named_as_such(cluster: FakeCluster) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as kv:
        with pytest.raises(Unavailable, match="not a covey node"):
            await kv.get("k")
    await server.stop(None)


async def test_reads_and_writes_go_on_when_a_node_goes_away(cluster: FakeCluster) -> None:
    nodes = await cluster.start(3)
    async with AsyncClient([nodes[0].address]) as kv:
        await learned(kv)
        await nodes[0].stop()
        keys = [f"k{i}" for i in range(50)]
        assert set((await kv.get_many(keys)).values()) == {None}  # also tells the client of the loss
        await kv.put_many(dict.fromkeys(keys, b"v"))
        assert set((await kv.get_many(keys)).values()) == {b"v"}


async def test_a_client_outlives_a_restart_of_the_only_node(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.put("k", b"v")
        await node.stop()
        waiting = asyncio.create_task(kv.get("k"))
        await asyncio.sleep(0.05)
        await node.restart()
        assert await waiting == b"v"


async def test_a_write_is_tried_again_when_it_certainly_was_not_done(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    nodes[0].faults.append(UNAVAILABLE)
    async with AsyncClient([node.address for node in nodes]) as kv:
        await kv.put("k", b"v")
    assert [len(node.batches) for node in nodes] == [1, 1]


@pytest.mark.parametrize(
    "fault",
    [
        abort(grpc.StatusCode.UNAVAILABLE),
        abort(grpc.StatusCode.UNAVAILABLE, mark="1"),
        abort(grpc.StatusCode.DEADLINE_EXCEEDED, mark="1"),
        abort(grpc.StatusCode.CANCELLED),
        finish(),
        finish(last_begun="1"),
    ],
)
async def test_a_write_that_may_have_happened_is_not_tried_again(cluster: FakeCluster, fault) -> None:
    nodes = await cluster.start(2)
    nodes[0].faults.append(fault)
    async with AsyncClient([node.address for node in nodes]) as kv:
        with pytest.raises(Timeout) as caught:
            await kv.put("k", b"v")
    assert caught.value.maybe_applied
    assert [len(node.batches) for node in nodes] == [1, 0]


async def test_a_write_that_a_stopping_node_has_not_begun_is_tried_elsewhere(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    nodes[0].faults.append(finish(last_begun="0"))
    async with AsyncClient([node.address for node in nodes]) as kv:
        await kv.put("k", b"v")
    assert [len(node.batches) for node in nodes] == [1, 1]


async def test_a_stream_that_ended_while_nothing_was_under_way_is_opened_again(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.put("k", b"v")
        await node.restart()
        await kv.put("k", b"v")
    assert node.streams == 2


async def test_a_write_whose_node_is_killed_in_the_middle_may_have_happened(
    cluster: FakeCluster, mortal_node: MortalNode
) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([mortal_node.address, node.address]) as kv:
        writing = asyncio.create_task(kv.put("k", b"v"))
        await mortal_node.wait_for_call()
        mortal_node.kill()
        with pytest.raises(Timeout) as caught:
            await writing
        assert caught.value.maybe_applied
        assert not node.batches
        await kv.put("k", b"v")  # the next one goes to the other node at once
        assert len(node.batches) == 1


async def test_a_read_whose_node_is_killed_in_the_middle_is_answered_by_another(
    cluster: FakeCluster, mortal_node: MortalNode
) -> None:
    (node,) = await cluster.start(1)
    cluster.store.values[b"k"] = b"v"
    async with AsyncClient([mortal_node.address, node.address]) as kv:
        reading = asyncio.create_task(kv.get("k"))
        await mortal_node.wait_for_call()
        mortal_node.kill()
        assert await reading == b"v"


async def test_a_read_does_not_give_a_silent_node_all_of_its_time(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    nodes[0].every_time = never
    cluster.store.values[b"k"] = b"v"
    async with AsyncClient([node.address for node in nodes]) as kv:
        assert await kv.get("k", timeout=0.6) == b"v"


async def test_a_write_without_an_answer_in_time_may_have_happened(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = never
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(Timeout) as caught:
            await kv.put("k", b"v", timeout=0.1)
    assert caught.value.maybe_applied


async def test_a_write_that_the_coordinator_gave_up_on_before_sending_certainly_did_not_happen(
    cluster: FakeCluster,
) -> None:
    (node,) = await cluster.start(1)
    cluster.store.failures[b"k"] = kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_TIMEOUT, message="late")
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(Timeout) as caught:
            await kv.put("k", b"v", timeout=0.3)
    assert not caught.value.maybe_applied


async def test_no_attempt_begins_when_there_is_no_time_for_its_answer(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.faults.append(UNAVAILABLE)
    node.every_time = never
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(Unavailable):
            await kv.put("k", b"v", timeout=dispatch.MIN_RETRY_S + 0.02)
    assert len(node.batches) == 1


async def test_too_few_replicas_end_as_unavailable_when_the_time_is_over(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    cluster.store.failures[b"k"] = kv_pb2.OperationFailure(
        code=kv_pb2.ERROR_CODE_UNAVAILABLE, message="1 of 2 replicas"
    )
    async with AsyncClient([node.address for node in nodes]) as kv:
        with pytest.raises(Unavailable, match="1 of 2 replicas") as caught:
            await kv.put("k", b"v", timeout=0.3)
    assert not caught.value.maybe_applied
    assert all(len(node.batches) > 1 for node in nodes)


async def test_a_node_that_does_the_rest_of_a_batch_is_not_blamed_for_what_fails(
    cluster: FakeCluster,
) -> None:
    (node,) = await cluster.start(1)
    cluster.store.failures[b"bad"] = kv_pb2.OperationFailure(
        code=kv_pb2.ERROR_CODE_TIMEOUT, message="late", maybe_applied=True
    )
    async with AsyncClient([node.address]) as kv:
        await asyncio.gather(kv.put("good", b""), kv.put("bad", b""), return_exceptions=True)
        assert not kv.admin._dispatcher._router.backoff._failures
        with pytest.raises(Timeout):
            await kv.put("bad", b"")
        assert kv.admin._dispatcher._router.backoff._failures


async def test_an_overloaded_node_is_left_alone_for_as_long_as_it_asks(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.faults.append(abort(grpc.StatusCode.RESOURCE_EXHAUSTED, mark="0", retry_after="0.2"))
    loop = asyncio.get_running_loop()
    async with AsyncClient([node.address]) as kv:
        begun = loop.time()
        await kv.put("k", b"v")
        assert loop.time() - begun >= 0.1


async def test_overload_without_time_for_a_retry_is_told(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = abort(grpc.StatusCode.RESOURCE_EXHAUSTED, mark="0", retry_after="9")
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(Overloaded) as caught:
            await kv.put("k", b"v", timeout=1)
    assert caught.value.retry_after == 9
    assert not caught.value.maybe_applied


async def test_who_is_not_known_to_the_cluster_is_not_sent_around(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    nodes[0].every_time = abort(grpc.StatusCode.UNAUTHENTICATED, mark="0")
    async with AsyncClient([node.address for node in nodes]) as kv:
        with pytest.raises(Unauthenticated):
            await kv.get("k")
    assert not nodes[1].batches


async def test_the_errors_of_reads_never_say_that_something_may_have_happened(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = abort(grpc.StatusCode.INTERNAL)
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(InternalError) as caught:
            await kv.get("k", timeout=0.2)
    assert not caught.value.maybe_applied


# --- many ---------------------------------------------------------------------------------------------------


async def test_many_are_put_and_got_by_the_callers_own_keys(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        versions = await kv.put_many({f"k{i}": str(i) for i in range(1000)})
        values = await kv.get_many(versions)
    assert values == {f"k{i}": str(i).encode() for i in range(1000)}
    assert len(node.batches) < 100


async def test_some_failures_among_many_come_with_the_results_of_the_others(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    cluster.store.failures[b"bad"] = kv_pb2.OperationFailure(
        code=kv_pb2.ERROR_CODE_TIMEOUT, message="late", maybe_applied=True
    )
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(PartialFailure) as caught:
            await kv.put_many({"good": b"1", "bad": b"2"})
    assert list(caught.value.done) == ["good"]
    assert isinstance(caught.value.failed["bad"], Timeout)
    assert caught.value.maybe_applied


async def test_many_for_a_cluster_that_is_gone_are_given_up_together(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "WINDOW", 4)
    monkeypatch.setattr(many, "MAX_FAILURES_IN_A_ROW", 4)
    (node,) = await cluster.start(1)
    node.every_time = never
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(PartialFailure) as caught:
            await kv.put_many({f"k{i}": b"" for i in range(40)}, timeout=0.1)
    assert len(caught.value.failed) == 40
    sent = sum(error.maybe_applied for error in caught.value.failed.values())
    assert 4 <= sent < 8  # each worker may have begun one more before the last of the first four failed


async def test_those_of_many_that_their_first_node_certainly_did_not_do_go_on_at_another(
    cluster: FakeCluster,
) -> None:
    nodes = await cluster.start(2)
    nodes[0].every_time = UNAVAILABLE
    keys = [f"k{i}" for i in range(100)]
    async with AsyncClient([node.address for node in nodes]) as kv:
        assert list(await kv.put_many(dict.fromkeys(keys, b"v"))) == keys
    assert len(cluster.store.values) == 100


async def test_many_large_values_are_under_way_a_few_at_a_time(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "WINDOW_BYTES", 1000)
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.put_many({f"k{i}": bytes(400) for i in range(10)})
    assert max(len(batch.kinds) for batch in node.batches) == 3


async def test_giving_up_on_many_leaves_nothing_under_way(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.faults.append(UNAVAILABLE)
    node.every_time = never
    async with AsyncClient([node.address]) as kv:
        putting = asyncio.create_task(kv.put_many({f"k{i}": b"" for i in range(10)}))
        await eventually(lambda: len(node.batches) > 1)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
        assert not [name for name in names if name.startswith(("_Run.", "Dispatcher."))]


async def test_two_spellings_of_one_key_are_refused(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(InvalidRequest):
            await kv.put_many({"k": b"1", b"k": b"2"})
    assert not node.batches


async def test_a_wrong_type_among_many_is_refused_before_anything_is_sent(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(InvalidRequest, match="value is str or bytes, not int"):
            await kv.put_many({"good": b"", "k": 3})
    assert not node.batches


# --- keys ---------------------------------------------------------------------------------------------------


async def test_keys_come_in_token_order_each_once(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    cluster.store.values.update({f"user:{i}".encode(): b"" for i in range(35)} | {b"other": b""})
    async with AsyncClient([node.address]) as kv:
        listed = [key async for key in kv.keys(prefix="user:")]
    assert listed == sorted((f"user:{i}".encode() for i in range(35)), key=token_of)


async def test_a_listing_goes_on_at_another_node_where_it_broke_off(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    nodes[0].faults.extend([abort(grpc.StatusCode.UNAVAILABLE), abort(grpc.StatusCode.UNAVAILABLE)])
    nodes[0].chunks_before_fault = 2
    async with AsyncClient([node.address for node in nodes]) as kv:
        listed = [key async for key in kv.keys()]  # noqa: SIM118 - a method, not a dict
    assert listed == sorted(cluster.store.values, key=token_of)
    asked = [request.after_key for node in nodes for request in node.keys_asked]
    assert sorted(asked) == sorted([b"", listed[19], *asked[2:]])


async def test_a_listing_whose_node_falls_silent_goes_on_at_another(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    nodes[0].faults.append(never)
    nodes[0].chunks_before_fault = 1
    async with AsyncClient([node.address for node in nodes]) as kv:
        listed = [key async for key in kv.keys(timeout=0.3)]
    assert listed == sorted(cluster.store.values, key=token_of)


async def test_a_listing_can_be_left_early(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    cluster.store.values.update({f"k{i}".encode(): b"" for i in range(35)})
    async with AsyncClient([node.address]) as kv:
        async for key in kv.keys():
            assert key in cluster.store.values
            break


# --- closing ------------------------------------------------------------------------------------------------


async def test_closing_ends_what_is_under_way_and_says_what_may_have_happened(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = never
    kv = AsyncClient([node.address])
    writing = asyncio.create_task(kv.put("k", b"v"))
    await eventually(lambda: node.batches)
    await kv.close()
    with pytest.raises(Timeout) as caught:
        await writing
    assert caught.value.maybe_applied


async def test_closing_ends_a_pause_between_attempts(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = abort(grpc.StatusCode.RESOURCE_EXHAUSTED, mark="0", retry_after="30")
    kv = AsyncClient([node.address], timeout=60)
    writing = asyncio.create_task(kv.put("k", b"v"))
    await eventually(lambda: node.batches)
    await eventually(lambda: len(kv.admin._dispatcher._router.backoff._failures) == 1)
    await kv.close()
    with pytest.raises(Overloaded):
        await asyncio.wait_for(writing, 1)


async def test_closing_ends_an_administrative_call(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = never
    kv = AsyncClient([node.address])
    leaving = asyncio.create_task(kv.admin.leave("n1", timeout=60))
    await eventually(lambda: node.leave_asked)
    await kv.close()
    with pytest.raises(Timeout) as caught:
        await leaving
    assert caught.value.maybe_applied


async def test_a_closed_client_says_so(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    kv = AsyncClient([node.address])
    await kv.close()
    await kv.close()
    with pytest.raises(Unavailable, match="closed"):
        await kv.get("k")


async def test_no_task_is_left_behind(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await learned(kv)
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
    assert not [
        name
        for name in names
        if name.startswith(("OperationSender.", "OperateStream.", "TopologyLearner.", "_Run."))
    ]


def test_what_has_no_loop_to_run_on_yet_can_be_asked_for_its_administration() -> None:
    assert AsyncClient(["127.0.0.1:1"]).admin is not None


@pytest.mark.parametrize("address", ["", "localhost", ":7001", "host:", "host:0", "host:70000", "host:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest):
        AsyncClient([address])


def test_a_client_without_addresses_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        AsyncClient([])


async def test_a_write_that_its_caller_gave_up_counts_as_seen_up_to_what_it_may_get(
    cluster: FakeCluster,
) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.get("k")
        node.every_time = never
        task = asyncio.create_task(kv.put("k", "v"))
        await eventually(lambda: len(node.batches) == 2)
        assert kv.seen_timestamp >> 16 < CLOCK_MS
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert kv.seen_timestamp >> 16 > CLOCK_MS


async def test_cancelled_reads_leave_what_a_client_has_seen_alone(cluster: FakeCluster) -> None:
    """They change nothing, so nothing has to be ordered after them."""
    (node,) = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.get("k")
        seen = kv.seen_timestamp
        node.every_time = never
        task = asyncio.create_task(kv.get("k"))
        await eventually(lambda: len(node.batches) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert kv.seen_timestamp == seen


async def test_an_address_that_another_cluster_has_taken_is_left_out_until_it_is_back(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology_learner, "LOOK_AGAIN_EVERY_S", 0.1)
    nodes = await cluster.start(2)
    async with AsyncClient([node.address for node in nodes]) as kv:
        await learned(kv)
        used = next(node for node in nodes if node.batches)
        other = nodes[1 - nodes.index(used)]
        used.cluster_id = "another"
        asked = len(used.batches)
        await used.restart()
        for number in range(20):
            await kv.get(f"k{number}")  # a write could be lost with the connection
        assert len(used.batches) == asked
        assert len(other.batches) >= 20
        used.cluster_id = "c"
        await used.restart()
        await other.stop()
        await eventually(lambda: used.address not in kv._cluster.foreign)
        await kv.get("k")
        assert len(used.batches) > asked


async def test_the_session_that_a_child_of_a_fork_begins_is_of_its_parents_cluster(
    cluster: FakeCluster,
) -> None:
    [node] = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.put("k", "v")
        assert kv._session is not None
        await kv._session.close()
        kv._end_session()  # what a child does
        node.cluster_id = "another"
        await node.restart()
        with pytest.raises(WrongCluster):
            await kv.get("k")


async def test_addresses_of_two_clusters_fail_every_operation_and_are_named(cluster: FakeCluster) -> None:
    ours, theirs = await cluster.start(2)
    cluster.owners = [ours]
    theirs.cluster_id = "another"
    async with AsyncClient([ours.address, theirs.address]) as kv:
        await kv.put("k", "v")
        await eventually(lambda: kv._cluster.conflict is not None)
        with pytest.raises(WrongCluster, match=theirs.address) as caught:
            await kv.put("k", "v")
        assert ours.address in str(caught.value)
        with pytest.raises(PartialFailure) as failed:
            await kv.put_many({"a": "1", "b": "2"})
        assert {type(error) for error in failed.value.failed.values()} == {WrongCluster}
        with pytest.raises(WrongCluster):
            await kv.admin.status()
    assert theirs.batches == []
