"""Where a coordinator's versions come from (rule 14 of the epoch rules), and which times it does not follow.

Rules:
- A version is above the floor, all that this process has drawn or heard of, and what the client has seen.
- A node that is the only owner draws above all that its disk ever held, however far ahead of its clock that is. Its
  clock may have been set back since; there is nobody else to go by, and nobody to drag along.
- Beside others it follows its disk no further than it follows them. One version from the far future, once merged, would
  else make all its later ones such.
- What it would draw too far ahead of its own clock all the same, since that was set back under way, it does not draw.
- No version's time lies beyond what the write's client allows (``TimeBounds``). So a client that raises what it has
  seen to that instant, when it does not know what became of a write, has its later writes ordered after it, however
  late the coordinator of the first one met it and whatever the clocks show.
- A write that meets a version of such a future is not acknowledged: nobody would ever read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from ..epochs import Epochs
from ..errors import BeyondBound, ClockSkew, Expired, OperationTimeout, Unavailable
from ..named import as_named
from ..operations import UNBOUNDED, TimeBounds
from ..peers import Self
from .clock import HybridClock
from .version import Version


class VersionSource:
    def __init__(
        self, me: Self, epochs: Epochs, clock: HybridClock, latest_on_disk: Callable[[], int]
    ) -> None:
        self._me = me
        self._epochs = epochs
        self._clock = clock
        self._latest_on_disk = latest_on_disk
        clock.begin(latest_on_disk())

    def follow_client(self, seen_timestamp: int) -> None:
        """Rise to what a client has seen. Raises Unavailable when that is too far ahead."""
        if self._alone():
            self._clock.follow_disk(self._latest_on_disk())
        try:
            self._clock.observe(seen_timestamp)
        except ClockSkew as skew:
            raise Unavailable(
                f"the operation was not done: the client has seen a version {skew.ahead_s:.1f} s ahead of "
                "this node's clock; ask another node"
            ) from skew

    def now_ms(self) -> int:
        """The hybrid clock, which bounds in time are measured by."""
        return self._clock.current_ms()

    def draw(self, count: int, seen_timestamp: int, bounds: TimeBounds = UNBOUNDED) -> list[Version]:
        """Versions for new writes, ascending. Raises Unavailable when there are none that others could live with.

        Raises Expired when they would lie beyond ``bounds``.
        """
        record = self._epochs.record
        above = max(record.floor if record is not None else 0, seen_timestamp)
        try:
            first = self._clock.draw(above, count, bounded=not self._alone(), latest=bounds.latest_timestamp)
        except BeyondBound:
            raise Expired.met_at(self.now_ms(), bounds.sent_ms) from None
        except ClockSkew as skew:
            raise Unavailable(
                f"the operation was not done: this node has drawn versions {skew.ahead_s:.1f} s ahead of its clock, "
                "which was set back; ask another node, and start this one again"
            ) from skew
        disk_id, generation = self._me.identity.disk_id, self._me.generation
        return [
            as_named(Version, (timestamp, disk_id, generation)) for timestamp in range(first, first + count)
        ]

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

    def see_standing(self, version: Version) -> None:
        """As ``see``, of what stands after a write. Raises OperationTimeout when that can only be waited out."""
        try:
            self._clock.observe(version.timestamp)
        except ClockSkew as skew:
            raise OperationTimeout(
                f"the write may have happened, but nobody will read it: the key holds a version {skew.ahead_s:.1f} s "
                "ahead of this node's clock, written when some clock was wrong; write again after that time",
                maybe_applied=True,
            ) from skew

    def _alone(self) -> bool:
        record = self._epochs.record
        return (
            record is not None and not record.changing and list(record.owners.owners) == [self._me.identity]
        )
