"""What clients see of quorums when replicas are silent or clocks differ: nothing seen is unseen, nothing reordered."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from covey.node.errors import OperationTimeout, Unavailable
from covey.node.operations import Get, GetResult, Put, WriteResult
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import KEY, held, merges, record_of
from tests.simulator.virtual_time import in_virtual_time

CLOCKS_MS = (-240, -120, 0, 120, 240)
"""As far apart as is served."""


def homes_of(cluster: SimulatedCluster, key: bytes = KEY) -> list[str]:
    return [replica.name for replica in Ring(record_of(cluster).owners).preference_list(token_of(key))]


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_a_write_that_reached_one_of_three_and_timed_out_once_seen_is_never_unseen(seed: int) -> None:
    """Whoever reads it, and whichever two replicas answer afterwards."""
    async with SimulatedCluster(seed) as cluster:
        rng = random.Random(seed)
        await cluster.form(5)
        await cluster.put("n1", KEY, b"before")
        homes = homes_of(cluster)
        lucky = rng.choice(homes)
        lost = cluster.network.lose(merges(target=set(homes) - {lucky}))
        via = lucky if seed % 2 else rng.choice(sorted(set(cluster.nodes) - set(homes)))
        with pytest.raises(OperationTimeout) as caught:
            await cluster.put(via, KEY, b"torn", timeout_s=0.5)
        assert caught.value.maybe_applied
        lost()
        seen = False
        for _ in range(12):
            silent = rng.choice(homes)
            ending = cluster.network.partition(set(cluster.nodes) - {silent}, {silent})
            value = await cluster.get(rng.choice(sorted(set(cluster.nodes) - {silent})), KEY)
            ending()
            assert value == b"torn" or (value == b"before" and not seen)
            seen = seen or value == b"torn"
        assert seen


@in_virtual_time
async def test_with_two_of_a_keys_three_homes_isolated_the_strict_quorum_fails_and_the_others_serve() -> None:
    """The two isolated nodes are a quorum and serve; the third is none, and hints do not count."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(5)
        await cluster.put("n1", KEY, b"before")
        homes = homes_of(cluster)
        here = {homes[0], *cluster.nodes} - set(homes[1:])
        heal = cluster.network.partition(here, set(homes[1:]))
        for via in sorted(here):
            with pytest.raises(OperationTimeout) as caught:
                await cluster.put(via, KEY, b"too few", timeout_s=0.2)
            assert caught.value.maybe_applied
            with pytest.raises(OperationTimeout):
                await cluster.get(via, KEY, timeout_s=0.2)
        dead = [cluster.nodes[name].identity for name in homes[1:]]
        known = [cluster.nodes[name].running.members for name in sorted(here)]
        await cluster.until(lambda: all(g.is_down(who) for g in known for who in dead), "noticed")
        for via in sorted(here):
            with pytest.raises(Unavailable):
                await cluster.put(via, KEY, b"too few", timeout_s=1.0)
            with pytest.raises(Unavailable):
                await cluster.get(via, KEY, timeout_s=1.0)
        await cluster.put(homes[1], KEY, b"acknowledged")
        heal()
        await cluster.synced()
        for via in cluster.nodes:
            assert await cluster.get(via, KEY) == b"acknowledged"
        await cluster.until(lambda: held(cluster, homes[0]) == held(cluster, homes[1]), "hints are brought")


# --- versions and clocks ---


class Client:
    """Carries the highest version it has seen, as the library does."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._seen_timestamp = 0

    async def put(self, via: str, value: bytes) -> WriteResult:
        put = Put(KEY, value, 5.0, seen_timestamp=self._seen_timestamp)
        result = await self._cluster.nodes[via].running.coordinator.execute(put)
        assert isinstance(result, WriteResult)
        self._seen_timestamp = max(self._seen_timestamp, result.version.timestamp)
        return result

    async def get(self, via: str) -> bytes | None:
        get = Get(KEY, 5.0, seen_timestamp=self._seen_timestamp)
        result = await self._cluster.nodes[via].running.coordinator.execute(get)
        assert isinstance(result, GetResult) and result.version is not None
        self._seen_timestamp = max(self._seen_timestamp, result.version.timestamp)
        return result.value


def part_clocks(cluster: SimulatedCluster) -> None:
    for node, off_ms in zip(cluster.nodes.values(), CLOCKS_MS, strict=True):
        node.clock.wall_offset_ms = off_ms


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_one_clients_own_writes_keep_their_order_across_coordinators_however_the_clocks_differ(
    seed: int,
) -> None:
    async with SimulatedCluster(seed) as cluster:
        await cluster.form(5)
        part_clocks(cluster)
        client, rng, written = Client(cluster), random.Random(seed), []
        for number in range(30):
            via = rng.choice(sorted(cluster.nodes))
            written.append(await client.put(via, b"%d" % number))
            assert await client.get(rng.choice(sorted(cluster.nodes))) == b"%d" % number
        assert all(earlier.version < later.version for earlier, later in pairwise(written))
        assert not any(result.superseded for result in written)


@in_virtual_time
async def test_a_write_that_a_newer_version_has_overtaken_says_so() -> None:
    """By clients that never heard of each other: the one whose coordinator is ahead wins, and both know."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(5)
        homes = homes_of(cluster)
        ahead, behind = sorted(set(cluster.nodes) - set(homes))
        cluster.nodes[ahead].clock.wall_offset_ms = 240
        cluster.nodes[behind].clock.wall_offset_ms = -240
        overtaking = await Client(cluster).put(ahead, b"ahead")
        late = Client(cluster)
        overtaken = await late.put(behind, b"behind")
        assert (overtaking.superseded, overtaken.superseded) == (False, True)
        assert overtaken.version < overtaking.version
        assert await late.get(homes[0]) == b"ahead"
        assert not (await late.put(behind, b"behind, knowing")).superseded
        assert await late.get(homes[1]) == b"behind, knowing"
