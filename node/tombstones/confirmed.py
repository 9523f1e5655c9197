"""Tombstones that all replicas of their lists have confirmed, kept until all have purged them. Pure.

A confirmation states that all replicas of a key held this version or a newer one under some stable epoch. It remains
valid after ring changes, because a node that enters the list later has pulled this version or a newer one.
Confirmations are kept in memory only, and are made again after a restart.

Rules (docs/ring-changes.md, rule 12)
- A tombstone may be purged only under a later epoch than that of its confirmation, and only if the floor is at or above
  its version. Under the same epoch, a write-back that began before the confirmation may still be in flight.
- Therefore a confirmed tombstone waits for the floor. If the floor is already above it, because a replica that was away
  during an earlier purge has brought it back, it waits for any later epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...quorum.version import Version
from ...ring.ring import PreferenceList, Ring
from ...ring.tokens import token_of
from ..messages.tombstones import Tombstone

MAX_CONFIRMED = 100_000
"""About 30 MB with short keys."""


class Confirmation(NamedTuple):
    version: Version
    epoch: int
    """Number of the stable epoch under which all replicas held the version or a newer one."""


class ConfirmedTombstones:
    def __init__(self) -> None:
        self._confirmations: dict[bytes, Confirmation] = {}
        self._highest: dict[int, int] = {}
        """The highest timestamp by the epoch of confirmation, for epochs with tombstones that still wait."""

    def __len__(self) -> int:
        return len(self._confirmations)

    @property
    def full(self) -> bool:
        """Whether some tombstones must be purged before more can be confirmed."""
        return len(self._confirmations) >= MAX_CONFIRMED

    def missing(self, tombstones: Iterable[Tombstone]) -> tuple[Tombstone, ...]:
        """Return the given tombstones that are not confirmed yet."""
        return tuple(
            (key, version)
            for key, version in tombstones
            if (known := self._confirmations.get(key)) is None or known.version != version
        )

    def add(self, tombstones: Iterable[Tombstone], epoch: int) -> None:
        for key, version in tombstones:
            self._confirmations[key] = Confirmation(version, epoch)
            self._highest[epoch] = max(version.timestamp, self._highest.get(epoch, 0))

    def remove(self, tombstones: Iterable[Tombstone]) -> None:
        """Remove tombstones that were purged."""
        for key, version in tombstones:
            if (known := self._confirmations.get(key)) is not None and known.version == version:
                del self._confirmations[key]

    def purgeable(self, epoch: int, floor: int, max_batch: int) -> Iterator[dict[int, list[Tombstone]]]:
        """Yield the tombstones that may be purged under this epoch and floor, by the epoch of their confirmation.

        They come in batches of at most ``max_batch`` tombstones, so that no step takes long. A batch may be empty.
        Tombstones may be removed between batches.
        """
        keys = list(self._confirmations)
        for begin in range(0, len(keys), max_batch):
            found: dict[int, list[Tombstone]] = {}
            for key in keys[begin : begin + max_batch]:
                version, confirmed_epoch = self._confirmations[key]
                if is_purgeable(version, confirmed_epoch, epoch, floor):
                    found.setdefault(confirmed_epoch, []).append((key, version))
            yield found

    def floor_wanted(self, epoch: int, floor: int) -> int:
        """Return the floor that makes all tombstones purgeable under the next epoch; 0 if none waits for a floor."""
        self._highest = {
            confirmed_epoch: highest
            for confirmed_epoch, highest in self._highest.items()
            if confirmed_epoch >= epoch or highest > floor
        }
        return max(floor + 1, *self._highest.values()) if self._highest else 0


def is_purgeable(version: Version, confirmed_epoch: int, epoch: int, floor: int) -> bool:
    """Return whether a replica at the epoch of this number and floor may purge a tombstone (rule 12)."""
    return confirmed_epoch < epoch and version.timestamp <= floor


def held_by_all(asked: Sequence[Tombstone], answers: Sequence[Sequence[bool]]) -> list[Tombstone]:
    """Return the tombstones that every replica confirmed; an answer has one value for each tombstone, in order."""
    return [tombstone for tombstone, held in zip(asked, zip(*answers, strict=True), strict=True) if all(held)]


def by_replicas(
    rings: Sequence[Ring], tombstones: Iterable[Tombstone]
) -> dict[PreferenceList, list[Tombstone]]:
    """Group the tombstones by the replicas of their keys in all live rings."""
    found: dict[PreferenceList, list[Tombstone]] = {}
    for key, version in tombstones:
        token = token_of(key)
        replicas = tuple(dict.fromkeys(replica for ring in rings for replica in ring.preference_list(token)))
        found.setdefault(replicas, []).append((key, version))
    return found
