"""Backoff of nodes that failed; no network, no clock."""

from __future__ import annotations

import pytest

from covey.quorum.node_backoff import NodeBackoff

FIRST_S, MAX_S, FORGIVEN_AFTER_S = 0.5, 15.0, 30.0


def backoff_of(*, merge_concurrent: bool = True) -> NodeBackoff[str]:
    return NodeBackoff(FIRST_S, MAX_S, forgiven_after_s=FORGIVEN_AFTER_S, merge_concurrent=merge_concurrent)


def test_each_failure_doubles_the_backoff_up_to_a_limit_and_a_success_ends_it() -> None:
    backoff, now_s, lengths = backoff_of(), 0.0, []
    for _ in range(8):
        backoff.failed("a", now_s)
        lengths.append(backoff.until_s("a", now_s) - now_s)
        now_s = backoff.until_s("a", now_s)
    assert lengths[:3] == [FIRST_S, FIRST_S * 2, FIRST_S * 4]
    assert lengths[-1] == MAX_S
    backoff.succeeded("a")
    assert not backoff.is_backed_off("a", now_s)


@pytest.mark.parametrize("merge", [True, False])
def test_failures_during_a_backoff_count_once_only_where_they_are_merged(merge: bool) -> None:
    backoff = backoff_of(merge_concurrent=merge)
    for _ in range(3):
        backoff.failed("a", 1.0)
    assert backoff.until_s("a", 1.0) == 1.0 + (FIRST_S if merge else FIRST_S * 4)


def test_a_node_that_has_not_failed_for_long_begins_with_the_shortest_backoff() -> None:
    backoff = backoff_of()
    backoff.failed("a", 0.0)
    backoff.failed("a", FIRST_S)
    later_s = FIRST_S + FORGIVEN_AFTER_S + 1
    backoff.failed("a", later_s)
    assert backoff.until_s("a", later_s) == later_s + FIRST_S


def test_the_pause_that_a_node_asks_for_is_kept() -> None:
    backoff = backoff_of()
    backoff.failed("a", 0.0, at_least_s=20.0)
    assert backoff.until_s("a", 0.0) == 20.0


def test_a_node_that_fails_for_hours_stays_at_the_limit() -> None:
    """Doubling without a bound would overflow a float after 1,024 failures."""
    backoff, now_s = backoff_of(), 0.0
    for _ in range(2000):
        backoff.failed("a", now_s)
        now_s = backoff.until_s("a", now_s)
    backoff.failed("a", now_s)
    assert backoff.until_s("a", now_s) == now_s + MAX_S
