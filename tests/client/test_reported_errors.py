"""The errors with which operations end, against real gRPC servers."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from covey import AsyncClient, InternalError, Overloaded, Timeout, Unavailable
from covey.proto.generated import kv_pb2

from .conftest import UNAVAILABLE, FakeCluster, abort, never


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


async def test_overload_without_time_for_a_retry_is_told(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = abort(grpc.StatusCode.RESOURCE_EXHAUSTED, mark="0", retry_after="9")
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(Overloaded) as caught:
            await kv.put("k", b"v", timeout=1)
    assert caught.value.retry_after == 9
    assert not caught.value.maybe_applied


async def test_the_errors_of_reads_never_say_that_something_may_have_happened(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    node.every_time = abort(grpc.StatusCode.INTERNAL)
    async with AsyncClient([node.address]) as kv:
        with pytest.raises(InternalError) as caught:
            await kv.get("k", timeout=0.2)
    assert not caught.value.maybe_applied
