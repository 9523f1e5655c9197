from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from covey.node.errors import Corruption
from covey.node.messages.data import (
    BELOW_FLOOR,
    MERGED,
    REPLY_FULL,
    DataBatch,
    DataReply,
    FailedResult,
    Merge,
    MergeKind,
    MergeResult,
    Read,
    ReadResult,
    Scan,
    ScanPurpose,
    ScanReply,
    SizeQuery,
    SizeReply,
    VersionResult,
    checksum_of,
)
from covey.node.messages.envelope import EpochMismatch, Refusal
from covey.node.replica import service as replica_module
from covey.node.storage.interface import Chunk, Entry
from covey.ring.epoch import EpochRecord, EpochStamp
from covey.ring.tokens import WHOLE_RING
from tests.simulator.virtual_time import in_virtual_time
from tests.support.replicas import ReplicaHost, ReplicaHosts, entry, version
from tests.support.rings import following, identities, record, ring

ME = identities(1)[0]
FIRST = record(ring(1, 2, 3))
KEY = b"key"


async def station_at(record: EpochRecord = FIRST) -> ReplicaHost:
    hosts = ReplicaHosts(ME)
    await hosts.adopt(record)
    return hosts[ME]


async def serve(host: ReplicaHost, *operations: Read | Merge, at: EpochStamp | None = None) -> DataReply:
    reply = await host.replica.serve(DataBatch(at or FIRST.stamp, operations))
    assert isinstance(reply, DataReply)
    return reply


def scan_of(purpose: ScanPurpose, stamp: EpochStamp = FIRST.stamp) -> Scan:
    return Scan(stamp, purpose, WHOLE_RING, None, 10, 1 << 20)


@in_virtual_time
async def test_results_are_in_the_order_of_the_operations() -> None:
    host = await station_at()
    host.hold((b"old", entry(5)))
    reply = await serve(host, Merge(b"old", entry(1)), Read(b"absent"), Merge(b"new", entry(2)), Read(b"old"))
    assert tuple(reply.results) == (
        MergeResult(version(5)),
        ReadResult(None),
        MERGED,
        ReadResult(entry(5)),
    )
    assert reply.epoch == FIRST.stamp


@pytest.mark.parametrize("ahead", [True, False])
def test_at_another_epoch_nothing_is_done_and_only_a_newer_record_is_sent(ahead: bool) -> None:
    @in_virtual_time
    async def mismatches() -> None:
        second = following(FIRST)
        host = await station_at(second if ahead else FIRST)
        asked = FIRST.stamp if ahead else second.stamp
        expected = EpochMismatch(host.epochs.stamp, second if ahead else None)
        assert await host.replica.serve(DataBatch(asked, (Merge(KEY, entry(1)),))) == expected
        assert await host.replica.scan(scan_of(ScanPurpose.PULL, asked)) == expected
        assert await host.replica.size(SizeQuery(asked, ())) == expected
        assert host.engine.get(KEY) is None

    mismatches()


@in_virtual_time
async def test_at_the_same_number_with_another_digest_nothing_is_done() -> None:
    host = await station_at()
    forged = EpochStamp(1, "another")
    assert isinstance(await host.replica.serve(DataBatch(forged, (Read(KEY),))), EpochMismatch)


@in_virtual_time
async def test_neither_a_write_nor_a_read_of_it_is_answered_before_it_is_on_disk() -> None:
    host = await station_at()
    host.flushes.clear()
    loop = asyncio.get_running_loop()
    writing = loop.create_task(serve(host, Merge(KEY, entry(1))))
    await asyncio.sleep(0.01)
    reading = loop.create_task(serve(host, Read(KEY)))
    other = loop.create_task(serve(host, Read(b"other")))
    scanning = loop.create_task(host.replica.scan(scan_of(ScanPurpose.PULL)))
    await asyncio.sleep(0.1)
    assert [writing.done(), reading.done(), scanning.done()] == [False] * 3
    assert other.done(), "what is on disk already waits for nobody"
    host.flushes.set()
    assert tuple((await reading).results) == (ReadResult(entry(1)),)
    await asyncio.gather(writing, scanning)


@in_virtual_time
async def test_a_client_s_write_at_or_below_the_floor_is_refused_a_repair_is_not() -> None:
    floored = record(ring(1, 2, 3), floor=10)
    host = await station_at(floored)
    reply = await serve(
        host,
        Merge(b"a", entry(10)),
        Merge(b"b", entry(11)),
        Merge(b"c", entry(3), MergeKind.REPAIR),
        at=floored.stamp,
    )
    assert tuple(reply.results) == (BELOW_FLOOR, MERGED, MERGED)
    assert host.engine.get(b"a") is None
    assert host.engine.get(b"c") == entry(3)


@in_virtual_time
async def test_a_corrupt_entry_fails_its_own_operations_and_no_others() -> None:
    host = await station_at()
    await serve(host, Merge(b"bad", entry(1)))
    host.engine.flip_bit(b"bad")
    reply = await serve(host, Merge(b"a", entry(1)), Merge(b"bad", entry(2)), Read(b"bad"), Read(b"a"))
    merged, *failed, read = reply.results
    assert (merged, read) == (MERGED, ReadResult(entry(1)))
    for result in failed:
        assert isinstance(result, FailedResult)
        assert "key b'bad' does not match its checksum" in result.reason


@in_virtual_time
async def test_a_range_that_cannot_be_read_serves_no_pulls(monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(*_: object, **__: object) -> Chunk:
        raise Corruption("a checksum does not match")

    host = await station_at()
    monkeypatch.setattr(host.engine, "scan", corrupt)
    assert isinstance(await host.replica.scan(scan_of(ScanPurpose.PULL)), Refusal)


@in_virtual_time
async def test_a_reply_is_bounded_in_bytes_and_never_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_module, "MAX_REPLY_BYTES", 10)
    host = await station_at()
    for key in (b"a", b"b", b"c"):
        host.hold((key, entry(1, b"v" * 6)))
    results = (await serve(host, Read(b"a"), Read(b"b"), Read(b"c"))).results
    assert [isinstance(result, ReadResult) for result in results] == [True, True, False]


@in_virtual_time
async def test_what_is_read_for_one_reply_is_bounded_also_where_only_versions_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_module, "MAX_READ_BYTES", 10)
    monkeypatch.setattr(replica_module, "READ_BATCH", 1)
    host = await station_at()
    for key in (b"a", b"b", b"c"):
        host.hold((key, entry(1, b"v" * 6)))
    results = (await serve(host, *(Read(key, True) for key in (b"a", b"b", b"c")))).results
    assert results == [VersionResult(version(1)), VersionResult(version(1)), REPLY_FULL]


@in_virtual_time
async def test_few_large_values_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "MAX_REPLY_BYTES", 1000)
    host = await station_at()
    keys = [b"%03d" % number for number in range(100)]
    for key in keys:
        host.hold((key, entry(1, bytes(500))))
    asked: list[int] = []
    get_many = host.engine.get_many

    def counted(keys: Sequence[bytes]) -> list[Entry | Corruption | None]:
        asked.append(len(keys))
        return get_many(keys)

    monkeypatch.setattr(host.engine, "get_many", counted)
    for _ in range(10):
        await serve(host, *(Read(key) for key in keys))
    assert asked[0] == replica_module.READ_BATCH
    assert max(asked[5:]) <= 4


@in_virtual_time
async def test_a_scan_returns_no_more_than_the_replica_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "MAX_SCAN_ENTRIES", 2)
    host = await station_at()
    host.hold(*((b"%d" % number, entry(1)) for number in range(5)))
    reply = await host.replica.scan(scan_of(ScanPurpose.PULL))
    assert isinstance(reply, ScanReply)
    assert len(reply.entries) == 2 and reply.next is not None


@in_virtual_time
async def test_a_scan_for_a_listing_has_no_values_but_tombstones() -> None:
    host = await station_at()
    host.hold((b"live", entry(1, b"value")), (b"dead", entry(1, None)))
    listed = await host.replica.scan(scan_of(ScanPurpose.KEYS))
    assert isinstance(listed, ScanReply)
    assert dict(listed.entries) == {b"live": entry(1, b""), b"dead": entry(1, None)}
    assert listed.checksum == checksum_of(listed.entries)
    pulled = await host.replica.scan(scan_of(ScanPurpose.PULL))
    assert isinstance(pulled, ScanReply)
    assert dict(pulled.entries) == {b"live": entry(1, b"value"), b"dead": entry(1, None)}


@in_virtual_time
async def test_each_range_has_its_own_size() -> None:
    host = await station_at()
    host.hold((KEY, entry(1, b"v" * 50)))
    reply = await host.replica.size(SizeQuery(FIRST.stamp, (WHOLE_RING, WHOLE_RING)))
    assert isinstance(reply, SizeReply)
    assert reply.sizes[0] == reply.sizes[1] > 50
