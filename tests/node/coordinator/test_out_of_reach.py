"""A replica that was unreachable a moment ago, although gossip considers it up: others are asked instead."""

from __future__ import annotations

import asyncio

from covey.identity import Identity
from covey.node.messages.data import DataBatch
from covey.node.operations import Get, GetResult, Put, WriteResult
from covey.quorum.ranking import MAX_BACKOFF_S
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time
from tests.support.operation_paths import on_fast_path
from tests.support.replicas import ReplicaHosts, entry, version
from tests.support.rings import identities, record, ring

WHO = identities(4)
ME, B, C, OUTSIDER = WHO
STABLE = record(ring(1, 2, 3))
KEYS = [b"key%d" % number for number in range(20)]
VERSIONS = [version(number + 1) for number in range(len(KEYS))]
GETS = [Get(key, 1.0) for key in KEYS]
PUTS = [Put(key, b"v", 1.0) for key in KEYS]


class Closed:
    """Ports that refuse requests, and the number of requests refused."""

    def __init__(self, hosts: ReplicaHosts, *replicas: Identity) -> None:
        self.turned_back = 0
        self._names = {replica.name for replica in replicas}
        self.open = hosts.network.refuse(self._concerns)

    def _concerns(self, message: Message) -> bool:
        concerned = message.target in self._names and isinstance(message.request.body, DataBatch)
        self.turned_back += concerned
        return concerned


async def hosts_at() -> ReplicaHosts:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(STABLE)
    return hosts


async def put_all(hosts: ReplicaHosts, coordinator: Identity = ME) -> list[WriteResult]:
    results = await on_fast_path(hosts[coordinator], PUTS, *VERSIONS)
    await asyncio.sleep(0.01)  # until the last replica has answered
    return results


@in_virtual_time
async def test_writes_are_not_sent_to_it_again_at_once_and_leave_hints() -> None:
    hosts = await hosts_at()
    closed = Closed(hosts, C)
    await put_all(hosts)
    hosts[ME].hints.kept.clear()
    assert await put_all(hosts) == [WriteResult(v) for v in VERSIONS]
    assert closed.turned_back == 1
    assert sorted(hint.key for hint in hosts[ME].hints.kept) == sorted(KEYS)
    assert {hint.to for hint in hosts[ME].hints.kept} == {C}


@in_virtual_time
async def test_reads_ask_others_and_stay_on_the_fast_path() -> None:
    hosts = await hosts_at()
    for host in hosts.each():
        host.hold(*[(key, entry(1)) for key in KEYS])
    closed = Closed(hosts, C)
    await put_all(hosts)
    fallbacks: list[asyncio.Task[None]] = []
    results = await on_fast_path(hosts[ME], GETS, fallbacks=fallbacks)
    assert results == [GetResult(b"v", v) for v in VERSIONS]
    assert closed.turned_back == 1 and not fallbacks


@in_virtual_time
async def test_reads_that_take_long_are_not_hedged_to_it() -> None:
    """Its refusal would take them off the fast path, although the replicas that were asked are about to answer."""
    hosts = await hosts_at()
    Closed(hosts, C)
    await put_all(hosts)
    hosts.network.latency_s = (0.02, 0.02)
    fallbacks: list[asyncio.Task[None]] = []
    await on_fast_path(hosts[ME], GETS, fallbacks=fallbacks)
    assert not fallbacks


@in_virtual_time
async def test_it_is_asked_all_the_same_when_others_are_not_enough() -> None:
    hosts = await hosts_at()
    closed = Closed(hosts, C)
    await put_all(hosts, OUTSIDER)
    hosts.kill(B)
    closed.open()
    assert await put_all(hosts, OUTSIDER) == [WriteResult(v) for v in VERSIONS]
    assert all(hosts[C].engine.get(key) is not None for key in KEYS)


@in_virtual_time
async def test_it_gets_writes_again_soon_after_it_returns() -> None:
    hosts = await hosts_at()
    closed = Closed(hosts, C)
    for _ in range(100):
        await put_all(hosts)
    assert closed.turned_back < 10
    closed.open()
    await asyncio.sleep(MAX_BACKOFF_S)
    hosts[ME].hints.kept.clear()
    await put_all(hosts)
    assert all(hosts[C].engine.get(key) is not None for key in KEYS)
    assert hosts[ME].hints.kept == []
