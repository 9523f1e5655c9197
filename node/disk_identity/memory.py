"""Keeps over restarts what this node remembers of how far other members' data goes.

A process that is heard of for the first time is saved at the next heartbeat, a mark that rises within
``MARKS_SAVED_S``: a node that restarts may remember a little less than it had heard, but forgets no process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...identity import Identity
from ...membership.extent import RememberedExtents
from ...membership.record import MemberRecord
from ..data_directory.local_state import LocalState
from ..errors import DataDirectoryError
from ..ports import Clock
from ..tasks import Tasks

MARKS_SAVED_S = 5.0


class ExtentMemory:
    def __init__(self, me: Identity, home: LocalState, clock: Clock, tasks: Tasks) -> None:
        self._me = me
        self._home = home
        self._clock = clock
        self._tasks = tasks
        self.remembered = RememberedExtents(home.remembered().items())
        self._saving = False
        self._saved_s = clock.monotonic()

    def note(self, records: Iterable[MemberRecord]) -> None:
        for record in records:
            if record.identity != self._me:
                self.remembered.note_record(record)

    def save_if_due(self, members: Collection[Identity]) -> None:
        """Save what has changed, if it is time; what concerns others than ``members`` is forgotten."""
        remembered, now_s = self.remembered, self._clock.monotonic()
        due = remembered.processes_changed or now_s - self._saved_s >= MARKS_SAVED_S
        if not (due and remembered.changed) or self._saving:
            return
        self._saving, self._saved_s = True, now_s
        remembered.keep(members)
        remembered.changed = remembered.processes_changed = False
        self._tasks.spawn(self._save())

    async def _save(self) -> None:
        try:
            await self._home.save_remembered(self.remembered.all())
        except DataDirectoryError:
            self.remembered.changed = True  # as when the disk is full: the next save has it all
        finally:
            self._saving = False
