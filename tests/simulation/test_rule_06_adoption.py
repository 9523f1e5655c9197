"""A node drops what it holds of a gained range in one durable step with the record (docs/ring-changes.md, rule 6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from covey.identity import Identity
from covey.node.epoch.epochs import META_HANDOFF, Epochs
from covey.node.messages.control import PushRecord
from covey.node.messages.data import DataBatch, Merge, Read, Scan
from covey.node.messages.envelope import EpochMismatch
from covey.node.ring_change.progress import PullProgress
from covey.node.ring_change.puller import assignments_of
from covey.node.storage.interface import Cursor, Entry
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.moves import RingChange
from covey.ring.ring import Ring
from covey.ring.succession import abort, begin
from covey.ring.tokens import TokenRange, token_of
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.scenario import carrying
from tests.simulator.virtual_time import in_virtual_time
from tests.support.memory_engine import MemoryEngine

KEYS = [b"key %d" % i for i in range(40)]
ALL = Consistency(Level.ALL)
FOR_EVER_S = 10_000.0


# --- on one disk ---

ME, B, C, D = (Identity(name, number) for number, name in enumerate("abcd"))


def stable_record() -> EpochRecord:
    seats = {owner: Owner((i << 60, (i + 7) << 60)) for i, owner in enumerate((ME, B, C, D))}
    return EpochRecord(1, "cluster", RingSpec(seats, Quorums(2, 2, 1)))


def without_d(record: EpochRecord) -> EpochRecord:
    """The begin of a change by which ``ME`` enters lists of D's."""
    seats = {owner: seat for owner, seat in record.owners.owners.items() if owner != D}
    return begin(record, RingSpec(seats, record.owners.quorums))


def gains(changing: EpochRecord) -> set[bytes]:
    """The keys that ``ME`` gains by the change."""
    assert changing.successors is not None
    spans = RingChange.between(changing.owners, changing.successors).gained_ranges(ME)
    found = {key for key in KEYS if any(span.contains(token_of(key)) for span in spans)}
    assert 0 < len(found) < len(KEYS)
    return found


def kept(engine: MemoryEngine) -> set[bytes]:
    return {key for key in KEYS if engine.get(key) is not None}


async def disk_full_of_old_copies(record: EpochRecord) -> tuple[MemoryEngine, Epochs]:
    engine = MemoryEngine("sync", flush_latency_s=0.001)
    epochs = Epochs(ME, engine)
    await epochs.adopt(record)
    engine.merge([(key, Entry(Version(1, 1, 1), b"old")) for key in KEYS])
    await engine.durable()
    return engine, epochs


@pytest.mark.parametrize("spared", range(3))
@in_virtual_time
async def test_power_may_fail_at_any_step_of_an_adoption(spared: int) -> None:
    """The disk then has the old record and all it held, or the new one and nothing of what the node gains.

    A copy less under the old record would be an acknowledged write gone; a copy more under the new one, a
    deleted value that comes back.
    """
    changing = without_d(stable_record())
    seen = set()
    for steps in range(12):
        engine, epochs = await disk_full_of_old_copies(stable_record())
        adopting = asyncio.create_task(epochs.adopt(changing))
        for _ in range(steps):
            await asyncio.sleep(0 if steps < 8 else 0.0005)
        after = engine.crash(keep_unsynced=min(spared, engine.unsynced_batches))
        await asyncio.gather(adopting, return_exceptions=True)
        number = Epochs(ME, after).number
        assert kept(after) == (set(KEYS) if number == 1 else set(KEYS) - gains(changing)), f"step {steps}"
        seen.add(number)
    assert seen == {1, 2}, "some crashes came before, some after"


@in_virtual_time
async def test_only_the_same_epoch_number_keeps_what_was_pulled() -> None:
    """A restart under it does; the same owners and successors under another number are another change."""
    changing = without_d(stable_record())
    engine, epochs = await disk_full_of_old_copies(stable_record())
    await epochs.adopt(changing)
    progress = PullProgress(changing.number)
    progress.advance(0, D, Cursor(1, b"key"), 10)
    engine.merge(
        [(key, Entry(Version(2, 1, 1), b"pulled")) for key in KEYS], {META_HANDOFF: progress.encode()}
    )
    await engine.durable()

    engine = engine.crash(keep_unsynced=0)
    epochs = Epochs(ME, engine)
    assert not await epochs.adopt(changing)
    assert kept(engine) == set(KEYS)
    assert PullProgress.load(engine.get_meta(META_HANDOFF), changing.number) == progress

    again = replace(changing, number=changing.number + 2)
    assert await epochs.adopt(again), "it missed the abort in between"
    assert kept(engine) == set(KEYS) - gains(again)
    assert PullProgress.load(engine.get_meta(META_HANDOFF), again.number) == PullProgress(again.number)


@in_virtual_time
async def test_progress_under_another_epoch_number_is_worth_nothing() -> None:
    progress = PullProgress(2)
    progress.advance(0, D, None, 10)
    assert PullProgress.load(progress.encode(), 4) == PullProgress(4)


# --- whole nodes ---


def list_of(spec: RingSpec | None, key: bytes) -> set[str]:
    assert spec is not None
    return {identity.name for identity in Ring(spec).preference_list(token_of(key))}


def holders(cluster: SimulatedCluster, key: bytes) -> set[str]:
    return {name for name, node in cluster.nodes.items() if node.engine.get(key) is not None}


async def put_all(cluster: SimulatedCluster, value: bytes) -> None:
    for key in KEYS:
        await cluster.put("n1", key, value)


def forget(cluster: SimulatedCluster, key: bytes, *names: str) -> None:
    """Purge a key's tombstone, as collection does once every replica in the list has it."""
    token = token_of(key)
    for name in names:
        cluster.nodes[name].engine.drop([TokenRange(token - 1, token)])


@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_a_deleted_value_does_not_come_back_with_a_node_that_regains_its_range(seed: int) -> None:
    """n4 took the place of a node that still holds a copy when n4 leaves. Meanwhile the key was deleted, and
    its tombstone collected."""
    async with SimulatedCluster(seed, handoff_grace=FOR_EVER_S) as cluster:
        await cluster.form(3)
        await put_all(cluster, b"deleted later")
        cluster.add("n4", ["n1:1"])
        await cluster.synced()
        owners = cluster.record().owners
        displaced = [key for key in KEYS if "n4" in list_of(owners, key)]
        assert displaced
        for key in displaced:
            await cluster.delete("n1", key)
        await asyncio.sleep(1.0)
        for key in displaced:
            assert holders(cluster, key) == {"n1", "n2", "n3", "n4"}, "an old copy is left"
            forget(cluster, key, *list_of(owners, key))
        await cluster.nodes["n1"].running.administration.leave("n4", 30.0)
        for key in displaced:
            assert await cluster.get("n1", key, ALL) is None, f"seed {seed}: {key!r}"


@in_virtual_time
async def test_nothing_is_served_while_a_record_is_being_adopted() -> None:
    """Not under the old one, whose ranges may be dropped already, nor under one that is not on disk yet."""
    async with SimulatedCluster(1, handoff_grace=FOR_EVER_S, repair_interval=0) as cluster:
        await cluster.form(3)
        await put_all(cluster, b"v")
        old = cluster.record()
        cluster.network.lose(carrying(Scan))
        fewer = {identity: owner for identity, owner in old.owners.owners.items() if identity.name != "n3"}
        new = begin(old, RingSpec(fewer, old.owners.quorums))
        adopting = asyncio.create_task(cluster.ask("n1", "n2", PushRecord(new)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert cluster.nodes["n2"].engine.unsynced_batches == 1
        for record in (old, new):
            asked = asyncio.create_task(cluster.ask("n1", "n2", DataBatch(record.stamp, (Read(KEYS[0]),))))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not asked.done()
            assert not adopting.done()
            asked.add_done_callback(lambda _: None)
        await adopting
        reply = await cluster.ask("n1", "n2", DataBatch(old.stamp, (Read(KEYS[0]),)))
        assert isinstance(reply, EpochMismatch)


@pytest.mark.parametrize("power", [False, True])
@in_virtual_time
async def test_a_restart_in_the_middle_of_a_handoff_goes_on_where_it_was(power: bool) -> None:
    """Under the same epoch, what was pulled is there and is not asked for again."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        await put_all(cluster, b"v")
        asked: list[TokenRange] = []

        def after_the_first_ten(message: Message) -> bool:
            if isinstance(message.request.body, Scan):
                asked.append(message.request.body.span)
            return isinstance(message.request.body, Scan) and len(asked) > 10

        hold = cluster.network.hold(after_the_first_ten)
        n4 = cluster.add("n4", ["n1:1"])
        await cluster.until(lambda: len(hold.held) >= 4, "n4 is in the middle of its pulls")
        await asyncio.sleep(0.1)
        changing = cluster.record("n4")
        await n4.crash(power=power)
        before = {key for key in KEYS if n4.engine.get(key) is not None}
        progress = PullProgress.load(n4.engine.get_meta(META_HANDOFF), changing.number)
        assert power or (before and progress.finished), "what a process wrote outlives it"
        asked.clear()
        n4.restart()
        assert {key for key in KEYS if n4.engine.get(key) is not None} == before
        epoch = n4.running.epochs.current
        assert epoch is not None
        finished = {a.token_range for a in assignments_of(epoch, n4.identity) if a.index in progress.finished}
        hold.release()
        await cluster.until(lambda: cluster.epoch("n4") > changing.number, "finished")
        assert cluster.record("n4").owners == changing.successors, "finished, not aborted"
        assert finished.isdisjoint(asked)
        for key in KEYS:
            assert await cluster.get("n1", key, ALL) == b"v"


@in_virtual_time
async def test_the_same_change_under_another_number_pulls_anew() -> None:
    """n4 had pulled nearly all when it failed and the change was aborted. A write then went to two of three
    replicas, one of which n4 displaces when the same change begins again. With the other one gone, the write
    is read only if n4 pulled anew."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        await put_all(cluster, b"old")
        n4 = cluster.add("n4", ["n1:1"])
        last = None

        def of_the_last_span(message: Message) -> bool:
            nonlocal last
            body = message.request.body
            if isinstance(body, Scan) and last is None:
                last = body.span
            return isinstance(body, Scan) and body.span == last

        hold = cluster.network.hold(of_the_last_span)
        await cluster.until(lambda: bool(hold.held), "n4 pulls")
        await asyncio.sleep(3.0)
        changing = cluster.record("n4")
        await n4.crash()
        hold.release()
        assert last is not None
        key = next(
            k
            for k in KEYS
            if "n4" in list_of(changing.successors, k) and not last.contains(token_of(k)) and n4.engine.get(k)
        )
        (displaced,) = list_of(changing.owners, key) - list_of(changing.successors, key)
        missing, failing = sorted(list_of(changing.owners, key) - {displaced})

        await cluster.until(lambda: cluster.record().number > changing.number, "the change is aborted")
        assert cluster.record() == abort(changing)

        def writes_the_key_to_the_one_missing_it(message: Message) -> bool:
            body = message.request.body
            writes = isinstance(body, DataBatch) and any(
                isinstance(op, Merge) and op.key == key for op in body.operations
            )
            return writes and message.target == missing

        end = cluster.network.lose(writes_the_key_to_the_one_missing_it)
        await cluster.put(displaced, key, b"new")
        n4.restart()
        await cluster.until(
            lambda: cluster.record().number > changing.number + 2 and not cluster.record().changing,
            "the same change once more",
        )
        assert cluster.record().owners == changing.successors
        end()
        await cluster.nodes[failing].crash()
        assert await cluster.get(displaced, key) == b"new"
