"""Two replicas under one epoch become equal; a fault only delays that until a later session."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.anti_entropy import session as session_module
from covey.node.anti_entropy.session import BatchSize, SessionResult, newer_in
from covey.node.epoch.epochs import Epoch
from covey.node.errors import DiskFull
from covey.node.events import Event
from covey.node.messages.anti_entropy import TreeQuery
from covey.node.messages.data import DataBatch, Merge, MergeKind, Scan
from covey.node.storage.interface import Entry
from covey.node.storage.segments import SEGMENTS, segment_of
from covey.ring.tokens import token_of
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time
from tests.support.replicas import ReplicaHosts, entry, version
from tests.support.rings import following, identities, record, ring

ME, PEER, OTHER, JOINER = identities(4)
STABLE = record(ring(1, 2, 3))
"""With three owners and N = 3, every owner replicates everything."""
KEYS = [b"key-%d" % i for i in range(600)]
VERSIONS = (entry(1, b"first"), entry(2, None), entry(3, b""), entry(4, b"last"))


async def two_that_differ(seed: int = 1) -> ReplicaHosts:
    """Each key is on either or both, at versions drawn at random: values, empty ones and tombstones."""
    hosts = ReplicaHosts(ME, PEER, OTHER)
    await hosts.adopt(STABLE)
    drawn = random.Random(seed)
    for key in KEYS:
        for who in drawn.choice([(ME,), (PEER,), (ME, PEER)]):
            hosts[who].hold((key, drawn.choice(VERSIONS)))
    return hosts


def contents(hosts: ReplicaHosts, who: object) -> dict[bytes, Entry | None]:
    return {key: hosts[who].engine.get(key) for key in KEYS}  # type: ignore[index]


def newest(hosts: ReplicaHosts) -> dict[bytes, Entry]:
    """The entry that each key must have in the end."""
    held = [(key, found) for who in (ME, PEER) for key, found in contents(hosts, who).items() if found]
    return dict(sorted(held, key=lambda item: item[1].version))


async def compare(hosts: ReplicaHosts, me: object = ME, peer: object = PEER) -> SessionResult:
    return await hosts[me].anti_entropy.lead_session(Epoch(STABLE), peer)  # type: ignore[index, arg-type]


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_both_end_with_the_newer_entry_of_every_key(seed: int) -> None:
    hosts = await two_that_differ(seed)
    wanted = newest(hosts)
    outcome = await compare(hosts)
    assert outcome.obstacle == ""
    assert contents(hosts, ME) == contents(hosts, PEER) == wanted


@in_virtual_time
async def test_what_was_moved_is_on_disk_on_both_sides_and_is_logged() -> None:
    hosts = await two_that_differ()
    before = contents(hosts, ME), contents(hosts, PEER)
    outcome = await compare(hosts)
    assert hosts[ME].engine.unsynced_batches == hosts[PEER].engine.unsynced_batches == 0
    after = contents(hosts, ME), contents(hosts, PEER)
    changed = [sum(before[i][key] != after[i][key] for key in KEYS) for i in (0, 1)]
    assert [outcome.summary.received, outcome.summary.sent] == changed
    (line,) = hosts[ME].log.of(Event.REPAIR_FINISHED)
    assert (line["keys_received"], line["keys_sent"], line["member"]) == (*changed, PEER.name)


@in_virtual_time
async def test_equal_sides_exchange_one_query_and_log_only_a_comparison() -> None:
    hosts = await two_that_differ()
    await compare(hosts)
    asked = watched(hosts)
    outcome = await compare(hosts)
    assert (outcome.summary.compared, outcome.summary.differing) == (4096, 0)
    assert [type(body) for body in asked] == [TreeQuery]
    assert len(hosts[ME].log.of(Event.REPAIR_FINISHED)) == 1
    assert len(hosts[ME].log.of(Event.REPAIR_COMPARED)) == 1


@in_virtual_time
async def test_only_the_leaves_that_differ_are_read() -> None:
    hosts = await two_that_differ()
    await compare(hosts)
    hosts[ME].hold((KEYS[7], entry(9, b"new")))
    asked = watched(hosts)
    outcome = await compare(hosts)
    assert (outcome.summary.differing, outcome.summary.sent, outcome.summary.received) == (1, 1, 0)
    assert sum(isinstance(body, Scan) for body in asked) == 1
    (batch,) = [body for body in asked if isinstance(body, DataBatch)]
    assert batch.operations == (Merge(KEYS[7], entry(9, b"new"), MergeKind.REPAIR),)


@in_virtual_time
async def test_a_write_that_arrives_a_moment_later_is_no_difference() -> None:
    hosts = await two_that_differ()
    await compare(hosts)
    hosts[ME].hold((b"fresh", entry(9)))
    running = asyncio.create_task(compare(hosts))
    await asyncio.sleep(session_module.RECHECK_DELAY_S / 2)
    hosts[PEER].hold((b"fresh", entry(9)))
    assert (await running).summary.differing == 0


@in_virtual_time
async def test_every_batch_is_bounded_in_keys_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BATCH_BYTES", 4096)
    monkeypatch.setattr(session_module, "BATCH_KEYS", 64)
    hosts = ReplicaHosts(ME, PEER, OTHER)
    await hosts.adopt(STABLE)
    for number, key in enumerate(KEYS):
        hosts[(ME, PEER)[number % 2]].hold((key, entry(1, b"x" * 200)))
    asked = watched(hosts)
    await compare(hosts)
    batches = [body.operations for body in asked if isinstance(body, DataBatch)]
    assert batches
    assert max(map(len, batches)) <= 64
    for batch in batches:
        assert len(batch) * 200 <= 4096 + 200, "the last one that fits may go beyond the bound"


@in_virtual_time
async def test_half_of_the_time_no_request_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = await two_that_differ()
    loop = asyncio.get_running_loop()
    call, asking_s = hosts[ME].fenced.call, 0.0

    async def timed(*arguments: Any) -> Any:
        nonlocal asking_s
        began = loop.time()
        try:
            return await call(*arguments)
        finally:
            asking_s += loop.time() - began

    monkeypatch.setattr(hosts[ME].fenced, "call", timed)
    began = loop.time()
    await compare(hosts)
    assert asking_s < 0.5 * (loop.time() - began - session_module.RECHECK_DELAY_S)


def watched(hosts: ReplicaHosts) -> list[object]:
    """Record the requests from now on."""
    bodies: list[object] = []

    def note(message: Message) -> bool:
        bodies.append(message.request.body)
        return False

    hosts.network.lose(note)
    return bodies


# --- faults ---


class BatchesOfMine:
    """Matches the batches that this side sends to the other."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()

    def __call__(self, message: Message) -> bool:
        concerned = isinstance(message.request.body, DataBatch) and message.source == ME.name
        if concerned:
            self.seen.set()
        return concerned


@in_virtual_time
async def test_nothing_requested_under_one_epoch_is_merged_under_the_next() -> None:
    hosts = await two_that_differ()
    batches = BatchesOfMine()
    held = hosts.network.hold_replies(batches)
    before = contents(hosts, ME)
    running = asyncio.create_task(compare(hosts))
    await batches.seen.wait()
    await hosts.adopt(following(STABLE), ME)
    held.release()
    outcome = await running
    assert outcome.obstacle
    assert contents(hosts, ME) == before


@in_virtual_time
async def test_a_peer_of_another_epoch_is_sent_nothing() -> None:
    """It adopted the change just before the batch arrived: what it dropped for the change must stay dropped."""
    hosts = await two_that_differ()
    before = contents(hosts, PEER)
    batches = BatchesOfMine()
    held = hosts.network.hold(batches)
    running = asyncio.create_task(compare(hosts))
    await batches.seen.wait()
    await hosts.adopt(following(STABLE, ring(1, 2, 3, 4)), PEER)
    held.release()
    assert (await running).obstacle
    assert contents(hosts, PEER) == before


@in_virtual_time
async def test_no_digests_are_sent_while_the_ring_changes() -> None:
    hosts = await two_that_differ()
    changing = following(STABLE, ring(1, 2, 3, 4))
    await hosts.adopt(changing)
    answer = await hosts[PEER].anti_entropy.answer(ME, TreeQuery(changing.stamp, ()))
    assert "changing" in getattr(answer, "reason", "")


@pytest.mark.parametrize("kind", [TreeQuery, Scan, DataBatch])
@in_virtual_time
async def test_a_lost_message_ends_the_session_and_the_next_one_completes_it(kind: type) -> None:
    hosts = await two_that_differ()
    mend = hosts.network.lose(lambda message: isinstance(message.request.body, kind))
    assert (await compare(hosts)).obstacle
    mend()
    assert (await compare(hosts)).obstacle == ""
    assert (await compare(hosts)).summary.differing == 0


@in_virtual_time
async def test_digests_are_sent_only_after_their_data_is_fsynced() -> None:
    hosts = await two_that_differ()
    hosts[PEER].flushes.clear()
    hosts[PEER].hold((b"unsynced", entry(1)))
    asked = asyncio.create_task(hosts[PEER].anti_entropy.answer(ME, TreeQuery(STABLE.stamp, ())))
    await asyncio.sleep(1.0)
    assert not asked.done()
    hosts[PEER].flushes.set()
    await asked


@pytest.mark.parametrize("damaged", [ME, PEER])
@in_virtual_time
async def test_ranges_in_quarantine_on_either_side_are_skipped_and_the_rest_made_equal(
    damaged: Identity,
) -> None:
    hosts = await two_that_differ()
    wanted = newest(hosts)
    bad = segment_of(token_of(KEYS[0]))
    hosts[damaged].engine.quarantine([bad], "a flipped bit")
    outcome = await compare(hosts)
    assert outcome.summary.compared == SEGMENTS - 1
    assert outcome.obstacle == "", "quarantine is no obstacle; recovery repairs it"
    readable = [key for key in KEYS if segment_of(token_of(key)) != bad]
    for who in (ME, PEER):
        assert all(hosts[who].engine.get(key) == wanted.get(key) for key in readable)


@in_virtual_time
async def test_a_full_disk_ends_the_session_and_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DiskFull("the disk is full")

    hosts = await two_that_differ()
    monkeypatch.setattr(hosts[ME].engine, "merge", refuse)
    assert (await compare(hosts)).obstacle == "the disk is full"


# --- who leads ---


@in_virtual_time
async def test_of_two_that_begin_at_once_the_lower_identity_continues() -> None:
    hosts = await two_that_differ()
    mine, theirs = await asyncio.gather(compare(hosts, ME, PEER), compare(hosts, PEER, ME))
    assert (mine.postponed, theirs.postponed) == (False, True)
    assert theirs.summary.differing == 0
    assert (await compare(hosts, PEER, ME)).summary.differing == 0


@in_virtual_time
async def test_a_session_that_has_begun_is_not_interrupted_by_the_lower_identity() -> None:
    hosts = await two_that_differ()
    running = asyncio.create_task(compare(hosts, PEER, ME))
    await asyncio.sleep(session_module.RECHECK_DELAY_S / 2)
    assert (await compare(hosts, ME, PEER)).postponed
    assert (await running).obstacle == ""


@in_virtual_time
async def test_two_peers_that_send_the_same_keys_to_one_node_hardly_send_any_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "BATCH_KEYS", 8)
    hosts = ReplicaHosts(ME, PEER, OTHER)
    await hosts.adopt(STABLE)
    for key in KEYS:
        for who in (ME, PEER):
            hosts[who].hold((key, entry(1)))
    outcomes = await asyncio.gather(compare(hosts, ME, OTHER), compare(hosts, PEER, OTHER))
    assert all(hosts[OTHER].engine.get(key) == entry(1) for key in KEYS)
    assert sum(outcome.summary.sent for outcome in outcomes) < 1.3 * len(KEYS)


# --- versions and batch sizes ---

SIDES = st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(1, 3).map(version))


@given(SIDES, SIDES)
def test_moving_newer_keys_makes_the_sides_equal_and_moves_nothing_else(here: dict, there: dict) -> None:
    newest = {key: max(side[key] for side in (here, there) if key in side) for key in here | there}
    assert set(newer_in(there, here)) == {key for key in newest if here.get(key) != newest[key]}
    assert set(newer_in(here, there)) == {key for key in newest if there.get(key) != newest[key]}


def test_batches_grow_while_values_are_small_and_shrink_for_large_ones() -> None:
    size = BatchSize(512, 1 << 20)
    began_with = size.keys
    assert 1 < began_with < 512
    for _ in range(5):
        size.observe(size.keys, size.keys * 100)
    assert size.keys == 512
    size.observe(512, 512 << 20)
    assert size.keys == 1


def test_an_empty_batch_does_not_stop_the_next() -> None:
    size = BatchSize(512, 1 << 20)
    size.observe(0, 0)
    assert size.keys >= 1
