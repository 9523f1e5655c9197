"""Versions as applications see them, and the highest version that a client has seen."""

from __future__ import annotations

from functools import total_ordering

from ..quorum.version import Version as DrawnVersion


@total_ordering
class Version:
    """The version of a key's value, and whether it was superseded. It is immutable, and versions are totally ordered.

    It is ordered, hashed and printed like ``quorum.version.Version``, but is not a tuple. For speed, since a client
    makes one for every write, it does not contain a tuple either.
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
        """True if the key had a newer version when this one was acknowledged. Ignored by comparisons."""
        return self._superseded

    @property
    def wall_ms(self) -> int:
        """The time at which the coordinator drew it, in milliseconds since the Unix epoch."""
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
    """The highest version timestamp that a client has seen. The client sends it with its operations.

    It keeps the writes of one client in order when different coordinators carry them out. A write of unknown outcome
    may have any version up to the latest timestamp of its batch, now or later; so that timestamp counts as seen, too.
    It is stored separately (``lost``), because nodes ignore it if it was taken from a clock that was far ahead, while
    they must always respect ``observed``.
    """

    def __init__(self) -> None:
        self.observed = 0
        """Highest timestamp of the versions that nodes returned."""
        self.lost = 0
        """Highest timestamp that a write may have whose outcome will never be known."""
        self._allowed = 0

    @property
    def timestamp(self) -> int:
        """The higher of ``observed`` and ``lost``."""
        return max(self.observed, self.lost)

    def allow(self, latest_timestamp: int) -> None:
        """Record that a write is sent now that may get any timestamp up to this one."""
        self._allowed = max(self._allowed, latest_timestamp)

    def assume_allowed(self) -> None:
        """Record that the outcome of some write sent so far will never be known."""
        self.lose(self._allowed)

    def lose(self, latest_timestamp: int) -> None:
        """Record that the outcome of a write with any timestamp up to this one will never be known."""
        self.lost = max(self.lost, latest_timestamp)

    def observe(self, timestamp: int) -> None:
        self.observed = max(self.observed, timestamp)
