"""Tombstones that all replicas of their lists have confirmed, kept until all have purged them. Pure.

That all replicas of a key held a version or a newer one under some stable epoch stays true for ever, so a confirmation
outlives ring changes: a node that enters the list later has pulled that version or a newer one. Confirmations are in
memory only, and repeated after a restart. Their use is bounded (docs/ring-changes.md, rule 12):

- A tombstone may be purged only under an epoch greater than the one it was confirmed under, with the floor at or
  above it. In the same epoch a read's write-back from before the confirmation may still be in flight.
- So a confirmed tombstone waits for the floor. If the floor is above it already, because it came back from a replica
  that was away when the others purged it, it waits for any later epoch.
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
        """Whether some must be purged before more are confirmed."""
        return len(self._confirmations) >= MAX_CONFIRMED

    def missing(self, tombstones: Iterable[Tombstone]) -> tuple[Tombstone, ...]:
        """Return those of ``tombstones`` that are not confirmed yet."""
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
        """Remove these, since they are purged."""
        for key, version in tombstones:
            if (known := self._confirmations.get(key)) is not None and known.version == version:
                del self._confirmations[key]

    def purgeable(self, epoch: int, floor: int, max_batch: int) -> Iterator[dict[int, list[Tombstone]]]:
        """Yield what may be purged under the epoch of this number and floor, by the epoch of its confirmation.

        Each batch has at most ``max_batch`` tombstones and may be empty, so that no step takes long. Tombstones may be
        removed between batches.
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
        """Return the floor that would make all of them purgeable by the next epoch; 0 when none waits for a floor."""
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
