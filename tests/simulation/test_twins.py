"""Two processes on copies of one data folder: exactly one continues, and the other acknowledges nothing more."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from covey.membership.record import MemberRecord
from covey.node.errors import JoinRefused, NodeError, OperationTimeout, Unavailable
from covey.node.messages.data import DataBatch, Read
from covey.node.messages.membership import Hello
from covey.node.operations import WriteResult
from covey.quorum.consistency import Consistency, Level
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.network import Message
from tests.simulator.scenario import merges
from tests.simulator.virtual_time import in_virtual_time

SEEDS = range(3)
TWIN = "n1-copy"
KEYS = [b"key-%d" % number for number in range(10)]


class Twin(SimulatedNode):
    def _chance(self) -> str:
        return f"{self.name} {super()._chance()}"


async def started_twice(
    cluster: SimulatedCluster, *, seeds: tuple[str, ...] = ("n2:1", "n3:1")
) -> tuple[SimulatedNode, SimulatedNode]:
    """n1 is stopped, its disk is copied, and both disks are started, once each."""
    n1 = cluster.nodes["n1"]
    await n1.crash()
    twin = cluster.nodes[TWIN] = Twin(cluster, TWIN, seeds, {})
    twin.home = n1.home.restarted()
    twin.engine = copied(n1)
    n1.restart()
    twin.start()
    assert (twin.identity, twin.home.generation) == (n1.identity, n1.home.generation)
    return n1, twin


def copied(node: SimulatedNode) -> Any:
    """The same disk again, under another process."""
    return node.engine.copy()


def outranking(record: MemberRecord) -> MemberRecord:
    """A record of a twin that stays."""
    return replace(record, version=record.version + 1, process=record.process + 1, address="elsewhere:1")


def fenced(cluster: SimulatedCluster) -> list[str]:
    """Which of the two have lost their identity, or were refused at the door."""
    return [name for name in ("n1", TWIN) if cluster.nodes[name].node is not None and is_out(cluster, name)]


def is_out(cluster: SimulatedCluster, name: str) -> bool:
    node = cluster.nodes[name]
    joining = node._joining
    refused = joining is not None and joining.done() and isinstance(joining.exception(), JoinRefused)
    return bool(node.running.me.lost) or refused


def forgive(cluster: SimulatedCluster) -> None:
    """The end of the one that had to end is what was to happen."""
    assert {type(error) for _, error in cluster.failures} <= {JoinRefused}
    cluster.failures.clear()


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_of_two_that_start_at_once_exactly_one_ends(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        await cluster.form(5)
        await started_twice(cluster)
        await cluster.until(lambda: bool(fenced(cluster)), "one of them ends", 30.0)
        await asyncio.sleep(30.0)
        assert len(fenced(cluster)) == 1
        forgive(cluster)


@in_virtual_time
async def test_of_a_machine_that_was_copied_while_it_ran_one_ends_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even what was drawn at the start is the same; all that differs is the address."""
    monkeypatch.setattr(Twin, "_chance", SimulatedNode._chance)
    async with SimulatedCluster(1) as cluster:
        await cluster.form(5)
        await started_twice(cluster)
        await cluster.until(lambda: bool(fenced(cluster)), "one of them ends", 30.0)
        await asyncio.sleep(30.0)
        assert len(fenced(cluster)) == 1
        forgive(cluster)


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_of_two_that_meet_after_a_partition_exactly_one_ends(seed: int) -> None:
    """Each side of it takes another one for n1."""
    async with SimulatedCluster(seed) as cluster:
        await cluster.form(5)
        heal = cluster.network.partition({"n1", "n2", "n3"}, {TWIN, "n4", "n5"})
        await started_twice(cluster, seeds=("n4:1",))
        await asyncio.sleep(random.Random(seed).uniform(10.0, 40.0))
        assert fenced(cluster) == []
        heal()
        await cluster.until(lambda: bool(fenced(cluster)), "one of them ends", 60.0)
        await asyncio.sleep(30.0)
        assert len(fenced(cluster)) == 1
        forgive(cluster)


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_the_one_that_ended_says_nothing_more_to_anyone(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        await cluster.form(5)
        await started_twice(cluster)
        await cluster.until(lambda: bool(fenced(cluster)), "one of them ends", 30.0)
        [loser] = fenced(cluster)
        cluster.nodes[loser].running.me.lost = "it was refused and still runs"
        said: list[Message] = []
        cluster.network.lose(lambda message: message.source == loser and not said.append(message))
        for key in KEYS:
            with pytest.raises(Unavailable):
                await cluster.put(loser, key, b"v")
            with pytest.raises(Unavailable):
                await cluster.get(loser, key)
        meant = cluster.nodes[loser].identity
        record = cluster.record("n2")
        answer = await cluster.ask("n2", loser, DataBatch(record.stamp, (Read(b"k"),)), meant=meant)
        assert "runs at" in answer.reason or "refused" in answer.reason
        await asyncio.sleep(10.0)
        assert said == []
        forgive(cluster)


@in_virtual_time
async def test_the_door_turns_no_twin_away_that_was_started_as_often() -> None:
    """Another door has perhaps let it in already, and this one's in there may have been turned away at a third."""
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(3)
        twin = outranking(n1.running.members.own_record())
        twin = replace(twin, version=twin.version + 1_000)  # it goes on writing, as n1 does
        older = replace(twin, generation=twin.generation - 1)
        assert "is alive at n1:1" in (await cluster.ask("n3", "n2", Hello(older, None))).refused
        assert not (await cluster.ask("n3", "n2", Hello(twin, None))).refused
        await cluster.until(lambda: bool(n1.running.me.lost), "gossip decides")
        forgive(cluster)


@in_virtual_time
async def test_a_write_under_way_is_not_acknowledged_by_the_one_that_has_to_end() -> None:
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        n1 = cluster.nodes["n1"].running
        hold = cluster.network.hold_replies(merges(source={"n1"}))
        write = asyncio.ensure_future(cluster.put("n1", b"k", b"v"))
        await cluster.until(lambda: len(hold.held) == 2, "both have it")
        n1.gossip.learn([outranking(n1.members.own_record())])
        hold.release()
        with pytest.raises(OperationTimeout) as caught:
            await write
        assert caught.value.maybe_applied
        forgive(cluster)


@in_virtual_time
async def test_what_needs_no_other_replica_is_not_acknowledged_either() -> None:
    """n1 alone is enough for the write, and hears of its twin while it waits for its own disk."""
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(3)
        cluster.network.lose(merges(source={"n1"}))
        n1.hold_flushes()
        write = asyncio.ensure_future(cluster.put("n1", b"k", b"v", Consistency(Level.ONE)))
        await cluster.until(lambda: n1.engine.get(b"k") is not None, "n1 has merged it")
        n1.running.gossip.learn([outranking(n1.running.members.own_record())])
        n1.release_flushes()
        with pytest.raises(OperationTimeout, match="runs at elsewhere:1 too"):
            await write
        forgive(cluster)


@in_virtual_time
async def test_a_replica_that_lost_its_identity_meanwhile_does_not_acknowledge() -> None:
    """n3 has merged and waits for its disk when it hears of its twin."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        n3 = cluster.nodes["n3"]
        cluster.network.lose(merges(source={"n1"}, target={"n2"}))
        n3.hold_flushes()
        write = asyncio.ensure_future(cluster.put("n1", b"k", b"v", timeout_s=3.0))
        await cluster.until(lambda: n3.engine.get(b"k") is not None, "n3 has merged it")
        n3.running.gossip.learn([outranking(n3.running.members.own_record())])
        n3.release_flushes()
        with pytest.raises(OperationTimeout):
            await write
        forgive(cluster)


@in_virtual_time
async def test_a_node_that_restarts_at_another_address_is_no_twin() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        await n1.crash()
        n1.restart(address="n1:2")
        await cluster.synced()
        await asyncio.sleep(20.0)
        assert not cluster.events("twin.seen") and not cluster.events("node.refused")
        assert isinstance(await cluster.put("n1", b"k", b"v"), WriteResult)


@in_virtual_time
async def test_a_copy_that_starts_at_a_seed_of_a_live_one_ends() -> None:
    """The only seed that it knows is its own original, which is not to be taken for itself."""
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(3)
        twin = cluster.nodes[TWIN] = SimulatedNode(cluster, TWIN, ("n1:1",), {})
        twin.home, twin.engine = n1.home.restarted(), copied(n1)
        twin.home.save_peers({})
        cluster.network.partition({"n1", "n2", "n3"}, {TWIN, "n1"})
        twin.start()
        with pytest.raises(NodeError, match="is alive at"):
            await asyncio.wait_for(twin.joined(), 30.0)
