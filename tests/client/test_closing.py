"""Closing of the asynchronous client while operations are under way."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from covey import AsyncClient, Overloaded, Timeout, Unavailable

from .conftest import FakeCluster, abort, eventually, learned, never


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
