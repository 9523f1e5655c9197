"""Several seeds form exactly one cluster, whenever the last of them starts (docs/ring-changes.md, rule 2)."""

from __future__ import annotations

import asyncio
import random

import pytest

from covey.node.errors import JoinRefused
from covey.node.members.claims import MAX_LISTEN_S
from covey.node.messages.membership import ConfirmGenesis, GenesisConfirmed, Hello
from covey.ring.epoch import EpochRecord, Quorums
from covey.ring.genesis import GenesisTerms, Seat, first_record
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.network import Message
from tests.simulator.virtual_time import run

SEED_LIST = ["n1:1", "n2:1", "n3:1"]
LONG_S = 15.0


def records(cluster: SimulatedCluster) -> list[EpochRecord | None]:
    return [node.running.epochs.record for node in cluster.nodes.values() if node.node is not None]


def clusters(cluster: SimulatedCluster) -> set[str]:
    return {record.cluster_id for record in records(cluster) if record is not None}


def everyone_knows_an_epoch(cluster: SimulatedCluster) -> bool:
    return all(record is not None for record in records(cluster))


def said(cluster: SimulatedCluster, name: str) -> str:
    """All reasons that a node gave for waiting."""
    waits = [*cluster.events("node.waiting", name), *cluster.events("genesis.waiting", name)]
    return " | ".join(str(fields["reason"]) for fields in waits)


def first_record_of(nodes: list[SimulatedNode], seeds: list[str]) -> EpochRecord:
    """The first record, as any seed computes it."""
    config = nodes[0].config
    quorums = Quorums(config.replication_factor, config.write_quorum, config.read_quorum)
    terms = GenesisTerms(tuple(sorted(seeds)), quorums, config.tokens_per_weight)
    return first_record(terms, [Seat(node.address, node.identity) for node in nodes])


@pytest.mark.parametrize("seed", range(20))
def test_three_seeds_that_start_at_once_form_one_cluster(seed: int) -> None:
    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            nodes = await cluster.form(3)
            expected = first_record_of(list(reversed(nodes)), SEED_LIST)
            assert clusters(cluster) == {expected.cluster_id}, f"seed {seed}\n{cluster.recent_log()}"
            for name in ("n1", "n2", "n3"):
                first = cluster.events("epoch.adopted", name)[0]
                assert (first["epoch"], first["owners"]) == (1, ["n1", "n2", "n3"]), f"seed {seed}"
            assert {record.stamp for record in records(cluster) if record} == {expected.stamp}

    run(main())


@pytest.mark.parametrize("seed", range(10))
def test_one_cluster_comes_of_seeds_that_come_and_go_while_they_wait(seed: int) -> None:
    """They start at odd times, lose power and come back, and messages are lost in either direction."""

    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            rng = random.Random(seed)
            stop_losing = cluster.network.lose(lambda message: rng.random() < 0.1)
            stop_muting = cluster.network.lose_replies(lambda message: rng.random() < 0.1)
            for address in rng.sample(SEED_LIST, 3):
                node = cluster.add(address[:2], SEED_LIST)
                await asyncio.sleep(rng.uniform(0, 3))
                if rng.random() < 0.7:
                    await node.crash(power=True)
                    await asyncio.sleep(rng.uniform(0, 1))
                    node.restart()
            for node in rng.sample(list(cluster.nodes.values()), 2):
                await asyncio.sleep(rng.uniform(0, 0.2))
                await node.crash(power=True)
                node.restart()
            stop_losing()
            stop_muting()
            await cluster.synced()
            assert len(clusters(cluster)) == 1, f"seed {seed}\n{cluster.recent_log()}"

    run(main())


@pytest.mark.parametrize("absent", ["n1", "n2", "n3"])
def test_two_of_three_seeds_wait_and_say_for_whom(absent: str) -> None:
    """However long: the one that is missing may be on its way to forming a cluster with others."""

    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            present = sorted({"n1", "n2", "n3"} - {absent})
            for name in present:
                cluster.add(name, SEED_LIST)
            await asyncio.sleep(LONG_S)
            assert records(cluster) == [None, None], cluster.recent_log()
            for name in present:
                assert cluster.events("genesis.waiting", name)[-1]["missing"] == [f"{absent}:1"]
            cluster.add(absent, SEED_LIST)
            await cluster.synced()
            assert len(clusters(cluster)) == 1

    run(main())


def test_a_lone_seed_forms_a_cluster_after_it_has_listened() -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            cluster.add("n1", [])
            await asyncio.sleep(MAX_LISTEN_S - 0.05)
            assert cluster.epoch("n1") == 0
            await cluster.until(lambda: cluster.epoch("n1") == 1, "epoch 1", timeout_s=0.1)

    run(main())


def test_a_part_once_confirmed_outlives_a_power_failure_that_follows() -> None:
    """n2 confirmed a record that n1 may have formed the cluster by; with another n1 it must form none."""

    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            end = cluster.network.lose(lambda message: True)
            n1, n2, n3 = (cluster.add(name, SEED_LIST) for name in ("n1", "n2", "n3"))
            await cluster.wait_active("n2")
            await asyncio.sleep(MAX_LISTEN_S + 0.1)
            first = first_record_of([n1, n2, n3], SEED_LIST)
            confirmed = await cluster.ask("n1", "n2", ConfirmGenesis(first))
            await n2.crash(power=True)
            assert confirmed == GenesisConfirmed(True)
            n2.restart()
            await n1.crash()
            n1.wipe()
            n1.restart()
            await cluster.wait_active("n2")
            await asyncio.sleep(MAX_LISTEN_S + 0.1)
            other = first_record_of([n1, n2, n3], SEED_LIST)
            assert not (await cluster.ask("n1", "n2", ConfirmGenesis(other))).confirmed
            assert (await cluster.ask("n3", "n2", ConfirmGenesis(first))).confirmed, "the same part again"
            end()

    run(main())


def only_n1_hears(message: Message) -> bool:
    """n1 may ask and have a first record confirmed; neither its clusters nor its answers reach anyone."""
    asks = message.source == "n1" and isinstance(message.request.body, Hello | ConfirmGenesis)
    return not asks


@pytest.mark.parametrize("seed", range(3))
def test_no_second_cluster_forms_while_the_first_one_is_out_of_reach(seed: int) -> None:
    """n1 formed the cluster and was cut off before anyone heard; a new disk comes up at its address."""

    async def main() -> None:
        async with SimulatedCluster(seed, tokens_per_weight=4) as cluster:
            cut_off = cluster.network.lose(only_n1_hears)
            n1, n2, n3 = (cluster.add(name, SEED_LIST) for name in ("n1", "n2", "n3"))
            await cluster.until(lambda: cluster.epoch("n1") == 1, "n1 forms the cluster")
            (formed,) = clusters(cluster)
            for node in (n1, n2, n3):
                await node.crash(power=True)
            first_disk = n1.home, n1.engine
            n1.wipe()
            cut_off()
            for node in (n1, n2, n3):
                node.restart()
            await asyncio.sleep(LONG_S)
            assert not clusters(cluster), f"seed {seed}\n{cluster.recent_log()}"
            await n1.crash()
            n1.home, n1.engine = first_disk
            n1.restart()
            await cluster.synced()
            assert clusters(cluster) == {formed}, f"seed {seed}\n{cluster.recent_log()}"

    run(main())


def test_a_seed_that_knows_an_epoch_brings_the_others_back_to_it() -> None:
    """Two of three disks are replaced: a majority of seeds is fresh, and still forms nothing of its own."""

    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, n2, n3 = await cluster.form(3)
            (formed,) = clusters(cluster)
            for node in (n1, n2, n3):
                await node.crash()
            for node in (n2, n3):
                node.wipe()
                node.restart()
            await asyncio.sleep(LONG_S)
            assert not clusters(cluster), "they wait for n1, which may know an epoch"
            n1.restart()
            await cluster.until(lambda: everyone_knows_an_epoch(cluster), "an epoch everywhere")
            assert clusters(cluster) == {formed}, cluster.recent_log()

    run(main())


@pytest.mark.parametrize("alive", ["n1", "n2", "n3"])
def test_after_genesis_any_one_seed_is_enough_to_join(alive: str) -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            await cluster.form(3)
            for name in sorted({"n1", "n2", "n3"} - {alive}):
                await cluster.nodes[name].crash()
            cluster.add("n4", SEED_LIST)
            await cluster.until(lambda: cluster.epoch("n4") > 0, "n4 knows the epoch", timeout_s=5.0)
            assert len(clusters(cluster)) == 1

    run(main())


DIFFERENCES = {
    "seeds": (["n1:1", "n2:1", "n3:1"], {}),
    "write_quorum": (["n1:1", "n2:1"], {"write_quorum": 3}),
    "read_quorum": (["n1:1", "n2:1"], {"read_quorum": 3}),
    "replication_factor": (["n1:1", "n2:1"], {"replication_factor": 2}),
    "tokens_per_weight": (["n1:1", "n2:1"], {"tokens_per_weight": 16}),
    "allow_weak_quorums": (["n1:1", "n2:1"], {"allow_weak_quorums": True}),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_seeds_that_differ_refuse_each_other_and_say_in_what(what: str) -> None:
    async def main() -> None:
        seeds, settings = DIFFERENCES[what]
        async with SimulatedCluster(1) as cluster:
            cluster.add("n1", ["n1:1", "n2:1"])
            cluster.add("n2", seeds, settings=settings)
            await asyncio.sleep(LONG_S)
            assert records(cluster) == [None, None]
            for name in ("n1", "n2"):
                assert f"{what} is" in said(cluster, name), cluster.recent_log()

    run(main())


def test_two_fresh_nodes_that_name_only_each_other_form_nothing_and_say_so() -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            cluster.add("n1", ["n2:1"])
            cluster.add("n2", ["n1:1"])
            await asyncio.sleep(LONG_S)
            assert records(cluster) == [None, None]
            assert "n2:1 waits too" in said(cluster, "n1")
            assert "n1:1 waits too" in said(cluster, "n2")

    run(main())


def test_a_node_whose_seeds_are_of_two_clusters_joins_neither() -> None:
    """Which of them was meant, only the operator knows."""

    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            cluster.add("n1", [])
            cluster.add("n2", [])
            await cluster.until(lambda: everyone_knows_an_epoch(cluster), "two clusters of one")
            await cluster.nodes["n2"].crash()
            cluster.nodes["n2"].restart()
            n3 = cluster.add("n3", ["n1:1", "n2:1"])
            with pytest.raises(JoinRefused, match="different clusters"):
                await n3.joined()
            assert cluster.epoch("n3") == 0

    run(main())
