"""Operations that are under way together: what one of them meets does not touch the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.errors import OperationTimeout, ReplyFull
from covey.node.messages.data import DataBatch
from covey.node.messages.envelope import Reply, Request
from covey.node.operations import Consistency, Get, GetResult, Level, Put, WriteResult
from covey.node.replica import service as replica_module
from covey.quorum.counter import AllRingsCounter, OneRingCounter
from covey.quorum.tally import Requirement, replicas_of, satisfied
from tests.simulation.network import Message
from tests.simulation.virtual_time import in_virtual_time
from tests.support.rings import identities, record, ring
from tests.support.stations import Stations, entry, version
from tests.support.ways import together

WHO = identities(5)
CLIENT_AT, B, C, _, OUTSIDER = WHO
STABLE = record(ring(1, 2, 3))
KEYS = [b"key%d" % number for number in range(20)]


async def stations_at() -> Stations:
    stations = Stations(*WHO)
    await stations.adopt(STABLE)
    return stations


def data_to(*names: str) -> Callable[[Message], bool]:
    return lambda message: message.target in names and isinstance(message.request.body, DataBatch)


def gets(timeout_s: float = 1.0) -> list[Get]:
    return [Get(key, timeout_s) for key in KEYS]


def puts(timeout_s: float = 1.0) -> list[Put]:
    return [Put(key, b"v", timeout_s) for key in KEYS]


VERSIONS = [version(number + 1) for number in range(len(KEYS))]


@in_virtual_time
async def test_writes_that_come_together_go_to_each_replica_in_one_message() -> None:
    stations = await stations_at()
    sent: list[str] = []

    def watch(source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
        if isinstance(message, Request):
            sent.append(target)

    stations.network.watch = watch
    assert await together(stations[CLIENT_AT], puts(), *VERSIONS) == [WriteResult(v) for v in VERSIONS]
    assert sorted(sent) == ["n2", "n3"]


@in_virtual_time
async def test_each_write_is_answered_under_its_own_version() -> None:
    stations = await stations_at()
    stations[B].hold((KEYS[3], entry(90)))
    stations.network.lose(data_to("n3"))
    results = await together(stations[CLIENT_AT], puts(), *VERSIONS)
    assert [result.version for result in results] == VERSIONS
    assert [result.superseded for result in results] == [key == KEYS[3] for key in KEYS]


@in_virtual_time
async def test_one_read_that_replicas_disagree_on_does_not_hold_up_the_others() -> None:
    stations = await stations_at()
    for station in (stations[CLIENT_AT], stations[B], stations[C]):
        station.hold(*[(key, entry(1)) for key in KEYS])
    stations[B].hold((KEYS[7], entry(2)))
    stations[C].hold((KEYS[7], entry(2)))
    results = await together(stations[CLIENT_AT], gets())
    expected = [entry(2 if key == KEYS[7] else 1) for key in KEYS]
    assert results == [GetResult(e.value, e.version) for e in expected]


@in_virtual_time
async def test_versions_alone_are_no_answer_though_they_are_enough() -> None:
    """While the ring changes, two replicas of both rings can be enough without the one that was asked for the value."""
    stations = await stations_at()
    await stations.adopt(record(ring(1, 2, 3), ring(2, 3, 4), number=2))
    reader = stations[CLIENT_AT]
    for station in (stations[B], stations[C], stations[WHO[3]]):
        station.hold((KEYS[0], entry(1)))
    reader.flushes.clear()  # it does not tell what it has not synced
    reader.engine.merge([(KEYS[0], entry(1))])
    (result,) = await together(reader, [Get(KEYS[0], 1.0)])
    assert result == GetResult(entry(1).value, version(1))


@in_virtual_time
async def test_what_a_replica_missed_is_kept_for_it_when_its_silence_ends() -> None:
    stations = await stations_at()
    stations.network.lose(data_to("n3"))
    await together(stations[CLIENT_AT], puts(), *VERSIONS)
    await asyncio.sleep(10.0)
    assert sorted(hint.key for hint in stations[CLIENT_AT].hints.kept) == sorted(KEYS)
    assert {hint.to for hint in stations[CLIENT_AT].hints.kept} == {C}


@in_virtual_time
async def test_a_write_that_the_node_stops_in_the_middle_of_may_have_happened() -> None:
    """On the short way it was refused, so nothing had happened yet; then it was sent again."""
    stations = await stations_at()
    end_refusal = stations.network.refuse(data_to("n1", "n2", "n3"))
    alone: list[asyncio.Task[None]] = []
    put = Put(KEYS[0], b"v", 1.0, Consistency(Level.ONE))
    writing = asyncio.create_task(together(stations[OUTSIDER], [put], VERSIONS[0], alone=alone))
    while not alone:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    end_refusal()
    stations.network.lose_replies(data_to("n1", "n2", "n3"))
    await asyncio.sleep(0.2)
    alone[0].cancel()
    with pytest.raises(OperationTimeout) as caught:
        await writing
    assert caught.value.maybe_applied


PARTS = [(Requirement(WHO[:3], 2),), (Requirement(WHO[:3], 2), Requirement(WHO[1:4], 2))]


@pytest.mark.parametrize("parts", PARTS)
@settings(deadline=None)
@given(votes=st.permutations(WHO[:4]), ayes=st.lists(st.booleans(), min_size=4, max_size=4))
def test_votes_reach_and_lose_their_quorum_when_the_tally_says_so(
    parts: tuple[Requirement, ...], votes: list, ayes: list[bool]
) -> None:
    everyone = replicas_of(parts)
    counted = OneRingCounter([parts]) if len(parts) == 1 else AllRingsCounter([parts])
    said_yes, said_no = set(), set()
    for replica, aye in zip(votes, ayes, strict=True):
        if replica not in everyone:
            continue
        before = satisfied(parts, said_yes)
        (said_yes if aye else said_no).add(replica)
        lost = any(sum(r not in said_no for r in part.replicas) < part.needed for part in parts)
        if aye:
            assert counted.yes(replica, [0]) == ([0] if satisfied(parts, said_yes) and not before else [])
        else:
            assert counted.no(replica, 0) == (lost and not before)


def hold_everywhere(stations: Stations) -> None:
    for station in (stations[CLIENT_AT], stations[B], stations[C]):
        station.hold(*[(key, entry(1)) for key in KEYS])


@in_virtual_time
async def test_a_read_that_takes_unusually_long_is_asked_of_another_replica_too() -> None:
    stations = await stations_at()
    hold_everywhere(stations)
    for _ in range(100):
        await together(stations[CLIENT_AT], gets())
    next_asked = stations[CLIENT_AT].replicas.ranked([B, C])[0]
    hold = stations.network.hold(data_to(next_asked.name))
    began_s = asyncio.get_running_loop().time()
    results = await together(stations[CLIENT_AT], gets())
    assert {result.value for result in results} == {entry(1).value}
    assert asyncio.get_running_loop().time() - began_s < 0.05
    hold.release()


@in_virtual_time
async def test_hedges_are_few_when_a_replica_is_slow_for_long() -> None:
    stations = await stations_at()
    hold_everywhere(stations)
    asked = dict.fromkeys(["n2", "n3"], 0)

    def watch(source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
        if isinstance(message, Request) and isinstance(message.body, DataBatch) and target in asked:
            asked[target] += len(message.body.operations)

    stations.network.watch = watch
    stations.network.slow(data_to("n2", "n3"), 0.05)
    rounds = 200
    for _ in range(rounds):
        await together(stations[CLIENT_AT], gets())
    assert sum(asked.values()) < rounds * len(KEYS) * 1.15


@in_virtual_time
async def test_a_read_that_found_the_reply_full_is_given_back_to_be_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_module, "MAX_REPLY_BYTES", 10)
    stations = await stations_at()
    for who in WHO[:3]:
        stations[who].hold(*((key, entry(1, b"v" * 6)) for key in KEYS))
    alone: list[asyncio.Task[None]] = []
    with pytest.raises(ReplyFull):
        await together(stations[CLIENT_AT], gets(), alone=alone)
    assert alone == [], "it does not go on alone, beside as many others"


@in_virtual_time
async def test_a_lone_read_that_found_the_reply_full_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stations = await stations_at()
    for who in WHO[:3]:
        stations[who].hold((KEYS[0], entry(1, b"v" * 6)))
    monkeypatch.setattr(replica_module, "MAX_REPLY_BYTES", 0)
    asyncio.get_running_loop().call_later(0.2, monkeypatch.setattr, replica_module, "MAX_REPLY_BYTES", 10)
    assert await together(stations[CLIENT_AT], gets()[:1]) == [GetResult(b"v" * 6, version(1))]
