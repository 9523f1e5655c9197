"""Source of a coordinator's versions (docs/ring-changes.md, rule 14); decides which timestamps it does not follow.

Rules:
- A version is above the floor, all that this process has drawn or observed, and what the client has seen.
- A node that is the only owner draws above everything that its disk ever held, however far ahead of its clock that is.
  Its clock may have been set back since; there are no other clocks to compare with, and none to move.
- A node that is one of several owners follows the versions on its disk no further than it follows those of other nodes.
  Otherwise one version from the far future, once merged, would move all its later versions into the far future.
- If its clock was set back so far that the next timestamp would be too far ahead, it draws by the clock as set back.
  Times then repeat, so the lowest bits of each timestamp count how often this process went back, and no version is
  drawn twice.
- A timestamp that a client has seen and that is far beyond the bound is ignored: it comes from a key ahead of all
  clocks, and orders nothing else.
- A timestamp beyond the bound by no more than clocks and the windows of writes differ is the instant up to which a
  write may have got a version: the client's next operation is refused until this clock follows it. The client sends
  that instant separately from what it has observed, so that ignoring one does not lose the other.
- A drawn timestamp is at most so far ahead of this wall clock that other nodes follow it in a moment. Its client counts
  it as seen, also if the wall clock is then set back a little.
- No version is later than the write's client allows (``TimeBounds``). A client that does not know the outcome of a
  write counts that instant as seen. Then its later writes are ordered after the first one, however late a coordinator
  received that one, and whatever clocks show. Keys ahead of all clocks are exempt.

Keys ahead of all clocks were written while clocks were wrong. They get separate versions, which move no clock:
- Such a version is above the held one, and above every timestamp that this process drew in this way for the same key;
  identity and generation then make it unique. What was drawn is kept by a hash of the key, so memory is bounded and
  nothing is forgotten. Keys that share a hash are drawn above each other; both are ahead already.
- It is odd, while the clock draws even timestamps: when time has caught up with a key, none is drawn twice.
- Of two coordinators that found the same version held, the later one draws the higher timestamp, although the first one
  may have reached a single replica only, which the other one did not meet. For this the time of day is added, in steps
  of half a second and over half an hour. A version gains at most a sixteenth of a millisecond by it, so time catches up
  with a key however often it is written.
- A bounded number of such keys is remembered, so that their next write takes one round.
- A floor beyond what is followed is respected in the same way, key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from zlib import crc32

from ...quorum.hybrid_clock import BeyondBound, ClockSkew, HybridClock
from ...quorum.version import MAX_TIMESTAMP, Version
from ..epoch.epochs import Epochs
from ..errors import Expired, Unavailable
from ..named import as_named
from ..operations import UNBOUNDED, TimeBounds
from ..runtime import LocalIdentity

TIMESTAMP_STEP = 16
"""Distance between timestamps that the clock draws. The multiples of 2 below it count how often it went back."""
NEAR_FUTURE_S = 10.0
"""Distance beyond the clocks' skew within which a client's next operation waits for a version that it has seen.

Such a version may be the bound of a write whose outcome is unknown, at a node whose clock was wrong unnoticed.
"""
MAX_KEYS_AHEAD = 1024
"""Keys ahead of all clocks that are remembered; some megabytes if keys are as long as can be."""
_HASHES = 0xFFFF
_TIME_STEP_BITS = 9
"""Number of low bits of the wall clock's milliseconds within one step."""
_TIME_STEPS = 0xFFF


class VersionSource:
    def __init__(
        self, me: LocalIdentity, epochs: Epochs, clock: HybridClock, latest_on_disk: Callable[[], int]
    ) -> None:
        self._me = me
        self._epochs = epochs
        self.clock = clock
        self._latest_on_disk = latest_on_disk
        self._low_bits = 0
        self._drawn_above: dict[int, int] = {}
        """Highest timestamp drawn for keys ahead of all clocks, by a hash of the key."""
        self._ahead: dict[bytes, int] = {}
        """Keys ahead of all clocks, with the highest timestamp that each is known to hold or that was drawn for it."""
        self._drawn = 0
        """Last timestamp drawn by the clock as one of several owners, since the clock last went back."""
        clock.begin(latest_on_disk())

    def follow_client(self, seen_timestamp: int, lost_timestamp: int = 0) -> None:
        """Rise to what a client has seen, unless that comes from a key ahead of all clocks.

        Rise to ``lost_timestamp``, the latest version that a write with an unknown outcome may get, likewise.

        Raise Unavailable if it is too far ahead now, but will not be in a moment.
        """
        if self._is_only_owner():
            self.clock.follow_disk(self._latest_on_disk())
        elif self.clock.was_set_back() and self._low_bits + 2 < TIMESTAMP_STEP:
            self._low_bits += 2
            self.clock.return_to_wall()
            self._drawn = 0
        self._follow(seen_timestamp)
        if lost_timestamp:
            self._follow(lost_timestamp)

    def latest_seen(self) -> int:
        """Return the last timestamp that a client may count as seen: every node follows it.

        It is not lower than what was drawn here by the clock, unless the wall clock was set back so far that other
        nodes would not follow that for long.
        """
        if self.clock.was_set_back():
            return self.clock.latest_followed()
        return max(self.clock.latest_followed(), self._drawn)

    def _follow(self, seen_timestamp: int) -> None:
        if self.clock.follows(seen_timestamp):
            self.clock.observe(seen_timestamp)
            return
        ahead_s = self.clock.ahead_s(seen_timestamp)
        if ahead_s <= 2 * self.clock.max_skew_s + NEAR_FUTURE_S:
            raise Unavailable(
                f"the operation was not done: the client has seen a version {ahead_s:.1f} s ahead of this node's "
                "clock; ask another node, or in a moment"
            )

    def draw(
        self, keys: Sequence[bytes], seen_timestamp: int, bounds: TimeBounds = UNBOUNDED
    ) -> list[Version]:
        """Draw versions for new writes of these keys, ascending except for keys that are known to be ahead.

        Raise Unavailable if no other node would follow them, Expired if they would be beyond ``bounds``.
        """
        record = self._epochs.record
        floor = record.floor if record is not None else 0
        if not self.clock.follows(floor) and not self._is_only_owner():
            return [self._draw_above(key, max(floor, self._held_ahead(key) or 0)) for key in keys]
        versions = self._draw_by_clock(len(keys), floor, seen_timestamp, bounds)
        if not self._ahead:
            return versions
        return [
            version if held is None else self._draw_above(key, held)
            for key, version, held in zip(keys, versions, map(self._held_ahead, keys), strict=True)
        ]

    def draw_above(self, key: bytes, held: Version) -> Version:
        """Draw a version for ``key`` only, above one from ahead of all clocks. Raise Unavailable if none is left."""
        return self._draw_above(key, held.timestamp)

    def is_ahead(self, version: Version) -> bool:
        """Return True if a write that met ``version``, a newer one, has to be drawn above it.

        No clock follows it, or none did when it was drawn. Its client does not count it as seen, and its next write
        must be above it also when clocks have come so near that they would follow.
        """
        drawn_above = version.timestamp & 1 == 1
        return drawn_above or not self.clock.follows(version.timestamp)

    def remember_ahead(self, key: bytes, version: Version) -> None:
        """Remember that ``key`` holds ``version``, which is ahead of all clocks.

        Forget the key that was met longest ago if there are many.
        """
        timestamp = max(version.timestamp, self._ahead.pop(key, 0))
        if len(self._ahead) >= MAX_KEYS_AHEAD:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[key] = timestamp

    def observe_all(self, timestamps: Sequence[int]) -> None:
        """Draw above these from now on. Replicas keep versions over restarts, and clocks do not."""
        try:
            self.clock.observe(max(timestamps, default=0))
        except ClockSkew:
            for timestamp in timestamps:
                with suppress(ClockSkew):  # it is returned to readers all the same
                    self.clock.observe(timestamp)

    def _held_ahead(self, key: bytes) -> int | None:
        """Return the timestamp ahead of all clocks that ``key`` is known to hold; None if there is none."""
        timestamp = self._ahead.get(key)
        if timestamp is not None and self.clock.follows(timestamp):
            del self._ahead[key]
            return None
        return timestamp

    def _draw_above(self, key: bytes, held: int) -> Version:
        slot = crc32(key) & _HASHES
        step = self.clock.machine.wall_ms() >> _TIME_STEP_BITS & _TIME_STEPS
        timestamp = max(held, self._drawn_above.get(slot, 0)) + 1 + step | 1
        if timestamp > MAX_TIMESTAMP:
            raise Unavailable(
                "the write was not done: the key holds a version so far ahead of all clocks that there is none after "
                "it; use another key, and remove this one with its cluster"
            )
        self._drawn_above[slot] = timestamp
        version = Version(timestamp, self._me.identity.disk_id, self._me.generation)
        self.remember_ahead(key, version)
        return version

    def _draw_by_clock(
        self, count: int, floor: int, seen_timestamp: int, bounds: TimeBounds
    ) -> list[Version]:
        if not self.clock.follows(seen_timestamp):
            seen_timestamp = 0
        above = max(floor, seen_timestamp)
        only_owner = self._is_only_owner()
        # The one clock of an only owner orders all versions; if it has to stay ahead, no version meets the bound.
        latest = 0 if only_owner and self.clock.is_ahead() else bounds.latest_timestamp
        try:
            first = self.clock.draw(
                above, TIMESTAMP_STEP * (count + 1), bounded=not only_owner, latest=latest
            )
        except BeyondBound:
            raise Expired.met_at(self.clock.current_ms(), bounds.sent_ms) from None
        except ClockSkew as skew:
            raise Unavailable(
                f"the operation was not done: this node's versions are {skew.ahead_s:.1f} s ahead of its clock, which "
                f"was set back; {self._advice()}"
            ) from skew
        first += (self._low_bits - first) % TIMESTAMP_STEP
        end = first + TIMESTAMP_STEP * count
        if end > MAX_TIMESTAMP:
            raise Unavailable(
                "the operation was not done: this node's disk holds versions so far ahead of its clock that there are "
                "none after them; start on an empty data folder"
            )
        if not only_owner:
            self._drawn = end - TIMESTAMP_STEP
        disk_id, generation = self._me.identity.disk_id, self._me.generation
        return [
            as_named(Version, (timestamp, disk_id, generation))
            for timestamp in range(first, end, TIMESTAMP_STEP)
        ]

    def _advice(self) -> str:
        if self.clock.was_set_back():
            return "it went back too often to follow it: ask another node, and start this one again"
        return "ask another node, or in a moment"

    def _is_only_owner(self) -> bool:
        record = self._epochs.record
        return (
            record is not None and not record.changing and list(record.owners.owners) == [self._me.identity]
        )
