"""A node that is its own only seed and lost its folder, beside the cluster that still counts it as a member."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.node.errors import Unavailable
from covey.node.messages.absorption import Contribution, MembershipQuery
from covey.node.messages.envelope import RefusalCode
from covey.node.messages.membership import GenesisConfirmed, Hello
from covey.node.storage.interface import Entry
from covey.node.storage.segments import segment_of
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version
from covey.ring.succession import raise_floor
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.network import Message
from tests.simulator.virtual_time import run

SEEDS = range(1)
ALL = Consistency(Level.ALL)


def carries(*bodies: type) -> Callable[[Message], bool]:
    return lambda message: isinstance(message.request.body, bodies)


def concerns(name: str) -> Callable[[Message], bool]:
    return lambda message: name in (message.source, message.target)


async def cluster_of(cluster: SimulatedCluster, size: int = 3) -> list[SimulatedNode]:
    """n1, which is its own only seed, and others that joined it."""
    first = cluster.add("n1", [])
    await cluster.until(lambda: cluster.epoch("n1") == 1, "n1 has formed a cluster")
    others = [cluster.add(f"n{number}", [first.address]) for number in range(2, size + 1)]
    await cluster.synced()
    return [first, *others]


async def lose_folder(node: SimulatedNode) -> None:
    await node.crash()
    node.wipe()
    node.restart()


async def parted(cluster: SimulatedCluster, size: int = 3) -> tuple[SimulatedNode, Callable[[], None]]:
    """Isolate n1 without its folder until it has formed another cluster; return how to end the isolation."""
    n1, *_ = await cluster_of(cluster, size)
    reached = cluster.network.lose(concerns("n1"))
    await lose_folder(n1)
    await cluster.until(lambda: cluster.epoch("n1") == 1, "n1 has a cluster of its own")
    return n1, reached


def clusters(cluster: SimulatedCluster) -> set[str]:
    return {cluster.record(name).cluster_id for name in cluster.nodes}


async def one_again(cluster: SimulatedCluster, n1: SimulatedNode) -> None:
    """Wait until n1 is an owner of the others' cluster, and everything is in its place."""

    def joined() -> bool:
        return (
            n1.node is not None
            and n1.node.epochs.record is not None
            and n1.node.epochs.record.cluster_id == cluster.record("n2").cluster_id
            and n1.identity in cluster.record("n2").owners.owners
        )

    await cluster.until(joined, "n1 is an owner of the others' cluster")
    await cluster.synced()


# --- a fresh node listens first -----------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "seed"), [(3, 0), (3, 3), (5, 2)])
def test_a_lone_seed_that_lost_its_folder_joins_the_others_instead_of_forming_a_cluster(
    size: int, seed: int
) -> None:
    async def main() -> None:
        async with SimulatedCluster(seed, tokens_per_weight=4) as cluster:
            n1, *_ = await cluster_of(cluster, size)
            await cluster.put("n2", b"k", b"v")
            await n1.crash()
            await asyncio.sleep(seed)
            n1.wipe()
            n1.restart()
            await one_again(cluster, n1)
            assert len(cluster.events("genesis.formed", "n1")) == 1, "when it was new"
            assert await cluster.get("n1", b"k", ALL) == b"v"

    run(main())


def test_of_several_seeds_that_lost_their_folders_none_forms_a_cluster_while_others_live() -> None:
    async def main() -> None:
        seeds = ["n1:1", "n2:1"]
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            for name in ("n1", "n2"):
                cluster.add(name, seeds)
            await cluster.until(lambda: cluster.epoch("n1") == 1, "a cluster")
            for name in ("n3", "n4", "n5"):
                cluster.add(name, seeds)
            await cluster.synced()
            for name in ("n1", "n2"):
                await cluster.nodes[name].crash()
                cluster.nodes[name].wipe()
            for name in ("n1", "n2"):
                cluster.nodes[name].restart()
            await cluster.until(lambda: all(cluster.epoch(n) > 1 for n in cluster.nodes), "all know an epoch")
            assert len(clusters(cluster)) == 1, cluster.recent_log()

    run(main())


def test_a_seed_whose_other_seed_is_down_joins_through_a_member_that_calls_it() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, n2, *_ = await cluster_of(cluster, 4)
            await n2.crash()
            await n1.crash()
            n1.wipe()
            n1.restart(seeds=["n1:1", "n2:1"])
            await cluster.until(lambda: cluster.epoch("n1") > 1, "n1 knows the epoch", timeout_s=5.0)
            assert clusters_of_running(cluster) == {cluster.record("n3").cluster_id}

    run(main())


def clusters_of_running(cluster: SimulatedCluster) -> set[str]:
    return {node.running.epochs.record.cluster_id for node in cluster.nodes.values() if node.node}  # type: ignore[union-attr]


def test_a_seed_that_listens_or_is_claimed_confirms_no_first_cluster() -> None:
    """Another seed that was not called would form it in the meantime."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, *_ = await cluster_of(cluster)
            unanswered = cluster.network.lose(carries(Hello))
            await lose_folder(n1)
            await cluster.until(lambda: bool(cluster.events("genesis.claimed", "n1")), "n1 is claimed")
            await asyncio.sleep(5.0)
            confirmed = await n1.running._genesis.confirm(None, None)  # type: ignore[arg-type]
            assert isinstance(confirmed, GenesisConfirmed) and not confirmed.confirmed
            assert cluster.epoch("n1") == 0
            unanswered()
            await one_again(cluster, n1)

    run(main())


def test_a_node_whose_folder_remembers_members_forms_no_cluster_while_they_do_not_answer() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, n2, n3 = await cluster_of(cluster)
            known = {node.identity: node.address for node in (n2, n3)}
            for node in (n1, n2, n3):
                await node.crash()
            n1.wipe(known)
            n1.restart()
            await asyncio.sleep(20.0)
            assert cluster.epoch("n1") == 0
            assert "n2:1, n3:1" in str(cluster.events("node.waiting", "n1")[-1]["reason"])
            n2.restart()
            n3.restart()
            await one_again(cluster, n1)

    run(main())


# --- a cluster of one is absorbed ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_cluster_of_one_acknowledged_is_in_the_cluster_that_absorbs_it(seed: int) -> None:
    """The newer write wins, whichever cluster acknowledged it, and deletes count as writes."""

    async def main() -> None:
        async with SimulatedCluster(seed, tokens_per_weight=4) as cluster:
            await cluster_of(cluster)
            for number in range(40):
                await cluster.put("n2", b"old %d" % number, b"there")
            n1, reached = await lost_and_alone(cluster)
            for number in range(200):
                await cluster.put("n1", b"k%d" % number, b"%d" % number)
            for number in range(20):
                await cluster.put("n1", b"old %d" % number, b"newer")
            await cluster.delete("n1", b"old 30")
            await cluster.put("n2", b"old 5", b"newest")
            reached()
            await one_again(cluster, n1)
            for via in ("n1", "n2"):
                for number in range(200):
                    assert await cluster.get(via, b"k%d" % number, ALL) == b"%d" % number
                assert await cluster.get(via, b"old 3", ALL) == b"newer"
                assert await cluster.get(via, b"old 5", ALL) == b"newest"
                assert await cluster.get(via, b"old 25", ALL) == b"there"
                assert await cluster.get(via, b"old 30", ALL) is None
            (received,) = [*cluster.events("absorption.received")]
            assert received["entries"] == 221

    run(main())


async def lost_and_alone(cluster: SimulatedCluster) -> tuple[SimulatedNode, Callable[[], None]]:
    n1 = cluster.nodes["n1"]
    reached = cluster.network.lose(concerns("n1"))
    await lose_folder(n1)
    await cluster.until(lambda: cluster.epoch("n1") == 1, "n1 has a cluster of its own")
    return n1, reached


def test_from_the_verdict_on_nothing_is_acknowledged_and_nothing_in_doubt() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, reached = await parted(cluster)
            await cluster.put("n1", b"k", b"v")
            held = cluster.network.hold(carries(Contribution))
            reached()
            await cluster.until(lambda: bool(held.held), "n1 brings what it has")
            for attempt in (cluster.get("n1", b"k"), cluster.put("n1", b"k", b"w")):
                with pytest.raises(
                    Unavailable, match="not done: this node leaves its cluster of one and joins"
                ):
                    await attempt
            status = n1.running.administration.status()
            assert not status.synced
            assert any("serves no more: it joins cluster" in note for note in status.notes)
            held.release()
            await one_again(cluster, n1)

    run(main())


def test_a_node_that_is_to_join_another_cluster_takes_nobody_into_its_own() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            _, reached = await parted(cluster)
            held = cluster.network.hold(carries(Contribution))
            reached()
            await cluster.until(lambda: bool(held.held), "n1 brings what it has")
            cluster.add("n9", ["n1:1"])
            await asyncio.sleep(3.0)
            assert cluster.epoch("n9") == 0
            held.release()
            await cluster.until(lambda: cluster.epoch("n9") > 0, "n9 has joined")
            assert cluster.record("n9").cluster_id == cluster.record("n2").cluster_id

    run(main())


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("after", [1, 3])
def test_a_node_that_dies_while_it_is_absorbed_goes_on_when_it_is_back(after: int, power: bool) -> None:
    """Killed at its n-th message to the other cluster; nothing that it acknowledged is lost, and nothing served."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, reached = await parted(cluster)
            for number in range(200):
                await cluster.put("n1", b"k%d" % number, b"%d" % number)
            sent = 0

            def nth(message: Message) -> bool:
                nonlocal sent
                sent += message.source == "n1" and isinstance(
                    message.request.body, Contribution | MembershipQuery
                )
                return sent >= after and message.source == "n1"

            held = cluster.network.hold(nth)
            reached()
            await cluster.until(lambda: bool(held.held), "n1 is under way")
            await n1.crash(power=power)
            held.release()
            n1.restart()
            brought = any(isinstance(message.request.body, Contribution) for message in held.held)
            if brought:
                assert n1.running.absorption.verdict is not None
                with pytest.raises(Unavailable, match="not done"):
                    await cluster.get("n1", b"k1")
            await one_again(cluster, n1)
            for number in range(200):
                assert await cluster.get("n2", b"k%d" % number, ALL) == b"%d" % number

    run(main())


def test_a_cluster_of_one_that_was_stopped_and_started_is_absorbed_too() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, reached = await parted(cluster)
            await cluster.put("n1", b"k", b"v")
            await n1.stop()
            reached()
            n1.restart()
            await one_again(cluster, n1)
            assert await cluster.get("n2", b"k", ALL) == b"v"

    run(main())


@pytest.mark.parametrize("stands", ["nothing", "older", "newer"])
def test_a_version_below_the_floor_is_taken_unless_a_newer_one_stands(stands: str) -> None:
    """It gets the lowest version above the floor: every write since then is newer."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            await cluster_of(cluster)
            if stands == "older":
                await cluster.put("n2", b"k", b"older")
                await cluster.put("n2", b"deleted", b"older")
            n1, reached = await lost_and_alone(cluster)
            await cluster.put("n1", b"k", b"alone")
            await cluster.delete("n1", b"deleted")
            if stands == "newer":
                await cluster.put("n2", b"k", b"newer")
                await cluster.put("n2", b"deleted", b"newer")
            last = (await cluster.put("n2", b"other", b"v")).version.timestamp
            base = cluster.record("n2")
            await cluster.nodes["n2"].running._agreement.propose(base, raise_floor(base, last + 10))
            reached()
            await one_again(cluster, n1)
            found = await cluster.get("n2", b"k", ALL), await cluster.get("n2", b"deleted", ALL)
            assert found == ((b"newer", b"newer") if stands == "newer" else (b"alone", None))

    run(main())


def test_segments_that_cannot_be_read_are_passed_over_and_said() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, reached = await parted(cluster)
            await cluster.put("n1", b"damaged", b"v")
            await cluster.put("n1", b"whole", b"v")
            n1.engine.quarantine([segment_of(token_of(b"damaged"))], "a test")
            reached()
            await one_again(cluster, n1)
            assert await cluster.get("n2", b"whole", ALL) == b"v"
            assert cluster.events("absorption.finished", "n1")[0]["skipped"] == 1
            assert len(cluster.events("absorption.skipped", "n1")) == 1

    run(main())


def test_what_arrives_long_after_it_was_sent_is_not_written() -> None:
    """Its sender has brought it by another way, and it may have been deleted since."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            await cluster_of(cluster)
            entry = Entry(Version(1, 2, 3), b"late")
            late = Contribution(cluster.record("n2").cluster_id, ((b"k", entry),), 0, True)
            refusal = await cluster.ask("n1", "n2", late, expires_ms=1)  # of the year 1970
            assert refusal.code is RefusalCode.EXPIRED
            assert await cluster.get("n2", b"k", ALL) is None

    run(main())


# --- who is not absorbed ------------------------------------------------------------------------------------


async def foreign_at(cluster: SimulatedCluster, old: SimulatedNode, name: str) -> SimulatedNode:
    """A node of a cluster of its own, at the address that ``old`` had."""
    await old.crash()
    foreign = SimulatedNode(cluster, name, [], {})
    foreign.address = old.address
    cluster.nodes[name] = foreign
    foreign.start()
    await cluster.until(lambda: cluster.epoch(name) == 1, f"{name} has a cluster of its own")
    return foreign


async def refused_for_long(cluster: SimulatedCluster, name: str) -> None:
    await cluster.until(lambda: bool(cluster.events("member.refused", name)), f"{name} refuses the others")
    await asyncio.sleep(10.0)
    assert not cluster.events("absorption.begun"), cluster.recent_log()
    assert not cluster.events("genesis.claimed")


def test_a_node_of_another_name_at_a_dead_nodes_address_stays_what_it_is() -> None:
    """Addresses are reused; to mix two clusters for that could not be undone."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            *_, n3 = await cluster_of(cluster)
            foreign = await foreign_at(cluster, n3, "other")
            await cluster.put("other", b"k", b"other")
            await refused_for_long(cluster, "other")
            assert await cluster.get("other", b"k") == b"other"
            assert await cluster.get("n2", b"k") is None
            await foreign.stop()
            del cluster.nodes["other"]
            n3.restart()
            await cluster.synced()

    run(main())


def test_a_cluster_that_others_have_joined_is_not_absorbed() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, reached = await parted(cluster)
            inner = {"n1", "n7"}
            apart = cluster.network.lose(lambda m: len(inner & {m.source, m.target}) == 1)
            reached()
            cluster.add("n7", ["n1:1"])
            await cluster.until(lambda: len(cluster.record("n1").owners.owners) == 2, "n7 is in")
            apart()
            await refused_for_long(cluster, "n1")
            assert cluster.record("n1").cluster_id != cluster.record("n2").cluster_id
            assert n1.running.absorption.verdict is None

    run(main())


def test_a_cluster_of_one_that_others_had_joined_and_left_is_not_absorbed() -> None:
    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            _, reached = await parted(cluster)
            inner = {"n1", "n7"}
            apart = cluster.network.lose(lambda m: len(inner & {m.source, m.target}) == 1)
            reached()
            n7 = cluster.add("n7", ["n1:1"])
            await cluster.until(lambda: len(cluster.record("n1").owners.owners) == 2, "n7 is in")
            n7.running.gossip.leave()
            await cluster.until(lambda: len(cluster.record("n1").owners.owners) == 1, "n7 is out")
            await n7.stop()
            del cluster.nodes["n7"]
            await asyncio.sleep(5.0)
            apart()
            await refused_for_long(cluster, "n1")

    run(main())


def test_a_cluster_without_a_majority_absorbs_nobody_until_it_has_one() -> None:
    """It could not be admitted: two nodes would stop serving for it."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, reached = await parted(cluster)
            await cluster.nodes["n3"].crash()
            await cluster.until(lambda: bool(cluster.events("member.down", "n2")), "n3 is down")
            await asyncio.sleep(5.0)
            reached()
            await cluster.until(
                lambda: bool(cluster.events("absorption.waiting", "n1")), "n1 says why it stays alone"
            )
            assert "1 of its 3 owners are up" in cluster.events("absorption.waiting", "n1")[0]["reason"]
            await cluster.put("n1", b"k", b"v")
            cluster.nodes["n3"].restart()
            await one_again(cluster, n1)
            assert await cluster.get("n3", b"k", ALL) == b"v"

    run(main())


def test_two_clusters_of_one_that_call_each_other_stay_two() -> None:
    """Each counts a node of the other's name, at the other's address, as a member that is down."""

    async def main() -> None:
        async with SimulatedCluster(1, tokens_per_weight=4) as cluster:
            n1, n2 = await cluster_of(cluster, 2)
            n2.running.gossip.leave()
            await cluster.until(lambda: len(cluster.record("n1").owners.owners) == 1, "n2 is out")
            await n1.crash()
            await n2.crash()
            for node in (n1, n2):
                node.wipe()
            n1.restart(seeds=[])
            n2.restart(seeds=[])
            await asyncio.sleep(3.0)
            assert len(clusters(cluster)) == 2
            for caller, called in (("n1", "n2"), ("n2", "n1")):
                record = cluster.nodes[called].running.members.own_record()
                lost = replace(record, identity=Identity(called, 1))
                cluster.nodes[caller].running.gossip.learn([lost])
            await cluster.until(lambda: bool(cluster.events("absorption.waiting", "n1")), "n1 is called")
            await asyncio.sleep(10.0)
            assert len(clusters(cluster)) == 2
            assert not cluster.events("absorption.begun")

    run(main())
