from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.membership.record import LoadReport
from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.quorum.consistency import QUORUM, plan_read
from covey.quorum.counter import Requirement, replicas_of, satisfied
from covey.quorum.ranking import (
    MAX_BACKOFF_S,
    MIN_BACKOFF_S,
    HedgeBudget,
    ReplicaRanking,
    expected_wait_ms,
    smallest_quorum,
)
from tests.support.rings import epochs, identities, identity

ME, A, B, C = identities(4)


SECOND_S = 1.0


def ranking_after(**response_ms: float) -> ReplicaRanking:
    """Return a ranking of replicas that have answered for a while in these milliseconds."""
    ranking = ReplicaRanking()
    for name, took_ms in response_ms.items():
        for _ in range(50):
            reply(ranking, NAMED[name], took_ms)
    return ranking


def reply(
    ranking: ReplicaRanking, replica: Identity, took_ms: float, operations: int = 10, at_s: float = 0.0
) -> None:
    ranking.sent(replica, operations)
    ranking.replied(replica, operations, took_ms / 1000, 0, 0.01, at_s)


NAMED = {"a": A, "b": B, "c": C}


def test_a_slow_replica_is_expected_to_take_longer() -> None:
    ranking = ranking_after(a=1.0, b=100.0)
    assert ranking.expected_ms(A, None, 0.0) < ranking.expected_ms(B, None, 0.0)


def test_a_replica_that_answers_nothing_falls_behind_as_work_gathers_there() -> None:
    ranking = ranking_after(a=1.0, b=1.0)
    ranking.sent(B, 2000)
    assert ranking.expected_ms(B, None, 0.0) > 10 * ranking.expected_ms(A, None, 0.0)


def test_operations_that_failed_do_not_stay_outstanding() -> None:
    ranking = ranking_after(a=1.0, b=1.0)
    before = ranking.expected_ms(B, None, 0.0)
    ranking.sent(B, 2000)
    ranking.failed(B, 2000)
    assert ranking.expected_ms(B, None, 0.0) == before


def test_a_replica_never_asked_is_judged_by_the_load_it_gossips() -> None:
    load = LoadReport(queue_depth=9, service_time_ms=1)
    assert ReplicaRanking().expected_ms(A, load, 0.0) == expected_wait_ms(load)


def test_old_replies_give_way_to_gossiped_load() -> None:
    ranking = ranking_after(b=1000.0)
    assert ranking.expected_ms(B, None, 60.0) == pytest.approx(expected_wait_ms(None), rel=0.01)


def test_a_replica_that_returned_is_asked_less_for_a_while() -> None:
    ranking = ranking_after(a=1.0, b=1.0)
    ranking.returned(B, 0.0)
    reply(ranking, B, 1.0)
    assert ranking.expected_ms(B, None, 0.0) > 2 * ranking.expected_ms(A, None, 0.0)
    for replica in (A, B):
        reply(ranking, replica, 1.0, at_s=10 * SECOND_S)
    assert ranking.expected_ms(B, None, 10 * SECOND_S) < 1.5 * ranking.expected_ms(A, None, 10 * SECOND_S)


def test_patience_follows_what_is_usual() -> None:
    assert 0.005 < ranking_after(a=10.0, b=10.0).patience_s([A, B]) < 0.03


def test_a_replica_that_hangs_does_not_lengthen_the_patience() -> None:
    ranking = ranking_after(a=10.0, b=2000.0)
    assert ranking.patience_s([B]) < 0.05


def test_about_one_reply_in_twenty_takes_longer_than_the_patience() -> None:
    ranking, rng = ReplicaRanking(), random.Random(1)
    late = 0
    for number in range(4000):
        took_ms = rng.lognormvariate(2.5, 0.4)
        late += number >= 1000 and took_ms / 1000 > ranking.patience_s([A])
        reply(ranking, A, took_ms)
    assert 0.02 < late / 3000 < 0.1


@given(st.lists(st.integers(0, 50), max_size=50))
def test_no_more_than_a_twentieth_of_all_reads_is_hedged(wanted: list[int]) -> None:
    budget, reads, hedged = HedgeBudget(burst=10), 0, 0
    for count in wanted:
        budget.earn(count)
        reads += count
        hedged += budget.spend(count)
    assert hedged <= 10 + reads * 0.05


def test_reads_of_one_batch_are_hedged_all_or_not_yet() -> None:
    budget = HedgeBudget(burst=10)
    assert budget.spend(7) == 7
    assert budget.spend(7) == 0
    budget.earn(100)
    assert budget.spend(7) == 7


def test_more_reads_than_are_ever_saved_for_are_hedged_in_part() -> None:
    assert HedgeBudget(burst=10).spend(25) == 10


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.1, 100), st.integers(0, 50), st.integers(0, 50))
def test_more_work_ahead_never_means_a_shorter_wait(
    queue: int, in_flight: int, service_ms: float, more_queue: int, more_in_flight: int
) -> None:
    before = LoadReport(in_flight, queue, service_ms)
    after = LoadReport(in_flight + more_in_flight, queue + more_queue, service_ms)
    assert expected_wait_ms(after) >= expected_wait_ms(before)


@settings(deadline=None)
@given(epochs(), st.binary(min_size=1, max_size=3), st.sets(st.integers(1, 8)), st.randoms())
def test_the_chosen_satisfy_every_ring_if_the_ranked_can_and_each_of_them_helps(
    epoch: Epoch, key: bytes, down: set[int], shuffler: object
) -> None:
    requirements = plan_read(live_rings(epoch, key), QUORUM).replies
    ranked = [r for r in replicas_of(requirements) if r.disk_id not in down]
    shuffler.shuffle(ranked)  # type: ignore[attr-defined]
    chosen = smallest_quorum(requirements, ranked)
    assert chosen == [r for r in ranked if r in chosen], "in the order of the ranking, each once"
    assert satisfied(requirements, set(chosen)) == satisfied(requirements, set(ranked))
    for index, replica in enumerate(chosen):
        before = set(chosen[:index])
        assert any(_short(part, before) and replica in part.replicas for part in requirements)


def _short(part: Requirement, answered: set[Identity]) -> bool:
    return sum(replica in answered for replica in part.replicas) < part.needed


def test_one_that_serves_both_rings_is_asked_once() -> None:
    both = [Requirement((A, B), 1), Requirement((B, C), 1)]
    assert smallest_quorum(both, [B, A, C]) == [B]
    assert smallest_quorum(both, [identity(9), A, B, C]) == [A, B]


def unreachable(ranking: ReplicaRanking, replica: Identity, at_s: float) -> None:
    ranking.sent(replica, 10)
    ranking.unreachable(replica, 10, at_s)


def test_an_unreachable_replica_comes_last_for_a_moment() -> None:
    ranking = ranking_after(a=1000.0, b=1.0)
    unreachable(ranking, B, 0.0)
    assert ranking.is_backed_off(B, 0.0) and not ranking.is_backed_off(A, 0.0)
    assert ranking.expected_ms(B, None, 0.0) > ranking.expected_ms(A, None, 0.0)
    assert not ranking.is_backed_off(B, MIN_BACKOFF_S)
    assert ranking.expected_ms(B, None, MIN_BACKOFF_S) < ranking.expected_ms(A, None, 0.0)


def test_the_backoff_doubles_up_to_a_bound() -> None:
    ranking, now_s, moments_s = ReplicaRanking(), 0.0, []
    for _ in range(8):
        unreachable(ranking, A, now_s)
        began_s = now_s
        while ranking.is_backed_off(A, now_s):
            now_s += 0.01
        moments_s.append(round(now_s - began_s, 3))
    assert moments_s == sorted(moments_s)
    assert moments_s[0] == pytest.approx(MIN_BACKOFF_S, abs=0.02)
    assert moments_s[-1] == pytest.approx(MAX_BACKOFF_S, abs=0.02)


def test_a_reply_ends_the_backoff() -> None:
    ranking = ReplicaRanking()
    for _ in range(5):
        unreachable(ranking, A, 0.0)
    reply(ranking, A, 1.0)
    assert not ranking.is_backed_off(A, 0.0)
    unreachable(ranking, A, 0.0)
    assert not ranking.is_backed_off(A, MIN_BACKOFF_S)
