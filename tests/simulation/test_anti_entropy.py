"""Replicas become equal without anyone asking, whatever is lost on the way. Hints are off: nothing else helps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from covey.node.errors import Unavailable
from covey.node.members.claims import MAX_LISTEN_S
from covey.node.messages.anti_entropy import RequestRepair, TreeQuery
from covey.node.messages.data import DataBatch, Scan
from covey.node.storage.interface import Entry
from covey.quorum.version import Version
from covey.ring.ring import Ring
from covey.ring.succession import begin
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.scenario import carrying, merges, ring_of
from tests.simulator.virtual_time import in_virtual_time, run

SEEDS = range(3)
KEYS = [b"key %d" % i for i in range(60)]
SOON_S = 5.0


def unhelped(seed: int, **settings: Any) -> SimulatedCluster:
    return SimulatedCluster(seed, **{"hint_max_bytes": 0, **settings})


def differing(cluster: SimulatedCluster) -> dict[bytes, dict[str, Entry | None]]:
    """What the replicas of each key hold, where they do not all hold the same."""
    found = {}
    ring = Ring(cluster.record().owners)
    for key in KEYS:
        names = [replica.name for replica in ring.preference_list(token_of(key))]
        held = {name: cluster.nodes[name].engine.get(key) for name in names}
        if len(set(held.values())) > 1:
            found[key] = held
    return found


def all_have_compared(cluster: SimulatedCluster) -> bool:
    """Whether every node has compared with every other, to the end."""
    return all(
        {line["member"] for line in cluster.events("repair.compared", name) if "reason" not in line}
        == set(cluster.nodes) - {name}
        for name in cluster.nodes
    )


def thinks_down(cluster: SimulatedCluster, one: str, other: str) -> bool:
    return cluster.nodes[one].running.members.is_down(cluster.nodes[other].identity)


async def with_data(seed: int, size: int = 3, **settings: Any) -> SimulatedCluster:
    cluster = unhelped(seed, **settings)
    await cluster.form(size)
    for key in KEYS[:40]:
        await cluster.put("n1", key, b"first")
    return cluster


async def write_without(cluster: SimulatedCluster, name: str) -> None:
    """New keys, changed ones and deleted ones, all of which ``name`` misses."""
    for key in KEYS[30:]:
        await cluster.put("n1", key, b"second")
    for key in KEYS[:10]:
        await cluster.delete("n1", key)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_returned_node_becomes_equal_soon_and_deleted_keys_stay_deleted(seed: int) -> None:
    async def main() -> None:
        async with await with_data(seed, 4) as cluster:
            await cluster.nodes["n3"].crash()
            await write_without(cluster, "n3")
            assert differing(cluster)
            cluster.nodes["n3"].restart()
            await cluster.until(lambda: not differing(cluster), "equal", SOON_S)
            ring = Ring(cluster.record().owners)
            for key in KEYS[:10]:
                if cluster.nodes["n3"].identity in ring.preference_list(token_of(key)):
                    held = cluster.nodes["n3"].engine.get(key)
                    assert held is not None
                    assert held.tombstone

    run(main())


def write_unnoticed(cluster: SimulatedCluster, *names: str) -> None:
    """Give only these nodes new entries, so that no coordinator knows of the gap and no hint points at it."""
    version = Version(2**63, 1, 1)
    for key in KEYS:
        for name in names:
            cluster.nodes[name].engine.merge([(key, Entry(version, b"unnoticed"))])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sides_of_a_healed_partition_become_equal_soon(seed: int) -> None:
    """Nobody restarted: each side sees the other return."""

    async def main() -> None:
        async with await with_data(seed) as cluster:
            await cluster.until(lambda: all_have_compared(cluster), "nothing is owed from before")
            heal = cluster.network.partition({"n1", "n2"}, {"n3"})
            await cluster.until(lambda: thinks_down(cluster, "n1", "n3"), "down")
            write_unnoticed(cluster, "n1", "n2")
            heal()
            await cluster.until(lambda: not thinks_down(cluster, "n1", "n3"), "up again")
            await cluster.until(lambda: not differing(cluster), "equal", SOON_S)

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_write_that_one_replica_missed_unnoticed_is_found_by_the_round(seed: int) -> None:
    async def main() -> None:
        async with await with_data(seed, repair_interval=5.0) as cluster:
            await cluster.synced()
            write_unnoticed(cluster, "n1", "n2")
            assert differing(cluster)
            await cluster.until(lambda: not differing(cluster), "equal", timeout_s=4 * 5.0)

    run(main())


@in_virtual_time
async def test_nothing_is_compared_unasked_when_the_interval_is_0() -> None:
    async with await with_data(1, repair_interval=0) as cluster:
        await cluster.nodes["n3"].crash()
        await write_without(cluster, "n3")
        cluster.nodes["n3"].restart()
        await cluster.synced()
        await asyncio.sleep(200.0)
        assert differing(cluster)


# --- synced ---


@in_virtual_time
async def test_a_cluster_is_synced_soon_after_it_formed_and_not_before_it_has_compared() -> None:
    async with SimulatedCluster(1) as cluster:
        began = asyncio.get_running_loop().time()
        await cluster.form(5)
        assert asyncio.get_running_loop().time() - began < MAX_LISTEN_S + 2.0
        assert all_have_compared(cluster)


@in_virtual_time
async def test_a_member_that_has_yet_to_compare_keeps_the_cluster_from_being_synced() -> None:
    async with await with_data(1) as cluster:
        await cluster.nodes["n3"].crash()
        silent = cluster.network.lose(carrying(TreeQuery))
        cluster.nodes["n3"].restart()

        def notes() -> tuple[str, ...]:
            return cluster.nodes["n1"].running.administration.status().notes

        await cluster.until(lambda: any("yet to compare" in note for note in notes()), "it says so")
        await asyncio.sleep(20.0)
        assert not cluster.nodes["n1"].running.administration.status().synced
        silent()
        await cluster.synced()


@in_virtual_time
async def test_a_peer_that_is_down_is_not_waited_for() -> None:
    async with await with_data(1) as cluster:
        await cluster.nodes["n3"].crash()
        await cluster.nodes["n2"].crash()
        cluster.nodes["n2"].restart()
        await cluster.until(
            lambda: cluster.nodes["n1"].running.administration.status().synced, "synced without n3"
        )


# --- asked for ---


@pytest.mark.parametrize("interval_s", [0, 30])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_repair_that_was_asked_for_returns_when_all_are_equal(seed: int, interval_s: int) -> None:
    """Also where nothing is compared unasked."""

    async def main() -> None:
        async with await with_data(seed, 4, repair_interval=interval_s) as cluster:
            await cluster.synced()
            mend = cluster.network.lose(merges(target={"n3"}))
            await write_without(cluster, "n3")
            mend()
            report = await cluster.nodes["n1"].running.administration.repair(30.0)
            assert not differing(cluster)
            assert [node.name for node in report.nodes] == ["n1", "n2", "n3", "n4"]
            assert not any(node.failure or node.unfinished for node in report.nodes)
            assert sum(node.received + node.sent for node in report.nodes) > 0

    run(main())


@in_virtual_time
async def test_a_repair_names_who_is_down_and_does_not_wait_for_it() -> None:
    async with await with_data(1) as cluster:
        await cluster.nodes["n3"].crash()
        await cluster.until(lambda: thinks_down(cluster, "n1", "n3"), "down")
        await cluster.until(lambda: thinks_down(cluster, "n2", "n3"), "down")
        report = await cluster.nodes["n1"].running.administration.repair(30.0)
        assert ([node.name for node in report.nodes], report.down) == (["n1", "n2"], ("n3",))
        assert not any(node.failure or node.unfinished for node in report.nodes)


@in_virtual_time
async def test_a_repair_that_cannot_be_finished_says_between_whom_when_time_runs_out() -> None:
    async with await with_data(1) as cluster:
        cluster.network.lose(lambda message: is_tree_query(message) and {"n1", "n3"} == ends_of(message))
        began = asyncio.get_running_loop().time()
        report = await cluster.nodes["n2"].running.administration.repair(10.0)
        assert asyncio.get_running_loop().time() - began < 12.0
        assert {node.name: node.unfinished for node in report.nodes} == {
            "n1": ("n3",),
            "n2": (),
            "n3": ("n1",),
        }


def is_tree_query(message: Message) -> bool:
    return isinstance(message.request.body, TreeQuery)


def ends_of(message: Message) -> set[str]:
    return {message.source, message.target}


@in_virtual_time
async def test_a_repair_is_refused_while_the_ring_changes() -> None:
    async with await with_data(1) as cluster:
        change = begin(cluster.record(), ring_of(cluster, "n1", "n2"))
        await cluster.nodes["n1"].running.epochs.adopt(change)
        with pytest.raises(Unavailable, match="changing"):
            await cluster.nodes["n1"].running.administration.repair(10.0)


@in_virtual_time
async def test_a_comparison_that_began_before_a_repair_was_asked_for_does_not_pass_for_it() -> None:
    """What was found to differ by then may lack what was written since."""
    before, since = b"before", b"since"
    newer = Entry(Version(2**63, 1, 1), b"v")
    async with await with_data(1, repair_interval=0) as cluster:
        n1, n3 = cluster.nodes["n1"], cluster.nodes["n3"]
        await cluster.nodes["n2"].crash()
        await cluster.until(lambda: thinks_down(cluster, "n1", "n2"), "n3 is the only peer")
        n1.engine.merge([(before, newer)])
        held = cluster.network.hold(merges(source={"n1"}, target={"n3"}))
        first = asyncio.create_task(cluster.ask("n3", "n1", RequestRepair(30_000)))
        await cluster.until(lambda: bool(held.held), "the first comparison knows what differs")
        n1.engine.merge([(since, newer)])
        second = asyncio.create_task(cluster.ask("n3", "n1", RequestRepair(30_000)))
        await asyncio.sleep(1.0)
        held.release()
        await asyncio.gather(first, second)
        assert (n3.engine.get(before), n3.engine.get(since)) == (newer, newer)


# --- faults while repairing ---


@pytest.mark.parametrize("kind", [TreeQuery, Scan, DataBatch])
@pytest.mark.parametrize("seed", SEEDS)
def test_messages_lost_while_repairing_only_delay_it(seed: int, kind: type) -> None:
    async def main() -> None:
        async with await with_data(seed) as cluster:
            await cluster.nodes["n3"].crash()
            await write_without(cluster, "n3")
            rng = cluster.rng

            def some(message: Message) -> bool:
                return isinstance(message.request.body, kind) and rng.random() < 0.7

            mend = cluster.network.lose(some)
            cluster.nodes["n3"].restart()
            await asyncio.sleep(10.0)
            mend()
            await cluster.until(lambda: not differing(cluster), "equal", 60.0)
            await cluster.synced()

    run(main())


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_in_the_middle_only_delays_it(seed: int, power: bool) -> None:
    async def main() -> None:
        async with await with_data(seed) as cluster:
            await cluster.nodes["n3"].crash()
            await write_without(cluster, "n3")
            hold = cluster.network.hold(merges(target={"n3"}))
            cluster.nodes["n3"].restart()
            await cluster.until(lambda: bool(hold.held), "a batch is on its way")
            await cluster.nodes["n3"].crash(power=power)
            hold.release()
            cluster.nodes["n3"].restart()
            await cluster.until(lambda: not differing(cluster), "equal", 30.0)

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_compared_while_the_ring_changes(seed: int) -> None:
    async def main() -> None:
        async with await with_data(seed, repair_interval=2.0) as cluster:
            cluster.network.lose(lambda message: cluster.record("n1").changing and is_pull(message))
            asked = []

            def note(message: Message) -> bool:
                if isinstance(message.request.body, TreeQuery):
                    asked.append(message.request.body.epoch)
                return False

            await cluster.synced()
            change = begin(cluster.record(), ring_of(cluster, "n1", "n2"))
            cluster.network.lose(note)
            for node in cluster.nodes.values():
                await node.running.epochs.adopt(change)
            await asyncio.sleep(10.0)
            assert change.stamp not in asked

    run(main())


def is_pull(message: Message) -> bool:
    return isinstance(message.request.body, Scan)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_joiner_becomes_equal_to_the_others_of_its_ranges(seed: int) -> None:
    """It pulled from one replica only, which had missed some writes."""

    async def main() -> None:
        async with await with_data(seed, 4, repair_interval=3600.0) as cluster:
            await cluster.synced()
            mend = cluster.network.lose(merges(target={"n3"}))
            await write_without(cluster, "n3")
            mend()
            cluster.add("n5", ["n1:1"])
            await cluster.until(lambda: "n5" in {o.name for o in cluster.record().owners.owners}, "it is in")
            await cluster.synced()
            joiner = {key: held for key, held in differing(cluster).items() if "n5" in held}
            assert not joiner

    run(main())
