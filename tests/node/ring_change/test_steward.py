from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from covey.node.errors import OperationTimeout
from covey.node.messages.data import Scan
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time


def _proposers(cluster: SimulatedCluster) -> set[str]:
    return {name for _, name, event, _ in cluster.trace if event == "epoch.proposed"}


def _changes(cluster: SimulatedCluster) -> list[str]:
    return [fields["change"] for _, _, event, fields in cluster.trace if event == "epoch.proposed"]


def _owners(cluster: SimulatedCluster, of: str = "n1") -> list[str]:
    record = cluster.nodes[of].running.epochs.record
    return [] if record is None else [owner.name for owner in record.owners.owners]


def _scans(message: Message) -> bool:
    return isinstance(message.request.body, Scan)


@in_virtual_time
async def test_only_the_owner_with_the_lowest_identity_alive_proposes() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(3)
        cluster.add("n4", ["n3:1"])
        await cluster.synced()
        assert _proposers(cluster) == {"n1"}
        assert _changes(cluster) == ["begin", "finish"]


@in_virtual_time
async def test_when_the_steward_is_down_the_next_one_proposes() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(4)
        await cluster.nodes["n1"].crash()
        cluster.add("n5", ["n3:1"])
        await cluster.until(lambda: "n5" in _owners(cluster, "n2"), "n5 is an owner")
        assert _proposers(cluster) == {"n2"}


@in_virtual_time
async def test_a_joiner_never_proposes_before_it_is_an_owner() -> None:
    async with SimulatedCluster(2) as cluster:
        for name in ("n5", "n6", "n7"):
            cluster.add(name, ["n5:1", "n6:1", "n7:1"])
        await cluster.synced()
        cluster.network.lose(_scans)
        cluster.add("n1", ["n5:1"])
        await asyncio.sleep(10)
        assert _proposers(cluster) == {"n5"}


@in_virtual_time
async def test_a_node_asked_to_remove_another_has_it_removed_although_it_is_not_the_steward() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(4)
        await cluster.nodes["n4"].crash()
        running = cluster.nodes["n3"].running
        await cluster.until(lambda: running.members.is_down(cluster.nodes["n4"].identity), "n4 is down")
        await running.administration.remove("n4", 30)
        assert _owners(cluster, "n3") == ["n1", "n2", "n3"]
        assert "n3" in _proposers(cluster)


@in_virtual_time
async def test_an_owner_down_for_long_is_evicted_without_anyone_asking() -> None:
    async with SimulatedCluster(2, evict_after=20.0) as cluster:
        await cluster.form(4)
        await cluster.nodes["n4"].crash()
        await asyncio.sleep(15)
        assert len(_owners(cluster)) == 4
        await cluster.until(lambda: _owners(cluster) == ["n1", "n2", "n3"], "n4 is evicted")


async def _all_but_n4_restarted(cluster: SimulatedCluster) -> None:
    """After this, n4 is known only by the ring."""
    await cluster.form(4)
    for node in cluster.nodes.values():
        await node.crash()
    del cluster.nodes["n4"]
    for node in cluster.nodes.values():
        node.restart()
    await cluster.synced()


@in_virtual_time
async def test_an_owner_unknown_to_all_since_their_restart_is_evicted_too() -> None:
    async with SimulatedCluster(2, evict_after=20.0) as cluster:
        await _all_but_n4_restarted(cluster)
        await asyncio.sleep(10)
        assert len(_owners(cluster)) == 4
        await cluster.until(lambda: _owners(cluster) == ["n1", "n2", "n3"], "n4 is evicted")


@in_virtual_time
async def test_an_owner_unknown_to_all_can_be_removed() -> None:
    async with SimulatedCluster(2) as cluster:
        await _all_but_n4_restarted(cluster)
        await cluster.nodes["n2"].running.administration.remove("n4", 30)
        assert _owners(cluster) == ["n1", "n2", "n3"]


@in_virtual_time
async def test_a_removal_that_timed_out_reports_why_and_is_withdrawn() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(4)
        await cluster.nodes["n4"].crash()
        running = cluster.nodes["n1"].running
        await cluster.until(lambda: running.members.is_down(cluster.nodes["n4"].identity), "n4 is down")
        cluster.network.lose(_scans)
        with pytest.raises(
            OperationTimeout, match="n4 is still in the ring after 3 s; the change continues"
        ) as caught:
            await running.administration.remove("n4", 3)
        assert caught.value.maybe_applied
        assert not running._steward._removals


@in_virtual_time
async def test_a_dead_joiner_aborts_its_change_and_the_next_attempt_waits_longer() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(3)
        await cluster.put("n1", b"k", b"v")
        hanging = cluster.network.lose(_scans)
        cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: "begin" in _changes(cluster), "the change has begun")
        await cluster.nodes["n4"].crash()
        await cluster.until(lambda: "abort" in _changes(cluster), "the change is aborted")
        aborted_at = asyncio.get_running_loop().time()
        hanging()
        cluster.nodes["n4"].restart()
        await cluster.until(lambda: _changes(cluster).count("begin") == 2, "another try")
        assert asyncio.get_running_loop().time() - aborted_at >= 4
        await cluster.until(lambda: "n4" in _owners(cluster), "n4 is an owner")


@in_virtual_time
async def test_a_change_is_aborted_when_a_joiner_makes_no_progress_for_the_timeout() -> None:
    async with SimulatedCluster(2, handoff_timeout=10.0) as cluster:
        await cluster.form(3)
        await cluster.put("n1", b"k", b"v")
        cluster.network.lose(_scans)
        cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: "begin" in _changes(cluster), "the change has begun")
        began_at = asyncio.get_running_loop().time()
        await cluster.until(lambda: "abort" in _changes(cluster), "the change is aborted")
        assert 10 <= asyncio.get_running_loop().time() - began_at < 15


@in_virtual_time
async def test_status_reports_why_nothing_is_proposed() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(3)
        await cluster.put("n1", b"k", b"v")
        cluster.network.lose(_scans)
        cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: cluster.nodes["n2"].running.epochs.number == 2, "the change has begun")
        await asyncio.sleep(2)
        status = cluster.nodes["n2"].running.administration.status()
        assert any("n4" in note for note in status.notes), status.notes


@in_virtual_time
async def test_only_the_steward_plans_and_once_for_the_same_inputs() -> None:
    """Heartbeats, epochs and states of other members change all the time."""
    async with SimulatedCluster(2) as cluster:
        await cluster.form(5)
        before = {name: node.compute.runs for name, node in cluster.nodes.items()}
        await cluster.nodes["n5"].crash()
        await cluster.nodes["n4"].crash()
        await cluster.until(lambda: len(cluster.events("member.down", "n1")) == 2, "n4 and n5 are down")
        cluster.add("n6", ["n1:1"])
        await cluster.until(lambda: "moving it takes" in _obstacle(cluster, "n1"), "a join has to wait")
        await asyncio.sleep(20)
        runs = {name: cluster.nodes[name].compute.runs - before[name] for name in ("n1", "n2")}
        assert runs == {"n1": 1, "n2": 0}


@in_virtual_time
async def test_a_plan_whose_joiner_died_while_it_was_made_is_not_proposed() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(3)
        planning, go_on = asyncio.Event(), asyncio.Event()
        cluster.nodes["n1"].compute.before = _paused(planning, go_on)
        cluster.add("n4", ["n1:1"])
        await planning.wait()
        await cluster.nodes["n4"].crash()
        running = cluster.nodes["n1"].running
        await cluster.until(lambda: running.members.is_down(cluster.nodes["n4"].identity), "n4 is down")
        go_on.set()
        await asyncio.sleep(5)
        assert _changes(cluster) == []


@in_virtual_time
async def test_at_most_eight_changes_begin_together() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(3)
        for number in range(10, 22):
            cluster.add(f"n{number}", ["n1:1"])
        await cluster.synced()
        sizes = [len(f["successors"]) for f in cluster.events("epoch.adopted", "n1") if f["successors"]]
        grown = [after - before for before, after in pairwise([3, *sizes])]
        assert max(grown) <= 8
        assert sizes[-1] == 15


def _obstacle(cluster: SimulatedCluster, of: str) -> str:
    return cluster.nodes[of].running._steward.obstacle


def _paused(planning: asyncio.Event, go_on: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """Signal that a computation begins, and have it wait."""

    async def pause() -> None:
        planning.set()
        await go_on.wait()

    return pause


@in_virtual_time
async def test_a_node_that_does_not_plan_reports_what_a_change_waits_for() -> None:
    async with SimulatedCluster(2) as cluster:
        await cluster.form(5)
        await cluster.nodes["n5"].crash()
        await cluster.nodes["n4"].crash()
        await cluster.until(lambda: len(cluster.events("member.down", "n1")) == 2, "n4 and n5 are down")
        cluster.add("n6", ["n1:1"])
        await cluster.until(lambda: "moving it takes" in _obstacle(cluster, "n2"), "n2 reports why")
