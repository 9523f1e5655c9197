"""Hints bring a returning replica what it missed, and no other rule relies on them (docs/ring-changes.md, rule 15).

A hint is kept for acknowledged writes only, delivered under the then current epoch and only to who is still in the
key's list, and it never counts. On these stages nothing else that brings data from node to node gets through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import get_args

import pytest

from covey.api.cluster import ClusterStatus
from covey.node.errors import OperationTimeout, Unavailable
from covey.node.hints.store import HintStore
from covey.node.hints.writer import FOREIGN, NO_ROOM, TOO_OLD
from covey.node.messages.data import DataBatch, Merge, MergeKind
from covey.node.messages.envelope import DataBody
from covey.ring.ring import Ring
from covey.ring.succession import finish, raise_floor
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.scenario import (
    KEY,
    Scenario,
    begin_change,
    distribute,
    held,
    merges,
    record_of,
    renumbered,
    ring_of,
    scenario,
    value_at,
)
from tests.simulator.virtual_time import in_virtual_time

BACK_S = 5.0
"""Maximum time until a restarted node is noticed and has its hints."""


def repairs(message: Message) -> bool:
    """Concerns whatever brings or compares data but writes and hints, which look alike, and reads."""
    body = message.request.body
    if isinstance(body, DataBatch):
        return any(isinstance(op, Merge) and op.kind is MergeKind.REPAIR for op in body.operations)
    return isinstance(body, get_args(DataBody))


@asynccontextmanager
async def hinting(owners: int, *outsiders: str, **settings: object) -> AsyncIterator[Scenario]:
    async with scenario(owners, *outsiders, **settings) as stage:
        stage.cluster.network.refuse(repairs)
        yield stage


async def end(cluster: SimulatedCluster, *names: str) -> None:
    """Crash these and wait until all others have noticed."""
    for name in names:
        await cluster.nodes[name].crash()
    up = [node.running for node in cluster.nodes.values() if node.node is not None]
    dead = [cluster.nodes[name].identity for name in names]
    await cluster.until(
        lambda: all(node.members.is_down(identity) for node in up for identity in dead), "all noticed"
    )


def kept(cluster: SimulatedCluster, at: str, to: str) -> int:
    """Hints as they lie on the disk of ``at``."""
    return HintStore(cluster.nodes[at].engine, 1 << 30).stored(cluster.nodes[to].identity).hints


def kept_anywhere(cluster: SimulatedCluster) -> int:
    return sum(kept(cluster, at, to) for at in cluster.nodes for to in cluster.nodes)


def status(cluster: SimulatedCluster, of: str = "n1") -> ClusterStatus:
    return cluster.nodes[of].running.administration.status()


# --- what it is for ---


@in_virtual_time
async def test_an_owner_that_returns_gets_what_it_missed_without_any_read() -> None:
    async with hinting(3) as (cluster, _):
        await cluster.put("n1", b"old", b"v")
        await end(cluster, "n3")
        written = {key: await cluster.put("n1", key, b"v") for key in (b"a", b"b")}
        written[b"old"] = await cluster.delete("n2", b"old")
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: not kept_anywhere(cluster), "all hints are brought", BACK_S)
        for key, result in written.items():
            entry = held(cluster, "n3", key)
            assert entry is not None and entry.version == result.version
        assert value_at(cluster, "n3", b"old") is None
        assert {line["member"] for line in cluster.events("hint.replayed")} == {"n3"}


@in_virtual_time
async def test_so_does_one_that_was_never_thought_down() -> None:
    async with hinting(3) as (cluster, _):
        lost = cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        await asyncio.sleep(3.0)
        lost()
        await cluster.until(lambda: held(cluster, "n3") is not None, "n3 has it", 10.0)
        assert held(cluster, "n3") == held(cluster, "n1")


@in_virtual_time
async def test_of_several_writes_of_a_key_the_newest_is_brought() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        for number in range(5):
            await cluster.put("n1", KEY, b"%d" % number)
        assert kept(cluster, "n1", "n3") == 1
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: value_at(cluster, "n3") == b"4", "n3 has the last", BACK_S)


@in_virtual_time
async def test_hints_survive_a_crash_of_their_keeper() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        await cluster.put("n1", KEY, b"v")
        await asyncio.sleep(0)
        await cluster.nodes["n1"].crash()
        cluster.nodes["n3"].restart()
        cluster.nodes["n1"].restart()
        await cluster.until(lambda: value_at(cluster, "n3") == b"v", "n3 has it", BACK_S)


@in_virtual_time
async def test_writes_under_way_when_their_coordinator_stops_are_kept_too() -> None:
    """Acknowledged by n1 and n2; n3 had not answered yet."""
    async with hinting(3) as (cluster, _):
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        await cluster.nodes["n1"].stop()
        assert kept(cluster, "n1", "n3") == 1


# --- what must not come of it ---


@in_virtual_time
async def test_hints_never_count_towards_w() -> None:
    """Two of a key's three replicas are isolated, at first unnoticed: no coordinator acknowledges a write."""
    async with hinting(4) as (cluster, _):
        homes = [i.name for i in Ring(record_of(cluster).owners).preference_list(token_of(KEY))]
        [outsider] = set(cluster.nodes) - set(homes)
        cluster.network.partition({homes[0], outsider}, set(homes[1:]))
        for via in (homes[0], outsider):
            with pytest.raises(OperationTimeout):
                await cluster.put(via, KEY, b"unnoticed", timeout_s=0.5)
        await asyncio.sleep(20)
        for via in (homes[0], outsider):
            with pytest.raises(Unavailable):
                await cluster.put(via, KEY, b"noticed", timeout_s=1.0)
        assert kept_anywhere(cluster) == 0


@in_virtual_time
async def test_a_write_that_was_reported_as_not_done_does_not_happen_later() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n2", "n3")
        with pytest.raises(Unavailable):
            await cluster.put("n1", KEY, b"v", timeout_s=1.0)
        for name in ("n2", "n3"):
            cluster.nodes[name].restart()
        await asyncio.sleep(30)
        assert [held(cluster, name) for name in cluster.nodes] == [None] * 3


@in_virtual_time
async def test_one_that_may_have_been_done_is_not_spread_by_hints() -> None:
    """Only n1 has stored it. A later read decides whether it took effect."""
    async with hinting(3) as (cluster, _):
        healed = cluster.network.partition({"n1"}, {"n2", "n3"})
        with pytest.raises(OperationTimeout):
            await cluster.put("n1", KEY, b"v", timeout_s=1.0)
        healed()
        await asyncio.sleep(30)
        assert [value_at(cluster, name) for name in cluster.nodes] == [b"v", None, None]


@in_virtual_time
async def test_a_hint_goes_under_the_then_current_epoch() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        await cluster.put("n1", KEY, b"v")
        await distribute(cluster, renumbered(record_of(cluster)))
        sent: list[int] = []

        def to_n3(message: Message) -> bool:
            if merges(target={"n3"})(message) and isinstance(message.request.body, DataBatch):
                sent.append(message.request.body.epoch.number)
            return False

        cluster.network.refuse(to_n3)
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: value_at(cluster, "n3") == b"v", "n3 has it", BACK_S)
        assert set(sent) == {2}


@in_virtual_time
async def test_a_hint_for_who_is_no_longer_in_the_keys_list_is_discarded() -> None:
    """n3 stays an owner, but no longer of this key: n4 replaces it, and pulled what n3 missed."""
    async with hinting(3, "n4") as (cluster, _):
        key = await key_that_moves(cluster)
        await end(cluster, "n3")
        await cluster.put("n1", key, b"v")
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n2", "n3", "n4"))
        cluster.network.refuse(merges(source={"n1"}, target={"n3"}))
        await asyncio.sleep(1.0)
        await distribute(cluster, finish(begun))
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: not kept_anywhere(cluster), "the hint is gone", BACK_S)
        assert held(cluster, "n3", key) is None
        assert [line["reason"] for line in cluster.events("hint.dropped", "n1")] == [FOREIGN]


async def key_that_moves(cluster: SimulatedCluster) -> bytes:
    """A key that n3 has no part in once n4 is there."""
    await distribute(cluster, renumbered(record_of(cluster)))
    ring = Ring(ring_of(cluster, "n1", "n2", "n3", "n4"))
    n3 = cluster.nodes["n3"].identity
    return next(
        key
        for key in (b"key%d" % number for number in range(1000))
        if n3 not in ring.preference_list(token_of(key))
    )


@in_virtual_time
async def test_hints_for_who_is_removed_from_the_ring_are_discarded_though_it_is_down() -> None:
    async with hinting(3, "n4") as (cluster, _):
        await end(cluster, "n3")
        await cluster.put("n1", KEY, b"v")
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n2", "n4"))
        await distribute(cluster, finish(begun))
        await cluster.until(lambda: not kept_anywhere(cluster), "the hint is gone", BACK_S)


@in_virtual_time
async def test_a_hint_at_or_below_the_floor_is_refused_and_discarded() -> None:
    """While n3 was away, all that is not newer was settled."""
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        settled = await cluster.put("n1", b"settled", b"v")
        await cluster.put("n1", b"newer", b"v")
        await distribute(cluster, raise_floor(record_of(cluster), settled.version.timestamp))
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: not kept_anywhere(cluster), "no hint is left", BACK_S)
        assert held(cluster, "n3", b"settled") is None
        assert value_at(cluster, "n3", b"newer") == b"v"


# --- bounds ---


@in_virtual_time
async def test_what_there_is_no_room_for_fails_no_write() -> None:
    async with hinting(3, hint_max_bytes=400) as (cluster, _):
        await end(cluster, "n3")
        for number in range(10):
            await cluster.put("n1", b"k%d" % number, b"v")
        assert 0 < kept(cluster, "n1", "n3") < 10
        await asyncio.sleep(20)
        dropped = [
            line["hints"] for line in cluster.events("hint.dropped", "n1") if line["reason"] == NO_ROOM
        ]
        assert sum(dropped) + kept(cluster, "n1", "n3") == 10
        assert len(dropped) <= 3


@in_virtual_time
async def test_what_has_grown_too_old_is_dropped_and_the_rest_kept() -> None:
    async with hinting(3, hint_max_age=60.0) as (cluster, _):
        await end(cluster, "n3")
        await cluster.put("n1", b"old", b"v")
        await asyncio.sleep(50)
        await cluster.put("n1", b"young", b"v")
        await asyncio.sleep(20)
        assert kept(cluster, "n1", "n3") == 1
        assert [line["reason"] for line in cluster.events("hint.dropped", "n1")] == [TOO_OLD]
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: value_at(cluster, "n3", b"young") == b"v", "n3 has it", BACK_S)
        assert held(cluster, "n3", b"old") is None


@in_virtual_time
async def test_a_keeper_whose_disk_has_lost_track_of_its_hints_goes_on() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        cluster.nodes["n1"].engine.put_rows([(b"\xffhint", b"")])
        await cluster.nodes["n1"].crash()
        cluster.nodes["n1"].restart()
        await cluster.until(lambda: bool(cluster.events("hint.dropped", "n1")), "n1 says so", BACK_S)
        assert {line["member"] for line in cluster.events("hint.dropped", "n1")} == {"n2", "n3"}
        await cluster.put("n1", b"another", b"v")


# --- what people see ---


@in_virtual_time
async def test_until_it_is_brought_what_it_missed_the_cluster_is_not_synced() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        for key in (b"a", b"b"):
            await cluster.put("n1", key, b"v")
        assert status(cluster).synced  # n3 is down, and not waited for
        refused = cluster.network.refuse(merges(target={"n3"}))
        cluster.nodes["n3"].restart()
        note = "n1 keeps 2 hints for members that are up"
        for of in cluster.nodes:
            await cluster.until(lambda of=of: note in status(cluster, of).notes, f"{of} says so", BACK_S)
            assert not status(cluster, of).synced
        refused()
        await cluster.synced()
        assert held(cluster, "n3", b"a") is not None and held(cluster, "n3", b"b") is not None


@in_virtual_time
async def test_the_log_tells_of_hints_without_a_line_for_each() -> None:
    async with hinting(3) as (cluster, _):
        await end(cluster, "n3")
        for number in range(100):
            await cluster.put("n1", b"k%d" % number, b"v")
        cluster.nodes["n3"].restart()
        await cluster.until(lambda: bool(cluster.events("hint.replayed")), "all is brought", BACK_S)
        assert [line["hints"] for line in cluster.events("hint.stored", "n1")] == [1]
        [replayed] = cluster.events("hint.replayed", "n1")
        assert (replayed["member"], replayed["keys"]) == ("n3", 100)
