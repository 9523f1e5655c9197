"""A replica's part in the collection of tombstones (docs/ring-changes.md, rules 12, 16 and 17).

- There is no await between the check of the epoch and the step that follows it.
- A confirmation is sent only after an fsync, whatever the durability setting. If a power failure could remove a
  confirmed tombstone, an older value could return.
- A purge needs no fsync: a tombstone that returns after a power failure does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...quorum.version import Version
from ..epoch.epochs import Epochs
from ..errors import Corruption
from ..messages.envelope import EpochMismatch
from ..messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply, Tombstone
from ..storage.interface import Engine
from .confirmed import is_purgeable


class TombstoneReplica:
    def __init__(self, engine: Engine, epochs: Epochs) -> None:
        self._engine = engine
        self._epochs = epochs

    async def confirm(self, request: Confirm) -> ConfirmReply | EpochMismatch:
        """Confirm the tombstones that are held here; none while the ring changes, and none that cannot be read."""
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(request.epoch)) is not None:
            return mismatch
        record = self._epochs.record
        stable = record is not None and not record.changing
        confirmed = tuple(stable and self._holds(key, version) for key, version in request.tombstones)
        await self._engine.durable(always=True)
        return ConfirmReply(request.epoch, confirmed)

    async def purge(self, request: Purge) -> PurgeReply | EpochMismatch:
        """Purge the tombstones that this node's own epoch and floor allow to be purged."""
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(request.epoch)) is not None:
            return mismatch
        record = self._epochs.record
        allowed = [
            (key, version)
            for key, version in request.tombstones
            if record is not None
            and is_purgeable(version, request.confirmed_epoch, record.number, record.floor)
        ]
        return PurgeReply(request.epoch, self._purge(allowed))

    def _holds(self, key: bytes, version: Version) -> bool:
        try:
            entry = self._engine.get(key)
        except Corruption:
            return False
        return entry is not None and entry.version >= version

    def _purge(self, tombstones: Sequence[Tombstone]) -> int:
        """Purge all in one step. If one is damaged, purge each separately, so that the others are still purged."""
        if not tombstones:
            return 0
        try:
            return self._engine.purge(tombstones)
        except Corruption:
            if len(tombstones) == 1:
                return 0
        return sum(self._purge([tombstone]) for tombstone in tombstones)
