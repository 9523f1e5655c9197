"""Clients' writes at or below the floor are refused, and new versions exceed it (docs/ring-changes.md, rule 11)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import OperationTimeout, Unavailable
from covey.node.messages.data import DataBatch, DataReply, Merge, MergeKind, MergeResult
from covey.node.storage.interface import Entry
from covey.quorum.version import Version
from covey.ring.succession import begin
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import KEY, distribute, held, merges, record_of, ring_of, scenario, value_at
from tests.simulator.tombstones import raise_floor_to
from tests.simulator.virtual_time import in_virtual_time

NAMES = ("n1", "n2", "n3")


async def bring(cluster: SimulatedCluster, to: str, version: Version, kind: MergeKind) -> MergeResult:
    """A value of this version, brought to a replica under the current epoch."""
    batch = DataBatch(record_of(cluster).stamp, (Merge(KEY, Entry(version, b"brought"), kind),))
    reply = await cluster.ask("n1", to, batch)
    assert isinstance(reply, DataReply), reply
    (result,) = reply.results
    assert isinstance(result, MergeResult), result
    return result


async def a_floor(cluster: SimulatedCluster) -> Version:
    """The floor is at this version, of another key than KEY."""
    version = (await cluster.put("n1", b"other", b"v")).version
    await raise_floor_to(cluster, version)
    return version


@pytest.mark.parametrize("changing", [False, True], ids=["stable", "changing"])
@pytest.mark.parametrize("name", [*NAMES, "n4"])
@in_virtual_time
async def test_every_replica_refuses_hints_and_retries_at_or_below_the_floor(
    name: str, changing: bool
) -> None:
    """Those that enter the list as well."""
    async with scenario(3, "n4") as (cluster, _):
        floor = await a_floor(cluster)
        if changing:
            await distribute(cluster, begin(record_of(cluster), ring_of(cluster, "n2", "n3", "n4")))
        for timestamp in (floor.timestamp, floor.timestamp - 1):
            refused = await bring(cluster, name, floor._replace(timestamp=timestamp), MergeKind.WRITE)
            assert refused.below_floor
            assert held(cluster, name) is None
        above = floor._replace(timestamp=floor.timestamp + 1)
        assert not (await bring(cluster, name, above, MergeKind.WRITE)).below_floor
        assert value_at(cluster, name) == b"brought"


@in_virtual_time
async def test_repairs_are_never_refused_for_age() -> None:
    """What is older than the floor and was not deleted must still reach all its replicas."""
    async with scenario(3) as (cluster, _):
        floor = await a_floor(cluster)
        repaired = await bring(cluster, "n2", floor._replace(timestamp=1), MergeKind.REPAIR)
        assert not repaired.below_floor
        assert value_at(cluster, "n2") == b"brought"


@in_virtual_time
async def test_an_older_value_is_read_and_written_back_below_the_floor() -> None:
    async with scenario(3) as (cluster, _):
        lost = cluster.network.lose(merges(target={"n2", "n3"}))
        with pytest.raises(OperationTimeout):
            await cluster.put("n1", KEY, b"v", timeout_s=0.3)
        lost()
        await a_floor(cluster)
        assert await cluster.get("n1", KEY) == b"v"
        await cluster.nodes["n1"].crash()
        assert await cluster.get("n3", KEY) == b"v"


@in_virtual_time
async def test_a_write_that_the_floor_overtakes_may_have_happened() -> None:
    """n1 has stored it; the retry under the new epoch is refused everywhere, and the client gets that error."""
    async with scenario(3) as (cluster, _):
        turned_away = cluster.network.refuse(merges(source={"n1"}))
        writing = asyncio.get_running_loop().create_task(cluster.put("n1", KEY, b"v", timeout_s=30.0))
        await cluster.until(lambda: held(cluster, "n1") is not None, "n1 has it")
        entry = held(cluster, "n1")
        assert entry is not None
        await raise_floor_to(cluster, entry.version)
        turned_away()
        with pytest.raises(OperationTimeout, match=r"may have happened.*floor") as caught:
            await writing
        assert caught.value.maybe_applied
        assert [value_at(cluster, name) for name in NAMES] == [b"v", None, None]


@in_virtual_time
async def test_a_write_that_the_floor_overtakes_before_anyone_has_it_was_not_done() -> None:
    """So its client can try again, and then it is done."""
    async with scenario(3, "q") as (cluster, _):
        turned_away = cluster.network.refuse(merges(source={"q"}))
        writing = asyncio.get_running_loop().create_task(cluster.put("q", KEY, b"v", timeout_s=30.0))
        await asyncio.sleep(1.0)
        later = (await cluster.put("n1", b"other", b"v")).version
        await raise_floor_to(cluster, later)
        turned_away()
        with pytest.raises(Unavailable, match=r"was not done.*floor") as caught:
            await writing
        assert not caught.value.maybe_applied
        assert [held(cluster, name) for name in NAMES] == [None] * 3
        await cluster.put("q", KEY, b"again")
        assert await cluster.get("n3", KEY) == b"again"


@pytest.mark.parametrize("name", [*NAMES, "q"])
@in_virtual_time
async def test_new_versions_exceed_the_floor_although_the_clock_is_behind_it(name: str) -> None:
    async with scenario(3, "q") as (cluster, _):
        version = (await cluster.put("n1", b"other", b"v")).version
        ahead = version._replace(timestamp=version.timestamp + (400 << 16))
        await raise_floor_to(cluster, ahead)
        written = await cluster.put(name, KEY, b"v")
        assert written.version.timestamp > ahead.timestamp
