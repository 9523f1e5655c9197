"""Which of two sides holds the newer entry of each key. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...quorum.version import Version


class Differences(NamedTuple):
    """Keys that one side lacks or holds in an older version than the other."""

    newer_here: list[bytes]
    newer_there: list[bytes]


def differences(here: Mapping[bytes, Version], there: Mapping[bytes, Version]) -> Differences:
    """Tombstones count as any entry: what is absent is older than everything."""
    newer_there = [key for key, version in there.items() if key not in here or here[key] < version]
    newer_here = [key for key, version in here.items() if key not in there or there[key] < version]
    return Differences(newer_here, newer_there)


class BatchSize:
    """How many keys of unknown value sizes to ask for at once, by the sizes of those that came before."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self.keys = max(1, most // 16)

    def saw(self, keys: int, size_bytes: int) -> None:
        """Note what a batch brought; the next may at most be four times as large."""
        fitting = self._most_bytes * max(1, keys) // max(1, size_bytes)
        self.keys = max(1, min(self._most, fitting, 4 * self.keys))
