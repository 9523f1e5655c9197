from __future__ import annotations

import random
from statistics import median

from covey.quorum.skew import ClockReadings
from tests.support.rings import identities

MAX_SKEW_S = 0.5
LATELY_S = 60.0
WALL_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
OTHERS = identities(4)


def readings(*ahead_ms: int, round_trip_s: float = 0.002) -> ClockReadings:
    """As after exchanges with as many members at second 10; by how much each one's clock is ahead of this one."""
    found = ClockReadings(MAX_SKEW_S, LATELY_S)
    for member, ahead in zip(OTHERS, ahead_ms, strict=False):
        found.note(member, WALL_MS + ahead, 10 - round_trip_s / 2, 10 + round_trip_s / 2)
    return found


def off_ms(found: ClockReadings, *, now_s: float = 10.0, set_by_ms: int = 0, was_off: bool = False) -> int:
    wall_ms = WALL_MS + round((now_s - 10) * 1000) + set_by_ms
    return found.off_ms(wall_ms, now_s, frozenset(OTHERS), was_off)


def test_a_clock_that_agrees_with_most_is_not_off() -> None:
    assert off_ms(readings(0, 300, -300, HOUR_MS)) == 0


def test_a_clock_ahead_of_a_majority_is_off_by_as_much() -> None:
    assert off_ms(readings(-HOUR_MS, -HOUR_MS)) == HOUR_MS


def test_a_clock_behind_a_majority_is_off_by_as_much() -> None:
    assert off_ms(readings(HOUR_MS, HOUR_MS, 0, HOUR_MS + 20)) == -HOUR_MS


def test_of_two_clocks_that_differ_neither_is_off() -> None:
    assert off_ms(readings(HOUR_MS)) == 0


def test_half_of_the_clocks_are_no_majority() -> None:
    assert off_ms(readings(HOUR_MS, HOUR_MS, 0)) == 0


def test_clocks_that_differ_in_both_directions_prove_nothing() -> None:
    assert off_ms(readings(HOUR_MS, -HOUR_MS)) == 0


def test_a_clock_at_the_bound_is_not_off() -> None:
    assert off_ms(readings(500, 500)) == 0
    assert off_ms(readings(502, 502)) == -502


def test_a_difference_within_the_error_of_a_round_trip_proves_nothing() -> None:
    """The clocks may be 100 ms nearer than the middle of such a round trip suggests."""
    assert off_ms(readings(590, 590, round_trip_s=0.2)) == 0
    assert off_ms(readings(610, 610, round_trip_s=0.2)) == -610


def test_too_long_a_round_trip_gives_no_reading() -> None:
    assert off_ms(readings(HOUR_MS, HOUR_MS, round_trip_s=0.6)) == 0


def test_a_long_round_trip_does_not_replace_the_reading_of_a_short_one() -> None:
    found = readings(0, 0)
    for member in OTHERS[:2]:
        found.note(member, WALL_MS + HOUR_MS, 9.0, 11.0)
    assert off_ms(found) == 0


def test_a_clock_that_is_set_is_judged_again_by_earlier_readings() -> None:
    found = readings(0, 0)
    assert off_ms(found, now_s=15.0) == 0
    assert off_ms(found, now_s=15.0, set_by_ms=HOUR_MS) == HOUR_MS
    assert off_ms(found, now_s=16.0) == 0


def test_old_readings_do_not_count() -> None:
    found = readings(HOUR_MS, HOUR_MS)
    assert off_ms(found, now_s=10 + LATELY_S) == -HOUR_MS
    assert off_ms(found, now_s=11 + LATELY_S) == 0


def test_members_that_are_gone_do_not_count() -> None:
    found = readings(HOUR_MS, HOUR_MS, HOUR_MS)
    assert found.off_ms(WALL_MS, 10.0, frozenset(OTHERS[:1]), False) == 0


def test_a_clock_that_was_off_has_to_come_well_within_what_is_allowed() -> None:
    assert off_ms(readings(450, 450), was_off=True) == -450
    assert off_ms(readings(370, 370), was_off=True) == 0


def test_a_clock_that_was_off_is_not_right_because_others_are_unreachable() -> None:
    assert off_ms(readings(HOUR_MS), was_off=True) == -HOUR_MS
    assert off_ms(readings(), was_off=True) == 0, "whoever is alone has nobody to differ from"


def test_off_agrees_with_the_median_of_the_clocks() -> None:
    """Against another way to put it, on random clocks: an odd number of them, known to the millisecond."""
    rng = random.Random(1)
    for _ in range(2000):
        ahead = [rng.choice([0, 499, 502, HOUR_MS]) * rng.choice([1, -1]) for _ in range(rng.choice([2, 4]))]
        expected = abs(median([0, *ahead])) > 500
        assert (off_ms(readings(*ahead)) != 0) is expected, ahead
