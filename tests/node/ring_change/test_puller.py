from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.membership.record import HandoffProgress
from covey.node.epoch.epochs import META_HANDOFF, Epoch, EpochPassed
from covey.node.events import Event
from covey.node.messages.data import Scan, ScanReply
from covey.node.ring_change import puller as puller_module
from covey.node.ring_change.handoff import Handoff
from covey.node.ring_change.progress import PullProgress, PullTracker
from covey.node.ring_change.puller import Puller, assignments_of
from covey.node.storage.interface import Entry
from covey.node.tasks import Tasks
from covey.node.throttle import Throttle
from covey.ring.epoch import EpochRecord, RingSpec
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedClock
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support.replicas import ReplicaHosts, entry
from tests.support.rings import following, identities, record, ring, rings

WHO = identities(5)
JOINER = WHO[3]
BEFORE = record(ring(1, 2, 3))
JOINING = following(BEFORE, ring(1, 2, 3, 4))
KEYS = [b"key-%d" % i for i in range(40)]


def make_puller(
    hosts: ReplicaHosts,
    me: Identity,
    change: EpochRecord,
    report: Callable[[HandoffProgress], None] = print,
    rate: float = 0.0,
) -> Puller:
    host = hosts[me]
    return Puller(
        host.simulated(1),
        host.data,
        hosts,
        epoch=Epoch(change),
        tracker=PullTracker(change.number, host.engine, report, host.log),
        throttle=Throttle(SimulatedClock(), rate),
    )


async def stations_changing(change: EpochRecord = JOINING) -> ReplicaHosts:
    """Return replica hosts at ``change`` whose old owners hold all of their keys."""
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(record(change.owners))
    for key in KEYS:
        for replica in Ring(change.owners).preference_list(token_of(key)):
            hosts[replica].hold((key, entry(1)))
    await hosts.adopt(change)
    return hosts


def gained(change: EpochRecord, me: Identity) -> list[bytes]:
    old, new = Ring(change.owners), Ring(change.live_rings[1])
    return [
        key
        for key in KEYS
        if me in new.preference_list(token_of(key)) and me not in old.preference_list(token_of(key))
    ]


def holds(hosts: ReplicaHosts, me: Identity, keys: list[bytes]) -> bool:
    return all(hosts[me].engine.get(key) == entry(1) for key in keys)


@in_virtual_time
async def test_a_joiner_pulls_all_that_it_gains_and_reports_done_once_it_is_on_disk() -> None:
    hosts = await stations_changing()
    engine = hosts[JOINER].engine
    unsynced_at_done: list[int] = []

    def report(progress: HandoffProgress) -> None:
        if progress.done:
            unsynced_at_done.append(engine.unsynced_batches)

    await make_puller(hosts, JOINER, JOINING, report).run()
    assert gained(JOINING, JOINER)
    assert holds(hosts, JOINER, gained(JOINING, JOINER))
    assert unsynced_at_done == [0]


@in_virtual_time
async def test_a_node_that_gains_nothing_reports_done_at_once() -> None:
    hosts = await stations_changing()
    reports: list[HandoffProgress] = []
    await make_puller(hosts, WHO[0], JOINING, reports.append).run()
    assert reports[-1] == HandoffProgress(JOINING.number, 0, 0, done=True)
    assert hosts[WHO[0]].log.of(Event.HANDOFF_STARTED) == []


@in_virtual_time
async def test_newer_writes_are_not_overwritten_by_a_pull() -> None:
    hosts = await stations_changing()
    key = gained(JOINING, JOINER)[0]
    hosts[JOINER].hold((key, entry(9, b"newer")))
    await make_puller(hosts, JOINER, JOINING).run()
    assert hosts[JOINER].engine.get(key) == entry(9, b"newer")


@in_virtual_time
async def test_tombstones_are_pulled_too() -> None:
    hosts = await stations_changing()
    key = gained(JOINING, JOINER)[0]
    for host in hosts.each():
        if host.engine.get(key) is not None:
            host.hold((key, entry(5, None)))
    await make_puller(hosts, JOINER, JOINING).run()
    assert hosts[JOINER].engine.get(key) == entry(5, None)


@settings(max_examples=25, deadline=None)
@given(rings(strict=True), rings(strict=True), st.integers(0, 2**32))
def test_whatever_changes_every_acknowledged_write_is_on_w_of_the_new_ring_afterwards(
    old: RingSpec, new: RingSpec, seed: int
) -> None:
    """What w(O) replicas held, r(S) of the successors' replicas cannot miss."""
    if old == new:
        return
    change = record(old, new, number=2)
    who = sorted({*old.owners, *new.owners})
    rng = random.Random(seed)

    async def hands_off() -> None:
        hosts = ReplicaHosts(*who)
        await hosts.adopt(record(old))
        before, after = Ring(old), Ring(new)
        for key in KEYS[:12]:
            acknowledged = rng.sample(before.preference_list(token_of(key)), before.w)
            for replica in acknowledged:
                hosts[replica].hold((key, entry(1)))
        await hosts.adopt(change)
        await asyncio.gather(*(make_puller(hosts, me, change).run() for me in who))
        for key in KEYS[:12]:
            holders = [r for r in after.preference_list(token_of(key)) if hosts[r].engine.get(key)]
            assert len(holders) >= after.n - after.r + 1, key

    run(hands_off())


@in_virtual_time
async def test_r_others_are_enough_when_the_displaced_owner_is_dead() -> None:
    change = record(ring(1, 2, 3, 4), ring(1, 2, 3, 5), number=2)
    hosts = await stations_changing(change)
    hosts.kill(WHO[3])
    await make_puller(hosts, WHO[4], change).run()
    assert gained(change, WHO[4])
    assert holds(hosts, WHO[4], gained(change, WHO[4]))


@in_virtual_time
async def test_a_single_source_that_is_not_the_displaced_one_is_not_enough() -> None:
    """Otherwise a write acknowledged by the other two of three is missing at the newcomer and one old replica."""
    change = record(ring(1, 2, 3), ring(1, 2, 4), number=2)
    hosts = await stations_changing(change)
    hosts.kill(WHO[2])
    hosts.kill(WHO[1])
    task = asyncio.get_running_loop().create_task(make_puller(hosts, WHO[3], change).run())
    await asyncio.sleep(30)
    assert not task.done()
    hosts.network.open("n2:1", "n2", hosts[WHO[1]].dispatcher.handle)
    await task
    assert holds(hosts, WHO[3], gained(change, WHO[3]))


@in_virtual_time
async def test_a_pull_resumes_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puller_module, "CHUNK_ENTRIES", 1)
    hosts = await stations_changing()
    host = hosts[JOINER]
    task = asyncio.get_running_loop().create_task(make_puller(hosts, JOINER, JOINING, rate=20.0).run())
    await asyncio.sleep(5)
    assert 0 < host.engine.usage().keys < len(gained(JOINING, JOINER))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    held = host.engine.usage().keys
    stored = PullProgress.load(host.engine.get_meta(META_HANDOFF), JOINING.number)
    assert stored.bytes_done >= held * len(b"key-1v")

    pulled: list[bytes] = []
    for source in WHO[:3]:
        scan = hosts[source].replica.scan

        async def noting(request: object, scan: Callable[[object], object] = scan) -> object:
            reply = await scan(request)  # type: ignore[misc]
            pulled.extend(key for key, _ in reply.entries)
            return reply

        monkeypatch.setattr(hosts[source].replica, "scan", noting)
    await make_puller(hosts, JOINER, JOINING).run()
    assert holds(hosts, JOINER, gained(JOINING, JOINER))
    assert len(pulled) <= len(gained(JOINING, JOINER)) - held + puller_module.MAX_CONCURRENT_PULLS


@in_virtual_time
async def test_what_was_pulled_before_a_restart_is_not_counted_again() -> None:
    hosts = await stations_changing()
    for _ in range(2):
        await make_puller(hosts, JOINER, JOINING).run()
    log = hosts[JOINER].log
    assert log.of(Event.HANDOFF_STARTED)[1]["bytes_total"] == log.of(Event.HANDOFF_FINISHED)[0]["bytes_done"]


@in_virtual_time
async def test_the_same_rings_under_another_number_start_afresh() -> None:
    hosts = await stations_changing()
    await make_puller(hosts, JOINER, JOINING).run()
    again = replace(JOINING, number=JOINING.number + 2)
    await hosts.adopt(again)
    assert hosts[JOINER].engine.usage().keys == 0
    await make_puller(hosts, JOINER, again).run()
    assert holds(hosts, JOINER, gained(again, JOINER))


@in_virtual_time
async def test_a_chunk_that_arrives_after_its_epoch_is_not_merged() -> None:
    hosts = await stations_changing()
    hold = hosts.network.hold_replies(lambda message: isinstance(message.request.body, Scan))
    puller = make_puller(hosts, JOINER, JOINING)
    task = asyncio.get_running_loop().create_task(puller.run())
    await asyncio.sleep(0.1)
    assert hold.held
    await hosts[JOINER].epochs.adopt(following(JOINING))
    hold.release()
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert caught.group_contains(EpochPassed)
    assert hosts[JOINER].engine.usage().keys == 0


@in_virtual_time
async def test_a_source_is_asked_for_one_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puller_module, "CHUNK_ENTRIES", 1)
    hosts = await stations_changing()
    at_once = dict.fromkeys(WHO[:3], 0)
    most = dict.fromkeys(WHO[:3], 0)
    for source in WHO[:3]:
        scan = hosts[source].replica.scan

        async def counting(
            request: object, scan: Callable[[object], object] = scan, source: Identity = source
        ) -> object:
            at_once[source] += 1
            most[source] = max(most[source], at_once[source])
            await asyncio.sleep(0.01)
            reply = await scan(request)  # type: ignore[misc]
            at_once[source] -= 1
            return reply

        monkeypatch.setattr(hosts[source].replica, "scan", counting)
    await make_puller(hosts, JOINER, JOINING).run()
    assert holds(hosts, JOINER, gained(JOINING, JOINER))
    assert max(most.values()) == 1


@in_virtual_time
async def test_a_damaged_chunk_is_requested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = await stations_changing()
    damaged = 0
    for source in WHO[:3]:
        scan = hosts[source].replica.scan

        async def damaging(request: object, scan: Callable[[object], object] = scan) -> object:
            nonlocal damaged
            reply = await scan(request)  # type: ignore[misc]
            assert isinstance(reply, ScanReply)
            if reply.entries and damaged < 5:
                damaged += 1
                key, found = reply.entries[0]
                return replace(reply, entries=((key, Entry(found.version, b"damaged")), *reply.entries[1:]))
            return reply

        monkeypatch.setattr(hosts[source].replica, "scan", damaging)
    await make_puller(hosts, JOINER, JOINING).run()
    assert damaged == 5
    assert holds(hosts, JOINER, gained(JOINING, JOINER))


@in_virtual_time
async def test_a_source_at_an_older_epoch_is_sent_the_record_and_then_serves() -> None:
    hosts = await stations_changing(BEFORE)
    await hosts[JOINER].epochs.adopt(JOINING)
    await make_puller(hosts, JOINER, JOINING).run()
    assert holds(hosts, JOINER, gained(JOINING, JOINER))
    assert {hosts[source].epochs.number for source in WHO[:3]} == {JOINING.number}


@in_virtual_time
async def test_progress_is_reported_until_all_is_done() -> None:
    hosts = await stations_changing()
    reports: list[HandoffProgress] = []
    await make_puller(hosts, JOINER, JOINING, reports.append).run()
    done = [report.bytes_done for report in reports]
    assert done == sorted(done)
    assert [report.done for report in reports] == [False] * (len(reports) - 1) + [True]
    assert reports[-1].bytes_done == reports[-1].bytes_total >= len(gained(JOINING, JOINER))
    assert len(hosts[JOINER].log.of(Event.HANDOFF_FINISHED)) == 1


@pytest.mark.parametrize("hears_after_s", [0.0, 0.5])
@in_virtual_time
async def test_a_joiner_that_knows_only_the_seed_pulls_and_counts_no_more_than_it_needs(
    hears_after_s: float,
) -> None:
    """Otherwise the displaced owner would count as down, and two others would be pulled from in its place."""
    hosts = await stations_changing()
    hosts.unheard = set(WHO[1:3]) if hears_after_s else set()
    asyncio.get_running_loop().call_later(hears_after_s, hosts.unheard.clear)
    await make_puller(hosts, JOINER, JOINING).run()
    log = hosts[JOINER].log
    needed = sum(len(key) + len(b"v") for key in gained(JOINING, JOINER))
    assert log.of(Event.HANDOFF_FINISHED)[0]["bytes_done"] == needed
    measured = log.of(Event.HANDOFF_STARTED)[0]["bytes_total"]
    known = await known_from_the_start()
    assert measured == known


async def known_from_the_start() -> int:
    """Return the total that a joiner that knows all members estimates."""
    hosts = await stations_changing()
    await make_puller(hosts, JOINER, JOINING).run()
    total: int = hosts[JOINER].log.of(Event.HANDOFF_STARTED)[0]["bytes_total"]
    return total


@in_virtual_time
async def test_the_wait_for_an_unknown_source_is_bounded() -> None:
    hosts = await stations_changing()
    hosts.unheard = {WHO[0]}
    await make_puller(hosts, JOINER, JOINING).run()
    assert holds(hosts, JOINER, gained(JOINING, JOINER))


def test_every_node_numbers_the_pulls_alike() -> None:
    numbers = [a.index for me in WHO for a in assignments_of(Epoch(JOINING), me)]
    assert sorted(numbers) == list(range(len(numbers)))
    assert assignments_of(Epoch(BEFORE), JOINER) == []


# --- the handoff that owns the puller ---


def make_handoff(
    hosts: ReplicaHosts, me: Identity, failures: list[BaseException], grace_s: float = 2.0
) -> Handoff:
    host = hosts[me]
    handoff = Handoff(
        replace(host.runtime, tasks=Tasks(failures.append)),
        host.epochs,
        host.engine,
        make_puller=lambda epoch: make_puller(hosts, me, epoch.record),
        grace_s=grace_s,
    )
    host.epochs.observe(handoff.start)
    return handoff


@in_virtual_time
async def test_a_pull_of_a_past_epoch_is_logged_as_aborted() -> None:
    hosts = await stations_changing(BEFORE)
    failures: list[BaseException] = []
    handoff = make_handoff(hosts, JOINER, failures)
    hosts.network.lose(lambda message: message.source == "n4")
    await hosts[JOINER].epochs.adopt(JOINING)
    await asyncio.sleep(0.1)
    await hosts[JOINER].epochs.adopt(following(JOINING))
    await asyncio.sleep(0.1)
    aborted = hosts[JOINER].log.of(Event.HANDOFF_ABORTED)
    assert [line["epoch"] for line in aborted] == [JOINING.number]
    await handoff.close()
    assert failures == []


@in_virtual_time
async def test_a_pull_interrupted_by_a_stop_is_not_logged_as_aborted() -> None:
    hosts = await stations_changing(BEFORE)
    handoff = make_handoff(hosts, JOINER, [])
    hosts.network.lose(lambda message: message.source == "n4")
    await hosts[JOINER].epochs.adopt(JOINING)
    await asyncio.sleep(0.1)
    await handoff.close()
    assert hosts[JOINER].log.of(Event.HANDOFF_ABORTED) == []


@in_virtual_time
async def test_foreign_copies_are_deleted_only_after_the_grace_of_a_stable_epoch() -> None:
    hosts = await stations_changing(record(ring(1, 2, 3, 4)))
    me = WHO[0]
    handoff = make_handoff(hosts, me, [])
    foreign = next(key for key in KEYS if hosts[me].engine.get(key) is None)
    own = next(key for key in KEYS if hosts[me].engine.get(key) is not None)
    hosts[me].hold((foreign, entry(1)))
    await hosts[me].epochs.adopt(record(ring(1, 2, 3, 4), ring(1, 2, 3, 4, 5), number=2))
    await asyncio.sleep(60)
    assert hosts[me].engine.get(foreign) is not None, "nothing is deleted while the ring changes"
    await hosts[me].epochs.adopt(record(ring(1, 2, 3, 4), number=3))
    await asyncio.sleep(1.9)
    assert hosts[me].engine.get(foreign) is not None
    await asyncio.sleep(0.2)
    assert hosts[me].engine.get(foreign) is None
    assert hosts[me].engine.get(own) is not None
    assert hosts[me].log.of(Event.CLEANUP_FINISHED) == [{"epoch": 3, "keys": 1, "bytes": len(foreign) + 1}]
    await handoff.close()


@in_virtual_time
async def test_a_closed_handoff_begins_nothing_for_a_record_that_comes_late() -> None:
    hosts = await stations_changing(BEFORE)
    failures: list[BaseException] = []
    handoff = make_handoff(hosts, JOINER, failures, grace_s=0.0)
    await handoff.close()
    await hosts[JOINER].epochs.adopt(JOINING)
    await asyncio.sleep(5)
    assert hosts[JOINER].engine.usage().keys == 0
    assert hosts[JOINER].log.lines == []


@in_virtual_time
async def test_a_broken_disk_ends_the_node_and_not_only_the_pull() -> None:
    hosts = await stations_changing(BEFORE)
    failures: list[BaseException] = []
    handoff = make_handoff(hosts, JOINER, failures)
    hold = hosts.network.hold_replies(lambda message: message.source == "n4")
    await hosts[JOINER].epochs.adopt(JOINING)
    await asyncio.sleep(0.01)
    hosts[JOINER].engine.break_disk()
    hold.release()
    await asyncio.sleep(1)
    assert len(failures) == 1
    await handoff.close()


@in_virtual_time
async def test_writes_during_the_clean_up_do_not_change_its_counts() -> None:
    hosts = await stations_changing(record(ring(1, 2, 3, 4)))
    host = hosts[WHO[0]]
    handoff = make_handoff(hosts, WHO[0], [])
    foreign = next(key for key in KEYS if host.engine.get(key) is None)
    own = next(key for key in KEYS if host.engine.get(key) is not None)
    host.hold((foreign, entry(1)))
    await host.epochs.adopt(record(ring(1, 2, 3, 4), number=2))
    await asyncio.sleep(2.0)  # the grace
    number = 2
    while not host.log.of(Event.CLEANUP_FINISHED):
        number += 1
        host.hold((own, entry(number, b"longer" * number)))
        await asyncio.sleep(0)
    assert host.log.of(Event.CLEANUP_FINISHED) == [{"epoch": 2, "keys": 1, "bytes": len(foreign) + 1}]
    await handoff.close()
