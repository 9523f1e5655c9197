"""What a client takes a node's clock for, and how long it lets it begin writes."""

from __future__ import annotations

from covey.client.node_clock import (
    ABOVE_SEEN_MS,
    DEFAULT_SKEW_MS,
    FOLLOWED_SHARE,
    MAX_WIRE_WITHIN_MS,
    MAX_WITHIN_MS,
    NodeClock,
    Stamp,
)

NOW_MS = 1_700_000_000_000


class Clock:
    """A node's clock as a client sees it, and the client's own, which stands still until moved."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.node = NodeClock(lambda: self.now_s)

    def within_ms(self, seen_ms: int = 0) -> int:
        return self.node.stamp("c", seen_ms << 16).within_ms


def test_a_clock_that_was_never_read_bounds_nothing() -> None:
    clock = Clock()
    clock.node.read(0)
    assert not clock.node.known
    assert clock.node.stamp("c", 5) == Stamp("c")
    assert Stamp("c").latest_timestamp == 0


def test_the_estimate_goes_on_with_the_clients_own_clock() -> None:
    clock = Clock()
    clock.node.read(NOW_MS)
    clock.now_s += 2.5
    assert clock.node.now_ms() == NOW_MS + 2500


def test_a_reading_that_is_ahead_holds_at_once_and_one_that_is_behind_by_and_by() -> None:
    clock = Clock()
    clock.node.read(NOW_MS)
    clock.node.read(NOW_MS + 300)
    assert clock.node.now_ms() == NOW_MS + 300
    for _ in range(100):
        clock.node.read(NOW_MS)
    assert NOW_MS <= clock.node.now_ms() < NOW_MS + 5


def test_writes_may_begin_within_what_nodes_follow() -> None:
    clock = Clock()
    clock.node.read(NOW_MS)
    assert clock.within_ms() == DEFAULT_SKEW_MS * FOLLOWED_SHARE
    clock.node.allow_skew(1000)
    assert clock.within_ms() == 800


def test_a_node_that_answers_slowly_is_given_longer_but_not_without_end() -> None:
    clock = Clock()
    clock.node.read(NOW_MS)
    clock.node.took(0.4)
    assert clock.within_ms() == 1200
    clock.node.took(60.0)
    assert clock.within_ms() == MAX_WITHIN_MS
    clock.node.took(0.001)
    assert clock.within_ms() == DEFAULT_SKEW_MS * FOLLOWED_SHARE


def test_the_latest_version_lies_above_what_the_client_has_seen() -> None:
    clock = Clock()
    clock.node.read(NOW_MS)
    assert clock.within_ms(NOW_MS + 2000) == 2000 + ABOVE_SEEN_MS
    assert clock.within_ms(NOW_MS + 2**40) == MAX_WIRE_WITHIN_MS


def test_the_latest_timestamp_is_the_last_of_its_millisecond() -> None:
    assert Stamp("c", NOW_MS, 400).latest_timestamp == (NOW_MS + 400 << 16) + 0xFFFF


def test_a_clock_that_was_set_back_is_followed_at_once_but_for_what_hybrid_clocks_differ() -> None:
    clock = Clock()
    clock.node.read(NOW_MS + 120_000)
    clock.node.read(NOW_MS, 0.2)
    assert clock.node.now_ms() == NOW_MS + 200 + 2 * DEFAULT_SKEW_MS


def test_a_reading_that_took_long_tells_of_no_clock_that_was_set_back() -> None:
    clock = Clock()
    clock.node.read(NOW_MS + 8_000)
    clock.node.read(NOW_MS, 8.0)
    assert clock.node.now_ms() == NOW_MS + 7_000


def test_the_latest_version_lies_above_what_the_client_lost_track_of_unless_nodes_ignore_that() -> None:
    clock = Clock()
    clock.node.read(NOW_MS)
    assert clock.node.stamp("c", 0, NOW_MS + 3_000 << 16).within_ms == 3_000 + ABOVE_SEEN_MS
    assert clock.node.stamp("c", 0, NOW_MS + 53_000 << 16).within_ms == DEFAULT_SKEW_MS * FOLLOWED_SHARE
