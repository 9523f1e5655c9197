from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.membership.record import LoadReport
from covey.node.epochs import Epoch
from covey.node.operations import QUORUM
from covey.node.quorum.consistency import plan_read
from covey.node.quorum.ranking import expected_wait_ms, fewest_for, rank
from covey.node.quorum.tally import Requirement, replicas_of, satisfied
from tests.support.rings import epochs, identities, identity

ME, A, B, C = identities(4)


def test_this_node_comes_first_however_busy() -> None:
    busy = LoadReport(queue_depth=1000, service_time_ms=50)
    assert rank([A, ME], ME, lambda _: busy)[0] == ME


def test_the_others_come_by_expected_wait() -> None:
    loads = {A: LoadReport(queue_depth=9, service_time_ms=1), B: LoadReport(service_time_ms=1)}
    assert rank([A, B], ME, loads.get) == [B, A]


def test_equals_keep_the_order_of_the_list() -> None:
    assert rank([C, A, B], ME, lambda _: None) == [C, A, B]


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
    requirements = plan_read(epoch, key, QUORUM).replies
    ranked = [r for r in replicas_of(requirements) if r.disk_id not in down]
    shuffler.shuffle(ranked)  # type: ignore[attr-defined]
    chosen = fewest_for(requirements, ranked)
    assert chosen == [r for r in ranked if r in chosen], "in the order of the ranking, each once"
    assert satisfied(requirements, set(chosen)) == satisfied(requirements, set(ranked))
    for index, replica in enumerate(chosen):
        before = set(chosen[:index])
        assert any(_short(part, before) and replica in part.replicas for part in requirements)


def _short(part: Requirement, answered: set[Identity]) -> bool:
    return sum(replica in answered for replica in part.replicas) < part.needed


def test_one_that_serves_both_rings_is_asked_once() -> None:
    both = [Requirement((A, B), 1), Requirement((B, C), 1)]
    assert fewest_for(both, [B, A, C]) == [B]
    assert fewest_for(both, [identity(9), A, B, C]) == [A, B]
