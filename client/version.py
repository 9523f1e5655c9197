"""Versions as applications see them, and what a client remembers of them."""

from __future__ import annotations

from functools import total_ordering

from ..quorum.version import Version as DrawnVersion


@total_ordering
class Version:
    """Version of a key's value, with whether it was superseded; totally ordered and immutable.

    It is ordered, hashed and printed as the version that the coordinator drew, but is no tuple. A client makes one for
    every write, so it does not hold a tuple either.
    """

    __slots__ = ("_disk_id", "_generation", "_superseded", "_timestamp")

    def __init__(self, timestamp: int, disk_id: int, generation: int, superseded: bool = False) -> None:
        self._timestamp = timestamp
        self._disk_id = disk_id
        self._generation = generation
        self._superseded = superseded

    @property
    def timestamp(self) -> int:
        """Wall milliseconds << 16 | counter."""
        return self._timestamp

    @property
    def disk_id(self) -> int:
        """Identity of the coordinator that drew it."""
        return self._disk_id

    @property
    def generation(self) -> int:
        """Number of the coordinator's start that drew it."""
        return self._generation

    @property
    def superseded(self) -> bool:
        """True if the key held a newer version when this one was acknowledged; no part of the order."""
        return self._superseded

    @property
    def wall_ms(self) -> int:
        """When the coordinator drew it, in milliseconds since the Unix epoch."""
        return self._drawn.wall_ms

    @property
    def _drawn(self) -> DrawnVersion:
        return DrawnVersion(self._timestamp, self._disk_id, self._generation)

    def __reduce__(self) -> tuple[type[Version], tuple[int, int, int, bool]]:
        return Version, (*self._drawn, self._superseded)

    def __eq__(self, other: object) -> bool:
        return self._drawn == other._drawn if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._drawn < other._drawn if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._drawn)

    def __str__(self) -> str:
        return str(self._drawn)

    def __repr__(self) -> str:
        return f"{repr(self._drawn)[:-1]}, superseded={self._superseded})"


class HighestSeen:
    """The highest version timestamp that a client has seen, which it sends along with its operations.

    It keeps the client's own order of writes when they go through different coordinators. A write whose outcome is
    unknown may have, or get, any version up to the latest that its batch allows; so that counts as seen too. It is kept
    apart: if it was taken from a clock far ahead, no node follows it for as long, but nodes must follow the rest.
    """

    def __init__(self) -> None:
        self.observed = 0
        """Highest timestamp of the versions that nodes returned."""
        self.lost = 0
        """Latest version of the writes whose outcome will never be known."""
        self._allowed = 0

    @property
    def timestamp(self) -> int:
        """The higher of ``observed`` and ``lost``."""
        return max(self.observed, self.lost)

    def allow(self, latest_timestamp: int) -> None:
        """Record a write that is sent now and may get any version up to this one."""
        self._allowed = max(self._allowed, latest_timestamp)

    def assume_allowed(self) -> None:
        """Record that the outcome of some write sent until now will never be known."""
        self.lose(self._allowed)

    def lose(self, latest_timestamp: int) -> None:
        """Record that the outcome of a write that may get any version up to this one will never be known."""
        self.lost = max(self.lost, latest_timestamp)

    def observe(self, timestamp: int) -> None:
        self.observed = max(self.observed, timestamp)
