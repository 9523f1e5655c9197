"""``put_many`` and ``get_many`` against real gRPC servers."""

from __future__ import annotations

import asyncio

import pytest

from covey import AsyncClient, InvalidRequest, PartialFailure, Timeout
from covey.client import many
from covey.proto.generated import kv_pb2

from .conftest import UNAVAILABLE, FakeCluster, eventually, never


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
