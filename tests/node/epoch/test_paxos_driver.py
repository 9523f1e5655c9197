from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.messages.control import Accept, Prepare, PushRecord
from covey.ring.paxos import Ballot
from covey.ring.succession import abort, begin, finish
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support.replicas import ReplicaHosts
from tests.support.rings import identities, record, ring

A, B, C, JOINER = identities(4)
BASE = record(ring(1, 2, 3))
GROWN = begin(BASE, ring(1, 2, 3, 4))
SHRUNK = begin(BASE, ring(1, 2))


async def at_base() -> ReplicaHosts:
    hosts = ReplicaHosts(A, B, C, JOINER)
    await hosts.adopt(BASE)
    return hosts


def numbers(hosts: ReplicaHosts) -> list[int]:
    return [host.epochs.number for host in hosts.each()]


@in_virtual_time
async def test_a_chosen_record_is_adopted_by_its_proposer_and_pushed_to_everyone_alive() -> None:
    hosts = await at_base()
    assert await hosts[B].agreement.propose(BASE, GROWN) == GROWN
    assert [host.epochs.record for host in hosts.each()] == [GROWN] * 4


@in_virtual_time
async def test_a_majority_of_the_owners_is_enough() -> None:
    hosts = await at_base()
    hosts.kill(C)
    assert await hosts[A].agreement.propose(BASE, GROWN) == GROWN


@in_virtual_time
async def test_a_silent_owner_holds_nothing_up_longer_than_its_timeout() -> None:
    hosts = await at_base()
    hosts.network.lose(lambda message: message.target == "n3")
    await hosts[A].agreement.propose(BASE, GROWN)
    assert asyncio.get_running_loop().time() < 1


@in_virtual_time
async def test_a_minority_chooses_nothing() -> None:
    hosts = await at_base()
    hosts.kill(B)
    hosts.kill(C)
    assert await hosts[A].agreement.propose(BASE, GROWN) is None
    assert set(numbers(hosts)) == {1}


@in_virtual_time
async def test_successors_have_no_vote() -> None:
    """Else two majorities need not meet: the owners choose one record, the successors another."""
    hosts = await at_base()
    await hosts.adopt(GROWN)
    hosts.kill(B)
    hosts.kill(C)
    assert await hosts[JOINER].agreement.propose(GROWN, finish(GROWN)) is None
    assert set(numbers(hosts)) == {2}


@in_virtual_time
async def test_what_may_have_been_chosen_before_is_chosen_again_instead_of_one_s_own() -> None:
    hosts = await at_base()
    ballot = Ballot(3, C)
    for owner in (B, C):
        await hosts[owner].epochs.prepare(BASE, ballot)
        await hosts[owner].epochs.accept(BASE.stamp, ballot, GROWN, False, [], [])
    assert await hosts[A].agreement.propose(BASE, SHRUNK) == GROWN


@in_virtual_time
async def test_a_higher_promise_is_outbid_after_a_pause() -> None:
    hosts = await at_base()
    for owner in (A, B, C):
        await hosts[owner].epochs.prepare(BASE, Ballot(7, C))
    assert await hosts[A].agreement.propose(BASE, GROWN) == GROWN


@in_virtual_time
async def test_an_owner_that_knows_more_ends_the_attempt_and_its_record_is_adopted() -> None:
    hosts = await at_base()
    await hosts.adopt(GROWN, B)
    assert await hosts[A].agreement.propose(BASE, SHRUNK) is None
    assert hosts[A].epochs.record == GROWN


@in_virtual_time
async def test_owners_that_know_less_are_brought_up_by_the_prepare() -> None:
    hosts = await at_base()
    await hosts.adopt(GROWN, A)
    assert await hosts[A].agreement.propose(GROWN, abort(GROWN)) == abort(GROWN)
    assert numbers(hosts)[:3] == [3, 3, 3]


@in_virtual_time
async def test_a_proposal_on_a_base_that_has_passed_here_asks_nobody() -> None:
    hosts = await at_base()
    await hosts.adopt(GROWN, A)
    asked = hosts.network.hold(lambda message: isinstance(message.request.body, Prepare))
    assert await hosts[A].agreement.propose(BASE, SHRUNK) is None
    assert asked.held == []


@in_virtual_time
async def test_acceptors_spare_an_owner_that_they_see_alive() -> None:
    hosts = await at_base()
    assert await hosts[A].agreement.propose(BASE, SHRUNK) is None
    hosts.down.add(C)
    assert await hosts[A].agreement.propose(BASE, SHRUNK) == SHRUNK


@in_virtual_time
async def test_who_misses_the_push_is_left_to_gossip() -> None:
    hosts = await at_base()
    hosts.network.lose(lambda m: m.target == "n4" and isinstance(m.request.body, PushRecord))
    assert await hosts[A].agreement.propose(BASE, GROWN) == GROWN
    assert hosts[JOINER].epochs.number == 1


@in_virtual_time
async def test_a_cancelled_proposal_leaves_no_call_behind() -> None:
    hosts = await at_base()
    hosts.network.lose(lambda message: True)
    task = asyncio.get_running_loop().create_task(hosts[A].agreement.propose(BASE, GROWN))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await hosts[A].epochs.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([A, B, C, JOINER]), min_size=2, max_size=4, unique=True),
    st.sets(st.integers(0, 60), max_size=25),
)
def test_duels_over_a_lossy_network_choose_one_record(duellists: list[Identity], lost: set[int]) -> None:
    async def duel() -> None:
        hosts = await at_base()
        sent = iter(range(10**6))
        hosts.network.lose(
            lambda message: isinstance(message.request.body, Prepare | Accept) and next(sent) in lost
        )
        hosts.down.update({C})
        proposals = [GROWN, SHRUNK, GROWN, SHRUNK]
        chosen = await asyncio.gather(
            *(
                hosts[who].agreement.propose(BASE, proposal)
                for who, proposal in zip(duellists, proposals, strict=False)
            )
        )
        assert len({found.stamp for found in chosen if found is not None}) <= 1
        assert len({s.epochs.stamp for s in hosts.each() if s.epochs.number == 2}) <= 1

    run(duel())
