"""Record k + 1 is chosen by Paxos among the owners of record k only (docs/ring-changes.md, rule 3)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from covey.node.messages.control import Accept, Prepare, PushRecord
from covey.node.messages.data import DataBatch, DataReply, Read, Scan
from covey.node.messages.membership import GossipDelta, GossipSyn
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.paxos import AcceptorReply, Ballot
from covey.ring.succession import abort, begin, finish, raise_floor
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message
from tests.simulator.scenario import carrying
from tests.simulator.virtual_time import in_virtual_time

SOON_S = 0.05


async def promise(
    cluster: SimulatedCluster, acceptor: str, base: EpochRecord, ballot: Ballot
) -> AcceptorReply:
    answer = await cluster.ask(ballot.proposer.name, acceptor, Prepare(base, ballot))
    assert isinstance(answer, AcceptorReply)
    return answer


async def vote(
    cluster: SimulatedCluster,
    acceptor: str,
    base: EpochRecord,
    ballot: Ballot,
    proposal: EpochRecord,
    *,
    bound: bool = False,
) -> AcceptorReply:
    message = Accept(base.stamp, ballot, proposal, bound)
    answer = await cluster.ask(ballot.proposer.name, acceptor, message)
    assert isinstance(answer, AcceptorReply)
    return answer


async def propose(cluster: SimulatedCluster, via: str, base: EpochRecord, proposal: EpochRecord) -> object:
    return await cluster.nodes[via].running._agreement.propose(base, proposal)


def without(record: EpochRecord, name: str) -> EpochRecord:
    """The record that begins to evict a node."""
    owners = {identity: owner for identity, owner in record.owners.owners.items() if identity.name != name}
    return begin(record, RingSpec(owners, record.owners.quorums))


def alive_as_seen_by(cluster: SimulatedCluster, name: str) -> set[str]:
    node = cluster.nodes[name].running
    return {m.identity.name for m in node.members.all() if not node.members.is_down(m.identity)}


# --- who votes ---


@in_virtual_time
async def test_successors_neither_vote_nor_choose() -> None:
    """Two of three owners are on one side, the third one with three successors on the other: only the first
    side can end the change, or both would, one by an abort and the other by a finish."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        resume = cluster.network.lose(carrying(Prepare))
        joiners = [f"n{i}" for i in range(4, 7)]
        for name in joiners:
            cluster.add(name, ["n1:1"])
        await cluster.until(lambda: len(alive_as_seen_by(cluster, "n1")) == 6, "n1 knows everyone")
        pulls = cluster.network.hold(carrying(Scan))
        resume()
        await cluster.until(
            lambda: all(cluster.epoch(name) == 2 for name in cluster.nodes), "the change has begun everywhere"
        )
        changing = cluster.record("n3")
        assert changing.successors is not None
        assert len(changing.successors.owners) == 6
        cluster.network.partition({"n1", "n2"}, {"n3", *joiners})
        pulls.release()
        for name in ("n3", "n4"):
            assert await propose(cluster, name, changing, finish(changing)) is None, (
                "a side without a majority"
            )
        for name in joiners:
            ballot = Ballot(9, cluster.nodes["n3"].identity)
            assert not (await promise(cluster, name, changing, ballot)).granted
            assert not (await vote(cluster, name, changing, ballot, finish(changing))).granted
        assert cluster.epoch("n3") == 2
        await propose(cluster, "n1", changing, abort(changing))
        assert cluster.epoch("n1") > 2, "the owners choose by themselves, also while changing"


@in_virtual_time
async def test_an_acceptor_that_knows_a_later_record_answers_with_it() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(3)
        base = cluster.record()
        await propose(cluster, "n2", base, raise_floor(base, 1))
        answer = await promise(cluster, "n2", base, Ballot(9, n1.identity))
        assert (answer.granted, answer.newer) == (False, raise_floor(base, 1))


@in_virtual_time
async def test_an_acceptor_that_is_behind_adopts_the_base_and_then_votes() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, _, n3 = await cluster.form(3)
        base = raise_floor(cluster.record(), 1)
        assert (await promise(cluster, "n3", base, Ballot(1, n1.identity))).granted
        await n3.crash(power=True)
        n3.restart()
        assert cluster.record("n3") == base, "adopted on disk before it promised"


# --- what must be on disk before the answer ---


@in_virtual_time
async def test_a_promise_outlives_a_power_failure_right_after_it() -> None:
    """n1 and n2 promised a low ballot, n2 and n3 then a high one. Were n2 to forget that, the votes of
    n1 and n2 would choose one record, and those of n2 and n3 another."""
    async with SimulatedCluster(1) as cluster:
        n1, n2, n3 = await cluster.form(3)
        base = cluster.record()
        low, high = Ballot(1, n1.identity), Ballot(2, n3.identity)
        one, other = raise_floor(base, 1), raise_floor(base, 2)
        for name, ballot in (("n1", low), ("n2", low), ("n3", high), ("n2", high)):
            answer = await promise(cluster, name, base, ballot)
            assert answer.granted
            assert answer.accepted is None
        await n2.crash(power=True)
        n2.restart()
        await cluster.wait_active("n2")
        votes_for_one = [(await vote(cluster, name, base, low, one)).granted for name in ("n1", "n2")]
        votes_for_other = [(await vote(cluster, name, base, high, other)).granted for name in ("n2", "n3")]
        assert (votes_for_one, votes_for_other) == ([True, False], [True, True])


@in_virtual_time
async def test_a_vote_outlives_a_power_failure_right_after_it() -> None:
    """n1 and n2 chose a record. Who asks n2 and n3 next must hear of it, or would have another one chosen."""
    async with SimulatedCluster(1) as cluster:
        n1, n2, n3 = await cluster.form(3)
        base = cluster.record()
        low, high = Ballot(1, n1.identity), Ballot(2, n3.identity)
        chosen = raise_floor(base, 1)
        for name in ("n1", "n2"):
            await promise(cluster, name, base, low)
        for name in ("n1", "n2"):
            assert (await vote(cluster, name, base, low, chosen)).granted
        await n2.crash(power=True)
        n2.restart()
        await cluster.wait_active("n2")
        answer = await promise(cluster, "n2", base, high)
        assert answer.granted
        assert (answer.accepted_ballot, answer.accepted) == (low, chosen)
        await n1.crash()
        await cluster.until(lambda: alive_as_seen_by(cluster, "n3") >= {"n2", "n3"}, "n3 hears n2 again")
        assert await propose(cluster, "n3", base, raise_floor(base, 2)) == chosen


@in_virtual_time
async def test_a_record_is_on_disk_before_anything_is_answered_under_it() -> None:
    """Otherwise a node that has reported leaving an epoch could be back in it after a power failure."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        n2 = cluster.nodes["n2"]
        record = raise_floor(cluster.record(), 1)
        adopting = asyncio.create_task(cluster.ask("n1", "n2", PushRecord(record)))
        reply: object = None
        while not isinstance(reply, DataReply):
            await asyncio.sleep(0)
            reply = await cluster.ask("n1", "n2", DataBatch(record.stamp, (Read(b"k"),)))
        await n2.crash(power=True)
        await adopting
        n2.restart()
        assert cluster.record("n2") == record


# --- what acceptors refuse ---


def illegal_after(record: EpochRecord) -> dict[str, EpochRecord]:
    """Records that must not follow a stable one."""
    owners, quorums = record.owners.owners, record.owners.quorums
    first = min(owners)
    fewer = RingSpec({i: owner for i, owner in owners.items() if i != first}, quorums)
    tokens = {**owners, first: Owner((1, 2, 3))}
    following = replace(record, number=record.number + 1)
    return {
        "nothing changes": following,
        "a number is skipped": replace(raise_floor(record, record.floor + 1), number=record.number + 2),
        "the same number again": replace(raise_floor(record, record.floor + 1), number=record.number),
        "another cluster": replace(raise_floor(record, record.floor + 1), cluster_id="another"),
        "the floor sinks": replace(following, floor=record.floor - 1),
        "N, W, R on the spot": replace(following, owners=replace(record.owners, quorums=Quorums(3, 3, 1))),
        "owners on the spot": replace(following, owners=fewer),
        "tokens on the spot": replace(following, owners=RingSpec(tokens, quorums)),
        "begin and raise the floor": replace(
            begin(record, RingSpec(tokens, quorums)), floor=record.floor + 1
        ),
        "begin with weak quorums": begin(record, RingSpec(owners, Quorums(3, 1, 1))),
    }


def illegal_while_changing(record: EpochRecord) -> dict[str, EpochRecord]:
    """Records that must not follow one with successors."""
    assert record.successors is not None
    following = replace(record, number=record.number + 1)
    other = RingSpec(dict(record.owners.owners), Quorums(3, 2, 3))
    return {
        "other successors": replace(following, successors=other),
        "the floor rises": replace(following, floor=record.floor + 1),
        "finish with others": replace(following, owners=other, successors=None),
        "finish and raise the floor": replace(finish(record), floor=record.floor + 1),
        "abort and raise the floor": replace(abort(record), floor=record.floor + 1),
    }


@in_virtual_time
async def test_acceptors_refuse_what_must_not_follow() -> None:
    """Bound or not: nothing of the kind can have been accepted before."""
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(3)
        stable = raise_floor(cluster.record(), 7)
        changing = begin(stable, RingSpec(dict(stable.owners.owners), Quorums(3, 3, 2)))
        rounds = iter(range(1, 1000))
        for base, proposals in (
            (stable, illegal_after(stable)),
            (changing, illegal_while_changing(changing)),
        ):
            for what, proposal in proposals.items():
                for bound in (False, True):
                    ballot = Ballot(next(rounds), n1.identity)
                    assert (await promise(cluster, "n2", base, ballot)).granted
                    answer = await vote(cluster, "n2", base, ballot, proposal, bound=bound)
                    assert not answer.granted, what


@in_virtual_time
async def test_nobody_evicts_a_node_that_is_seen_alive() -> None:
    """However sure the proposer is; each acceptor judges by its own view."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(4)
        base = cluster.record()
        for via in ("n1", "n4"):
            assert await propose(cluster, via, base, without(base, "n4")) is None
        await cluster.nodes["n4"].crash()
        await cluster.until(lambda: "n4" not in alive_as_seen_by(cluster, "n2"), "n4 is down")
        await cluster.until(lambda: "n4" not in alive_as_seen_by(cluster, "n3"), "n4 is down")
        assert await propose(cluster, "n1", base, without(base, "n4")) == without(base, "n4")


@in_virtual_time
async def test_an_eviction_that_was_accepted_goes_through_although_the_node_is_back() -> None:
    """It may have been chosen already; were it refused now, nothing could ever be agreed again."""
    async with SimulatedCluster(1) as cluster:
        n1, _, _, n4 = await cluster.form(4)
        base = cluster.record()
        eviction = without(base, "n4")
        await n4.crash()
        await cluster.until(lambda: "n4" not in alive_as_seen_by(cluster, "n1"), "n4 is down")
        ballot = Ballot(1, n1.identity)
        await promise(cluster, "n1", base, ballot)
        assert (await vote(cluster, "n1", base, ballot, eviction)).granted
        n4.restart()
        await cluster.until(
            lambda: all(len(alive_as_seen_by(cluster, name)) == 4 for name in cluster.nodes), "n4 is back"
        )
        await cluster.nodes["n3"].crash()  # so that every majority has n1 in it
        assert await propose(cluster, "n2", base, raise_floor(base, 1)) == eviction


# --- choosing, and telling ---


@pytest.mark.parametrize("seed", range(8))
@in_virtual_time
async def test_of_proposals_that_race_exactly_one_is_chosen(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        await cluster.form(3)
        base = cluster.record()
        stop_losing = cluster.network.lose_replies(lambda message: cluster.rng.random() < 0.1)
        proposals = [raise_floor(base, floor) for floor in (1, 2, 3)]
        outcomes = await asyncio.gather(
            *(propose(cluster, name, base, p) for name, p in zip(("n1", "n2", "n3"), proposals, strict=True))
        )
        stop_losing()
        chosen = {record for record in outcomes if record is not None}
        assert len(chosen) <= 1, f"seed {seed}: {chosen}"
        await propose(cluster, "n1", base, raise_floor(base, 4))
        await cluster.until(lambda: len({cluster.record(name) for name in cluster.nodes}) == 1, "agreement")
        assert chosen <= {cluster.record()}, f"seed {seed}"
        assert cluster.record().number == 2, f"seed {seed}"


@in_virtual_time
async def test_an_attempt_whose_votes_were_lost_is_made_up_for_by_the_same_proposer() -> None:
    """The acceptors keep their promises: the next attempt must use a ballot above its own."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(3)
        base = cluster.record()
        end = cluster.network.lose(carrying(Accept))
        assert await propose(cluster, "n1", base, raise_floor(base, 1)) is None
        end()
        assert await propose(cluster, "n1", base, raise_floor(base, 1)) == raise_floor(base, 1)


@in_virtual_time
async def test_a_chosen_record_is_pushed_to_everyone_at_once() -> None:
    """Nobody needs gossip to hear of it."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(4)
        base = cluster.record()
        cluster.network.lose(carrying(GossipSyn, GossipDelta))
        await propose(cluster, "n1", base, raise_floor(base, 1))
        await asyncio.sleep(SOON_S)
        assert [cluster.epoch(name) for name in cluster.nodes] == [base.number + 1] * 4


@in_virtual_time
async def test_a_node_that_missed_records_skips_to_the_newest() -> None:
    """The node also serves under it; the sender need not have taken part in choosing it."""
    async with SimulatedCluster(1) as cluster:
        await cluster.form(4)
        base = record = cluster.record()

        def concerns_n4(message: Message) -> bool:
            return "n4" in (message.source, message.target)

        heal = cluster.network.lose(concerns_n4)
        for floor in range(1, 6):
            following = raise_floor(record, floor)
            assert await propose(cluster, "n1", record, following) == following
            record = following
        assert cluster.epoch("n4") == base.number
        heal()
        await cluster.until(lambda: cluster.epoch("n4") == record.number, "n4 has caught up")
        adopted = [fields["epoch"] for fields in cluster.events("epoch.adopted", "n4")]
        assert adopted == [1, record.number]
        await cluster.put("n4", b"k", b"v")
        assert await cluster.get("n1", b"k") == b"v"
