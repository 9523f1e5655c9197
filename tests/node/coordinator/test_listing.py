from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.coordinator import listing
from covey.node.coordinator.listing import KeyListing
from covey.node.epoch.epochs import Epoch
from covey.node.errors import Corruption, InvalidRequest, OperationTimeout, Unavailable
from covey.node.messages.data import ScanReply
from covey.node.storage.interface import Chunk, Entry
from covey.ring.epoch import EpochRecord
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support.replicas import ReplicaHosts, entry
from tests.support.rings import following, identities, record, ring

WHO = identities(4)
STABLE = record(ring(1, 2, 3, 4))
CHANGING = record(ring(1, 2, 3), ring(2, 3, 4), number=2)

Held = dict[tuple[bytes, int], Entry]
"""What nodes hold, by key and place in WHO."""


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_ENTRIES", 2)


def lister(hosts: ReplicaHosts) -> KeyListing:
    host = hosts[WHO[0]]
    return KeyListing(
        epochs=host.epochs,
        peers=host.fenced,
        replicas=host.replicas,
        replica=host.replica,
        max_key_bytes=100,
    )


async def listed(
    hosts: ReplicaHosts, prefix: bytes = b"", after: bytes | None = None, timeout_s: float = 1.0
) -> list[bytes]:
    return [key async for batch in lister(hosts).keys(prefix, after, timeout_s) for key in batch]


async def hosts_at(record: EpochRecord, held: Held | None = None) -> ReplicaHosts:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(record)
    for (key, place), found in (held or {}).items():
        hosts[WHO[place]].hold((key, found))
    return hosts


def on_all(*keys: bytes) -> Held:
    return {(key, place): entry(1) for key in keys for place in range(4)}


def naively_listed(record: EpochRecord, held: Held) -> list[bytes]:
    newest: dict[bytes, Entry] = {}
    rings = [Ring(spec) for spec in record.live_rings]
    for (key, place), found in held.items():
        if not any(WHO[place] in ring.preference_list(token_of(key)) for ring in rings):
            continue
        if key not in newest or found.version > newest[key].version:
            newest[key] = found
    live = [key for key, found in newest.items() if not found.tombstone]
    return sorted(live, key=lambda key: (token_of(key), key))


entries = st.builds(entry, st.integers(1, 4), st.sampled_from([b"v", None])).map(
    lambda e: Entry(e.version._replace(generation=1 if e.tombstone else 2), e.value)
)
holdings = st.dictionaries(
    st.tuples(st.binary(min_size=1, max_size=2), st.integers(0, 3)), entries, max_size=24
)


@settings(deadline=None)
@given(holdings, st.sampled_from([STABLE, CHANGING]))
def test_replicas_are_merged_newest_wins_tombstones_hide_and_each_key_comes_once_in_token_order(
    held: Held, record: EpochRecord
) -> None:
    """Copies on nodes outside the key's lists are left from earlier and count for nothing."""

    async def lists() -> None:
        assert await listed(await hosts_at(record, held)) == naively_listed(record, held)

    run(lists())


@settings(deadline=None)
@given(holdings, st.binary(min_size=1, max_size=2))
def test_it_resumes_after_a_key_whether_or_not_that_key_exists(held: Held, after: bytes) -> None:
    async def lists() -> None:
        everything = naively_listed(STABLE, held)
        place = (token_of(after), after)
        rest = [key for key in everything if (token_of(key), key) > place]
        assert await listed(await hosts_at(STABLE, held), after=after) == rest

    run(lists())


@settings(deadline=None)
@given(holdings, st.binary(max_size=1))
def test_a_prefix_leaves_the_others_out(held: Held, prefix: bytes) -> None:
    async def lists() -> None:
        wanted = [key for key in naively_listed(STABLE, held) if key.startswith(prefix)]
        assert await listed(await hosts_at(STABLE, held), prefix) == wanted

    run(lists())


@in_virtual_time
async def test_an_empty_cluster_has_no_keys() -> None:
    assert await listed(await hosts_at(STABLE)) == []


@in_virtual_time
async def test_the_epoch_may_change_between_pages() -> None:
    keys = [b"k%d" % i for i in range(20)]
    hosts = await hosts_at(CHANGING, on_all(*keys))
    found: list[bytes] = []
    async for batch in lister(hosts).keys(b"", None, 1.0):
        if len(found) < 10 <= len(found) + len(batch):
            await hosts.adopt(replace(CHANGING, number=3, owners=ring(2, 3, 4), successors=None))
        found += batch
    assert found == sorted(keys, key=token_of)


@in_virtual_time
async def test_the_epoch_may_change_while_a_page_is_in_flight() -> None:
    """The page in flight is discarded, since what it lacks may be where the new epoch looks for it."""
    first, *keys = sorted((b"k%d" % i for i in range(7)), key=token_of)
    hosts = await hosts_at(STABLE, on_all(*keys))
    hold = hosts.network.hold_replies(lambda message: message.source == "n1")
    task = asyncio.get_running_loop().create_task(listed(hosts))
    await asyncio.sleep(0.1)
    assert len(hold.held) == 3
    await hosts.adopt(following(STABLE))
    for host in hosts.each():
        host.hold((first, entry(1)))
    hold.release()
    assert await task == [first, *keys]


@in_virtual_time
async def test_one_replica_down_leaves_r_of_every_range() -> None:
    keys = [b"k%d" % i for i in range(9)]
    hosts = await hosts_at(STABLE, on_all(*keys))
    hosts.kill(WHO[2])
    assert await listed(hosts) == sorted(keys, key=token_of)


@in_virtual_time
async def test_a_listing_needs_no_replica_that_died_unnoticed() -> None:
    keys = [b"k%d" % i for i in range(9)]
    hosts = await hosts_at(STABLE, on_all(*keys))
    hosts.kill(WHO[2], noticed=False)
    assert await listed(hosts) == sorted(keys, key=token_of)


@in_virtual_time
async def test_too_few_replicas_up_is_an_error_at_once() -> None:
    hosts = await hosts_at(STABLE)
    hosts.kill(WHO[1])
    hosts.kill(WHO[2])
    with pytest.raises(Unavailable, match="too few replicas up"):
        await listed(hosts)


@in_virtual_time
async def test_too_few_replicas_answering_ends_in_a_timeout() -> None:
    hosts = await hosts_at(STABLE)
    hosts.kill(WHO[1], noticed=False)
    hosts.kill(WHO[2], noticed=False)
    with pytest.raises(OperationTimeout) as caught:
        await listed(hosts, timeout_s=0.5)
    assert not caught.value.maybe_applied


@in_virtual_time
async def test_a_listing_needs_no_replica_that_cannot_read_its_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(*_: object, **__: object) -> Chunk:
        raise Corruption("a checksum does not match")

    for unreadable in (0, 2):
        hosts = await hosts_at(STABLE, on_all(b"a", b"b"))
        monkeypatch.setattr(hosts[WHO[unreadable]].engine, "scan", corrupt)
        assert await listed(hosts) == sorted([b"a", b"b"], key=token_of)


@in_virtual_time
async def test_a_page_that_was_damaged_in_transit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = await hosts_at(STABLE, on_all(b"a"))
    of_key = Epoch(STABLE).rings[0].preference_list(token_of(b"a"))
    replica = hosts[next(who for who in of_key if who != WHO[0])].replica
    scan = replica.scan

    async def damaged(request: object) -> object:
        reply = await scan(request)  # type: ignore[arg-type]
        assert isinstance(reply, ScanReply)
        return replace(reply, entries=((b"a", entry(9, None)),))

    monkeypatch.setattr(replica, "scan", damaged)
    assert await listed(hosts) == [b"a"]


@in_virtual_time
async def test_an_over_long_prefix_or_key_is_refused() -> None:
    hosts = await hosts_at(STABLE)
    for prefix, after in ((b"p" * 101, None), (b"", b"k" * 101)):
        with pytest.raises(InvalidRequest, match="at most 100 bytes, not 101"):
            await listed(hosts, prefix, after)


@in_virtual_time
async def test_a_node_without_a_cluster_lists_nothing() -> None:
    with pytest.raises(Unavailable, match="no cluster"):
        await listed(ReplicaHosts(*WHO))


@in_virtual_time
async def test_pages_read_at_a_time_are_bounded_and_other_listings_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "MAX_PAGES", 2)
    keys = [b"%02d" % number for number in range(10)]
    hosts = await hosts_at(STABLE, on_all(*keys))
    lists = lister(hosts)
    under_way = most = 0
    page = KeyListing._page

    async def counted(*arguments: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await page(*arguments)
        finally:
            under_way -= 1

    monkeypatch.setattr(KeyListing, "_page", counted)

    async def all_keys() -> list[bytes]:
        return [key async for batch in lists.keys(b"", None, 1.0) for key in batch]

    assert [sorted(found) for found in await asyncio.gather(*(all_keys() for _ in range(6)))] == [keys] * 6
    assert most == 2
