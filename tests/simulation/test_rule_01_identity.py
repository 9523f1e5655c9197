"""A wiped disk is a new node; no node acts under the identity of a disk it lacks (docs/ring-changes.md, rule 1)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from covey.node.data_directory.directory import DataDirectory
from covey.node.errors import OperationError, OperationTimeout, Unavailable
from covey.node.messages.control import Accept, Prepare
from covey.node.messages.data import DataBatch, Merge, Read
from covey.quorum.consistency import Consistency, Level
from covey.ring.paxos import AcceptorReply, Ballot
from covey.ring.succession import raise_floor
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.virtual_time import run

SEEDS = range(3)
SEED_LIST = ["n1:1", "n2:1", "n3:1"]
KEY = b"k"


def writes_to(name: str) -> object:
    def concerned(message: Message) -> bool:
        body = message.request.body
        writes = isinstance(body, DataBatch) and any(isinstance(op, Merge) for op in body.operations)
        return writes and message.target == name

    return concerned


async def write_to_n1_and_n2_only(cluster: SimulatedCluster) -> None:
    end = cluster.network.lose(writes_to("n3"))  # type: ignore[arg-type]
    await cluster.put("n1", KEY, b"acknowledged")
    end()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wiped_replica_does_not_answer_for_what_its_old_disk_held(seed: int) -> None:
    """A write is on n1 and n2; n1 is wiped, n2 away: a read must not find {n1, n3} agreeing on nothing."""

    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            n1, n2, _ = await cluster.form(3)
            await write_to_n1_and_n2_only(cluster)
            await n1.crash()
            await n2.crash()
            n1.wipe()
            n1.restart()
            for via in ("n3", "n1"):
                with pytest.raises((Unavailable, OperationTimeout)):
                    await cluster.get(via, KEY, timeout_s=3.0)
            n2.restart()
            await cluster.synced()
            assert await cluster.get("n3", KEY, Consistency(Level.ALL)) == b"acknowledged", f"seed {seed}"

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wiped_node_refuses_what_is_meant_for_its_old_disk(seed: int) -> None:
    """Only the old disk counts as that replica, also for what is asked before its end is noticed."""

    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            n1, *_ = await cluster.form(3)
            old, record = n1.identity, cluster.record("n2")
            await n1.crash()
            n1.wipe()
            n1.restart()
            await cluster.until(lambda: cluster.epoch("n1") > 0, "n1 knows the cluster again")
            answer = await cluster.ask("n2", "n1", DataBatch(record.stamp, (Read(KEY),)), meant=old)
            assert "was meant" in getattr(answer, "reason", ""), answer

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wiped_acceptor_has_no_vote(seed: int) -> None:
    """n1 and n2 chose a record; a wiped n1 that votes anew would choose another one with n3."""

    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            n1, n2, n3 = await cluster.form(3)
            base, old = cluster.record("n1"), n1.identity
            chosen, other = raise_floor(base, 1), raise_floor(base, 2)
            first, second = Ballot(1, n2.identity), Ballot(2, n3.identity)
            for name in ("n1", "n2"):
                assert (await cluster.ask("n2", name, Prepare(base, first))).granted
                assert (await cluster.ask("n2", name, Accept(base.stamp, first, chosen, False))).granted
            await n2.crash()
            await n1.crash()
            n1.wipe()
            n1.restart()
            await cluster.until(lambda: cluster.epoch("n1") > 0, "n1 knows the cluster again")
            for meant in (old, n1.identity):
                for message in (Prepare(base, second), Accept(base.stamp, second, other, False)):
                    answer = await cluster.ask("n3", "n1", message, meant=meant)
                    assert not (isinstance(answer, AcceptorReply) and answer.granted), (
                        f"seed {seed}: {answer}"
                    )

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_old_disk_is_evicted_and_the_new_one_filled(seed: int) -> None:
    """Without anyone asking; then another disk may go and nothing is lost."""

    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            n1, n2, _ = await cluster.form(3)
            old = n1.identity
            await write_to_n1_and_n2_only(cluster)
            await n1.crash()
            n1.wipe()
            n1.restart()
            await cluster.until(
                lambda: all(cluster.epoch(name) == 3 for name in cluster.nodes), "everyone knows the new ring"
            )
            assert n1.identity in cluster.record("n2").owners.owners
            assert old not in cluster.record("n2").owners.owners
            await n2.crash()
            assert await cluster.get("n3", KEY) == b"acknowledged", f"seed {seed}"

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wiped_node_coordinates_under_its_new_identity(seed: int) -> None:
    """Its versions bear the new disk, so no version is ever given to two writes."""

    async def main() -> None:
        async with SimulatedCluster(seed) as cluster:
            n1, *_ = await cluster.form(3)
            before = (await cluster.put("n1", KEY, b"1")).version
            await n1.crash()
            n1.wipe()
            n1.clock.wall_offset_ms = -400
            n1.restart()
            await cluster.until(lambda: cluster.epoch("n1") > 0, "n1 knows the cluster again")
            after = (await cluster.put("n1", KEY, b"2")).version
            assert before.disk_id != after.disk_id == n1.identity.disk_id
            assert await cluster.get("n2", KEY) == b"2", f"seed {seed}"

    run(main())


def test_a_fresh_node_serves_nothing() -> None:
    """Before it knows an epoch it has no answer, not even "absent"."""

    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            cluster.add("n1", ["elsewhere:1"])
            with pytest.raises(OperationError):
                await cluster.get("n1", KEY, timeout_s=1.0)

    run(main())


def test_a_data_folder_that_lost_its_data_gets_a_new_identity(tmp_path: Path) -> None:
    """The identity file alone is no disk: what was acknowledged under it is gone."""
    path = tmp_path / "n1"
    folder = DataDirectory.open(path, "n1", random.Random(1))
    before, engine_path = folder.identity, folder.engine_path
    folder.close()
    shutil.rmtree(engine_path)
    folder = DataDirectory.open(path, "n1", random.Random(2))
    assert folder.identity.name == "n1"
    assert folder.identity != before
    folder.close()
