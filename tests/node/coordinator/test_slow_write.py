"""Writes: when they are acknowledged, and whether a failed one may have happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.node.errors import OperationError, OperationTimeout, Unavailable
from covey.node.messages.data import DataBatch
from covey.node.operations import WriteResult
from covey.quorum.consistency import QUORUM, Consistency, Level, plan_write
from covey.ring.epoch import EpochRecord, Quorums
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support import operation_paths
from tests.support.replicas import ReplicaHosts, entry, version
from tests.support.rings import following, identities, record, ring

WHO = identities(5)
CLIENT_AT, B, C, _, OUTSIDER = WHO
STABLE = record(ring(1, 2, 3))
CHANGING = record(ring(1, 2, 3), ring(3, 4, 5), number=2)
KEY = b"key"


class Path:
    """The path that the writes of this test take."""

    current = "slow"


@pytest.fixture(autouse=True, params=operation_paths.PATHS)
def on_both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "current", request.param)


async def hosts_at(record: EpochRecord = STABLE) -> ReplicaHosts:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(record)
    return hosts


async def write(
    hosts: ReplicaHosts, consistency: Consistency = QUORUM, timeout_s: float = 1.0, number: int = 1
) -> WriteResult:
    return await operation_paths.write(
        Path.current, hosts[CLIENT_AT], KEY, entry(number), consistency, timeout_s
    )


async def failure(hosts: ReplicaHosts, timeout_s: float = 1.0) -> OperationError:
    with pytest.raises(OperationError) as caught:
        await write(hosts, timeout_s=timeout_s)
    assert isinstance(caught.value, OperationTimeout if caught.value.maybe_applied else Unavailable)
    return caught.value


def holders(hosts: ReplicaHosts) -> list[str]:
    return [host.me.name for host in hosts.each() if host.engine.get(KEY) is not None]


def data_to(*names: str) -> Callable[[Message], bool]:
    return lambda message: message.target in names and isinstance(message.request.body, DataBatch)


@in_virtual_time
async def test_it_goes_to_every_replica_and_is_acknowledged_by_w() -> None:
    hosts = await hosts_at()
    hosts.network.lose(data_to("n3"))
    assert await write(hosts) == WriteResult(version(1))
    assert holders(hosts) == ["n1", "n2"]


@in_virtual_time
async def test_an_acknowledgement_includes_a_newer_version_that_was_held_already() -> None:
    hosts = await hosts_at()
    hosts[B].hold((KEY, entry(5)))
    hosts[C].hold((KEY, entry(5)))
    assert await write(hosts) == WriteResult(version(1), superseded=True)


@in_virtual_time
async def test_while_the_ring_changes_a_quorum_of_the_old_ring_is_not_enough() -> None:
    hosts = await hosts_at(CHANGING)
    hosts.network.lose(data_to("n4", "n5"))
    error = await failure(hosts)
    assert error.maybe_applied
    assert holders(hosts) == ["n1", "n2", "n3"]


@in_virtual_time
async def test_nor_is_a_quorum_of_the_new_ring() -> None:
    hosts = await hosts_at(CHANGING)
    hosts.network.lose(data_to("n2", "n3"))
    assert (await failure(hosts)).maybe_applied


@in_virtual_time
async def test_with_too_few_replicas_up_it_is_certainly_not_done_and_nothing_was_sent() -> None:
    hosts = await hosts_at()
    hosts.kill(B)
    hosts.kill(C)
    error = await failure(hosts)
    assert not error.maybe_applied
    assert "2 of 3 replicas are needed and 1 are up (n2, n3 down)" in str(error)
    assert holders(hosts) == []


@in_virtual_time
async def test_one_copy_here_and_refusals_elsewhere_may_have_happened() -> None:
    """This node applied it: a later read may find that copy and write it back."""
    hosts = await hosts_at()
    hosts.kill(B, noticed=False)
    hosts.kill(C, noticed=False)
    assert (await failure(hosts)).maybe_applied
    assert holders(hosts) == ["n1"]


@in_virtual_time
async def test_refused_everywhere_before_applying_is_certainly_not_done() -> None:
    hosts = await hosts_at(record(ring(2, 3, 4), number=1))
    for host in hosts.each():
        if host.me != CLIENT_AT:
            host.dispatcher.stopping = True
    assert not (await failure(hosts)).maybe_applied
    assert holders(hosts) == []


@in_virtual_time
async def test_a_lost_reply_may_have_happened() -> None:
    hosts = await hosts_at(record(ring(2, 3, 4), number=1))
    hosts.network.lose_replies(data_to("n2"))
    hosts.kill(C, noticed=False)
    hosts.kill(WHO[3], noticed=False)
    assert (await failure(hosts)).maybe_applied
    assert holders(hosts) == ["n2"]


@in_virtual_time
async def test_below_the_floor_is_refused_and_certainly_not_done() -> None:
    hosts = await hosts_at(record(ring(1, 2, 3), floor=10))
    error = await failure(hosts)
    assert not error.maybe_applied
    assert "floor" in str(error)
    assert holders(hosts) == []


@in_virtual_time
async def test_below_the_floor_it_is_not_tried_until_the_deadline() -> None:
    hosts = await hosts_at(record(ring(1, 2, 3), floor=10))
    began_s = asyncio.get_running_loop().time()
    await failure(hosts, timeout_s=5.0)
    assert asyncio.get_running_loop().time() - began_s < 0.1


@in_virtual_time
async def test_a_write_in_flight_below_a_rising_floor_may_have_happened() -> None:
    """One replica has it already; the others refuse it from now on, and so does that one."""
    hosts = await hosts_at()
    hosts.network.refuse(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(failure(hosts))
    await asyncio.sleep(0.1)
    assert holders(hosts) == ["n1"]
    await hosts.adopt(record(ring(1, 2, 3), floor=10, number=2))
    error = await task
    assert error.maybe_applied
    assert "floor" in str(error)
    assert holders(hosts) == ["n1"]


@in_virtual_time
async def test_it_fails_no_later_than_its_deadline() -> None:
    hosts = await hosts_at()
    hosts.network.lose(data_to("n2", "n3"))
    began_s = asyncio.get_running_loop().time()
    await failure(hosts, timeout_s=0.7)
    assert asyncio.get_running_loop().time() - began_s <= 0.71


@in_virtual_time
async def test_a_write_that_failed_for_a_while_is_tried_again_under_the_same_version() -> None:
    hosts = await hosts_at()
    closed = hosts.network.refuse(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(hosts))
    await asyncio.sleep(0.2)
    assert not task.done()
    closed()
    assert await task == WriteResult(version(1))
    for name in holders(hosts):
        assert hosts[next(i for i in WHO if i.name == name)].engine.get(KEY) == entry(1)


@in_virtual_time
async def test_acknowledgements_of_two_epochs_are_never_added_up() -> None:
    """One each under epochs 1 and 2 is no quorum under either."""
    hosts = await hosts_at()
    second_only = hosts.network.hold(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(hosts, timeout_s=0.6))
    await asyncio.sleep(0.05)
    assert holders(hosts) == ["n1"]
    await hosts[CLIENT_AT].epochs.adopt(following(STABLE, ring(2, 3, 4)))
    hosts.network.lose(data_to("n2", "n3"))
    second_only.release()
    with pytest.raises(OperationTimeout) as caught:
        await task
    assert caught.value.maybe_applied


@in_virtual_time
async def test_when_the_epoch_changes_it_counts_from_zero_with_the_same_version() -> None:
    hosts = await hosts_at()
    held = hosts.network.hold(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(hosts))
    await asyncio.sleep(0.05)
    await hosts.adopt(CHANGING)
    held.release()
    assert await task == WriteResult(version(1))
    plan = plan_write(live_rings(Epoch(CHANGING), KEY), QUORUM)
    for part in plan.acknowledgements:
        assert sum(replica.name in holders(hosts) for replica in part.replicas) >= part.needed


@in_virtual_time
async def test_a_weak_write_is_sent_to_all_and_waits_for_one() -> None:
    hosts = await hosts_at()
    slow = hosts.network.hold(data_to("n2", "n3"))
    assert await write(hosts, Consistency(Level.ONE)) == WriteResult(version(1))
    slow.release()
    await asyncio.sleep(0.1)
    assert holders(hosts) == ["n1", "n2", "n3"]


@in_virtual_time
async def test_a_disk_that_fails_during_the_write_may_have_stored_it() -> None:
    hosts = await hosts_at(record(ring(1)))
    host = hosts[CLIENT_AT]
    host.flushes.clear()
    failing = asyncio.get_running_loop().create_task(failure(hosts))
    await asyncio.sleep(0.01)
    host.engine.break_disk()
    host.flushes.set()
    assert (await failing).maybe_applied
    assert holders(hosts) == ["n1"]


# --- hints for replicas that missed it ---


def hinted(hosts: ReplicaHosts) -> list[str]:
    """For whom the write was kept, in the order it was."""
    assert {(hint.key, hint.entry) for hint in hosts[CLIENT_AT].hints.kept} <= {(KEY, entry(1))}
    return [hint.to.name for hint in hosts[CLIENT_AT].hints.kept]


@in_virtual_time
async def test_a_replica_that_is_down_gets_a_hint() -> None:
    hosts = await hosts_at()
    hosts.kill(C)
    await write(hosts)
    assert hinted(hosts) == ["n3"]


@in_virtual_time
async def test_a_replica_that_fails_before_or_after_the_acknowledgement_gets_a_hint() -> None:
    hosts = await hosts_at(record(ring(1, 2, 3, 4, quorums=Quorums(4, 2, 3))))
    hosts.kill(B, noticed=False)
    hosts.network.lose(data_to("n3"))
    began_s = asyncio.get_running_loop().time()
    await write(hosts)
    assert asyncio.get_running_loop().time() - began_s < 0.05
    await asyncio.sleep(1)
    assert hinted(hosts) == ["n2", "n3"]


@in_virtual_time
async def test_one_whose_disk_cannot_apply_it_gets_a_hint() -> None:
    hosts = await hosts_at()
    hosts[C].hold((KEY, entry(0)))
    hosts[C].engine.flip_bit(KEY)
    await write(hosts)
    await asyncio.sleep(0.1)
    assert hinted(hosts) == ["n3"]


@in_virtual_time
async def test_while_the_ring_changes_replicas_of_either_ring_get_hints() -> None:
    hosts = await hosts_at(CHANGING)
    hosts.kill(B)
    hosts.kill(WHO[3])
    await write(hosts)
    assert hinted(hosts) == ["n2", "n4"]


@in_virtual_time
async def test_replicas_that_took_it_get_no_hint_however_late_they_answer() -> None:
    hosts = await hosts_at()
    slow = hosts.network.hold(data_to("n3"))
    await write(hosts)
    slow.release()
    await asyncio.sleep(1)
    assert hinted(hosts) == []


@in_virtual_time
async def test_a_write_that_is_not_acknowledged_leaves_no_hint() -> None:
    hosts = await hosts_at(CHANGING)
    hosts.network.lose(data_to("n4", "n5"))
    hosts.kill(B)
    assert (await failure(hosts)).maybe_applied
    await asyncio.sleep(1)
    assert hinted(hosts) == []


@in_virtual_time
async def test_a_hint_does_not_count_towards_w() -> None:
    hosts = await hosts_at()
    hosts.kill(B, noticed=False)
    hosts.kill(C, noticed=False)
    await failure(hosts)
    assert hinted(hosts) == []


@in_virtual_time
async def test_a_hint_does_not_count_beside_enough_replicas_that_are_up() -> None:
    """n3 is down and would get a hint; n2 seems up and is silent. One copy and a hint are no two copies."""
    hosts = await hosts_at()
    hosts.kill(C)
    hosts.network.lose(data_to("n2"))
    await failure(hosts)
    await asyncio.sleep(1)
    assert (holders(hosts), hinted(hosts)) == (["n1"], [])


@in_virtual_time
async def test_nor_does_a_weak_acknowledgement_spare_the_others_theirs() -> None:
    hosts = await hosts_at()
    hosts.kill(B)
    hosts.kill(C)
    await write(hosts, Consistency(Level.ONE))
    assert hinted(hosts) == ["n2", "n3"]


@in_virtual_time
async def test_what_failed_under_an_earlier_epoch_gets_none() -> None:
    """Under epoch 1, n2 and n3 were silent; under epoch 2 all of n1, n4 and n5 took the write."""
    hosts = await hosts_at()
    hosts.network.lose(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(hosts))
    await asyncio.sleep(0.05)
    await hosts.adopt(replace(STABLE, number=2, owners=ring(1, 4, 5)))
    await task
    await asyncio.sleep(1)
    assert hinted(hosts) == []


@in_virtual_time
async def test_an_attempt_that_failed_leaves_none_though_the_next_one_succeeds() -> None:
    hosts = await hosts_at()
    closed = hosts.network.refuse(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(hosts))
    await asyncio.sleep(0.1)
    closed()
    await task
    assert hinted(hosts) == []


faults = st.sampled_from(["fine", "lost", "reply lost", "refused", "stopping"])


@settings(max_examples=60, deadline=None)
@given(st.lists(faults, min_size=3, max_size=3), st.booleans())
def test_certainly_not_done_is_never_said_of_what_some_replica_holds(
    drawn: list[str], changing: bool
) -> None:
    async def writes() -> None:
        hosts = await hosts_at(CHANGING if changing else record(ring(2, 3, 4)))
        for fault, name in zip(drawn, ("n2", "n3", "n4"), strict=True):
            if fault == "lost":
                hosts.network.lose(data_to(name))
            elif fault == "reply lost":
                hosts.network.lose_replies(data_to(name))
            elif fault == "refused":
                hosts.network.refuse(data_to(name))
            elif fault == "stopping":
                hosts[next(i for i in WHO if i.name == name)].dispatcher.stopping = True
        plan = plan_write(live_rings(hosts[CLIENT_AT].epochs.current, KEY), QUORUM)  # type: ignore[arg-type]
        claimed = await _claim(hosts)
        if claimed == "done":
            for part in plan.acknowledgements:
                assert sum(replica.name in holders(hosts) for replica in part.replicas) >= part.needed
        elif claimed == "certainly not done":
            assert holders(hosts) == []

    run(writes())


async def _claim(hosts: ReplicaHosts) -> str:
    try:
        await write(hosts, timeout_s=0.5)
    except OperationError as error:
        return "maybe done" if error.maybe_applied else "certainly not done"
    return "done"


@in_virtual_time
async def test_what_one_replica_has_applied_may_have_happened_though_too_few_are_up_to_try_again() -> None:
    hosts = await hosts_at()

    def refused(message: Message) -> bool:
        if message.target not in ("n2", "n3"):
            return False
        hosts.down |= {B, C}
        return True

    hosts.network.refuse(refused)
    assert (await failure(hosts)).maybe_applied
    assert holders(hosts) == ["n1"]


@in_virtual_time
async def test_a_write_that_fails_leaves_no_hint() -> None:
    hosts = await hosts_at()
    hosts.network.lose(data_to("n2", "n3"))
    await failure(hosts)
    await asyncio.sleep(10.0)
    assert hosts[CLIENT_AT].hints.kept == []
