"""Pauses grow to their bound, and differ between callers."""

from __future__ import annotations

import random

from covey.api.backoff import backoff_s, doubled_s, jittered_s


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    assert [doubled_s(failures, (0.5, 3.0)) for failures in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_any_number_of_failures_has_a_pause() -> None:
    assert doubled_s(10**9, (0.1, 60.0)) == 60.0


def test_a_pause_is_between_half_and_one_and_a_half_of_its_base() -> None:
    rng = random.Random(1)
    pauses = [backoff_s(1, (1.0, 10.0), rng) for _ in range(1000)]
    assert 1.0 <= min(pauses) < 1.1
    assert 2.9 < max(pauses) < 3.0
    assert jittered_s(0.0, rng) == 0.0
