"""A node that left an operation unanswered: what it gets before it answers again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
import pytest

from covey import AsyncClient, Timeout, Unavailable
from covey.client import topology_learner

from .conftest import FakeCluster, FakeNode, abort, eventually, never

REFUSAL = abort(grpc.StatusCode.UNAVAILABLE, mark="0")


@pytest.fixture(autouse=True)
def _asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_learner, "MIN_INTERVAL_S", 0.02)
    monkeypatch.setattr(topology_learner, "ASK_SILENT_EVERY_S", 0.02)
    monkeypatch.setattr(topology_learner, "REFRESH_TIMEOUT_S", 0.1)


def pause(node: FakeNode) -> None:
    node.every_time = node.ring_fault = never


def resume(node: FakeNode) -> None:
    node.every_time = node.ring_fault = None


async def lose_track(kv: AsyncClient) -> None:
    with pytest.raises(Timeout) as caught:
        await kv.put("k", b"old", timeout=0.2)
    assert caught.value.maybe_applied


async def test_a_write_waits_for_a_node_that_refuses_while_another_is_silent(cluster: FakeCluster) -> None:
    silent, refusing = await cluster.start(2)
    pause(silent)
    async with AsyncClient([silent.address, refusing.address]) as kv:
        await lose_track(kv)
        refusing.faults.extend([REFUSAL] * 4)
        await kv.put("k", b"new")
    assert [len(silent.batches), len(refusing.batches)] == [1, 5]


async def test_a_write_that_all_others_refuse_never_reaches_the_silent_node(cluster: FakeCluster) -> None:
    silent, refusing = await cluster.start(2)
    pause(silent)
    refusing.every_time = REFUSAL
    async with AsyncClient([silent.address, refusing.address]) as kv:
        await lose_track(kv)
        with pytest.raises(Unavailable):
            await kv.put("k", b"new", timeout=0.5)
    assert len(silent.batches) == 1


async def test_a_silent_node_that_answers_again_takes_writes(cluster: FakeCluster) -> None:
    silent, refusing = await cluster.start(2)
    pause(silent)
    refusing.every_time = REFUSAL
    async with AsyncClient([silent.address, refusing.address]) as kv:
        await lose_track(kv)
        writing = asyncio.create_task(kv.put("k", b"new"))
        await eventually(lambda: refusing.batches)
        resume(silent)
        await writing
    assert len(silent.batches) == 2


async def test_of_many_silent_nodes_each_is_asked_in_its_turn(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology_learner, "MAX_CHECKED", 1)
    *silent, refusing = await cluster.start(3)
    for node in silent:
        pause(node)
    refusing.every_time = REFUSAL
    async with AsyncClient([node.address for node in cluster.nodes]) as kv:
        for _ in silent:
            await lose_track(kv)
        resume(silent[1])
        await kv.put("k", b"new")
    assert [len(node.batches) for node in silent] == [1, 2]


async def test_a_silent_node_takes_writes_when_no_other_node_is_left(cluster: FakeCluster) -> None:
    silent, gone = await cluster.start(2)
    pause(silent)
    async with AsyncClient([silent.address, gone.address]) as kv:
        await lose_track(kv)
        await gone.stop()
        with suppress(Timeout):
            await kv.put("k", b"new", timeout=0.5)
    assert len(silent.batches) == 2


async def test_a_node_that_is_the_only_one_takes_writes_though_it_was_silent(cluster: FakeCluster) -> None:
    (node,) = await cluster.start(1)
    pause(node)
    async with AsyncClient(node.address) as kv:
        await lose_track(kv)
        node.every_time = None
        await kv.put("k", b"new")
