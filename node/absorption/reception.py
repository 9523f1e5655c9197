"""The receiving side of an absorption: answers queries for the cluster's members, and writes the entries it receives.

Rules
- An entry is written like a client's write, by a write quorum of every live ring, but with the version that it has. So
  of two writes to one key the newer wins, whichever cluster acknowledged it, and an entry that arrives twice has no
  further effect.
- No acknowledged entry is dropped because it is old. Replicas refuse versions at or below the floor, since tombstones
  there may have been collected. So for such an entry the key is read first. If its current version is newer, the entry
  is superseded. Otherwise the entry is written with the lowest version above the floor, which is older than that of
  every client's write since the floor was raised. The price: a value from the cluster of one may reappear for a key
  that was deleted here later, if the tombstone has been collected. The delete did not know of the value, and no value
  is discarded for it.
- A batch that arrives after its sender has stopped waiting is not begun: the sender has sent it again, and its keys may
  have been deleted since. Tombstones are collected only after a longer time.
- A version too far ahead of this node's clock is refused until the clock has reached it, like any other such data.
"""

from __future__ import annotations

import asyncio

from ...quorum.version import timestamp_at
from ..coordinator.coordinator import Coordinator
from ..epoch.epochs import Epochs
from ..errors import OperationError
from ..events import Event
from ..members.members import Members
from ..messages.absorption import (
    MAX_MEMBERS,
    Contribution,
    ContributionReply,
    MembershipQuery,
    MembershipReply,
)
from ..messages.envelope import Envelope, Refusal, RefusalCode
from ..operations import Get, GetResult
from ..runtime import Runtime
from ..storage.interface import Entry

MAX_REMEMBERED = 100


class Reception:
    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        members: Members,
        coordinator: Coordinator,
        max_skew_s: float,
        write_timeout_s: float,
    ) -> None:
        self._epochs = epochs
        self._members = members
        self._coordinator = coordinator
        self._clock = runtime.clock
        self._max_skew_ms = int(max_skew_s * 1000)
        self._write_timeout_s = write_timeout_s
        self._log = runtime.log
        self._receiving = False
        self._known: set[object] = set()
        """Identities of the nodes whose first batch is logged."""

    async def on_query(self, envelope: Envelope, message: MembershipQuery) -> MembershipReply:
        record = self._epochs.record
        me = self._members.own_record()
        alive = [m.record for m in self._members.all() if m.alive and m.identity != me.identity]
        owners = record.owners.owners if record is not None else {}
        up = sum(not self._members.is_down(owner) for owner in owners)
        members = [(member.identity, member.address) for member in (me, *alive)]
        return MembershipReply(
            counted=self._counts(envelope), record=record, owners_up=up, members=tuple(members[:MAX_MEMBERS])
        )

    def _counts(self, envelope: Envelope) -> bool:
        """Return whether a member has the caller's name, on another disk, and is not alive at another address."""
        caller, record = envelope.source, self._epochs.record
        if record is None or caller.name == self._members.own_record().identity.name:
            return False
        named = [
            member
            for member in self._members.all()
            if member.identity.name == caller.name and member.identity != caller and not member.left
        ]
        if any(member.in_doubt_or_alive and member.record.address != envelope.address for member in named):
            return False
        owners = record.live_owners
        return bool(named) or any(owner.name == caller.name and owner != caller for owner in owners)

    async def on_contribution(self, envelope: Envelope, message: Contribution) -> ContributionReply | Refusal:
        """Write the entries; reply once all are acknowledged, or with the reason why one is not."""
        record = self._epochs.record
        if record is None or record.cluster_id != message.cluster_id:
            return Refusal(RefusalCode.FOREIGN_CLUSTER, f"this node does not belong to {message.cluster_id}")
        if self._receiving:
            return Refusal(RefusalCode.NOT_READY, "it is writing other entries that it has received")
        self._receiving = True
        try:
            self._note_begin(envelope)
            troubles = await asyncio.gather(*(self._write(key, entry) for key, entry in message.entries))
        finally:
            self._receiving = False
        trouble = next((trouble for trouble in troubles if trouble), "")
        if message.last and not trouble:
            self._log.emit(
                Event.ABSORPTION_RECEIVED,
                member=envelope.source.name,
                entries=message.written + len(message.entries),
            )
        return ContributionReply(trouble)

    async def _write(self, key: bytes, entry: Entry) -> str:
        """Write an entry; return why it is not acknowledged, or an empty string."""
        if not key:
            return "an entry has no key"
        limit = timestamp_at(self._clock.wall_ms() + self._max_skew_ms + 1)
        if entry.version.timestamp >= limit:
            ahead_s = (entry.version.wall_ms - self._clock.wall_ms()) / 1000
            return f"a version is {ahead_s:.1f} s ahead of this node's clock, and accepted once the clock reaches it"
        try:
            fitted = await self._above_floor(key, entry)
            if fitted is not None:
                await self._coordinator.store(key, fitted, self._write_timeout_s)
        except OperationError as error:
            return str(error)
        return ""

    async def _above_floor(self, key: bytes, entry: Entry) -> Entry | None:
        """Return the entry with a version that replicas accept; None if it needs no write since it is superseded."""
        record = self._epochs.record
        floor = record.floor if record is not None else 0
        if entry.version.timestamp > floor:
            return entry
        current = await self._coordinator.execute(Get(key, self._write_timeout_s))
        assert isinstance(current, GetResult)
        if current.version is not None and current.version >= entry.version:
            return None
        if current.version is None and entry.tombstone:
            return None  # the key has no value that it could delete
        return Entry(entry.version._replace(timestamp=floor + 1), entry.value)

    def _note_begin(self, envelope: Envelope) -> None:
        if envelope.source in self._known:
            return
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known.add(envelope.source)
        self._log.emit(Event.ABSORPTION_RECEIVING, member=envelope.source.name, address=envelope.address)
