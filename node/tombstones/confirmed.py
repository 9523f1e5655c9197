"""Tombstones known to be on all replicas of their lists, from when that was confirmed until all have purged them.

That all replicas of a key held a version or a newer one under some stable epoch stays true for good, so the
proof outlives ring changes: whoever enters the list later has pulled that or newer. It is kept in memory only,
and found anew after a restart. What is done with it is bounded by rule 12:

- A tombstone may be purged only under an epoch greater than the one it was confirmed under, with the floor at
  or above it. In the same epoch a read's write-back from before the confirmation may still be under way.
- So what was confirmed waits for the floor, and, when the floor is above it already (it came back from a
  replica that was away when the others purged it), for any later epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...quorum.version import Version
from ...ring.hashing import token_of
from ...ring.ring import PreferenceList, Ring
from ..messages.tombstones import Tombstone

MOST_KEPT = 100_000
"""Some 30 MB with short keys."""


class Proof(NamedTuple):
    version: Version
    epoch: int
    """Number of the stable epoch under which all replicas held the version or a newer one."""


class ConfirmedTombstones:
    def __init__(self) -> None:
        self._proofs: dict[bytes, Proof] = {}
        self._highest: dict[int, int] = {}
        """By the epoch of the confirmation, the highest timestamp; of epochs of which something still waits."""

    def __len__(self) -> int:
        return len(self._proofs)

    @property
    def full(self) -> bool:
        """Whether no more should be confirmed before some were purged."""
        return len(self._proofs) >= MOST_KEPT

    def lacking(self, tombstones: Iterable[Tombstone]) -> tuple[Tombstone, ...]:
        """Those of ``tombstones`` that are not confirmed yet."""
        return tuple(
            (key, version)
            for key, version in tombstones
            if (proof := self._proofs.get(key)) is None or proof.version != version
        )

    def add(self, tombstones: Iterable[Tombstone], epoch: int) -> None:
        for key, version in tombstones:
            self._proofs[key] = Proof(version, epoch)
            self._highest[epoch] = max(version.timestamp, self._highest.get(epoch, 0))

    def forget(self, tombstones: Iterable[Tombstone]) -> None:
        """These are purged, or given up."""
        for key, version in tombstones:
            if (proof := self._proofs.get(key)) is not None and proof.version == version:
                del self._proofs[key]

    def purgeable(self, epoch: int, floor: int, most: int) -> Iterator[dict[int, list[Tombstone]]]:
        """What may be purged under the epoch of this number and floor, by the epoch it was confirmed under.

        It comes in parts of at most ``most``, some of them empty, so that no step takes long; between them, what
        is purged may be forgotten.
        """
        keys = list(self._proofs)
        for begin in range(0, len(keys), most):
            found: dict[int, list[Tombstone]] = {}
            for key in keys[begin : begin + most]:
                version, confirmed_epoch = self._proofs[key]
                if is_purgeable(version, confirmed_epoch, epoch, floor):
                    found.setdefault(confirmed_epoch, []).append((key, version))
            yield found

    def floor_wanted(self, epoch: int, floor: int) -> int:
        """The floor that would make all of it purgeable by the next epoch; 0 when nothing waits for one."""
        self._highest = {
            confirmed_epoch: highest
            for confirmed_epoch, highest in self._highest.items()
            if confirmed_epoch >= epoch or highest > floor
        }
        return max(floor + 1, *self._highest.values()) if self._highest else 0


def is_purgeable(version: Version, confirmed_epoch: int, epoch: int, floor: int) -> bool:
    """Rule 12, of one tombstone and a replica at the epoch of this number and floor."""
    return confirmed_epoch < epoch and version.timestamp <= floor


def held_by_all(asked: Sequence[Tombstone], answers: Sequence[Sequence[bool]]) -> list[Tombstone]:
    """What every replica confirmed; an answer says of each asked tombstone, in order, whether it holds it."""
    return [tombstone for tombstone, held in zip(asked, zip(*answers, strict=True), strict=True) if all(held)]


def by_replicas(
    rings: Sequence[Ring], tombstones: Iterable[Tombstone]
) -> dict[PreferenceList, list[Tombstone]]:
    """The tombstones by who replicates their keys in any of the live rings."""
    found: dict[PreferenceList, list[Tombstone]] = {}
    for key, version in tombstones:
        token = token_of(key)
        replicas = tuple(dict.fromkeys(replica for ring in rings for replica in ring.preference_list(token)))
        found.setdefault(replicas, []).append((key, version))
    return found
