"""What one client has in hand is bounded, and what is beyond that waits in order."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from covey import AsyncClient, CoveyError, Timeout, Unavailable
from covey.client import admission
from covey.client.admission import (
    MAX_IN_HAND_BYTES,
    MAX_IN_HAND_OPERATIONS,
    MIN_IN_HAND_OPERATIONS,
    Admission,
)
from covey.proto.generated import kv_pb2

from .conftest import FakeCluster, eventually, hold, never


def fill(entered: Admission) -> None:
    """Take as many operations in hand as there is room for."""
    for _ in range(2 * MAX_IN_HAND_OPERATIONS):
        if not entered.try_enter(0):
            return


async def test_so_many_operations_are_in_hand_and_no_more() -> None:
    entered = Admission()
    fill(entered)
    assert entered.in_hand == MAX_IN_HAND_OPERATIONS


async def test_bytes_are_bounded_too_and_a_larger_operation_enters_alone() -> None:
    entered = Admission()
    assert entered.try_enter(1)
    assert not entered.try_enter(MAX_IN_HAND_BYTES)
    entered.leave(1)
    assert entered.try_enter(2 * MAX_IN_HAND_BYTES)
    assert not entered.try_enter(0)


async def test_what_waits_enters_in_order() -> None:
    entered, order = Admission(), []
    fill(entered)

    async def wait(number: int) -> None:
        await entered.enter(0, None)
        order.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    entered.leave(0)
    async with asyncio.timeout(5):
        await waiting[0]
    assert not entered.try_enter(0), "past those that wait"
    entered.leave(0)
    entered.leave(0)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]
    assert entered.in_hand == MAX_IN_HAND_OPERATIONS


async def test_what_waits_until_its_deadline_was_certainly_not_sent() -> None:
    entered = Admission()
    fill(entered)
    now = asyncio.get_running_loop().time()
    late = asyncio.create_task(entered.enter(0, now + 60))
    with pytest.raises(Timeout, match="not sent in time") as caught:
        await entered.enter(0, now + 0.01)
    assert not caught.value.maybe_applied
    assert not late.done()
    late.cancel()


async def test_what_is_given_up_leaves_its_place_to_the_next() -> None:
    entered = Admission()
    fill(entered)
    first, second, third = (asyncio.create_task(entered.enter(0, None)) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    entered.leave(0)
    second.cancel()  # after it was let in, before it knows
    async with asyncio.timeout(5):
        await third
    assert second.cancelled()
    assert entered.in_hand == MAX_IN_HAND_OPERATIONS


async def test_closing_ends_what_waits() -> None:
    entered = Admission()
    fill(entered)
    waiting = asyncio.create_task(entered.enter(0, None))
    await asyncio.sleep(0)
    entered.close()
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await entered.enter(0, None)


async def test_a_refusal_for_load_halves_the_limit_and_what_ends_raises_it_again() -> None:
    entered = Admission()
    fill(entered)
    entered.overloaded(1.0)
    entered.overloaded(1.01)
    assert entered.limit == MAX_IN_HAND_OPERATIONS // 2, "once for refusals that come together"
    for at in range(2, 20):
        entered.overloaded(at)
    assert entered.limit == MIN_IN_HAND_OPERATIONS
    entered.leave(0)
    assert entered.limit == MIN_IN_HAND_OPERATIONS + 1


async def test_while_it_is_paused_nothing_enters_and_what_is_in_hand_ends() -> None:
    entered = Admission()
    assert entered.try_enter(5)
    entered.pause()
    waiting = asyncio.create_task(entered.enter(0, None))
    assert not await entered.drained(0.01)
    draining = asyncio.create_task(entered.drained(10))
    await asyncio.sleep(0)
    entered.leave(5)
    assert await draining
    assert not waiting.done()
    entered.resume()
    await waiting


async def test_many_more_operations_than_fit_all_succeed(cluster: FakeCluster) -> None:
    nodes = await cluster.start(2)
    async with AsyncClient([node.address for node in nodes], timeout=60) as kv:
        keys = [f"k{i}" for i in range(3 * MAX_IN_HAND_OPERATIONS)]
        await asyncio.gather(*(kv.put(key, b"v") for key in keys))
        assert len(cluster.store.values) == len(keys)
        assert all(await asyncio.gather(*(kv.get(key) for key in keys)))
        in_hand = kv.admin._dispatcher.admission.in_hand
    assert in_hand == 0


async def test_calls_for_many_keys_share_the_bound(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_IN_HAND_OPERATIONS", 100)
    (node,) = await cluster.start(1)
    gate = asyncio.Event()
    node.every_time = hold(gate)
    async with AsyncClient(node.address, timeout=60) as kv:
        puts = [
            asyncio.create_task(kv.put_many({f"{call}/{i}": b"" for i in range(90)})) for call in range(5)
        ]
        entered = kv.admin._dispatcher.admission
        await eventually(lambda: entered.in_hand == 100 and entered.waiting == 4)
        puts.pop().cancel()
        gate.set()
        done = await asyncio.gather(*puts)
        assert [len(versions) for versions in done] == [90] * 4
        await eventually(lambda: entered.in_hand == 0)


async def test_operations_wait_outside_of_the_queues_to_nodes(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = never
    async with AsyncClient(node.address) as kv:
        asked = [asyncio.create_task(kv.put(f"k{i}", b"")) for i in range(MAX_IN_HAND_OPERATIONS + 500)]
        entered = kv.admin._dispatcher.admission
        await eventually(lambda: entered.waiting == 500)
        assert kv.admin._dispatcher._links.outstanding(node.address) == MAX_IN_HAND_OPERATIONS
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in ended[-500:]} == {Unavailable}, "certainly not done"


async def test_what_waits_holds_no_more_than_a_task_and_its_arguments(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = never
    async with AsyncClient(node.address, timeout=60) as kv:
        fills = [asyncio.create_task(kv.put(f"k{i}", b"")) for i in range(MAX_IN_HAND_OPERATIONS)]
        await eventually(lambda: node.batches)
        tracemalloc.start()
        waiting = [asyncio.create_task(kv.put("k", b"")) for _ in range(2000)]
        entered = kv.admin._dispatcher.admission
        await eventually(lambda: entered.waiting == 2000)
        grown_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    await asyncio.gather(*fills, *waiting, return_exceptions=True)
    assert grown_bytes / 2000 < 5000


async def test_an_overloaded_cluster_is_asked_less_and_less_often(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    keys = [f"k{i}" for i in range(1000)]
    overloaded = kv_pb2.OperationFailure(
        code=kv_pb2.ERROR_CODE_OVERLOADED, message="too much", retry_after=0.001
    )
    cluster.store.failures.update({key.encode(): overloaded for key in keys})
    async with AsyncClient(node.address, timeout=1.5) as kv:
        asked = asyncio.gather(*(kv.put(key, b"") for key in keys), return_exceptions=True)
        entered = kv.admin._dispatcher.admission
        await eventually(lambda: entered.limit < MAX_IN_HAND_OPERATIONS)
        assert all(isinstance(one, CoveyError) for one in await asked)
    assert sum(len(batch.kinds) for batch in node.batches) < 8 * len(keys)
