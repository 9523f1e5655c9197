"""A read returns only what a write quorum of every live ring holds (docs/ring-changes.md, rule 5)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import OperationTimeout
from covey.node.messages.data import DataBatch
from covey.ring.succession import finish
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import (
    KEY,
    begin_change,
    carrying,
    distribute,
    held,
    isolate_from_records,
    merges,
    pulls,
    ring_of,
    scenario,
    value_at,
    wait_pulled,
)
from tests.simulator.virtual_time import in_virtual_time

NAMES = ("n1", "n2", "n3")


async def write_to_n1_alone(cluster: SimulatedCluster) -> None:
    """Perform a write that only n1 stores and that is not acknowledged."""
    lost = cluster.network.lose(merges(target={"n2", "n3"}))
    with pytest.raises(OperationTimeout):
        await cluster.put("n1", KEY, b"v", timeout_s=0.3)
    lost()
    assert [value_at(cluster, name) for name in NAMES] == [b"v", None, None]


@pytest.mark.parametrize(
    "unreachable", [("n3", "n4", "n5"), ("n1", "n2", "n3")], ids=["successors", "owners"]
)
@in_virtual_time
async def test_a_read_needs_its_quorum_in_every_live_ring(unreachable: tuple[str, ...]) -> None:
    async with scenario(3, "n4", "n5", "q") as (cluster, _):
        await cluster.put("n1", KEY, b"v")
        await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        cluster.network.lose(carrying(DataBatch, source={"q"}, target=unreachable))
        with pytest.raises(OperationTimeout):
            await cluster.get("q", KEY, timeout_s=3.0)


@in_virtual_time
async def test_a_reader_that_is_behind_does_not_answer_from_the_old_ring() -> None:
    """n4 and n5 finished the change and acknowledged a newer value; q, n1 and n2 have not heard of it."""
    async with scenario(3, "n4", "n5", "q") as (cluster, _):
        await cluster.put("n1", KEY, b"old")
        begun = await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        await wait_pulled(cluster, "n4", "n5")
        isolate_from_records(cluster, "q", "n1", "n2")
        await distribute(cluster, finish(begun), "n3", "n4", "n5")
        await cluster.put("n4", KEY, b"new")
        assert await cluster.get("q", KEY) == b"new"


@in_virtual_time
async def test_a_reader_does_not_answer_from_the_new_ring_before_it_stands_alone() -> None:
    """The successors have pulled nothing yet."""
    async with scenario(3, "n4", "n5", "q") as (cluster, _):
        await cluster.put("n1", KEY, b"v")
        cluster.network.lose(merges(source={"q"}))
        cluster.network.refuse(pulls())
        await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        cluster.network.lose(carrying(DataBatch, source={"q"}, target={"n3"}))
        with pytest.raises(OperationTimeout):
            await cluster.get("q", KEY, timeout_s=3.0)


@in_virtual_time
async def test_what_was_read_once_is_never_unread() -> None:
    """Only n1 has stored a write, which is read there; then n1 crashes."""
    async with scenario(3) as (cluster, _):
        await write_to_n1_alone(cluster)
        assert await cluster.get("n1", KEY) == b"v"
        await cluster.nodes["n1"].crash()
        assert await cluster.get("n3", KEY) == b"v"


@in_virtual_time
async def test_a_read_that_cannot_write_back_does_not_answer() -> None:
    async with scenario(3) as (cluster, _):
        await write_to_n1_alone(cluster)
        cluster.network.lose(merges())
        with pytest.raises(OperationTimeout):
            # Long enough for the question to go out behind the write that was lost.
            await cluster.get("n1", KEY, timeout_s=10.0)


@in_virtual_time
async def test_one_reply_is_written_back_where_a_write_needs_more() -> None:
    """R = 1 and W = 3: all replies agree, and yet the next read of one replica would find nothing."""
    async with scenario(3, write_quorum=3, read_quorum=1) as (cluster, _):
        await write_to_n1_alone(cluster)
        assert await cluster.get("n1", KEY) == b"v"
        assert [value_at(cluster, name) for name in NAMES] == [b"v"] * 3


@in_virtual_time
async def test_one_reply_that_cannot_be_written_back_is_no_answer() -> None:
    async with scenario(3, write_quorum=3, read_quorum=1) as (cluster, _):
        await write_to_n1_alone(cluster)
        cluster.network.lose(merges(target={"n3"}))
        with pytest.raises(OperationTimeout):
            await cluster.get("n1", KEY, timeout_s=1.0)


@in_virtual_time
async def test_during_a_change_what_is_read_is_on_a_write_quorum_of_the_successors_too() -> None:
    """Read while n4 and n5 have pulled nothing, the value must be found by a read of n4 and n5 afterwards."""
    async with scenario(3, "n4", "n5", "q") as (cluster, _):
        await cluster.put("n1", KEY, b"v")
        cluster.network.refuse(pulls())
        await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        assert await cluster.get("q", KEY) == b"v"
        assert sum(held(cluster, name) is not None for name in ("n3", "n4", "n5")) >= 2


@pytest.mark.parametrize(("write_quorum", "read_quorum"), [(2, 2), (3, 1)])
@in_virtual_time
async def test_when_all_replies_say_absent_the_read_returns_at_once(
    write_quorum: int, read_quorum: int
) -> None:
    async with scenario(3, write_quorum=write_quorum, read_quorum=read_quorum) as (cluster, _):
        written_back = cluster.network.hold(merges())
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert await cluster.get("n1", KEY) is None
        assert loop.time() - began_s < 0.05
        assert not written_back.held


@in_virtual_time
async def test_absent_from_a_quorum_is_absent_whatever_the_others_hold_back() -> None:
    async with scenario(3) as (cluster, _):
        cluster.network.lose(carrying(DataBatch, target={"n3"}))
        assert await cluster.get("n1", KEY, timeout_s=1.0) is None


@in_virtual_time
async def test_a_tombstone_is_read_and_written_back_like_a_value() -> None:
    """Only n1 has stored a delete, which is read there; after that the value must not come back."""
    async with scenario(3) as (cluster, _):
        await cluster.put("n1", KEY, b"v")
        lost = cluster.network.lose(merges(target={"n2", "n3"}))
        with pytest.raises(OperationTimeout):
            await cluster.delete("n1", KEY, timeout_s=0.3)
        lost()
        assert await cluster.get("n1", KEY) is None
        await cluster.nodes["n1"].crash()
        assert await cluster.get("n3", KEY) is None
