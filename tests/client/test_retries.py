"""Retries of operations at other nodes after failures, against real gRPC servers."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from covey import AsyncClient, Timeout, Unauthenticated, Unavailable
from covey.client import dispatch, topology_learner
from covey.proto.generated import kv_pb2

from .conftest import UNAVAILABLE, FakeCluster, MortalNode, abort, eventually, finish, learned, never


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


async def test_an_address_where_nobody_listens_is_passed_over(
    cluster: FakeCluster, closed_address: str
) -> None:
    (node,) = await cluster.start(1)
    async with AsyncClient([closed_address, node.address]) as kv:
        await kv.put("k", b"v")
        assert await kv.get("k") == b"v"


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


async def test_no_attempt_begins_when_there_is_no_time_for_its_answer(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.faults.append(UNAVAILABLE)
    node.every_time = never
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(Unavailable):
            await kv.put("k", b"v", timeout=dispatch.MIN_RETRY_S + 0.02)
    assert len(node.batches) == 1


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


async def test_who_is_not_known_to_the_cluster_is_not_sent_around(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    nodes[0].every_time = abort(grpc.StatusCode.UNAUTHENTICATED, mark="0")
    async with AsyncClient([node.address for node in nodes]) as kv:
        with pytest.raises(Unauthenticated):
            await kv.get("k")
    assert not nodes[1].batches
