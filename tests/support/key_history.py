"""The operations on one key, indexed so that queries by time and version take logarithmic time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from .history import Kind, Operation, Outcome, Version

ANY: Version = (1 << 80, 0, 0)
"""Above every version: stands in for the unknown version of a write."""

TOMBSTONE = ""
"""Stands for a deletion where contents are compared; values are never empty."""


_KnownVersion = tuple[Version, Operation]


class KnownVersions:
    """The newest version that any client knew, by time."""

    def __init__(self, known: Iterable[_KnownVersion]) -> None:
        by_end = sorted(known, key=lambda pair: pair[1].end_s)
        self._ends = [operation.end_s for _, operation in by_end]
        self._newest = list(accumulate(by_end, _newer))

    def before(self, instant_s: float) -> _KnownVersion | None:
        """Return the newest version known from operations that ended before; None if there were none."""
        ended = bisect_left(self._ends, instant_s)
        return self._newest[ended - 1] if ended else None

    def ever(self) -> _KnownVersion | None:
        return self._newest[-1] if self._newest else None


def _newer(one: _KnownVersion, other: _KnownVersion) -> _KnownVersion:
    return other if other[0] > one[0] else one


class StartedWrites:
    """The highest version that a set of writes may have, by start time."""

    def __init__(self, writes: Iterable[_KnownVersion]) -> None:
        by_start = sorted((write.start_s, version) for version, write in writes)
        self._starts = [start_s for start_s, _ in by_start]
        self._highest = list(accumulate((version for _, version in by_start), max))

    def above(self, version: Version | None, instant_s: float) -> bool:
        """Return True if a write that began by then may be newer than ``version``."""
        begun = bisect_right(self._starts, instant_s)
        return bool(begun) and (version is None or self._highest[begun - 1] > version)


class KeyHistory:
    """The operations on one key. A value's version is known from its write or from any read of it."""

    def __init__(self, key: str, operations: Sequence[Operation]) -> None:
        self.key = key
        self.operations = operations
        self.put_of = {op.value: op for op in operations if op.kind is Kind.PUT and op.value is not None}
        self.deleting = {
            op.version for op in operations if op.kind is Kind.DELETE and op.outcome is Outcome.DONE
        }
        self._versions = {
            op.value: op.version
            for op in operations
            if op.outcome is Outcome.DONE and op.value is not None and op.version is not None
        }
        self.known = KnownVersions(
            (version, op)
            for op in operations
            if op.strict and op.outcome is Outcome.DONE and (version := self.version_of(op)) is not None
        )
        self.puts = self._started(Kind.PUT)
        self.deletes = self._started(Kind.DELETE)
        self.unknown_deletes = StartedWrites(
            (ANY, op) for op in operations if op.kind is Kind.DELETE and op.outcome is Outcome.UNKNOWN
        )

    def version_of(self, operation: Operation) -> Version | None:
        if operation.version is not None or operation.value is None:
            return operation.version
        return self._versions.get(operation.value)

    def _started(self, kind: Kind) -> StartedWrites:
        return StartedWrites(
            (self.version_of(op) or ANY, op)
            for op in self.operations
            if op.kind is kind and op.outcome is not Outcome.NOT_DONE
        )
