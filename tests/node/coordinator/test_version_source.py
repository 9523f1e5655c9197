"""Where versions come from: none is drawn twice, whatever clocks do, and none moves a clock that it must not."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.coordinator.version_source import MAX_KEYS_AHEAD, TIMESTAMP_STEP, VersionSource
from covey.node.errors import Unavailable
from covey.node.operations import time_bounds
from covey.node.runtime import LocalIdentity
from covey.quorum.hybrid_clock import HybridClock
from covey.quorum.version import COUNTER_BITS, MAX_TIMESTAMP, Version
from tests.support.manual_clock import ManualClock

ME = LocalIdentity(Identity("n1", 5), 3, "n1:1")
WALL_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
KEY = b"k"


class Stage:
    """A source of one owner among others, or of the only owner."""

    def __init__(self, *, floor: int = 0, only_owner: bool = False, latest: int = 0) -> None:
        self.clock = ManualClock(WALL_MS)
        self.hybrid = HybridClock(self.clock, 0.5)
        owners = [ME.identity] if only_owner else [ME.identity, Identity("n2", 6)]
        record = SimpleNamespace(
            floor=floor, changing=False, owners=SimpleNamespace(owners=dict.fromkeys(owners))
        )
        epochs: Any = SimpleNamespace(record=record)
        self.source = VersionSource(me=ME, epochs=epochs, clock=self.hybrid, latest_on_disk=lambda: latest)

    def draw(self, *keys: bytes, seen: int = 0) -> list[Version]:
        self.source.follow_client(seen)
        return self.source.draw(keys, seen)


def ahead(by_ms: int = HOUR_MS) -> Version:
    return Version(WALL_MS + by_ms << COUNTER_BITS, 9, 1)


KEYS = [b"a", b"b", b"c"]
STEPS = st.one_of(
    st.tuples(st.just("move"), st.sampled_from([-3_000, -1, 1, 3_000])),
    st.tuples(st.just("draw"), st.lists(st.sampled_from(KEYS), min_size=1, max_size=5)),
    st.tuples(st.just("above"), st.sampled_from(KEYS), st.sampled_from([-1, 0, 1, 5, 70_000])),
)


@given(st.lists(STEPS, max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_version_is_drawn_twice_for_one_key(steps: list[tuple[Any, ...]]) -> None:
    """The clock goes back and forth; keys turn out to stand ahead, not always at the version that was drawn last."""
    stage = Stage()
    drawn: list[tuple[bytes, Version]] = []
    for what, *arguments in steps:
        if what == "move":
            stage.clock.wall += arguments[0]
        elif what == "above":
            key, offset = arguments
            stands = ahead()._replace(timestamp=ahead().timestamp + offset)
            drawn.append((key, stage.source.draw_above(key, stands)))
        else:
            (keys,) = arguments
            with suppress(Unavailable):  # the clock went back too often
                drawn += zip(keys, stage.draw(*keys), strict=True)
    assert len(set(drawn)) == len(drawn)


def test_a_version_above_another_moves_no_clock() -> None:
    stage = Stage()
    assert stage.source.draw_above(KEY, ahead()) > ahead()
    assert stage.hybrid.current() >> COUNTER_BITS == WALL_MS
    (other,) = stage.draw(b"other")
    assert other.wall_ms == WALL_MS


def test_a_remembered_key_is_drawn_above_its_held_version_at_once() -> None:
    stage = Stage()
    stage.source.remember_ahead(KEY, ahead())
    mine, other = stage.draw(KEY, b"other")
    assert mine > ahead() and other.wall_ms == WALL_MS


def test_only_so_many_keys_are_remembered() -> None:
    stage = Stage()
    for number in range(MAX_KEYS_AHEAD + 1):
        stage.source.remember_ahead(b"%d" % number, ahead())
    first, last = stage.draw(b"0", b"%d" % MAX_KEYS_AHEAD)
    assert first.wall_ms == WALL_MS and last > ahead()


def test_of_two_sources_that_met_the_same_version_the_one_that_draws_a_second_later_draws_above() -> None:
    stage, other = Stage(), Stage()
    other.clock.wall += 1_000
    assert other.source.draw_above(KEY, ahead()).timestamp > stage.source.draw_above(KEY, ahead()).timestamp


def test_a_thousand_writes_a_second_bring_a_key_no_further_ahead() -> None:
    """Each moves it by less than a tenth of a millisecond."""
    stage = Stage()
    version = ahead()
    for _ in range(1_000):
        stage.clock.wall += 1
        version = stage.source.draw_above(KEY, version)
    assert version.wall_ms - ahead().wall_ms < 100


def test_what_a_client_has_seen_beyond_the_bound_is_ignored() -> None:
    stage = Stage()
    (version,) = stage.draw(KEY, seen=ahead().timestamp)
    assert version.wall_ms == WALL_MS


@pytest.mark.parametrize("by_ms", [600, 5_400])
def test_what_a_client_has_seen_just_beyond_the_bound_is_refused_until_it_is_followed(by_ms: int) -> None:
    """It may be the latest version that a write of unknown outcome got, which the next one has to exceed."""
    stage = Stage()
    with pytest.raises(Unavailable, match=f"{by_ms / 1000} s ahead"):
        stage.draw(KEY, seen=ahead(by_ms).timestamp)
    stage.clock.wall += by_ms
    (version,) = stage.draw(KEY, seen=ahead(by_ms).timestamp)
    assert version > ahead(by_ms)


def test_versions_are_above_what_a_client_has_seen_within_the_bound() -> None:
    stage = Stage()
    (version,) = stage.draw(KEY, seen=ahead(400).timestamp)
    assert version > ahead(400)


def test_versions_go_back_with_a_clock_that_is_set_back() -> None:
    stage = Stage()
    stage.clock.wall += HOUR_MS
    stage.draw(KEY)
    stage.clock.wall -= HOUR_MS
    (version,) = stage.draw(KEY)
    assert version.wall_ms == WALL_MS


def test_timestamps_that_repeat_after_a_clock_was_set_back_differ_in_their_low_bits() -> None:
    stage = Stage()
    drawn = []
    for _ in range(3):
        stage.clock.wall += HOUR_MS
        drawn += stage.draw(KEY)
        stage.clock.wall -= HOUR_MS
        drawn += stage.draw(KEY)
    assert len(set(drawn)) == len(drawn)


def test_a_clock_that_is_set_back_too_often_is_a_clear_refusal() -> None:
    stage = Stage()
    for _ in range(TIMESTAMP_STEP // 2 - 1):
        stage.clock.wall += HOUR_MS
        stage.draw(KEY)
        stage.clock.wall -= HOUR_MS
        stage.draw(KEY)
    stage.clock.wall += HOUR_MS
    stage.draw(KEY)
    stage.clock.wall -= HOUR_MS
    with pytest.raises(Unavailable, match="start this one again"):
        stage.draw(KEY)


def test_a_floor_that_is_ahead_is_drawn_above_by_each_key() -> None:
    stage = Stage(floor=ahead().timestamp)
    versions = stage.draw(*KEYS)
    assert all(version > ahead() for version in versions)
    assert stage.hybrid.current() >> COUNTER_BITS == WALL_MS


@pytest.mark.parametrize("above", [MAX_TIMESTAMP, MAX_TIMESTAMP - 1])
def test_after_the_last_timestamp_there_is_none(above: int) -> None:
    with pytest.raises(Unavailable, match="none after it"):
        Stage().source.draw_above(KEY, Version(above, 9, 1))


def test_an_only_owner_whose_disk_has_the_last_timestamp_refuses() -> None:
    with pytest.raises(Unavailable, match="empty data folder"):
        Stage(only_owner=True, latest=MAX_TIMESTAMP - 1).draw(KEY)


def test_an_only_owner_that_has_to_stay_ahead_draws_beyond_what_a_client_allows() -> None:
    """Only its clock orders versions, and no client that goes by wall clocks could allow one."""
    stage = Stage(only_owner=True, latest=ahead().timestamp)
    stage.source.follow_client(0)
    [version] = stage.source.draw([KEY], 0, time_bounds(WALL_MS, 400, (5.0,)))
    assert version > ahead()


def test_what_a_client_lost_track_of_far_ahead_hides_nothing_of_what_it_has_seen() -> None:
    stage = Stage()
    seen = ahead(400).timestamp
    stage.source.follow_client(seen, ahead().timestamp)
    (version,) = stage.source.draw([KEY], 0)
    assert ahead(400) < version < ahead(401)


def test_what_a_client_lost_track_of_is_risen_above() -> None:
    stage = Stage()
    stage.source.follow_client(0, ahead(400).timestamp)
    assert stage.source.draw([KEY], 0)[0] > ahead(400)


def test_what_a_client_lost_track_of_just_beyond_the_bound_is_refused_until_it_is_followed() -> None:
    stage = Stage()
    with pytest.raises(Unavailable, match=r"0\.6 s ahead"):
        stage.source.follow_client(ahead(200).timestamp, ahead(600).timestamp)


@pytest.mark.parametrize("back_ms", [0, 90, 400])
def test_no_version_is_drawn_that_its_client_may_not_count_as_seen(back_ms: int) -> None:
    """The wall clock is set back before the version is drawn."""
    stage = Stage()
    stage.draw(KEY, seen=ahead(500).timestamp)
    stage.clock.wall -= back_ms
    if back_ms > 100:
        with pytest.raises(Unavailable, match="in a moment"):
            stage.draw(KEY)
        stage.clock.wall += back_ms - 100
    (version,) = stage.draw(KEY)
    assert ahead(500) < version
    assert version.timestamp <= stage.source.latest_seen()


def test_a_version_counts_as_seen_also_when_the_wall_clock_is_set_back_before_the_reply() -> None:
    stage = Stage()
    (version,) = stage.draw(KEY, seen=ahead(500).timestamp)
    stage.clock.wall -= 400
    assert version.timestamp <= stage.source.latest_seen()


@pytest.mark.parametrize("draws_after", [0, 1])
def test_what_was_drawn_before_a_clock_went_back_far_no_longer_counts_as_seen(draws_after: int) -> None:
    """Other nodes may not follow it for as long as it went back. A reply may come before the next draw."""
    stage = Stage()
    stage.clock.wall += HOUR_MS
    stage.draw(KEY)
    stage.clock.wall -= HOUR_MS
    for _ in range(draws_after):
        stage.draw(KEY)
    assert stage.source.latest_seen() < ahead(1_000).timestamp
