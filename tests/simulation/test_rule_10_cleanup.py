"""Foreign copies are deleted only while the epoch is stable, after a grace (docs/ring-changes.md, rule 10)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

import pytest

from covey.identity import Identity
from covey.node.epoch.epochs import Epoch, Epochs
from covey.node.messages.data import Scan
from covey.node.ring_change.handoff import Handoff, foreign_ranges
from covey.node.runtime import LocalIdentity, Runtime
from covey.node.storage.interface import Entry
from covey.node.tasks import Tasks
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.ring import Ring
from covey.ring.succession import begin, raise_floor
from covey.ring.tokens import TokenRange, token_of
from tests.simulator.cluster import NodeLog, SimulatedClock, SimulatedCluster
from tests.simulator.scenario import carrying
from tests.simulator.trace import RunTrace
from tests.simulator.virtual_time import in_virtual_time
from tests.support.memory_engine import MemoryEngine

KEYS = [b"key %d" % i for i in range(40)]
GRACE_S = 5.0
A_MOMENT_S = 0.5


def list_of(spec: RingSpec, key: bytes) -> set[str]:
    return {identity.name for identity in Ring(spec).preference_list(token_of(key))}


def holders(cluster: SimulatedCluster, key: bytes) -> set[str]:
    return {name for name, node in cluster.nodes.items() if node.engine.get(key) is not None}


def strays(cluster: SimulatedCluster) -> dict[bytes, set[str]]:
    """Who holds what outside its lists."""
    owners = cluster.record().owners
    found = {key: holders(cluster, key) - list_of(owners, key) for key in KEYS}
    return {key: names for key, names in found.items() if names}


def gaps(cluster: SimulatedCluster) -> dict[bytes, set[str]]:
    """Who does not hold what it should."""
    owners = cluster.record().owners
    found = {key: list_of(owners, key) - holders(cluster, key) for key in KEYS}
    return {key: names for key, names in found.items() if names}


async def with_data(cluster: SimulatedCluster) -> None:
    await cluster.form(3)
    for key in KEYS:
        await cluster.put("n1", key, b"v")


# --- when ---


@in_virtual_time
async def test_displaced_copies_stay_for_the_grace_and_then_go() -> None:
    async with SimulatedCluster(1, handoff_grace=GRACE_S) as cluster:
        await with_data(cluster)
        cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: cluster.epoch("n1") == 3, "n4 is in")
        await asyncio.sleep(GRACE_S - A_MOMENT_S)
        assert all({"n1", "n2", "n3"} <= holders(cluster, key) for key in KEYS), "they may still be needed"
        assert strays(cluster)
        await asyncio.sleep(2 * A_MOMENT_S)
        assert not strays(cluster)
        assert not gaps(cluster)
        assert sum(fields["keys"] for fields in cluster.events("cleanup.finished")) > 0


@in_virtual_time
async def test_the_grace_begins_anew_with_a_restart_and_then_they_go_all_the_same() -> None:
    async with SimulatedCluster(1, handoff_grace=GRACE_S) as cluster:
        await with_data(cluster)
        cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: cluster.epoch("n1") == 3, "n4 is in")
        await asyncio.sleep(GRACE_S / 2)
        before = strays(cluster)
        for name in ("n1", "n2", "n3"):
            await cluster.nodes[name].crash()
            cluster.nodes[name].restart()
        await asyncio.sleep(GRACE_S - A_MOMENT_S)
        assert strays(cluster) == before
        await asyncio.sleep(2 * A_MOMENT_S)
        assert not strays(cluster)
        assert not gaps(cluster)


@in_virtual_time
async def test_nothing_is_deleted_while_the_ring_changes_however_long() -> None:
    """Neither what the old owners hold, whose ring is live, nor what the new one pulled and does not own."""
    async with SimulatedCluster(1, handoff_grace=GRACE_S) as cluster:
        await with_data(cluster)
        begun = cluster.epoch("n1") + 1
        asked = 0

        def some(message: object) -> bool:
            nonlocal asked
            asked += carrying(Scan)(message)  # type: ignore[arg-type]
            return carrying(Scan)(message) and asked > 60  # type: ignore[arg-type]

        hold = cluster.network.hold(some)
        n4 = cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: bool(hold.held), "n4 has pulled a part")
        pulled = {key for key in KEYS if n4.engine.get(key) is not None}
        assert pulled
        await asyncio.sleep(4 * GRACE_S)
        assert cluster.epoch("n1") == begun
        for key in KEYS:
            assert holders(cluster, key) >= {"n1", "n2", "n3"}
        assert {key for key in KEYS if n4.engine.get(key) is not None} >= pulled
        hold.release()
        await cluster.synced()
        assert not gaps(cluster)


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_what_a_node_has_regained_is_not_deleted_by_an_earlier_epochs_clean_up(seed: int) -> None:
    """The grace of the epoch in which n4 was in ends after n4 has left again."""
    async with SimulatedCluster(seed, handoff_grace=GRACE_S) as cluster:
        await with_data(cluster)
        n4 = cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: cluster.epoch("n1") == 3, "n4 is in")
        await asyncio.sleep(GRACE_S / 2)
        await cluster.nodes["n1"].running.administration.leave("n4", GRACE_S / 4)
        await n4.stop()
        await asyncio.sleep(2 * GRACE_S)
        assert not gaps(cluster), f"seed {seed}"


# --- re-checked with each deletion ---

ME, B, C = (Identity(name, number) for number, name in enumerate("abc"))


def seat(first: int) -> Owner:
    return Owner(tuple(range(first << 54, 1 << 64, 1 << 59)))


STABLE = EpochRecord(1, "cluster", RingSpec({ME: seat(1), B: seat(2), C: seat(3)}, Quorums(1, 1, 1)))
CHANGING = begin(STABLE, RingSpec({ME: seat(1), B: seat(2)}, Quorums(1, 1, 1)))


class WatchedEngine(MemoryEngine):
    """Tells what was deleted by the clean-up from what was dropped by an adoption."""

    def __init__(self) -> None:
        super().__init__(flush_latency_s=0.001)
        self.adoptions = 0
        self.deletions: list[int] = []
        """How many adoptions each deletion of the clean-up came after."""
        self.deleted = asyncio.Event()

    def drop(self, spans: Sequence[TokenRange], meta: Mapping[str, bytes | None] | None = None) -> None:
        super().drop(spans, meta)
        if meta is None:
            self.deletions.append(self.adoptions)
            self.deleted.set()
        else:
            self.adoptions += 1


class IdlePuller:
    async def run(self) -> None:
        await asyncio.Event().wait()


def handoff_on(engine: MemoryEngine, epochs: Epochs, failures: list[BaseException]) -> Handoff:
    runtime = Runtime(
        LocalIdentity(ME, 1, "a:1"),
        SimulatedClock(),
        random.Random(1),
        NodeLog("a", RunTrace()),
        Tasks(failures.append),
    )
    handoff = Handoff(
        runtime,
        epochs,
        engine,
        make_puller=lambda _: IdlePuller(),  # type: ignore[arg-type, return-value]
        grace_s=GRACE_S,
    )
    epochs.observe(handoff.start)
    return handoff


@pytest.mark.parametrize("following", [CHANGING, raise_floor(STABLE, 1)], ids=["changing", "stable"])
@in_virtual_time
async def test_a_clean_up_ends_in_its_middle_when_the_epoch_does(following: EpochRecord) -> None:
    """Once a record is being adopted nothing more is deleted, and what comes in under it stays."""
    engine, failures = WatchedEngine(), list[BaseException]()
    epochs = Epochs(ME, engine)
    handoff = handoff_on(engine, epochs, failures)
    engine.merge([(key, Entry(Version(1, 1, 1), b"old")) for key in KEYS])
    await epochs.adopt(STABLE)
    await engine.deleted.wait()
    await epochs.adopt(following)
    under_the_first = len(engine.deletions)
    assert 0 < under_the_first < len(foreign_ranges(Epoch(STABLE), ME))
    engine.merge([(key, Entry(Version(2, 1, 1), b"new")) for key in KEYS])
    await asyncio.sleep(GRACE_S - A_MOMENT_S)
    assert engine.deletions == [1] * under_the_first
    assert all(engine.get(key) is not None for key in KEYS)
    await asyncio.sleep(4 * GRACE_S)
    expected = 0 if following.changing else len(foreign_ranges(Epoch(STABLE), ME))
    assert engine.deletions == [1] * under_the_first + [2] * expected
    await handoff.close()
    assert not failures
