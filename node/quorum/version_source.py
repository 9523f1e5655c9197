"""Draws a coordinator's versions (rule 14 of the epoch rules), and decides which times it does not follow.

Rules:
- A version is above the floor, all that this process has drawn or heard of, and what the client has seen.
- A node that is the only owner draws above all that its disk ever held, however far ahead of its clock that is. Its
  clock may have been set back since; there are no other clocks to compare with, and none to move.
- Beside others it follows its disk no further than it follows them. Otherwise one version from the far future, once
  merged, would put all its later ones there.
- What it would draw too far ahead of its own clock all the same, since that was set back under way, it does not draw:
  it goes back with its clock. Timestamps then come again that it drew when its clock was ahead. So each version has
  in its lowest bits how often this process went back (its lane), and none is drawn twice.
- A floor beyond what is followed, raised while clocks were ahead, is respected key by key as a standing version is.
- A key that stands beyond what is followed gets separate versions (see ``ahead``), which move no clock.
- Of what a client has seen, what lies far beyond is ignored: it comes from such a key, and orders nothing else. What
  lies beyond by no more than clocks and the windows of writes differ is the instant up to which a write may have got a
  version: until this clock follows it, the client's next operation is refused. That instant comes apart from what the
  client was told: ignored, since the clock it was taken from was far ahead, it hides nothing that the client has seen.
- What is drawn lies no further ahead of this wall clock than others follow in a moment, and counts as seen by its
  client also when the wall clock is then set back a little. A node that has drawn or heard of versions further ahead
  than that, its wall clock having been set back since, draws nothing until time has caught up.
- No version's time lies beyond what the write's client allows (``TimeBounds``). So a client that raises what it has
  seen to that instant, when it does not know what became of a write, has its later writes ordered after it, however
  late the coordinator of the first one met it and whatever the clocks show. The versions of keys that stand ahead are
  apart from this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from ..epochs import Epochs
from ..errors import BeyondBound, ClockSkew, Expired, Unavailable
from ..named import as_named
from ..operations import UNBOUNDED, TimeBounds
from ..peers import Self
from .ahead import AheadVersions, is_drawn_above
from .clock import HybridClock
from .version import MAX_TIMESTAMP, Version

LANE_STEP = 16
"""Distance between timestamps. Lanes are even; odd timestamps are drawn above standing versions (``ahead``)."""


NEAR_FUTURE_S = 10.0
"""How far beyond the clocks' skew a version that a client has seen may lie for its next operation to wait for it. It
may be the bound of a write that the client lost track of at a node whose clock was wrong, which nobody had noticed."""


class VersionSource:
    def __init__(
        self, me: Self, epochs: Epochs, clock: HybridClock, latest_on_disk: Callable[[], int]
    ) -> None:
        self._me = me
        self._epochs = epochs
        self._clock = clock
        self._latest_on_disk = latest_on_disk
        self._ahead = AheadVersions(clock.wall_ms, clock.follows)
        self._lane = 0
        self._drawn = 0
        """Last timestamp drawn by the clock beside other owners, since it last went back."""
        clock.begin(latest_on_disk())

    def follow_client(self, seen_timestamp: int, lost_timestamp: int = 0) -> None:
        """Rise to what a client has seen, unless that lies so far ahead that it comes from a key that stands there.

        And to the latest version of a write that it lost track of, ``lost_timestamp``, under the same condition.

        Raises Unavailable when it is too far ahead now, and will not be in a moment.
        """
        if self._alone():
            self._clock.follow_disk(self._latest_on_disk())
        elif self._clock.was_set_back() and self._lane + 2 < LANE_STEP:
            self._lane += 2
            self._clock.return_to_wall()
            self._drawn = 0
        self._follow(seen_timestamp)
        if lost_timestamp:
            self._follow(lost_timestamp)

    def _follow(self, seen_timestamp: int) -> None:
        if self._clock.follows(seen_timestamp):
            self._clock.observe(seen_timestamp)
            return
        ahead_s = self._clock.ahead_s(seen_timestamp)
        if ahead_s <= 2 * self._clock.max_skew_s + NEAR_FUTURE_S:
            raise Unavailable(
                f"the operation was not done: the client has seen a version {ahead_s:.1f} s ahead of this node's "
                "clock; ask another node, or in a moment"
            )

    def furthest_seen(self) -> int:
        """Return the last timestamp that a client may count as seen: every node will follow it.

        It is not lower than what was drawn here by the clock, unless that was given up.
        """
        return max(self._clock.furthest(), self._drawn)

    def now_ms(self) -> int:
        """Return the hybrid clock, by which bounds in time are measured."""
        return self._clock.current_ms()

    def draw(
        self, keys: Sequence[bytes], seen_timestamp: int, bounds: TimeBounds = UNBOUNDED
    ) -> list[Version]:
        """Draw versions for new writes of these keys. Raise Unavailable when other nodes would follow none of them.

        They ascend, but for those of keys that are known to stand ahead. Raises Expired when they would lie beyond
        ``bounds``.
        """
        record = self._epochs.record
        floor = record.floor if record is not None else 0
        if not self._clock.follows(floor) and not self._alone():
            return [self._above(key, max(floor, self._ahead.standing(key) or 0)) for key in keys]
        versions = self._draw_by_clock(len(keys), floor, seen_timestamp, bounds)
        if self._ahead.empty:
            return versions
        standing = map(self._ahead.standing, keys)
        return [
            version if stands is None else self._above(key, stands)
            for key, version, stands in zip(keys, versions, standing, strict=True)
        ]

    def draw_above(self, key: bytes, standing: Version) -> Version:
        """Draw a version for ``key`` alone, above one that stands ahead. Raise Unavailable when there is none left."""
        return self._above(key, standing.timestamp)

    def is_ahead(self, version: Version) -> bool:
        """Return whether a write that met ``version``, a newer one, has to be drawn above it.

        No clock follows it, or none did when it was drawn. Its client does not count it as seen, and must find its next
        write above it also when clocks have come so near that they would follow.
        """
        return is_drawn_above(version) or not self._clock.follows(version.timestamp)

    def note_ahead(self, key: bytes, version: Version) -> None:
        """Remember that ``version``, which is ahead, stands at ``key``."""
        self._ahead.note(key, version.timestamp)

    def _above(self, key: bytes, timestamp: int) -> Version:
        drawn = self._ahead.draw(key, timestamp)
        return Version(drawn, self._me.identity.disk_id, self._me.generation)

    def _draw_by_clock(
        self, count: int, floor: int, seen_timestamp: int, bounds: TimeBounds
    ) -> list[Version]:
        if not self._clock.follows(seen_timestamp):
            seen_timestamp = 0
        above = max(floor, seen_timestamp)
        alone = self._alone()
        # A lone node's one clock orders all versions; where it has to stay ahead, no version meets the bound.
        latest = 0 if alone and self._clock.is_ahead() else bounds.latest_timestamp
        try:
            first = self._clock.draw(
                above,
                LANE_STEP * (count + 1),
                bounded=not alone,
                latest=latest,
            )
        except BeyondBound:
            raise Expired.met_at(self.now_ms(), bounds.sent_ms) from None
        except ClockSkew as skew:
            raise Unavailable(
                f"the operation was not done: this node's versions are {skew.ahead_s:.1f} s ahead of its clock, which "
                f"was set back; {self._what_helps()}"
            ) from skew
        first += (self._lane - first) % LANE_STEP
        end = first + LANE_STEP * count
        if end > MAX_TIMESTAMP:
            raise Unavailable(
                "the operation was not done: this node's disk holds versions so far ahead of its clock that there are "
                "none after them; start on an empty data folder"
            )
        if not alone:
            self._drawn = end - LANE_STEP
        disk_id, generation = self._me.identity.disk_id, self._me.generation
        return [
            as_named(Version, (timestamp, disk_id, generation)) for timestamp in range(first, end, LANE_STEP)
        ]

    def _what_helps(self) -> str:
        if self._clock.was_set_back():
            return "it went back too often to go back with it: ask another node, and start this one again"
        return "ask another node, or in a moment"

    def see_all(self, timestamps: Sequence[int]) -> None:
        """Draw above these from now on. Replicas keep versions over restarts, and clocks do not."""
        try:
            self._clock.observe(max(timestamps, default=0))
        except ClockSkew:
            for timestamp in timestamps:
                with suppress(
                    ClockSkew
                ):  # too far ahead to be followed; whoever reads it is told it all the same
                    self._clock.observe(timestamp)

    def _alone(self) -> bool:
        record = self._epochs.record
        return (
            record is not None and not record.changing and list(record.owners.owners) == [self._me.identity]
        )
