"""Source of a coordinator's versions (docs/ring-changes.md, rule 14). It determines which timestamps the clock follows.

Rules for drawing a version
- A version is above the floor, above all timestamps that this process has drawn or observed, and above the highest
  timestamp that the client has seen.
- A node that is the only owner draws above every version that its disk ever held, however far ahead of its clock that
  is. Its clock may have been set back, and there is no other clock to compare with or to disturb.
- A node among several owners follows the versions on its disk no further than those of other nodes. Otherwise a single
  merged version from the far future would move all its later versions there.
- If the clock was set back so far that the next timestamp would be too far ahead, the node returns to its wall clock.
  Its timestamps then repeat. So that no version is drawn twice, the lowest bits of a timestamp contain the number of
  times that this process has done so.
- A drawn version is at most so far ahead of the wall clock that other nodes follow it within a moment. It counts as
  seen by its client, even if the wall clock is then set back a little.
- No version is later than the bound that the write's client allows (``TimeBounds``). Keys ahead of all clocks are
  exempt.

Rules for the timestamps that a client sends
- A timestamp that is far too high to follow is ignored: it comes from a key ahead of all clocks, which orders nothing
  else.
- A timestamp that is too high by no more than the skew of clocks and the time bounds of writes can explain may be the
  bound of a write. The client's operation is refused until this clock follows it.
- A client that does not know the outcome of a write sends the bound of its version, separately from the highest
  timestamp that it has seen, so that ignoring the one does not hide the other. Its later writes are then ordered after
  that write, however late a coordinator received it, and whatever clocks show.

Rules for keys ahead of all clocks, which were written while clocks were wrong. They get separate versions, which no
clock follows
- Such a version is above the held version, and above every timestamp that this process drew for the same key in this
  way. The identity and generation of the node make it unique.
- The highest drawn timestamp is kept by a hash of the key, so that memory is bounded and no entry is ever removed. Keys
  that share a hash are drawn above each other, which is harmless, since both are ahead already.
- Such a timestamp is odd, and those drawn by the clock are even. When time has caught up with a key, no timestamp is
  drawn twice.
- If two coordinators find the same held version, the later one must draw the higher timestamp, even if the first
  write reached only one replica, which the second one did not ask. For this the time of day is added, in steps of half
  a second that repeat after half an hour. It adds at most a sixteenth of a millisecond to a version, so time catches up
  with a key however often it is written.
- A bounded number of such keys is remembered, so that the next write of each takes one round.
- A floor that is too high to follow is respected in the same way, key by key.
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
"""Distance between timestamps that the clock draws. The even numbers below it count returns to the wall clock."""
NEAR_FUTURE_S = 10.0
"""Distance beyond the clocks' skew within which a client's next operation waits for a version that it has seen.

Such a version may be the bound of a write whose outcome is unknown, at a node whose clock was wrong unnoticed.
"""
MAX_KEYS_AHEAD = 1024
"""Maximum number of keys ahead of all clocks that are remembered; some megabytes with keys of maximum length."""
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
        """Last timestamp drawn by the clock as one of several owners, since the last return to the wall clock."""
        clock.begin(latest_on_disk())

    def follow_client(self, seen_timestamp: int, lost_timestamp: int = 0) -> None:
        """Advance the clock to a timestamp that a client has seen, unless it comes from a key ahead of all clocks.

        Do the same for ``lost_timestamp``, the upper bound of the version of a write whose outcome is unknown.

        Raise Unavailable if a timestamp is too far ahead now, but will not be in a moment.
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
        """Return the highest timestamp that a client may count as seen, which every node follows.

        It is not lower than the last timestamp drawn by the clock, unless the wall clock was set back so far that other
        nodes would not follow that one for long.
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
        """Return new versions for writes of these keys, ascending except for keys that are known to be ahead.

        Raise Unavailable if no other node would follow them, Expired if they would exceed ``bounds``.
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
        """Return a version for ``key`` only, above ``held``, which is ahead of all clocks.

        Raise Unavailable if there is none.
        """
        return self._draw_above(key, held.timestamp)

    def is_ahead(self, version: Version) -> bool:
        """Return True if a write that finds ``version``, a newer one, must be repeated above it.

        No clock follows this version, or none did when it was drawn, so its client does not count it as seen. The next
        write must be above it, even if clocks have meanwhile come near enough to follow it.
        """
        drawn_above = version.timestamp & 1 == 1
        return drawn_above or not self.clock.follows(version.timestamp)

    def remember_ahead(self, key: bytes, version: Version) -> None:
        """Remember that ``key`` holds ``version``, which is ahead of all clocks.

        If too many keys are remembered, forget the one that was remembered first.
        """
        timestamp = max(version.timestamp, self._ahead.pop(key, 0))
        if len(self._ahead) >= MAX_KEYS_AHEAD:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[key] = timestamp

    def observe_all(self, timestamps: Sequence[int]) -> None:
        """Draw above these timestamps from now on. Replicas keep versions over restarts; clocks do not."""
        try:
            self.clock.observe(max(timestamps, default=0))
        except ClockSkew:
            for timestamp in timestamps:
                with suppress(ClockSkew):  # readers still get such a version
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
        # The clock of an only owner orders all versions. While it is ahead, no version could be within the bound.
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
