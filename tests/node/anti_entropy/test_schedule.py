from __future__ import annotations

import random
from itertools import pairwise

import pytest

from covey.identity import Identity
from covey.node.anti_entropy.schedule import FOLLOWER_DELAY_S, MAX_START_DELAY_S, PendingComparison, Schedule
from tests.support.rings import identities

FIRST, ME, LAST = identities(3)
PROMPTLY_S = FOLLOWER_DELAY_S + MAX_START_DELAY_S


def schedule_at(now: float = 100.0, interval_s: float = 30.0) -> Schedule:
    schedule = Schedule(ME, interval_s, random.Random(1))
    schedule.set_peers([FIRST, LAST], now)
    return schedule


def all_up(_: Identity) -> bool:
    return True


def taken(schedule: Schedule, now: float) -> list[Identity]:
    """Return the peers that are due; each comparison completes at once."""
    found = []
    while (due := schedule.take(now, all_up)) is not None:
        schedule.completed(*due)
        found.append(due[0])
    return found


def test_no_peer_is_due_before_the_interval() -> None:
    assert taken(schedule_at(), 100.0 + 30.0 * 0.7) == []


def test_the_round_visits_every_peer_once_before_any_again() -> None:
    schedule, now, visited = schedule_at(), 100.0, []
    while len(visited) < 20:
        now += 1.0
        visited += taken(schedule, now)
    assert all({*visited[i : i + 2]} == {FIRST, LAST} for i in range(0, 20, 2))
    assert 20 * 30 * 0.75 <= now - 100.0 <= 20 * 30 * 1.25 + 20


def test_a_marked_peer_is_due_soon_and_only_once() -> None:
    schedule = schedule_at()
    schedule.mark(LAST, 100.0)
    assert schedule.pending(all_up) == [LAST]
    assert taken(schedule, 100.0 + MAX_START_DELAY_S) == [LAST]
    assert schedule.pending(all_up) == []


def test_the_node_with_the_higher_identity_waits_for_the_other_to_begin() -> None:
    schedule = schedule_at()
    schedule.mark(FIRST, 100.0)
    assert taken(schedule, 100.0 + FOLLOWER_DELAY_S * 0.99) == []
    assert taken(schedule, 100.0 + PROMPTLY_S) == [FIRST]


def test_a_mark_while_a_comparison_runs_makes_another_pending() -> None:
    schedule = schedule_at()
    schedule.mark(LAST, 100.0)
    due = schedule.take(101.0, all_up)
    assert due is not None
    schedule.mark(LAST, 101.0)
    schedule.completed(*due)
    assert schedule.pending(all_up) == [LAST]


def test_a_failed_comparison_stays_pending_and_is_retried_after_growing_pauses() -> None:
    schedule, now, pauses = schedule_at(interval_s=10_000.0), 100.0, []
    schedule.failed(LAST, None, now)
    for _ in range(8):
        due_at = schedule.next_at(all_up)
        pauses.append(due_at - now)
        now = due_at
        due = schedule.take(now, all_up)
        assert due is not None
        schedule.failed(*due, now)
    assert pauses[0] < 2
    assert all(later > earlier for earlier, later in pairwise(pauses[:5]))
    assert max(pauses) < 40


def test_a_postponed_comparison_does_not_count_as_a_failure() -> None:
    schedule, now = schedule_at(), 100.0
    schedule.mark(LAST, now)
    for _ in range(8):
        now = schedule.next_at(all_up)
        due = schedule.take(now, all_up)
        assert due is not None
        schedule.postponed(*due, now)
        assert schedule.next_at(all_up) - now < 2


def test_a_peer_that_is_down_is_neither_due_nor_counted_and_stays_pending() -> None:
    schedule = schedule_at()
    schedule.mark(LAST, 100.0)
    down = {LAST}
    assert schedule.pending(lambda peer: peer not in down) == []
    assert schedule.take(110.0, lambda peer: peer not in down) is None
    down.clear()
    assert taken(schedule, 110.0) == [LAST]


def test_nothing_is_pending_with_a_former_peer() -> None:
    schedule = schedule_at()
    schedule.mark(LAST, 100.0)
    schedule.set_peers([FIRST], 100.0)
    assert schedule.pending(all_up) == []
    schedule.mark(LAST, 100.0)
    assert schedule.pending(all_up) == []


def test_without_an_interval_only_marked_peers_are_due() -> None:
    schedule = schedule_at(interval_s=0)
    assert not schedule.automatic
    assert taken(schedule, 1e9) == []
    schedule.mark(LAST, 1e9)
    assert taken(schedule, 1e9 + 1) == [LAST]


@pytest.mark.parametrize("pending", [None, PendingComparison(0.0)])
def test_a_failure_of_an_older_comparison_does_not_delay_a_newer_one(
    pending: PendingComparison | None,
) -> None:
    schedule = schedule_at()
    schedule.mark(LAST, 100.0)
    schedule.failed(LAST, pending, 100.0)
    assert taken(schedule, 100.0 + MAX_START_DELAY_S) == [LAST]
