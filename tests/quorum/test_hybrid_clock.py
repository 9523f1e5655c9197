from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.quorum.hybrid_clock import ClockSkew, HybridClock
from covey.quorum.version import COUNTER_BITS
from tests.support.manual_clock import ManualClock

SKEW_S = 0.5
SKEW_MS = 500
WALL_MS = 1_000_000

moves = st.tuples(
    st.sampled_from(["wall", "draw", "above", "observe", "current"]),
    st.integers(-5_000, 5_000),
)


def _at(wall_ms: int, counter: int = 0) -> int:
    return wall_ms << COUNTER_BITS | counter


@settings(deadline=None)
@given(st.lists(moves, max_size=60))
def test_what_is_drawn_exceeds_all_drawn_and_observed_before_however_the_wall_clock_jumps(
    steps: list[tuple[str, int]],
) -> None:
    clock = ManualClock(WALL_MS)
    hybrid = HybridClock(clock, SKEW_S)
    highest = 0
    for step, amount in steps:
        if step == "wall":
            clock.wall += amount
        elif step == "observe":
            seen = _at(clock.wall + amount, 7)
            try:
                hybrid.observe(seen)
                highest = max(highest, seen)
            except ClockSkew:
                assert amount > SKEW_MS
        elif step == "current":
            furthest = _at(clock.wall + SKEW_MS, 7)
            assert min(highest, furthest) <= hybrid.current() < _at(clock.wall + SKEW_MS + 1)
        else:
            above = _at(clock.wall + amount) if step == "above" else 0
            drawn = hybrid.draw(above, bounded=False)
            assert drawn > max(highest, above)
            highest = drawn


def test_drawing_follows_the_wall_clock_when_nothing_is_ahead_of_it() -> None:
    clock = ManualClock(WALL_MS)
    hybrid = HybridClock(clock, SKEW_S)
    assert hybrid.draw() == _at(WALL_MS, 1)
    clock.wall += 10
    assert hybrid.draw() == _at(WALL_MS + 10, 1)


def test_draws_within_one_millisecond_count() -> None:
    hybrid = HybridClock(ManualClock(WALL_MS), SKEW_S)
    assert [hybrid.draw() for _ in range(3)] == [_at(WALL_MS, i) for i in (1, 2, 3)]


def test_a_timestamp_beyond_the_skew_is_refused_and_not_followed() -> None:
    hybrid = HybridClock(ManualClock(WALL_MS), SKEW_S)
    with pytest.raises(ClockSkew) as caught:
        hybrid.observe(_at(WALL_MS + 501))
    assert caught.value.ahead_s == pytest.approx(0.501)
    assert hybrid.draw() == _at(WALL_MS, 1)


def test_a_timestamp_at_the_allowed_skew_is_followed() -> None:
    hybrid = HybridClock(ManualClock(WALL_MS), SKEW_S)
    hybrid.observe(_at(WALL_MS + 500))
    assert hybrid.draw() == _at(WALL_MS + 500, 1)


def test_what_was_followed_once_is_not_refused_when_the_wall_clock_has_gone_back() -> None:
    clock = ManualClock(WALL_MS)
    hybrid = HybridClock(clock, SKEW_S)
    drawn = hybrid.draw()
    clock.wall -= 5_000
    hybrid.observe(drawn)


def test_a_wall_clock_that_was_wrong_for_a_while_has_no_effect_if_nothing_was_drawn() -> None:
    clock = ManualClock(WALL_MS)
    hybrid = HybridClock(clock, SKEW_S)
    clock.wall += 3_600_000
    assert hybrid.current() == _at(WALL_MS + 3_600_000)
    clock.wall -= 3_600_000
    assert hybrid.current() == _at(WALL_MS)
    assert hybrid.draw() == _at(WALL_MS, 1)


def test_no_message_carries_a_timestamp_that_others_would_refuse() -> None:
    """A node that once drew by a clock far ahead is still heard."""
    clock = ManualClock(WALL_MS)
    ahead = HybridClock(clock, SKEW_S)
    ahead.draw(_at(WALL_MS + 3_600_000), bounded=False)
    other = HybridClock(ManualClock(WALL_MS), SKEW_S)
    other.observe(ahead.current())
    assert other.draw() == _at(WALL_MS + 501)


def test_a_timestamp_too_far_ahead_is_not_drawn() -> None:
    """The clock followed others as far as allowed, and then the wall clock was set back."""
    clock = ManualClock(WALL_MS)
    hybrid = HybridClock(clock, SKEW_S)
    hybrid.observe(_at(WALL_MS + 500))
    clock.wall -= 100
    assert hybrid.draw() == _at(WALL_MS + 500, 1)
    clock.wall -= 1
    with pytest.raises(ClockSkew):
        hybrid.draw()
    clock.wall += 1
    assert hybrid.draw() == _at(WALL_MS + 500, 2)


def test_an_earlier_process_is_followed_as_far_as_others_are() -> None:
    near, far = HybridClock(ManualClock(WALL_MS), SKEW_S), HybridClock(ManualClock(WALL_MS), SKEW_S)
    near.begin(_at(WALL_MS + 400))
    assert near.draw() == _at(WALL_MS + 400, 1)
    far.begin(_at(WALL_MS + 3_600_000))
    assert far.draw() == _at(WALL_MS + 501)


def test_an_only_owner_follows_its_own_disk_however_far_ahead() -> None:
    hybrid = HybridClock(ManualClock(WALL_MS), SKEW_S)
    hybrid.follow_disk(_at(WALL_MS + 3_600_000))
    hybrid.observe(_at(WALL_MS + 3_600_000))
    assert hybrid.draw(bounded=False) == _at(WALL_MS + 3_600_000, 1)


def test_skew_is_measured_from_the_wall_clock_not_from_what_was_followed() -> None:
    hybrid = HybridClock(ManualClock(WALL_MS), SKEW_S)
    hybrid.observe(_at(WALL_MS + 500))
    with pytest.raises(ClockSkew):
        hybrid.observe(_at(WALL_MS + 900))
