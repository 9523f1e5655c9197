from __future__ import annotations

import asyncio

import pytest

from covey.node.coordinator import replica_selector as replicas
from covey.node.epoch.epochs import Epoch
from covey.node.messages.data import DataBatch
from tests.simulator.virtual_time import in_virtual_time
from tests.support.replicas import ReplicaHosts, entry
from tests.support.rings import identities, record, ring

WHO = identities(2)
ME, OTHER = WHO
STABLE = record(ring(1, 2))


async def with_repairs(hosts: ReplicaHosts, *keys: bytes) -> None:
    await hosts.adopt(STABLE)
    for key in keys:
        hosts[ME].replicas.repair(OTHER, Epoch(STABLE), key, entry(1), None)


def taken(hosts: ReplicaHosts) -> list[bytes]:
    return [key for key in (b"a", b"b", b"c") if hosts[OTHER].engine.get(key) is not None]


@in_virtual_time
async def test_background_repairs_in_flight_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "MAX_REPAIRS", 2)
    hosts = ReplicaHosts(*WHO)
    await with_repairs(hosts, b"a", b"b", b"c")
    await asyncio.sleep(0.1)
    assert taken(hosts) == [b"a", b"b"]
    await with_repairs(hosts, b"c")
    await asyncio.sleep(0.1)
    assert taken(hosts) == [b"a", b"b", b"c"]


@in_virtual_time
async def test_background_repairs_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "MAX_REPAIR_BYTES", 10)
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(STABLE)
    for key in (b"a", b"b", b"c"):
        hosts[ME].replicas.repair(OTHER, Epoch(STABLE), key, entry(1, bytes(5)), None)
    await asyncio.sleep(0.1)
    assert taken(hosts) == [b"a", b"b"]


@in_virtual_time
async def test_a_replica_that_is_down_gets_no_repair() -> None:
    hosts = ReplicaHosts(*WHO)
    hosts.down.add(OTHER)
    sent = hosts.network.hold(lambda message: isinstance(message.request.body, DataBatch))
    await with_repairs(hosts, b"a")
    await asyncio.sleep(0.1)
    assert sent.held == []


@in_virtual_time
async def test_the_quickest_replica_is_sent_to_first_and_this_node_last() -> None:
    quick, slow = identities(3)[1:]
    hosts = ReplicaHosts(ME, quick, slow)
    replicas_of_me = hosts[ME].replicas
    for replica, took_s in ((slow, 0.05), (quick, 0.001)):
        replicas_of_me.ranking.sent(replica, 1)
        replicas_of_me.ranking.replied(replica, 1, took_s, 0, 0.01, asyncio.get_running_loop().time())
    assert replicas_of_me.others_first([ME, slow, quick]) == [quick, slow, ME]
    assert replicas_of_me.others_first([slow, quick]) == [quick, slow]
