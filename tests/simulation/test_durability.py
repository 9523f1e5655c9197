"""Durability in whole nodes: power fails everywhere, logs are torn, disks fill up and have space again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from covey.node.errors import OperationError
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.virtual_time import in_virtual_time

KEYS = [b"key-%d" % number for number in range(20)]
PLENTY, LITTLE = 1 << 40, 1 << 20
UNREPAIRED = {"repair_interval": 0}


def fill(node: SimulatedNode) -> None:
    node.engine.set_free_space(LITTLE)


def free(node: SimulatedNode) -> None:
    node.engine.set_free_space(PLENTY)


def says_full(cluster: SimulatedCluster, via: str, full: set[str]) -> Callable[[], bool]:
    """Whether a node knows of exactly these that their disks are full."""
    return lambda: (
        {
            node.identity.name
            for node in cluster.nodes[via].running.administration.status().nodes
            if node.condition.disk_full
        }
        == full
    )


@pytest.mark.parametrize("spared", [0.0, 0.5, 1.0])
@in_virtual_time
async def test_what_was_acknowledged_outlasts_power_failing_everywhere_at_once(spared: float) -> None:
    """Again and again; of what was not synced, none, half (a torn log) or all of it is there afterwards."""
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        nodes = await cluster.form(3)
        acknowledged: dict[bytes, bytes] = {}
        for round_number in range(4):
            writing = [
                asyncio.ensure_future(cluster.put(f"n{1 + at % 3}", key, b"%d" % round_number))
                for at, key in enumerate(KEYS)
            ]
            await asyncio.sleep(0.002 * (round_number + 1))
            done = [
                key
                for key, write in zip(KEYS, writing, strict=True)
                if write.done() and write.exception() is None
            ]
            acknowledged.update(dict.fromkeys(done, b"%d" % round_number))
            await asyncio.gather(*(node.crash(power=True, spared=spared) for node in nodes))
            for write in writing:
                write.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
            for node in nodes:
                node.restart()
            await cluster.synced()
            for key, value in acknowledged.items():
                found = await cluster.get("n1", key)
                assert found is not None and found >= value
                acknowledged[key] = found
        assert len(acknowledged) == len(KEYS)


@in_virtual_time
async def test_a_full_disk_takes_no_writes_and_goes_on_reading_and_others_acknowledge() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        full, *_ = await cluster.form(3)
        await cluster.put("n1", b"before", b"v")
        fill(full)
        await cluster.until(says_full(cluster, "n2", {"n1"}), "n2 knows")
        assert "n1's disk is full: it refuses writes until there is space" in (
            cluster.nodes["n2"].running.administration.status().notes
        )
        await cluster.put("n1", b"after", b"v")
        assert full.engine.get(b"after") is None
        assert await cluster.get("n1", b"before") == b"v"
        assert await cluster.get("n1", b"after") == b"v"
        assert [line["reserve_bytes"] for line in cluster.events("disk.full", "n1")] == [64 << 20]


@in_virtual_time
async def test_when_there_is_space_again_it_takes_writes_by_itself() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        full, *_ = await cluster.form(3)
        fill(full)
        await cluster.until(says_full(cluster, "n2", {"n1"}), "n2 knows")
        free(full)
        await cluster.until(says_full(cluster, "n2", set()), "n2 knows that it is over")
        assert len(cluster.events("disk.freed", "n1")) == 1
        await cluster.put("n2", b"k", b"v")
        await cluster.until(lambda: full.engine.get(b"k") is not None, "it has what is written now")


@in_virtual_time
async def test_with_all_disks_full_writes_certainly_do_not_happen_and_reads_do() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        nodes = await cluster.form(3)
        await cluster.put("n1", b"k", b"v")
        for node in nodes:
            fill(node)
        await cluster.until(says_full(cluster, "n1", {"n1", "n2", "n3"}), "n1 knows")
        with pytest.raises(OperationError) as refused:
            await cluster.put("n1", b"k", b"newer", timeout_s=1.0)
        assert not refused.value.maybe_applied
        assert "reserve" in str(refused.value)
        assert await cluster.get("n2", b"k") == b"v"
        for node in nodes:
            free(node)
        await asyncio.sleep(1.0)
        await cluster.put("n1", b"k", b"newer")


@in_virtual_time
async def test_a_write_is_refused_before_the_next_look_once_a_mebibyte_was_written() -> None:
    async with SimulatedCluster(1, **UNREPAIRED, disk_reserve=8 << 20) as cluster:
        nodes = await cluster.form(3)
        for node in nodes:
            node.engine.set_free_space(10 << 20)
        for number in range(100):
            try:
                await cluster.put("n1", b"%d" % number, bytes(1 << 18), timeout_s=0.2)
            except OperationError:
                break
        assert 4 <= number <= 16
        assert all(node.engine.failed is None for node in nodes)


@in_virtual_time
async def test_agreement_goes_on_and_another_is_steward() -> None:
    """n1 would be steward; n4 joins all the same, by a record that n1 votes on and adopts."""
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        full, *_ = await cluster.form(3)
        fill(full)
        await cluster.until(says_full(cluster, "n2", {"n1"}), "n2 knows")
        cluster.add("n4", ["n2:1"])
        await cluster.synced()
        assert len(cluster.record("n1").owners.owners) == 4
        assert not cluster.events("epoch.proposed", "n1")


@in_virtual_time
async def test_a_joiner_with_a_full_disk_waits_and_goes_on_when_there_is_space() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        await cluster.form(3)
        for key in KEYS:
            await cluster.put("n1", key, b"v")
        joiner = cluster.add("n4", ["n1:1"])
        fill(joiner)
        await cluster.until(lambda: bool(cluster.events("handoff.started", "n4")), "n4 pulls")
        await asyncio.sleep(10.0)
        assert joiner.engine.usage().keys == 0
        assert not cluster.events("handoff.finished", "n4")
        free(joiner)
        await cluster.synced()
        assert joiner.engine.usage().keys > 0


@in_virtual_time
async def test_without_a_reserve_a_full_disk_ends_the_node_as_a_failed_one_does() -> None:
    async with SimulatedCluster(1, **UNREPAIRED, disk_reserve=0) as cluster:
        full, *_ = await cluster.form(3)
        failed: list[str] = []
        cluster.on_failure = lambda node, error: failed.append(f"{node.name}: {error}")
        full.engine.set_free_space(100)
        for number in range(10):
            await cluster.put("n2", b"%d" % number, b"v" * 50)
        assert failed and all(line == "n1: the disk is broken" for line in failed)
