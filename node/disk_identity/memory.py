"""Stores other members' addresses and extents (how far their data goes), so that they survive restarts of this node.

The first extent of a process is saved at the next heartbeat, a higher mark of a known process within ``MARKS_SAVED_S``.
So after a restart a node may remember slightly lower marks than it had received, but forgets no process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...identity import Identity
from ...membership.extent import Extent, RememberedExtents
from ...membership.member_list import Member
from ...membership.record import MemberRecord
from ..data_directory.local_state import LocalState
from ..errors import DataDirectoryError
from ..runtime import Runtime

MARKS_SAVED_S = 5.0


class MemberMemory:
    def __init__(self, runtime: Runtime, home: LocalState) -> None:
        self._me = runtime.me.identity
        self._clock = runtime.clock
        self._tasks = runtime.tasks
        self._home = home
        self._addresses = home.peers()
        self._extents = RememberedExtents(home.remembered().items())
        self._saving = False
        self._saved_s = self._clock.monotonic()

    def extents_of(self, member: Identity) -> tuple[Extent, ...]:
        """Return the extents of the member's processes, as far as this node has received them."""
        return self._extents.of(member)

    def note(self, records: Iterable[MemberRecord]) -> None:
        for record in records:
            if record.identity != self._me:
                self._extents.note_record(record)

    def note_extent(self, member: Identity, extent: Extent) -> None:
        self._extents.note(member, extent)

    def save(self, members: Iterable[Member], unheard: Collection[Identity]) -> None:
        """Save addresses if they changed, and extents when they are due; forget nodes that are in neither argument.

        ``unheard``: owners of which gossip has received no record since this node started.
        """
        present = {m.identity: m.record.address for m in members if not m.left}
        kept = {*present, *unheard}
        addresses = {owner: self._addresses[owner] for owner in unheard if owner in self._addresses}
        addresses |= {member: address for member, address in present.items() if member != self._me}
        if addresses != self._addresses:
            self._addresses = addresses
            self._home.save_peers(addresses)
        extents, now_s = self._extents, self._clock.monotonic()
        due = extents.processes_changed or now_s - self._saved_s >= MARKS_SAVED_S
        if not (due and extents.changed) or self._saving:
            return
        self._saving, self._saved_s = True, now_s
        extents.keep(kept)
        extents.changed = extents.processes_changed = False
        self._tasks.spawn(self._save_extents())

    async def _save_extents(self) -> None:
        try:
            await self._home.save_remembered(self._extents.all())
        except DataDirectoryError:
            self._extents.changed = True  # such as for a full disk; the next save includes these changes
        finally:
            self._saving = False
