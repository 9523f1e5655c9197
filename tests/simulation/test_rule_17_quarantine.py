"""Damaged data is unknown, not absent, until r other replicas have replaced it (docs/ring-changes.md, rule 17)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import NodeError
from covey.node.messages.data import Scan, ScanPurpose, ScanReply
from covey.node.messages.envelope import Refusal
from covey.node.storage.segments import segment_of, segment_range
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.scenario import begin_change, is_done, merges, ring_of, scenario, wait_pulled
from tests.simulator.virtual_time import in_virtual_time

KEYS = [b"key-%d" % number for number in range(30)]
KEY = KEYS[0]
SEGMENT = segment_of(token_of(KEY))
UNREPAIRED = {"repair_interval": 0, "tombstone_age": 40.0}
"""No comparison brings anything behind the test's back; the floor may rise every 4 s."""


async def holding(cluster: SimulatedCluster) -> list[SimulatedNode]:
    nodes = await cluster.form(3)
    for key in KEYS:
        await cluster.put("n1", key, b"v-" + key)
    return nodes


def held(node: SimulatedNode, key: bytes = KEY) -> bytes | None:
    entry = node.engine.get(key)
    return entry.value if entry is not None else None


async def until_healed(cluster: SimulatedCluster, name: str) -> None:
    node = cluster.nodes[name]
    await cluster.until(
        lambda: bool(cluster.events("segment.healed", name)) and not node.engine.quarantined(), "healed"
    )


@pytest.mark.parametrize("bit", [0, 5, 100, 203])
@in_virtual_time
async def test_a_flipped_bit_is_never_served_and_is_healed_from_peers(bit: int) -> None:
    """Wherever it is: in the value, the version, the flags or the checksum."""
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        _, damaged, _ = await holding(cluster)
        damaged.engine.flip_bit(KEY, bit)
        for via in ("n1", "n2", "n3") * 5:
            assert await cluster.get(via, KEY) == b"v-" + KEY
        await until_healed(cluster, "n2")
        assert held(damaged) == b"v-" + KEY
        await cluster.synced()


@in_virtual_time
async def test_a_write_is_acknowledged_without_the_damaged_replica_which_then_has_it() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        _, damaged, _ = await holding(cluster)
        damaged.engine.flip_bit(KEY)
        await cluster.put("n1", KEY, b"newer")
        await until_healed(cluster, "n2")
        assert held(damaged) == b"newer"


@in_virtual_time
async def test_damage_that_nobody_reads_is_found_by_the_scrubber() -> None:
    async with SimulatedCluster(1, **UNREPAIRED, scrub_interval=40.0) as cluster:
        _, damaged, _ = await holding(cluster)
        damaged.engine.flip_bit(KEY)
        await until_healed(cluster, "n2")
        assert held(damaged) == b"v-" + KEY


@in_virtual_time
async def test_a_synced_write_that_never_reached_the_disk_is_found_and_healed() -> None:
    """That copy is intact but too old, and a quorum could rely on it."""
    async with SimulatedCluster(1, **UNREPAIRED, scrub_interval=40.0) as cluster:
        _, damaged, _ = await holding(cluster)
        await cluster.put("n1", KEY, b"newer")
        await cluster.until(lambda: held(damaged) == b"newer", "it came here too")
        damaged.engine.lose_write(KEY)
        assert held(damaged) == b"v-" + KEY
        await until_healed(cluster, "n2")
        assert held(damaged) == b"newer"


@in_virtual_time
async def test_with_another_replica_away_nothing_is_healed_or_made_up() -> None:
    """n3 is away, and n2's copy is damaged: n1 alone may lack what n2 and n3 acknowledged."""
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        _, damaged, _ = await holding(cluster)
        await cluster.nodes["n3"].crash()
        damaged.engine.quarantine([SEGMENT], "a test")
        await asyncio.sleep(40.0)
        assert damaged.engine.quarantined() == (SEGMENT,)
        cluster.nodes["n3"].restart()
        await until_healed(cluster, "n2")
        assert await cluster.get("n2", KEY) == b"v-" + KEY


@in_virtual_time
async def test_what_it_acknowledged_of_a_write_under_way_counts_no_more_once_it_is_healed() -> None:
    """Nobody else has heard of the write yet, so that others have nothing of it to give; then one of them hears."""
    async with SimulatedCluster(1, **UNREPAIRED, rpc_timeout=20.0) as cluster:
        await cluster.form(4)
        await asyncio.sleep(5.0)
        coordinator, damaged, late, lost = placed(cluster)
        on_its_way = cluster.network.hold(merges(source={coordinator}, target={late}))
        cluster.network.lose(merges(source={coordinator}, target={lost}))
        write = asyncio.ensure_future(cluster.put(coordinator, KEY, b"v", timeout_s=60.0))
        engine = cluster.nodes[damaged].engine
        await cluster.until(lambda: engine.get(KEY) is not None and bool(on_its_way.held), "one has it")
        await asyncio.sleep(0.1)
        engine.quarantine([SEGMENT], "a test")
        await until_healed(cluster, damaged)
        on_its_way.release()
        acknowledged = not isinstance((await asyncio.gather(write, return_exceptions=True))[0], NodeError)
        await cluster.nodes[late].crash()
        assert not acknowledged or await cluster.get(damaged, KEY) == b"v"


def placed(cluster: SimulatedCluster) -> list[str]:
    """A node that does not replicate KEY, and then those that do."""
    record = cluster.record("n1")
    replicas = [owner.name for owner in Ring(record.owners).preference_list(token_of(KEY))]
    [other] = cluster.nodes.keys() - set(replicas)
    return [other, *replicas]


@pytest.mark.parametrize("power", [False, True])
@in_virtual_time
async def test_quarantine_outlasts_a_restart(power: bool) -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        _, damaged, _ = await holding(cluster)
        await cluster.nodes["n3"].crash()
        damaged.engine.quarantine([SEGMENT], "a test")
        await asyncio.sleep(1.0)
        await damaged.crash(power=power)
        damaged.restart()
        await asyncio.sleep(5.0)
        assert damaged.engine.quarantined() == (SEGMENT,)
        cluster.nodes["n3"].restart()
        await until_healed(cluster, "n2")


@in_virtual_time
async def test_a_restart_brings_no_later_epoch() -> None:
    async with scenario(3) as (cluster, agreement):
        n2 = cluster.nodes["n2"]
        n2.engine.quarantine([SEGMENT], "a test")
        await n2.crash()
        n2.restart()
        await asyncio.sleep(80.0)
        assert n2.engine.quarantined() == (SEGMENT,)
        agreement.resume()
        await until_healed(cluster, "n2")


@in_virtual_time
async def test_it_is_said_in_status_and_the_cluster_is_not_synced_meanwhile() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        _, damaged, _ = await holding(cluster)
        await cluster.nodes["n3"].crash()
        damaged.engine.quarantine([SEGMENT], "a test")
        note = "n2 has found 1 damaged segment and gets them from other replicas"
        await cluster.until(lambda: note in cluster.nodes["n1"].running.administration.status().notes, note)
        assert not cluster.nodes["n1"].running.administration.status().synced


@in_virtual_time
async def test_status_says_so_when_a_restart_has_to_come_first() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        _, damaged, _ = await holding(cluster)
        damaged.engine.needs_restart = lambda: True
        damaged.engine.quarantine([SEGMENT], "a test")
        note = "n2 has found 1 damaged segment and gets them from other replicas, once it has been restarted"
        await cluster.until(lambda: note in cluster.nodes["n1"].running.administration.status().notes, note)


@in_virtual_time
async def test_a_damaged_source_gives_no_part_of_it_and_a_joiner_takes_it_from_others() -> None:
    """n4 displaces n2, and would take all from it alone."""
    async with scenario(3, "n4") as (cluster, _):
        for key in KEYS:
            await cluster.put("n1", key, b"v-" + key)
        damaged = cluster.nodes["n2"].engine
        damaged.flip_bit(KEY)
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n3", "n4"))
        await wait_pulled(cluster, "n4")
        assert held(cluster.nodes["n4"]) == b"v-" + KEY
        assert damaged.quarantined() == (SEGMENT,)
        scan = Scan(begun.stamp, ScanPurpose.PULL, segment_range(SEGMENT), None, 100, 1 << 20)
        assert isinstance(await cluster.ask("n4", "n2", scan), Refusal)
        assert isinstance(await cluster.ask("n4", "n1", scan), ScanReply)


@in_virtual_time
async def test_a_gaining_node_whose_disk_damages_what_it_pulled_is_not_done() -> None:
    async with scenario(3, "n4") as (cluster, _):
        for key in KEYS:
            await cluster.put("n1", key, b"v-" + key)
        n4 = cluster.nodes["n4"]
        await begin_change(cluster, ring_of(cluster, "n1", "n3", "n4"))
        n4.hold_flushes()
        await cluster.until(lambda: n4.engine.usage().keys == len(KEYS), "n4 has received everything")
        n4.engine.quarantine([SEGMENT], "a test")
        n4.release_flushes()
        await asyncio.sleep(10.0)
        assert not is_done(cluster, "n4")


@in_virtual_time
async def test_keys_are_listed_although_a_replica_cannot_read_all_of_its_own() -> None:
    async with SimulatedCluster(1, **UNREPAIRED) as cluster:
        nodes = await holding(cluster)
        for node, key in zip(nodes, KEYS, strict=False):
            cluster.nodes[node.name].engine.quarantine([segment_of(token_of(key))], "a test")
        listed = [
            key async for page in nodes[0].running.coordinator.keys(b"", None, timeout_s=5.0) for key in page
        ]
        assert sorted(listed) == sorted(KEYS)
