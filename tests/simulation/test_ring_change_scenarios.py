"""Ring changes in bad company: donors that die or missed a write, joiners that flap or lie, several at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from covey.node.messages.data import Scan
from covey.ring.moves import RingChange
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.network import Message
from tests.simulator.scenario import held, merges, pulls
from tests.simulator.virtual_time import in_virtual_time
from tests.simulator.workload import checked_workload

SEEDS = range(2)
KEYS = [b"key-%d" % number for number in range(60)]
SETTINGS = {"tokens_per_weight": 8, "handoff_timeout": 10.0, "handoff_grace": 1.0}
VALUE = b"v" * 1000


async def filled(cluster: SimulatedCluster, value: bytes = VALUE) -> None:
    for key in KEYS:
        await cluster.put("n1", key, value)


async def nothing_is_lost(cluster: SimulatedCluster, value: bytes = VALUE) -> None:
    """Check that every key can be read through every node, and is on its replicas."""
    epoch = cluster.nodes["n1"].running.epochs.current
    assert epoch is not None
    for number, key in enumerate(KEYS):
        via = sorted(cluster.nodes)[number % len(cluster.nodes)]
        assert await cluster.get(via, key) == value
        homes = epoch.rings[0].preference_list(token_of(key))
        holding = [home for home in homes if held(cluster, home.name, key) is not None]
        assert len(holding) >= epoch.rings[0].w, f"{key!r} is on {holding} of {homes}"


def owners(cluster: SimulatedCluster) -> set[str]:
    return {identity.name for identity in cluster.newest_record().owners.owners}


def displaced(cluster: SimulatedCluster) -> str:
    """Whom most of the change now begun displaces."""
    record = cluster.newest_record()
    assert record.successors is not None
    given = [
        pull.displaced
        for move in RingChange.between(record.owners, record.successors).moves
        for pull in move.pulls
    ]
    [(donor, _)] = Counter(donor for donor in given if donor is not None).most_common(1)
    return donor.name


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_donor_killed_in_the_middle_of_its_handoff_costs_nothing(seed: int) -> None:
    async with SimulatedCluster(seed, **SETTINGS) as cluster:
        await cluster.form(5)
        await filled(cluster)
        async with checked_workload(cluster):
            pulled: list[Message] = []
            hold = cluster.network.hold(lambda m: pulls()(m) and (pulled.append(m) or len(pulled) > 10))
            cluster.add("n6", ["n1:1"])
            await cluster.until(lambda: len(hold.held) > 2, "n6 is in the middle of it")
            donor = cluster.nodes[displaced(cluster)]
            await donor.crash(power=True)
            hold.release()
            await cluster.until(lambda: "n6" in owners(cluster), "n6 is in, without that donor")
            assert donor.node is None
            donor.restart()
        await nothing_is_lost(cluster)


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_three_joins_at_once_all_succeed(seed: int) -> None:
    async with SimulatedCluster(seed, **SETTINGS) as cluster:
        await cluster.form(5)
        await filled(cluster)
        async with checked_workload(cluster):
            for name in ("n6", "n7", "n8"):
                cluster.add(name, ["n1:1"])
            await cluster.until(lambda: len(owners(cluster)) == 8, "all are in")
        await nothing_is_lost(cluster)


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_node_leaves_while_another_replica_is_down(seed: int) -> None:
    """What the other has to take over keeps the leave waiting for a while; then it is taken out, and joins again."""
    async with SimulatedCluster(seed, **SETTINGS) as cluster:
        _, n2, n3, *_ = await cluster.form(5)
        await filled(cluster)
        async with checked_workload(cluster):
            await n2.crash()
            n3.running.gossip.leave()
            await cluster.until(n3.running.gossip.left.is_set, "n3 is out")
            assert owners(cluster) - {"n2"} == {"n1", "n4", "n5"}
            await n3.stop()
            del cluster.nodes["n3"]
            n2.restart()
            await cluster.until(lambda: owners(cluster) == {"n1", "n2", "n4", "n5"}, "n2 is back")
        await nothing_is_lost(cluster)


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_what_the_donor_missed_is_not_lost_when_a_joiner_takes_its_place(seed: int) -> None:
    """Each value is on the two replicas that stay, and not on the one that gives way, from which the joiner pulls."""
    async with SimulatedCluster(seed, **SETTINGS) as cluster:
        await cluster.form(5)
        await filled(cluster, b"old")
        cluster.network.hold(pulls())
        hold = cluster.network.hold(lambda message: isinstance(message.request.body, Scan))
        cluster.add("n6", ["n1:1"])
        await cluster.until(lambda: cluster.newest_record().changing, "the change begins")
        donor = displaced(cluster)
        cluster.network.lose(merges(target={donor}))
        await filled(cluster)
        for missing in cluster.network._holds:
            missing.release()
        hold.release()
        await cluster.until(lambda: "n6" in owners(cluster), "n6 is in")
        for key in KEYS:
            assert await cluster.get("n6", key) == VALUE


@pytest.mark.parametrize("advertised", ["nowhere:1", "n2:1"])
@in_virtual_time
async def test_a_node_that_advertises_a_wrong_address_leads_nobody_to_delete(advertised: str) -> None:
    """Nobody could ever read from it what others would have deleted."""
    async with SimulatedCluster(1, **SETTINGS) as cluster:
        _, n2, *_ = await cluster.form(5)
        await filled(cluster)
        copies = copies_of(cluster)
        liar = cluster.nodes["n6"] = SimulatedNode(cluster, "n6", ["n1:1", "n3:1"], {})
        liar.address = advertised
        liar.start()
        cluster.network.shut("nowhere:1")
        cluster.network.open("n2:1", "n2", n2.running.handle, n2.process)
        await asyncio.sleep(60.0)
        assert "n6" not in owners(cluster)
        assert copies_of(cluster) == copies
        said = [str(event["reason"]) for event in cluster.events("node.waiting", "n6")]
        assert any(f"no node answers as n6 at {advertised}" in reason for reason in said), said
        await liar.crash()
        del cluster.nodes["n6"]
        await cluster.until(cluster.is_synced, "all is well")
        await nothing_is_lost(cluster)


def copies_of(cluster: SimulatedCluster) -> set[tuple[str, bytes]]:
    nodes = [f"n{number}" for number in range(1, 6)]
    return {(name, key) for name in nodes for key in KEYS if held(cluster, name, key) is not None}


# --- flapping ---


async def flap(node: SimulatedNode, times: int, every_s: float) -> None:
    for _ in range(times):
        await node.crash()
        await asyncio.sleep(every_s / 2)
        node.restart()
        await asyncio.sleep(every_s / 2)


def pulled_bytes(cluster: SimulatedCluster) -> int:
    """Of all handoffs: what each reported last before another began or it started again."""
    return sum(last for name in cluster.nodes for last in _pulls_of(cluster, name))


def _pulls_of(cluster: SimulatedCluster, name: str) -> Iterator[int]:
    done = [
        int(fields["bytes_done"])
        for _, at, event, fields in cluster.trace
        if at == name and event in ("handoff.progress", "handoff.finished")
    ]
    yield from (before for before, after in pairwise([*done, -1]) if after < before)


@in_virtual_time
async def test_an_owner_that_flaps_moves_nothing() -> None:
    async with SimulatedCluster(1, **SETTINGS) as cluster:
        *_, n5 = await cluster.form(5)
        await filled(cluster)
        await flap(n5, 50, 6.0)
        await cluster.synced()
        assert cluster.record().number == 1 and pulled_bytes(cluster) == 0


@in_virtual_time
async def test_a_joiner_that_flaps_pulls_once() -> None:
    """Its handoff takes longer than it is ever up, and resumes each time where it stopped."""
    async with SimulatedCluster(1, **SETTINGS) as calm:
        await calm.form(5)
        await filled(calm)
        calm.add("n6", ["n1:1"])
        await calm.until(lambda: "n6" in owners(calm), "n6 is in")
        once = pulled_bytes(calm)
        assert once > 0
    async with SimulatedCluster(1, handoff_rate=1000, **SETTINGS) as cluster:
        await cluster.form(5)
        await filled(cluster)
        n6 = cluster.add("n6", ["n1:1"])
        await asyncio.sleep(3.0)
        await flap(n6, 50, 6.0)
        await cluster.until(lambda: "n6" in owners(cluster), "n6 is in", 240.0)
        await cluster.synced()
        assert pulled_bytes(cluster) < 1.5 * once, (pulled_bytes(cluster), once)
        assert [e["change"] for e in cluster.events("epoch.proposed")] == ["begin", "finish"]
