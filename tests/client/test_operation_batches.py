"""Batches of operations that the asynchronous client sends to real gRPC servers."""

from __future__ import annotations

import asyncio

from covey import AsyncClient, InvalidRequest
from covey.proto.generated import kv_pb2

from .conftest import FakeCluster, eventually, hold, learned, one_by_one


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
