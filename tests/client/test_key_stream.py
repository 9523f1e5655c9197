"""Listing of keys against real gRPC servers."""

from __future__ import annotations

import grpc

from covey import AsyncClient
from covey.ring.tokens import token_of

from .conftest import FakeCluster, abort, never


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
