"""Which tombstones a replica confirms, and which it purges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from covey.node.errors import Corruption
from covey.node.messages.envelope import EpochMismatch
from covey.node.messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply, Tombstone
from covey.node.storage.interface import Entry
from covey.node.tombstones.replica import TombstoneReplica
from covey.ring.epoch import EpochRecord
from tests.simulator.virtual_time import in_virtual_time
from tests.support.replicas import ReplicaHost, ReplicaHosts, entry, version
from tests.support.rings import following, identities, record, ring

WHO = identities(3)
RECORD = record(ring(1, 2, 3), number=7, floor=20)
CHANGING = record(ring(1, 2, 3), ring(2, 3, 4), number=7, floor=20)
EARLIER = 6
KEY = b"key"


async def station_with(held: Entry | None, at: EpochRecord = RECORD) -> tuple[ReplicaHost, TombstoneReplica]:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(at)
    host = hosts[WHO[0]]
    if held is not None:
        host.hold((KEY, held))
    return host, TombstoneReplica(host.engine, host.epochs)


def asks_of(number: int, at: EpochRecord = RECORD) -> Confirm:
    return Confirm(at.stamp, ((KEY, version(number)),))


def purge_of(number: int, at: EpochRecord = RECORD, confirmed_epoch: int = EARLIER) -> Purge:
    return Purge(at.stamp, confirmed_epoch, ((KEY, version(number)),))


@pytest.mark.parametrize(
    ("held", "confirms"),
    [
        (entry(10, None), True),
        (entry(11, None), True),
        (entry(11), True),
        (entry(9), False),
        (entry(9, None), False),
        (None, False),
    ],
)
@in_virtual_time
async def test_a_replica_confirms_that_version_or_a_newer_one(held: Entry | None, confirms: bool) -> None:
    _, replica = await station_with(held)
    assert await replica.confirm(asks_of(10)) == ConfirmReply(RECORD.stamp, (confirms,))


@in_virtual_time
async def test_a_replica_confirms_nothing_while_the_ring_changes() -> None:
    _, replica = await station_with(entry(10, None), CHANGING)
    assert await replica.confirm(asks_of(10, CHANGING)) == ConfirmReply(CHANGING.stamp, (False,))


@in_virtual_time
async def test_a_replica_confirms_nothing_before_it_is_on_disk() -> None:
    host, replica = await station_with(None)
    host.flushes.clear()
    host.hold((KEY, entry(10, None)))
    asking = asyncio.get_running_loop().create_task(replica.confirm(asks_of(10)))
    await asyncio.sleep(1.0)
    assert not asking.done()
    host.flushes.set()
    assert await asking == ConfirmReply(RECORD.stamp, (True,))


@pytest.mark.parametrize(
    ("held", "purged"),
    [
        (entry(10, None), 1),
        (entry(11, None), 0),
        (entry(11), 0),
        (entry(10), 0),
        (entry(9), 0),
        (None, 0),
    ],
)
@in_virtual_time
async def test_a_replica_purges_exactly_that_tombstone(held: Entry | None, purged: int) -> None:
    host, replica = await station_with(held)
    assert await replica.purge(purge_of(10)) == PurgeReply(RECORD.stamp, purged)
    assert host.engine.get(KEY) == (None if purged else held)


@pytest.mark.parametrize(
    ("number", "confirmed_epoch", "purged"), [(20, 6, 1), (21, 6, 0), (20, 7, 0), (20, 8, 0)]
)
@in_virtual_time
async def test_a_replica_purges_only_after_the_confirming_epoch_and_up_to_its_floor(
    number: int, confirmed_epoch: int, purged: int
) -> None:
    """The replica does not rely on the sender's check."""
    _, replica = await station_with(entry(number, None))
    request = purge_of(number, confirmed_epoch=confirmed_epoch)
    assert await replica.purge(request) == PurgeReply(RECORD.stamp, purged)


@in_virtual_time
async def test_a_replica_purges_also_while_the_ring_changes() -> None:
    _, replica = await station_with(entry(10, None), CHANGING)
    assert await replica.purge(purge_of(10, CHANGING)) == PurgeReply(CHANGING.stamp, 1)


@pytest.mark.parametrize("ahead", [True, False])
@in_virtual_time
async def test_a_replica_at_another_epoch_does_nothing(ahead: bool) -> None:
    after = following(RECORD)
    host, replica = await station_with(entry(10, None), after if ahead else RECORD)
    asked = RECORD if ahead else after
    expected = EpochMismatch(host.epochs.stamp, after if ahead else None)
    assert await replica.confirm(asks_of(10, asked)) == expected
    assert await replica.purge(purge_of(10, asked)) == expected
    assert host.engine.get(KEY) == entry(10, None)


@in_virtual_time
async def test_a_damaged_entry_is_not_confirmed_and_does_not_prevent_other_purges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, replica = await station_with(entry(10, None))
    host.hold((b"bad", entry(10, None)))
    get, purge = host.engine.get, host.engine.purge

    def damaged_get(key: bytes) -> Entry | None:
        if key == b"bad":
            raise Corruption("bad")
        return get(key)

    def damaged_purge(tombstones: Sequence[Tombstone]) -> int:
        if any(key == b"bad" for key, _ in tombstones):
            raise Corruption("bad")
        return purge(tombstones)

    monkeypatch.setattr(host.engine, "get", damaged_get)
    monkeypatch.setattr(host.engine, "purge", damaged_purge)
    both = ((b"bad", version(10)), (KEY, version(10)))
    assert await replica.confirm(Confirm(RECORD.stamp, both)) == ConfirmReply(RECORD.stamp, (False, True))
    assert await replica.purge(Purge(RECORD.stamp, EARLIER, both)) == PurgeReply(RECORD.stamp, 1)
    assert get(KEY) is None
