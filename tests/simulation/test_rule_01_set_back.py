"""An identity whose data is gone, copied or set back does not act (docs/ring-changes.md, rule 1)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import OperationError
from covey.node.messages.control import Prepare
from covey.node.messages.data import DataBatch, Read
from covey.node.messages.envelope import Refusal
from covey.quorum.consistency import Consistency, Level
from covey.ring.paxos import Ballot
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import merges
from tests.simulator.virtual_time import in_virtual_time

SEEDS = range(2)
KEY = b"k"
ALL = Consistency(Level.ALL)


async def set_back(cluster: SimulatedCluster, *, by_copying: bool, n3_down: bool = False) -> None:
    """Put "old" everywhere, copy n1's folder, put "new" on n1 and n2 alone, and put the copy back; n1 is down then."""
    n1, n3 = cluster.nodes["n1"], cluster.nodes["n3"]
    await cluster.put("n2", KEY, b"old", ALL)
    copy = n1.copy_folder()
    if n3_down:
        await n3.crash()
    end = cluster.network.lose(merges(target={"n3"}))
    await cluster.put("n2", KEY, b"new")
    await asyncio.sleep(5 * cluster.config.heartbeat_interval)
    await n1.crash()
    end()
    n1.put_back(copy, by_copying=by_copying)


def given_up(cluster: SimulatedCluster) -> list[dict[str, object]]:
    return cluster.events("disk.replaced")


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_an_emptied_engine_is_a_new_disk(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        n1, *_ = await cluster.form(3)
        await cluster.put("n2", KEY, b"v", ALL)
        old = n1.identity
        await n1.crash()
        n1.empty()
        n1.restart()
        await n1.joined()
        assert n1.identity.name == old.name and n1.identity != old
        await cluster.synced()
        assert old not in cluster.record("n2").owners.owners
        assert await cluster.get("n1", KEY, ALL) == b"v"


@in_virtual_time
async def test_an_engine_of_another_node_is_a_new_disk() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, n2, _ = await cluster.form(3)
        old = n1.identity
        await n1.crash()
        n1.engine = n2.engine.copy().crash()
        n1.restart()
        await n1.joined()
        assert n1.identity != old
        assert "that of n2" in str(given_up(cluster)[0]["reason"])


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_copied_folder_serves_and_votes_on_nothing_until_enough_have_answered(seed: int) -> None:
    """n2, the only witness, is away: n1 and n3 must not make a quorum."""
    async with SimulatedCluster(seed) as cluster:
        n1, n2, _ = await cluster.form(3)
        record = cluster.record()
        await set_back(cluster, by_copying=True)
        n2.process.pause()
        n1.restart()
        await cluster.until(lambda: bool(cluster.events("disk.doubted")), "n1 says so")
        for via in ("n1", "n3"):
            with pytest.raises(OperationError):
                await cluster.get(via, KEY, timeout_s=2.0)
        for body in (DataBatch(record.stamp, (Read(KEY),)), Prepare(record, Ballot(9, n2.identity))):
            answer = await cluster.ask("n3", "n1", body)
            assert isinstance(answer, Refusal) and "copied" in answer.reason
        n2.process.resume()
        await cluster.until(lambda: bool(given_up(cluster)), "n1 gives its disk up")
        await cluster.synced()
        assert await cluster.get("n1", KEY) == await cluster.get("n3", KEY) == b"new"


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_what_the_folder_does_not_show_peers_tell_before_anything_is_served(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        n1, *_ = await cluster.form(3)
        await set_back(cluster, by_copying=False)
        n1.restart()
        await n1.joined()
        assert "remembers generation" in str(given_up(cluster)[0]["reason"])
        await cluster.synced()
        assert await cluster.get("n1", KEY) == b"new"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("restarts", [0, 2])
@in_virtual_time
async def test_a_peer_that_was_away_tells_a_node_that_serves_already(seed: int, restarts: int) -> None:
    """Whatever that node has written, and however often it was restarted, in the meantime."""
    async with SimulatedCluster(seed, evict_after=1000.0) as cluster:
        n1, n2, _ = await cluster.form(3)
        await set_back(cluster, by_copying=False, n3_down=True)
        n2.process.pause()
        cluster.nodes["n3"].restart()
        n1.restart()
        await n1.joined()
        for number in range(restarts):
            await cluster.put("n1", b"k%d" % number, b"v", timeout_s=20.0)
            await n1.crash()
            n1.restart()
            await n1.joined()
        assert given_up(cluster) == []
        n2.process.resume()
        await cluster.until(lambda: bool(given_up(cluster)), "n1 gives its disk up")
        await cluster.synced()
        assert await cluster.get("n1", KEY) == b"new"


@in_virtual_time
async def test_a_doubt_outlasts_a_crash_and_the_absence_of_who_raised_it() -> None:
    async with SimulatedCluster(1, evict_after=1000.0) as cluster:
        n1, n2, n3 = await cluster.form(3)
        await set_back(cluster, by_copying=False, n3_down=True)
        n1.restart()
        await cluster.until(lambda: bool(cluster.events("disk.doubted")), "n2 has told")
        await n1.crash()
        await n2.crash()
        n3.restart()
        n1.restart()
        await asyncio.sleep(20.0)
        with pytest.raises(OperationError):
            await cluster.get("n3", KEY, timeout_s=2.0)
        n2.restart()
        await cluster.until(lambda: bool(given_up(cluster)), "n1 gives its disk up")
        await cluster.synced()
        assert await cluster.get("n3", KEY) == b"new"


@in_virtual_time
async def test_a_copy_of_a_node_that_had_ended_goes_on_when_all_others_know_no_more() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, n2, _ = await cluster.form(3)
        await cluster.put("n1", KEY, b"v", ALL)
        identity = n1.identity
        await n1.stop()
        n1.put_back(n1.copy_folder())
        await n2.crash()
        n1.restart()
        await cluster.until(lambda: bool(cluster.events("disk.doubted")), "n1 waits for n2")
        assert cluster.events("disk.doubted")[-1]["missing"] == ["n2"]
        n2.restart()
        await n1.joined()
        assert n1.identity == identity and not n1.home.doubt
        assert given_up(cluster) == []


@in_virtual_time
async def test_a_copy_of_a_node_that_had_ended_is_given_up_if_it_ran_since() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(3)
        await n1.stop()
        copy = n1.copy_folder()
        n1.restart()
        await n1.joined()
        await n1.crash()
        n1.put_back(copy)
        n1.restart()
        await n1.joined()
        assert given_up(cluster)


@in_virtual_time
async def test_a_disk_in_doubt_that_was_evicted_is_given_up() -> None:
    async with SimulatedCluster(1, evict_after=5.0) as cluster:
        n1, *_ = await cluster.form(4)
        await n1.stop()
        n1.put_back(n1.copy_folder())
        await cluster.until(lambda: n1.identity not in cluster.record("n2").owners.owners, "n1 is evicted")
        await cluster.until(lambda: not cluster.record("n2").changing, "the change ends")
        n1.restart()
        await n1.joined()
        assert "taken this disk out" in str(given_up(cluster)[0]["reason"])
        await cluster.synced()


@in_virtual_time
async def test_all_disks_that_are_put_back_together_wait_rather_than_be_given_up() -> None:
    """n1 and n2 lack what n3, copied last, had seen of them; nothing is given up without an operator."""
    async with SimulatedCluster(1) as cluster:
        nodes = await cluster.form(3)
        copies = []
        for number, node in enumerate(nodes):
            copies.append(node.copy_folder())
            await cluster.put("n1", b"k%d" % number, b"v", ALL)
            await asyncio.sleep(10.0)
        for node, copy in zip(nodes, copies, strict=True):
            await node.crash()
            node.put_back(copy)
        for node in nodes:
            node.restart()
        await asyncio.sleep(60.0)
        assert given_up(cluster) == []
        assert [bool(node.running.me.silent) for node in nodes] == [True, True, False]


@in_virtual_time
async def test_nothing_is_in_doubt_after_crashes_and_power_failures() -> None:
    async with SimulatedCluster(1) as cluster:
        nodes = await cluster.form(3)
        for number in range(4):
            await cluster.put("n1", b"k%d" % number, b"v", timeout_s=20.0)
            await asyncio.gather(*(node.crash(power=number % 2 == 0) for node in nodes))
            for node in nodes:
                node.restart()
            await cluster.synced()
        assert not cluster.events("disk.doubted") and not given_up(cluster)


@in_virtual_time
async def test_a_disk_that_was_set_back_to_before_its_promise_votes_on_nothing() -> None:
    """n1 and n2 promised a ballot; n1, set back, would promise a lower one to n3."""
    async with SimulatedCluster(1) as cluster:
        n1, n2, n3 = await cluster.form(3)
        base = cluster.record()
        copy = n1.copy_folder()
        for name in ("n1", "n2"):
            assert (await cluster.ask("n2", name, Prepare(base, Ballot(5, n2.identity)))).granted
        await asyncio.sleep(2.0)
        await n1.crash()
        n1.put_back(copy)
        n2.process.pause()
        n1.restart()
        await cluster.until(lambda: bool(cluster.events("disk.doubted")), "n1 is in doubt")
        answer = await cluster.ask("n3", "n1", Prepare(base, Ballot(6, n3.identity)))
        assert isinstance(answer, Refusal)
        n2.process.resume()
        await cluster.synced()


@in_virtual_time
async def test_copies_find_each_other_where_all_have_moved() -> None:
    """Each was given one address that holds still; the addresses in the folders are those of before."""
    async with SimulatedCluster(1) as cluster:
        nodes = await cluster.form(3)
        for node in nodes:
            await node.stop()
            node.put_back(node.copy_folder())
        for node in nodes:
            node.restart(f"{node.name}:2", ["n1:2"])
        await cluster.synced()
        assert len(cluster.events("disk.accepted")) == 3


@in_virtual_time
async def test_a_disk_without_its_data_agrees_with_nobody_that_a_key_is_absent() -> None:
    """n1 and n3 acknowledged; n3 is emptied, n1 away, and n2 never had it."""
    async with SimulatedCluster(1) as cluster:
        n1, n2, n3 = await cluster.form(3)
        await n2.crash()
        await cluster.put("n1", KEY, b"v", timeout_s=30.0)
        await n3.crash()
        n3.empty()
        await n1.crash()
        n2.restart()
        n3.restart()
        await cluster.until(lambda: bool(given_up(cluster)), "n3 gives its identity up")
        with pytest.raises(OperationError):
            await cluster.get("n2", KEY, timeout_s=2.0)
        n1.restart()
        await cluster.synced()
        assert await cluster.get("n3", KEY) == b"v"
