"""Nodes at different epochs do nothing for each other; the one behind is updated (docs/ring-changes.md, rule 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from covey.node.epoch.fenced_client import MAX_RECORD_PUSHES
from covey.node.errors import PeerError, PeerRefused, PeerTimeout, PeerUnreachable
from covey.node.messages.control import PushRecord
from covey.node.messages.data import DataBatch, DataReply, Merge, Scan, ScanPurpose, ScanReply
from covey.node.messages.envelope import EpochMismatch
from covey.ring.epoch import EpochRecord
from covey.ring.tokens import WHOLE_RING
from tests.simulator.virtual_time import in_virtual_time
from tests.support.replicas import ReplicaHosts, entry
from tests.support.rings import following, identities, record, ring

ME, PEER, THIRD = identities(3)
OLD = record(ring(1, 2, 3))
NEW = following(OLD)
KEY = b"key"


async def at(mine: EpochRecord, theirs: EpochRecord | None) -> ReplicaHosts:
    hosts = ReplicaHosts(ME, PEER, THIRD)
    await hosts.adopt(mine, ME)
    if theirs is not None:
        await hosts.adopt(theirs, PEER)
    return hosts


async def write(hosts: ReplicaHosts, under: EpochRecord) -> DataReply | EpochMismatch:
    batch = DataBatch(under.stamp, (Merge(KEY, entry(1)),))
    return await hosts[ME].fenced.call(PEER, batch, DataReply, 0.2)


def written(hosts: ReplicaHosts) -> bool:
    return hosts[PEER].engine.get(KEY) is not None


@in_virtual_time
async def test_at_equal_epochs_it_is_served() -> None:
    hosts = await at(NEW, NEW)
    reply = await write(hosts, NEW)
    assert isinstance(reply, DataReply)
    assert reply.epoch == NEW.stamp
    assert written(hosts)


@in_virtual_time
async def test_a_peer_that_is_ahead_refuses_and_its_record_is_adopted_here() -> None:
    hosts = await at(OLD, NEW)
    assert isinstance(await write(hosts, OLD), EpochMismatch)
    assert hosts[ME].epochs.record == NEW
    assert not written(hosts)


@pytest.mark.parametrize("theirs", [OLD, None], ids=["behind", "without a cluster"])
def test_a_peer_that_is_behind_is_given_the_record_and_asked_again(theirs: EpochRecord | None) -> None:
    @in_virtual_time
    async def catches_up() -> None:
        hosts = await at(NEW, theirs)
        assert isinstance(await write(hosts, NEW), DataReply)
        assert hosts[PEER].epochs.record == NEW
        assert written(hosts)

    catches_up()


@in_virtual_time
async def test_what_was_begun_under_an_epoch_that_has_passed_here_is_not_sent_again() -> None:
    hosts = await at(NEW, None)
    before = hosts.network.delivered
    assert isinstance(await write(hosts, OLD), EpochMismatch)
    assert hosts.network.delivered - before == 1
    assert not written(hosts)


@in_virtual_time
async def test_a_peer_that_cannot_be_brought_up_ends_in_the_mismatch() -> None:
    hosts = await at(NEW, OLD)
    hosts.network.lose(lambda message: isinstance(message.request.body, PushRecord))
    assert isinstance(await write(hosts, NEW), EpochMismatch)
    assert not written(hosts)


@in_virtual_time
async def test_a_peer_that_takes_the_record_and_stays_behind_is_not_pushed_for_ever() -> None:
    hosts = await at(NEW, OLD)
    before = hosts.network.delivered

    async def deaf(record: EpochRecord) -> bool:
        return False

    hosts[PEER].epochs.adopt = deaf  # type: ignore[method-assign]
    assert isinstance(await write(hosts, NEW), EpochMismatch)
    assert hosts.network.delivered - before == 2 * MAX_RECORD_PUSHES


@in_virtual_time
async def test_a_peer_of_another_history_is_refused_and_its_record_not_adopted() -> None:
    foreign = replace(NEW, cluster_id="another", number=9)
    hosts = await at(OLD, foreign)
    hosts[PEER].dispatcher._cluster_id = lambda: ""
    with pytest.raises(PeerRefused, match="different history"):
        await write(hosts, OLD)
    assert hosts[ME].epochs.record == OLD


@in_virtual_time
async def test_a_peer_that_is_not_there_is_unreachable_and_one_that_is_silent_times_out() -> None:
    hosts = await at(NEW, NEW)
    silence = hosts.network.lose(lambda message: True)
    with pytest.raises(PeerTimeout):
        await write(hosts, NEW)
    silence()
    hosts.kill(PEER)
    with pytest.raises(PeerUnreachable):
        await write(hosts, NEW)


# --- chunks of a range ---


def scan(under: EpochRecord) -> Scan:
    return Scan(under.stamp, ScanPurpose.PULL, WHOLE_RING, None, max_entries=10, max_bytes=1000)


@in_virtual_time
async def test_a_chunk_is_fetched_with_its_entries() -> None:
    hosts = await at(NEW, NEW)
    hosts[PEER].hold((KEY, entry(1)))
    chunk = await hosts[ME].fenced.fetch_chunk(PEER, scan(NEW), 0.2)
    assert chunk.entries == ((KEY, entry(1)),)
    assert chunk.size_bytes == len(KEY) + len(b"v")


@in_virtual_time
async def test_a_chunk_of_another_epoch_is_an_error() -> None:
    hosts = await at(OLD, NEW)
    with pytest.raises(PeerError, match="n2 is at another epoch"):
        await hosts[ME].fenced.fetch_chunk(PEER, scan(OLD), 0.2)


@in_virtual_time
async def test_a_chunk_that_was_damaged_in_transit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = await at(NEW, NEW)
    hosts[PEER].hold((KEY, entry(1)))
    serve = hosts[PEER].replica.scan

    async def damaged(request: Scan) -> object:
        reply = await serve(request)
        assert isinstance(reply, ScanReply)
        return replace(reply, entries=((KEY, entry(1, b"w")),))

    monkeypatch.setattr(hosts[PEER].replica, "scan", damaged)
    with pytest.raises(PeerError, match="a chunk from n2 was damaged in transit"):
        await hosts[ME].fenced.fetch_chunk(PEER, scan(NEW), 0.2)
