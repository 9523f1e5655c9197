from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.replica.load_meter import LoadMeter
from covey.node.storage.interface import Usage
from tests.support.manual_clock import ManualClock

NOTHING = Usage(0, 0)


def test_operations_count_while_they_are_in_flight_and_not_after() -> None:
    meter = LoadMeter(ManualClock())
    meter.began(4)
    with meter.serving(3), meter.serving(2):
        assert (meter.queue_depth, meter.in_flight) == (5, 4)
    meter.ended(3)
    meter.ended(1)
    assert (meter.queue_depth, meter.in_flight) == (0, 0)


def test_operations_that_fail_are_no_longer_in_flight() -> None:
    meter = LoadMeter(ManualClock())
    with pytest.raises(ValueError, match="on purpose"), meter.serving(3):
        raise ValueError("on purpose")
    assert meter.queue_depth == 0


def test_service_time_nears_what_an_operation_of_a_batch_takes() -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    for _ in range(100):
        with meter.serving(10):
            clock.now_s += 0.050
    assert meter.service_time_ms == pytest.approx(5.0, rel=0.01)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_service_time_stays_within_what_was_measured(times_s: list[float]) -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    for time_s in times_s:
        with meter.serving(1):
            clock.now_s += time_s
    assert -1e-9 <= meter.service_time_ms <= max(times_s) * 1000 + 1e-6


def test_cpu_is_averaged_since_the_previous_report() -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    clock.now_s, clock.cpu_s = 2.0, 1.0
    assert meter.report(NOTHING).cpu == 0.5
    clock.now_s, clock.cpu_s = 3.0, 1.25
    assert meter.report(NOTHING).cpu == 0.25


def test_two_reports_at_one_instant_are_equal() -> None:
    clock = ManualClock()
    meter = LoadMeter(clock)
    clock.now_s, clock.cpu_s = 2.0, 1.0
    assert meter.report(NOTHING) == meter.report(NOTHING)


def test_a_report_includes_what_the_node_holds_and_has_in_flight() -> None:
    meter = LoadMeter(ManualClock())
    meter.began(1)
    with meter.serving(4):
        report = meter.report(Usage(keys=7, bytes=70))
    assert (report.keys, report.bytes, report.queue_depth, report.in_flight) == (7, 70, 4, 1)
