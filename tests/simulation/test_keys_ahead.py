"""Keys that were written while clocks were ahead: they can be changed at once, and disturb nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from covey.node.errors import OperationError, OperationTimeout, Unavailable
from covey.node.messages.data import DataBatch, Merge
from covey.node.operations import Consistency, Get, GetResult, Put
from covey.node.storage.interface import Entry
from covey.quorum.consistency import Level
from covey.quorum.version import COUNTER_BITS, MAX_TIMESTAMP, Version
from covey.ring.succession import raise_floor
from covey.ring.tokens import TokenRange
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.scenario import KEY, distribute, held, record_of, scenario
from tests.simulator.virtual_time import in_virtual_time

AHEAD_MS = 8 * 3_600_000
OTHER = b"other"
BOUND_MS = 500


def version_ahead(cluster: SimulatedCluster, by_ms: int = AHEAD_MS) -> Version:
    return Version((cluster.nodes["n1"].clock.wall_ms() + by_ms) << COUNTER_BITS, 7, 1)


@asynccontextmanager
async def ahead_at(*names: str, by_ms: int = AHEAD_MS) -> AsyncIterator[tuple[SimulatedCluster, Version]]:
    """A cluster in which these nodes hold a version of the key that is far ahead of all clocks."""
    async with scenario(3) as (cluster, _):
        version = version_ahead(cluster, by_ms)
        for name in names:
            cluster.nodes[name].engine.merge([(KEY, Entry(version, b"of the future"))])
        yield cluster, version


def clocks_stand_still(cluster: SimulatedCluster) -> bool:
    """No node draws or reports times beyond the bound."""
    return all(
        node.running._hybrid_clock.current() >> COUNTER_BITS <= node.clock.wall_ms() + BOUND_MS
        for node in cluster.nodes.values()
    )


def merges_of_key(message: Message) -> bool:
    body = message.request.body
    return isinstance(body, DataBatch) and any(
        isinstance(operation, Merge) and operation.key == KEY for operation in body.operations
    )


@in_virtual_time
async def test_a_cluster_that_was_hours_ahead_goes_on_when_its_clocks_are_set_right() -> None:
    async with SimulatedCluster(1) as cluster:
        names = ["n1", "n2", "n3"]
        nodes = [cluster.add(name, [f"{n}:1" for n in names]) for name in names]
        for node in nodes:
            node.clock.wall_offset_ms = AHEAD_MS
        await cluster.synced()
        await cluster.put("n1", KEY, b"written ahead")
        for node in nodes:
            await node.stop()
            node.clock.wall_offset_ms = 0
        for node in nodes:
            node.restart()
        await cluster.synced()
        assert await cluster.get("n1", KEY) == b"written ahead"
        for number, via in enumerate(["n1", "n2", "n3", "n1"]):
            written = await cluster.put(via, KEY, b"%d" % number)
            assert not written.superseded
            assert await cluster.get("n2", KEY) == b"%d" % number
        assert not (await cluster.delete("n2", KEY)).superseded
        assert await cluster.get("n3", KEY) is None
        await cluster.put("n1", OTHER, b"v")
        assert clocks_stand_still(cluster)


@in_virtual_time
async def test_a_cluster_whose_clocks_are_set_right_while_it_runs_goes_on_at_once() -> None:
    """Its nodes have drawn versions hours ahead, and draw by their clocks again."""
    async with scenario(3) as (cluster, _):
        for node in cluster.nodes.values():
            node.clock.wall_offset_ms = AHEAD_MS
        await asyncio.sleep(3.0)
        for via in cluster.nodes:
            await cluster.put(via, KEY, b"written ahead")
        for node in cluster.nodes.values():
            node.clock.wall_offset_ms = 0
        await asyncio.sleep(3.0)
        for via in cluster.nodes:
            assert not (await cluster.put(via, KEY, b"v")).superseded
            written = await cluster.put(via, OTHER, b"v")
            assert not written.superseded
            assert written.version.wall_ms <= cluster.nodes[via].clock.wall_ms() + BOUND_MS
        assert clocks_stand_still(cluster)


@in_virtual_time
async def test_a_floor_that_was_raised_while_clocks_were_ahead_stops_no_writes() -> None:
    async with scenario(3) as (cluster, _):
        record = raise_floor(record_of(cluster), version_ahead(cluster).timestamp)
        await distribute(cluster, record)
        versions = []
        for number in range(6):
            via = f"n{number % 3 + 1}"
            written = await cluster.put(via, KEY, b"%d" % number)
            assert not written.superseded and written.version.timestamp > record.floor
            versions.append(written.version)
            assert await cluster.get("n2", KEY) == b"%d" % number
        assert versions == sorted(set(versions))
        assert clocks_stand_still(cluster)


@in_virtual_time
async def test_writes_through_different_coordinators_go_above_each_other() -> None:
    async with ahead_at("n1", "n2", "n3") as (cluster, version):
        versions = [version]
        for number in range(9):
            written = await cluster.put(f"n{number % 3 + 1}", KEY, b"%d" % number)
            assert not written.superseded
            versions.append(written.version)
        assert versions == sorted(set(versions))
        assert versions[-1].wall_ms == version.wall_ms


@in_virtual_time
async def test_a_read_of_such_a_key_leaves_all_other_keys_as_they_are() -> None:
    async with ahead_at("n1", "n2", "n3") as (cluster, version):
        result = await cluster.nodes["n1"].running.coordinator.execute(Get(KEY, 1.0))
        assert isinstance(result, GetResult) and result.version == version
        for via in cluster.nodes:
            coordinator = cluster.nodes[via].running.coordinator
            assert coordinator.furthest_seen() < version.timestamp
            written = await coordinator.execute(Put(OTHER, b"v", 1.0, seen_timestamp=version.timestamp))
            assert written.version.wall_ms <= cluster.nodes[via].clock.wall_ms() + BOUND_MS
        assert clocks_stand_still(cluster)


@in_virtual_time
async def test_the_first_version_of_such_a_write_is_left_nowhere() -> None:
    """No replica holds it and no hint keeps it, or it would be read some day as a write of its own."""
    async with ahead_at("n1", "n2", "n3") as (cluster, version):
        cluster.network.lose(lambda message: merges_of_key(message) and message.target == "n3")
        with pytest.raises(OperationTimeout) as failure:
            await cluster.put("n1", KEY, b"v", timeout_s=1.0)
        assert failure.value.maybe_applied
        await asyncio.sleep(3.0)
        assert not cluster.events("hint.stored")
        assert [held(cluster, name) for name in ("n1", "n2", "n3")] == [Entry(version, b"of the future")] * 3


@in_virtual_time
async def test_a_write_that_a_replica_took_below_what_stands_is_not_written_a_second_time() -> None:
    """A read may have returned it by then, and another write may have come after it."""
    async with ahead_at("n1", "n2") as (cluster, version):
        with pytest.raises(OperationTimeout, match="write again") as failure:
            await cluster.put("n1", KEY, b"v")
        assert failure.value.maybe_applied
        taken = held(cluster, "n3")
        assert taken is not None and taken.version < version
        assert held(cluster, "n1") == Entry(version, b"of the future")
        assert not (await cluster.put("n1", KEY, b"w")).superseded
        assert await cluster.get("n2", KEY) == b"w"


@in_virtual_time
async def test_a_write_that_goes_on_alone_is_written_above_too_and_leaves_hints_of_that_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ahead_at("n1", "n2", "n3") as (cluster, version):
        kept: list[Entry] = []
        hints = cluster.nodes["n1"].running.maintenance.hints.writer
        monkeypatch.setattr(hints, "keep", lambda to, key, entry: kept.append(entry))
        end = cluster.network.refuse(lambda message: merges_of_key(message) and message.target != "n1")
        asyncio.get_running_loop().call_later(0.2, end)
        asyncio.get_running_loop().call_later(
            0.19, cluster.network.refuse, lambda m: merges_of_key(m) and m.target == "n3"
        )
        written = await cluster.put("n1", KEY, b"v")
        assert not written.superseded and written.version > version
        await cluster.until(lambda: bool(kept), "the write is kept for n3")
        assert set(kept) == {Entry(written.version, b"v")}


@in_virtual_time
async def test_a_replica_that_is_known_to_be_away_holds_up_no_such_write() -> None:
    async with ahead_at("n1", "n2", "n3") as (cluster, _):
        await cluster.nodes["n3"].crash()
        await cluster.until(lambda: bool(cluster.events("member.down", "n1")), "n3 is down")
        assert not (await cluster.put("n1", KEY, b"v")).superseded
        cluster.nodes["n3"].restart()
        await cluster.synced()
        await cluster.until(lambda: held(cluster, "n3") == held(cluster, "n1"), "the hint is replayed")


@in_virtual_time
async def test_of_two_coordinators_that_met_the_same_version_the_later_one_writes_above() -> None:
    """The first write reached one replica only, which the second one does not reach; the second one wins."""
    for first, second in (("n1", "n2"), ("n2", "n1")):
        async with ahead_at("n1", "n2", "n3") as (cluster, version):
            cluster.nodes[first].running.coordinator._context.versions.remember_ahead(KEY, version)
            end = cluster.network.lose(lambda message, first=first: message.source == first)
            with pytest.raises(OperationError):
                await cluster.put(first, KEY, b"first", timeout_s=1.0)
            end()
            kept = held(cluster, first)
            assert kept is not None and kept.value == b"first"
            cluster.network.lose(lambda message, first=first: message.target == first)
            cluster.nodes[second].running.coordinator._context.versions.remember_ahead(KEY, version)
            later = await cluster.put(second, KEY, b"second", timeout_s=3.0)
            assert later.version > kept.version


@in_virtual_time
async def test_writes_of_one_coordinator_that_come_at_once_have_versions_of_their_own() -> None:
    async with ahead_at("n1", "n2", "n3") as (cluster, version):
        coordinator = cluster.nodes["n1"].running.coordinator
        results: dict[int, object] = {}
        puts = [Put(KEY, b"%d" % number, 5.0) for number in range(20)]
        coordinator.execute_all(puts, lambda places, given: results.update(zip(places, given, strict=True)))
        await cluster.until(lambda: len(results) == len(puts), "all are answered")
        versions = [results[number].version for number in range(len(puts))]  # type: ignore[attr-defined]
        assert len(set(versions)) == len(puts) and min(versions) > version
        newest = max(range(len(puts)), key=lambda number: versions[number])
        assert await cluster.get("n2", KEY) == b"%d" % newest


@in_virtual_time
async def test_a_version_after_which_there_is_none_is_a_clear_refusal() -> None:
    async with scenario(3) as (cluster, _):
        for node in cluster.nodes.values():
            node.engine.merge([(KEY, Entry(Version(MAX_TIMESTAMP - 1, 7, 1), b"the last"))])
        for via in cluster.nodes:
            with pytest.raises(Unavailable, match="use another key"):
                await cluster.put(via, KEY, b"v")
            await cluster.put(via, OTHER, b"v")
        assert await cluster.get("n1", KEY) == b"the last"


@in_virtual_time
async def test_a_lone_node_whose_disk_has_the_last_version_there_is_refuses_and_goes_on_reading() -> None:
    async with scenario(1) as (cluster, _):
        cluster.nodes["n1"].engine.merge([(KEY, Entry(Version(MAX_TIMESTAMP - 1, 7, 1), b"the last"))])
        with pytest.raises(Unavailable, match="empty data folder"):
            await cluster.put("n1", OTHER, b"v")
        assert await cluster.get("n1", KEY) == b"the last"


@in_virtual_time
async def test_time_catches_up_with_a_key_and_it_is_as_any_other() -> None:
    async with ahead_at("n1", "n2", "n3", by_ms=20_000) as (cluster, _):
        await cluster.put("n1", KEY, b"above")
        await asyncio.sleep(21.0)
        written = await cluster.put("n1", KEY, b"by the clock")
        assert not written.superseded
        assert abs(written.version.wall_ms - cluster.nodes["n1"].clock.wall_ms()) < 100


@in_virtual_time
async def test_a_clients_order_is_kept_while_time_catches_up_with_a_key() -> None:
    """Also in the moment in which clocks begin to follow what it wrote last."""
    async with ahead_at("n1", "n2", "n3", by_ms=1_500) as (cluster, version):
        seen, versions = 0, [version]
        for number in range(80):
            coordinator = cluster.nodes[f"n{number % 3 + 1}"].running.coordinator
            written = await coordinator.execute(Put(KEY, b"v", 1.0, seen_timestamp=seen))
            if written.version.timestamp <= coordinator.furthest_seen():
                seen = max(seen, written.version.timestamp)
            assert not written.superseded
            versions.append(written.version)
            await asyncio.sleep(0.03)
        assert versions == sorted(set(versions))
        assert versions[-1].wall_ms > version.wall_ms + 500


@in_virtual_time
async def test_a_weak_write_of_such_a_key_is_written_above_it_too() -> None:
    async with ahead_at("n1", "n2", "n3") as (cluster, version):
        written = await cluster.put("n2", KEY, b"v", Consistency(Level.ONE))
        assert not written.superseded and written.version > version


def counted(cluster: SimulatedCluster, name: str, via: str = "n1") -> int:
    """Such keys of a node, as another one's status shows them."""
    nodes = cluster.nodes[via].running.administration.status().nodes
    (node,) = (node for node in nodes if node.identity.name == name)
    return node.condition.keys_ahead


def noted(cluster: SimulatedCluster) -> list[str]:
    notes = cluster.nodes["n1"].running.administration.status().notes
    return [note for note in notes if "ahead of all clocks" in note]


def hold_ahead(cluster: SimulatedCluster, keys: int, by_ms: int, name: str = "n2") -> None:
    version = version_ahead(cluster, by_ms)
    cluster.nodes[name].engine.merge([(b"key%d" % number, Entry(version, b"v")) for number in range(keys)])


@in_virtual_time
async def test_status_says_how_many_keys_of_each_node_stand_ahead() -> None:
    async with scenario(3) as (cluster, _):
        await cluster.put("n1", OTHER, b"v")
        assert not noted(cluster)
        hold_ahead(cluster, 300, AHEAD_MS)
        await cluster.until(lambda: counted(cluster, "n2") == 300, "they are counted")
        assert counted(cluster, "n3") == 0
        (note,) = noted(cluster)
        assert note.startswith("n2 holds 300 keys with versions ahead of all clocks")
        await cluster.nodes["n2"].crash()
        cluster.nodes["n2"].restart()
        await cluster.until(lambda: counted(cluster, "n2") == 0, "a new process")
        await cluster.until(lambda: counted(cluster, "n2") == 300, "counts them again")


@in_virtual_time
async def test_the_count_falls_to_nothing_when_time_has_caught_up() -> None:
    async with scenario(3) as (cluster, _):
        hold_ahead(cluster, 300, 30_000)
        await cluster.until(lambda: counted(cluster, "n2") == 300, "they are counted")
        await asyncio.sleep(25.0)
        await cluster.until(lambda: counted(cluster, "n2") == 0, "none is left", 10.0)
        assert not noted(cluster)


@in_virtual_time
async def test_keys_that_are_gone_or_overtaken_by_time_count_no_more_though_others_do() -> None:
    async with scenario(3) as (cluster, _):
        hold_ahead(cluster, 300, 30_000)
        hold_ahead(cluster, 40, AHEAD_MS)
        await cluster.until(lambda: counted(cluster, "n2") == 300, "they are counted")
        await asyncio.sleep(70.0)
        await cluster.until(lambda: counted(cluster, "n2") == 40, "the others are left", 30.0)
        cluster.nodes["n2"].engine.drop([TokenRange(0, 0)])
        await cluster.until(lambda: counted(cluster, "n2") == 0, "none is left", 10.0)
