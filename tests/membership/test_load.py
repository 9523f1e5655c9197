"""Which load reports moved enough to be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from covey.membership.load import moved
from covey.membership.record import LoadReport

TOLD = LoadReport(in_flight=100, queue_depth=50, service_time_ms=20.0, cpu=0.6, keys=10_000, bytes=10 << 20)


@pytest.mark.parametrize(
    "measured",
    [
        replace(TOLD, in_flight=126),
        replace(TOLD, in_flight=0),
        replace(TOLD, queue_depth=63),
        replace(TOLD, service_time_ms=15.9),
        replace(TOLD, cpu=0.8),
        replace(TOLD, keys=10_200),
        replace(TOLD, bytes=11 << 20),
    ],
)
def test_a_fifth_of_work_or_a_hundredth_of_holdings_has_moved(measured: LoadReport) -> None:
    assert moved(TOLD, measured)


def test_less_than_that_has_not_moved() -> None:
    assert not moved(TOLD, LoadReport(110, 55, 22.0, 0.65, 10_050, (10 << 20) + 1000))


def test_small_numbers_are_noise_however_much_they_change() -> None:
    assert not moved(LoadReport(), LoadReport(7, 3, 0.9, 0.09, 0, 0))


def test_the_first_key_is_told() -> None:
    assert moved(LoadReport(), LoadReport(keys=1, bytes=10))
