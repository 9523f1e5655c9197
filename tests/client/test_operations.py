"""Operations of the asynchronous client, their options, and the versions that it has seen."""

from __future__ import annotations

import asyncio

import pytest

from covey import AsyncClient, InvalidRequest
from covey.proto.generated import kv_pb2

from .conftest import CLOCK_MS, FakeCluster, eventually, never


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
