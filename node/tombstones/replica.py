"""Confirms and purges tombstones as a replica (docs/ring-changes.md, rules 12, 16 and 17).

The epoch check and the step that follows it are uninterrupted: there is no await between them. A confirmation is
sent only after an fsync, whatever the durability setting: one that a power failure reverted would let an older value
return. A purge needs no fsync: a tombstone that a power failure brings back does no harm.
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
        """Confirm nothing while the ring changes, nor anything that cannot be read."""
        await self._epochs.settled()
        if (mismatch := self._epochs.mismatch(request.epoch)) is not None:
            return mismatch
        record = self._epochs.record
        stable = record is not None and not record.changing
        confirmed = tuple(stable and self._holds(key, version) for key, version in request.tombstones)
        await self._engine.durable(always=True)
        return ConfirmReply(request.epoch, confirmed)

    async def purge(self, request: Purge) -> PurgeReply | EpochMismatch:
        """Purge what this node's own epoch and floor allow."""
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
        """Purge all at once; one at a time if any of them is damaged, so that the others are purged all the same."""
        if not tombstones:
            return 0
        try:
            return self._engine.purge(tombstones)
        except Corruption:
            if len(tombstones) == 1:
                return 0
        return sum(self._purge([tombstone]) for tombstone in tombstones)
