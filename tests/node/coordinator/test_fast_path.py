"""Fast path of a batch: a complication of one operation does not affect the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from covey.node.errors import OperationTimeout, ReplyFull
from covey.node.messages.data import DataBatch
from covey.node.messages.envelope import Reply, Request
from covey.node.operations import Get, GetResult, Put, WriteResult
from covey.node.replica import service as replica_module
from covey.quorum.consistency import Consistency, Level
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time
from tests.support.operation_paths import on_fast_path
from tests.support.replicas import ReplicaHosts, entry, version
from tests.support.rings import identities, record, ring

WHO = identities(5)
CLIENT_AT, B, C, _, OUTSIDER = WHO
STABLE = record(ring(1, 2, 3))
KEYS = [b"key%d" % number for number in range(20)]


async def hosts_at() -> ReplicaHosts:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(STABLE)
    return hosts


def data_to(*names: str) -> Callable[[Message], bool]:
    return lambda message: message.target in names and isinstance(message.request.body, DataBatch)


def gets(timeout_s: float = 1.0) -> list[Get]:
    return [Get(key, timeout_s) for key in KEYS]


def puts(timeout_s: float = 1.0) -> list[Put]:
    return [Put(key, b"v", timeout_s) for key in KEYS]


VERSIONS = [version(number + 1) for number in range(len(KEYS))]


@in_virtual_time
async def test_writes_of_a_batch_go_to_each_replica_in_one_message() -> None:
    hosts = await hosts_at()
    sent: list[str] = []

    def watch(source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
        if isinstance(message, Request):
            sent.append(target)

    hosts.network.on_message = watch
    assert await on_fast_path(hosts[CLIENT_AT], puts(), *VERSIONS) == [WriteResult(v) for v in VERSIONS]
    assert sorted(sent) == ["n2", "n3"]


@in_virtual_time
async def test_each_write_is_answered_under_its_own_version() -> None:
    hosts = await hosts_at()
    hosts[B].hold((KEYS[3], entry(90)))
    hosts.network.lose(data_to("n3"))
    results = await on_fast_path(hosts[CLIENT_AT], puts(), *VERSIONS)
    assert [result.version for result in results] == VERSIONS
    assert [result.superseded for result in results] == [key == KEYS[3] for key in KEYS]


@in_virtual_time
async def test_one_read_that_replicas_disagree_on_does_not_hold_up_the_others() -> None:
    hosts = await hosts_at()
    for host in (hosts[CLIENT_AT], hosts[B], hosts[C]):
        host.hold(*[(key, entry(1)) for key in KEYS])
    hosts[B].hold((KEYS[7], entry(2)))
    hosts[C].hold((KEYS[7], entry(2)))
    results = await on_fast_path(hosts[CLIENT_AT], gets())
    expected = [entry(2 if key == KEYS[7] else 1) for key in KEYS]
    assert results == [GetResult(e.value, e.version) for e in expected]


@in_virtual_time
async def test_a_quorum_of_versions_without_the_value_is_no_answer() -> None:
    """While the ring changes, two replicas of both rings can be enough without the one that was asked for the value."""
    hosts = await hosts_at()
    await hosts.adopt(record(ring(1, 2, 3), ring(2, 3, 4), number=2))
    reader = hosts[CLIENT_AT]
    for host in (hosts[B], hosts[C], hosts[WHO[3]]):
        host.hold((KEYS[0], entry(1)))
    reader.flushes.clear()  # it does not tell what it has not synced
    reader.engine.merge([(KEYS[0], entry(1))])
    (result,) = await on_fast_path(reader, [Get(KEYS[0], 1.0)])
    assert result == GetResult(entry(1).value, version(1))


@in_virtual_time
async def test_a_replica_that_does_not_answer_gets_a_hint_for_each_write() -> None:
    hosts = await hosts_at()
    hosts.network.lose(data_to("n3"))
    await on_fast_path(hosts[CLIENT_AT], puts(), *VERSIONS)
    await asyncio.sleep(10.0)
    assert sorted(hint.key for hint in hosts[CLIENT_AT].hints.kept) == sorted(KEYS)
    assert {hint.to for hint in hosts[CLIENT_AT].hints.kept} == {C}


@in_virtual_time
async def test_a_write_that_is_interrupted_by_a_stop_may_have_happened() -> None:
    """On the fast path it was refused, so nothing had happened yet; then it was sent again."""
    hosts = await hosts_at()
    end_refusal = hosts.network.refuse(data_to("n1", "n2", "n3"))
    fallbacks: list[asyncio.Task[None]] = []
    put = Put(KEYS[0], b"v", 1.0, Consistency(Level.ONE))
    writing = asyncio.create_task(on_fast_path(hosts[OUTSIDER], [put], VERSIONS[0], fallbacks=fallbacks))
    while not fallbacks:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    end_refusal()
    hosts.network.lose_replies(data_to("n1", "n2", "n3"))
    await asyncio.sleep(0.2)
    fallbacks[0].cancel()
    with pytest.raises(OperationTimeout) as caught:
        await writing
    assert caught.value.maybe_applied


def hold_everywhere(hosts: ReplicaHosts) -> None:
    for host in (hosts[CLIENT_AT], hosts[B], hosts[C]):
        host.hold(*[(key, entry(1)) for key in KEYS])


@in_virtual_time
async def test_a_read_that_takes_unusually_long_is_hedged() -> None:
    hosts = await hosts_at()
    hold_everywhere(hosts)
    for _ in range(100):
        await on_fast_path(hosts[CLIENT_AT], gets())
    next_asked = hosts[CLIENT_AT].replicas.ranked([B, C])[0]
    hold = hosts.network.hold(data_to(next_asked.name))
    began_s = asyncio.get_running_loop().time()
    results = await on_fast_path(hosts[CLIENT_AT], gets())
    assert {result.value for result in results} == {entry(1).value}
    assert asyncio.get_running_loop().time() - began_s < 0.05
    hold.release()


@in_virtual_time
async def test_hedges_are_few_when_a_replica_is_slow_for_long() -> None:
    hosts = await hosts_at()
    hold_everywhere(hosts)
    asked = dict.fromkeys(["n2", "n3"], 0)

    def watch(source: str, target: str, message: Request | Reply, encoded: bytes) -> None:
        if isinstance(message, Request) and isinstance(message.body, DataBatch) and target in asked:
            asked[target] += len(message.body.operations)

    hosts.network.on_message = watch
    hosts.network.slow(data_to("n2", "n3"), 0.05)
    rounds = 200
    for _ in range(rounds):
        await on_fast_path(hosts[CLIENT_AT], gets())
    assert sum(asked.values()) < rounds * len(KEYS) * 1.15


@in_virtual_time
async def test_a_read_that_did_not_fit_the_reply_has_to_begin_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replica_module, "MAX_REPLY_BYTES", 10)
    hosts = await hosts_at()
    for who in WHO[:3]:
        hosts[who].hold(*((key, entry(1, b"v" * 6)) for key in KEYS))
    fallbacks: list[asyncio.Task[None]] = []
    with pytest.raises(ReplyFull):
        await on_fast_path(hosts[CLIENT_AT], gets(), fallbacks=fallbacks)
    assert fallbacks == [], "it does not continue on the slow path, beside as many others"


@in_virtual_time
async def test_a_single_read_that_did_not_fit_the_reply_falls_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = await hosts_at()
    for who in WHO[:3]:
        hosts[who].hold((KEYS[0], entry(1, b"v" * 6)))
    monkeypatch.setattr(replica_module, "MAX_REPLY_BYTES", 0)
    asyncio.get_running_loop().call_later(0.2, monkeypatch.setattr, replica_module, "MAX_REPLY_BYTES", 10)
    assert await on_fast_path(hosts[CLIENT_AT], gets()[:1]) == [GetResult(b"v" * 6, version(1))]
