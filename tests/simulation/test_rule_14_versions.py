"""Versions are unique and exceed all that their coordinator has seen (docs/ring-changes.md, rule 14)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import OperationError
from covey.node.messages.data import DataBatch
from covey.node.operations import Get, GetResult, Put, WriteResult
from covey.quorum.version import COUNTER_BITS, Version
from covey.ring.succession import raise_floor
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.scenario import KEY, carrying, distribute, held, record_of, scenario
from tests.simulator.virtual_time import in_virtual_time

AHEAD_MS = 400
"""Within the allowed skew of half a second."""
TOO_FAR_MS = 5000
HOUR_MS = 3_600_000
HOUR_MS = 3_600_000


def timestamp_in(cluster: SimulatedCluster, via: str, ahead_ms: int) -> int:
    return (cluster.nodes[via].clock.wall_ms() + ahead_ms) << COUNTER_BITS


async def put_after(cluster: SimulatedCluster, via: str, seen_timestamp: int, value: bytes) -> Version:
    """As a client does that has seen a version."""
    coordinator = cluster.nodes[via].running.coordinator
    result = await coordinator.execute(Put(KEY, value, 5.0, seen_timestamp=seen_timestamp))
    assert isinstance(result, WriteResult)
    return result.version


@in_virtual_time
async def test_a_version_is_not_drawn_twice_though_the_clock_shows_the_same_time_again() -> None:
    """The disk has lost the first write: the two versions differ in the generation only."""
    async with scenario(1) as (cluster, _):
        node = cluster.nodes["n1"]
        wall_ms = node.clock.wall_ms()
        node.hold_flushes()
        with pytest.raises(OperationError):
            await cluster.put("n1", KEY, b"first", timeout_s=0.5)
        first = held(cluster, "n1")
        assert first is not None
        await node.crash(power=True)
        node.release_flushes()
        node.clock.wall_offset_ms += wall_ms - node.clock.wall_ms()
        node.restart()
        await cluster.synced()
        node.clock.wall_offset_ms += wall_ms - node.clock.wall_ms()
        second = await cluster.put("n1", KEY, b"second")
        assert (second.version.timestamp, second.version.disk_id) == first.version[:2]
        assert second.version > first.version
        assert await cluster.get("n1", KEY) == b"second"


@in_virtual_time
async def test_a_lone_node_writes_above_its_disk_though_its_clock_was_set_back_by_an_hour() -> None:
    """Its clients have forgotten what they saw, and their writes must still win."""
    async with scenario(1) as (cluster, _):
        node = cluster.nodes["n1"]
        first = await cluster.put("n1", KEY, b"first")
        await node.crash()
        node.clock.wall_offset_ms = -HOUR_MS
        node.restart()
        await cluster.synced()
        versions = [first.version]
        for step in range(3):
            written = await cluster.put("n1", KEY, b"%d" % step)
            assert not written.superseded
            assert await cluster.get("n1", KEY) == b"%d" % step
            versions.append(written.version)
        await cluster.delete("n1", KEY)
        assert await cluster.get("n1", KEY) is None
        assert versions == sorted(set(versions))


@in_virtual_time
async def test_a_lone_node_serves_a_client_that_has_seen_what_its_disk_has() -> None:
    async with scenario(1) as (cluster, _):
        node = cluster.nodes["n1"]
        first = await cluster.put("n1", KEY, b"first")
        await node.crash()
        node.clock.wall_offset_ms = -HOUR_MS
        node.restart()
        await cluster.synced()
        second = await put_after(cluster, "n1", first.version.timestamp, b"second")
        assert second > first.version


@in_virtual_time
async def test_a_clock_that_a_lone_nodes_disk_is_ahead_of_does_not_keep_others_from_joining() -> None:
    """The time that it reports is within the bound that others accept: they can pull from it."""
    async with SimulatedCluster(1) as cluster:
        n1 = cluster.add("n1", ["n1:1"])
        await cluster.synced()
        n1.clock.wall_offset_ms = HOUR_MS
        await cluster.put("n1", KEY, b"v")
        n1.clock.wall_offset_ms = 0
        cluster.add("n2", ["n1:1"])
        await cluster.synced()
        assert await cluster.get("n2", KEY) == b"v"
        written = await cluster.put("n2", b"other", b"v")
        assert written.version.wall_ms <= cluster.nodes["n2"].clock.wall_ms() + 500
        written = await cluster.put("n1", b"other", b"u")
        assert written.version.wall_ms <= cluster.nodes["n1"].clock.wall_ms() + 500
        await n1.crash()
        n1.restart()
        await n1.joined()
        await cluster.synced()
        await asyncio.sleep(15.0)  # it compares its clock first
        await cluster.put("n1", b"other", b"w")
        assert await cluster.get("n2", b"other") == b"w"


@in_virtual_time
async def test_every_write_of_one_coordinator_is_newer_though_its_clock_stands_still() -> None:
    async with scenario(1) as (cluster, _):
        clock = cluster.nodes["n1"].clock
        wall_ms = clock.wall_ms()
        versions = []
        for _ in range(3):
            clock.wall_offset_ms += wall_ms - clock.wall_ms()
            versions.append((await cluster.put("n1", KEY, b"v")).version)
        assert versions == sorted(set(versions))


@in_virtual_time
async def test_a_clock_rises_with_the_requests_that_come() -> None:
    """n1's clock is ahead. What n2 acknowledges after it took n1's write must be newer than that write."""
    async with scenario(3) as (cluster, _):
        cluster.network.lose(lambda message: message.source == "n2")  # n2 hears no replies
        cluster.nodes["n1"].clock.wall_offset_ms = AHEAD_MS
        first = await cluster.put("n1", KEY, b"first")
        await cluster.until(lambda: held(cluster, "n2") is not None, "n2 took it", 1.0)
        cluster.network.lose_replies(lambda message: message.target == "n2")
        with pytest.raises(OperationError):
            await cluster.put("n2", KEY, b"second", timeout_s=0.5)
        second = held(cluster, "n2")
        assert second is not None and second.value == b"second"
        assert second.version > first.version


@in_virtual_time
async def test_a_clock_rises_with_the_replies_that_come() -> None:
    """n2 hears nothing of n1 but its reply to a write; the next write must be above all n1 had drawn before."""
    async with scenario(3) as (cluster, _):
        cluster.network.lose(lambda message: message.target == "n2")

        def from_n2(message: Message) -> bool:
            return message.source == "n2" and not isinstance(message.request.body, DataBatch)

        cluster.network.lose(from_n2)
        cluster.network.lose(carrying(DataBatch, source={"n2"}, target={"n3"}))
        cluster.nodes["n1"].clock.wall_offset_ms = AHEAD_MS
        first = await cluster.put("n1", KEY, b"first", timeout_s=1.0)
        await cluster.put("n2", b"other", b"v", timeout_s=1.0)
        second = await cluster.put("n2", KEY, b"second", timeout_s=1.0)
        assert second.version > first.version
        assert not second.superseded


@in_virtual_time
async def test_a_coordinator_writes_above_what_it_has_read() -> None:
    """The clocks that knew the version's time are gone: its replica has restarted, and time was set back a little."""
    async with scenario(1) as (cluster, _):
        node = cluster.nodes["n1"]
        node.clock.wall_offset_ms = AHEAD_MS
        first = await cluster.put("n1", KEY, b"first")
        await node.crash()
        node.clock.wall_offset_ms = 0
        node.restart()
        await cluster.synced()
        assert await cluster.get("n1", KEY) == b"first"
        second = await cluster.put("n1", KEY, b"second")
        assert second.version > first.version
        assert await cluster.get("n1", KEY) == b"second"


@in_virtual_time
async def test_a_coordinator_that_was_told_of_a_newer_version_writes_above_it_the_next_time() -> None:
    """n2 hears nothing but replies to what it writes, and n1 is ahead."""
    async with scenario(3) as (cluster, _):
        cluster.network.lose(lambda message: message.target == "n2")
        cluster.network.lose(lambda m: m.source == "n2" and not isinstance(m.request.body, DataBatch))
        cluster.nodes["n1"].clock.wall_offset_ms = AHEAD_MS
        await cluster.put("n1", KEY, b"first")
        assert (await cluster.put("n2", KEY, b"second")).superseded
        assert not (await cluster.put("n2", KEY, b"third")).superseded
        assert await cluster.get("n1", KEY) == b"third"


@in_virtual_time
async def test_data_from_beyond_the_skew_is_refused_and_not_followed() -> None:
    async with scenario(3) as (cluster, _):
        cluster.nodes["n1"].clock.wall_offset_ms = TOO_FAR_MS
        with pytest.raises(OperationError):
            await cluster.put("n1", KEY, b"from the future", timeout_s=1.0)
        assert held(cluster, "n2") is None and held(cluster, "n3") is None
        await asyncio.sleep(5.0)  # and it gossips
        written = await cluster.put("n2", b"other", b"v", timeout_s=1.0)
        assert written.version.wall_ms <= cluster.nodes["n2"].clock.wall_ms() + 500


@in_virtual_time
async def test_a_node_with_a_wrong_clock_is_not_taken_for_dead() -> None:
    async with scenario(3) as (cluster, _):
        cluster.nodes["n1"].clock.wall_offset_ms = TOO_FAR_MS
        downs = len(cluster.events("member.down"))
        for step in range(10):
            await cluster.put("n2", b"%d" % step, b"v", timeout_s=1.0)
            await asyncio.sleep(1.0)
        assert len(cluster.events("member.down")) == downs


@in_virtual_time
async def test_a_write_is_above_what_its_client_has_seen() -> None:
    """The client comes from a coordinator that is ahead; n2 has heard nothing of it."""
    async with scenario(1) as (cluster, _):
        seen = timestamp_in(cluster, "n1", AHEAD_MS)
        version = await put_after(cluster, "n1", seen, b"v")
        assert version.timestamp > seen


@in_virtual_time
async def test_a_client_that_has_seen_too_far_ahead_is_served_and_not_followed() -> None:
    """It has read a key that was written while clocks were wrong. That orders nothing of what it does elsewhere."""
    async with scenario(1) as (cluster, _):
        version = await put_after(cluster, "n1", timestamp_in(cluster, "n1", HOUR_MS), b"v")
        assert version.wall_ms <= cluster.nodes["n1"].clock.wall_ms() + 500
        written = await cluster.put("n1", KEY, b"w")
        assert written.version.wall_ms <= cluster.nodes["n1"].clock.wall_ms() + 500


@in_virtual_time
async def test_a_read_of_a_client_raises_the_clock_too() -> None:
    """What a client has seen before its read is older than what anyone writes there after it."""
    async with scenario(1) as (cluster, _):
        seen = timestamp_in(cluster, "n1", AHEAD_MS)
        result = await cluster.nodes["n1"].running.coordinator.execute(Get(KEY, 1.0, seen_timestamp=seen))
        assert isinstance(result, GetResult)
        assert (await cluster.put("n1", KEY, b"v")).version.timestamp > seen


@in_virtual_time
async def test_a_write_is_above_the_floor() -> None:
    """Else its own replicas would refuse it until the clock had passed the floor."""
    async with scenario(3) as (cluster, _):
        record = record_of(cluster)
        floor = timestamp_in(cluster, "n1", AHEAD_MS)
        await distribute(cluster, raise_floor(record, floor))
        written = await cluster.put("n1", KEY, b"v", timeout_s=0.2)
        assert written.version.timestamp > floor
