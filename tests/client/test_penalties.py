"""The penalty box; no network, no clock."""

from __future__ import annotations

from covey.client.penalties import FIRST_PENALTY_S, FORGIVEN_AFTER_S, MAX_PENALTY_S, NodeBackoff


def test_penalties_double_up_to_a_limit_and_a_success_ends_them() -> None:
    box, now, lengths = NodeBackoff(), 0.0, []
    for _ in range(8):
        box.failed("a", now)
        lengths.append(box.until("a", now) - now)
        now = box.until("a", now)
    assert lengths[:3] == [FIRST_PENALTY_S, FIRST_PENALTY_S * 2, FIRST_PENALTY_S * 4]
    assert lengths[-1] == MAX_PENALTY_S
    box.succeeded("a")
    assert box.until("a", now) == 0


def test_failures_at_the_same_time_count_once() -> None:
    box = NodeBackoff()
    for _ in range(100):
        box.failed("a", 1.0)
    assert box.until("a", 1.0) == 1.0 + FIRST_PENALTY_S


def test_old_failures_are_forgiven() -> None:
    box = NodeBackoff()
    box.failed("a", 0.0)
    box.failed("a", FIRST_PENALTY_S)
    later = FIRST_PENALTY_S + FORGIVEN_AFTER_S + 1
    box.failed("a", later)
    assert box.until("a", later) == later + FIRST_PENALTY_S


def test_the_pause_a_node_asks_for_is_kept() -> None:
    box = NodeBackoff()
    box.failed("a", 0.0, at_least_s=20.0)
    assert box.until("a", 0.0) == 20.0
