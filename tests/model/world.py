"""The constants of a search: the bounds, the rules, and a cache of the stages met so far."""

from __future__ import annotations

from collections.abc import Callable

from covey.ring.epoch import EpochRecord

from .bounds import DELETE, Bounds
from .rules import Rules
from .stages import Stage
from .state import State


class World:
    def __init__(self, bounds: Bounds, rules: Rules) -> None:
        self.bounds = bounds
        self.rules = rules
        self.stages: list[Stage] = []
        self._places: dict[EpochRecord, int] = {}
        self._followers: dict[tuple[int, str], int] = {}
        wiped = not rules.wiped_disk_is_a_new_node
        self.faults = bounds.corruptions + wiped + (not rules.sync_before_report)
        self.tombstone = max(
            (number + 1 for number, kind in enumerate(bounds.writes) if kind == DELETE), default=0
        )
        """The version of the tombstone that is collected."""
        self.nodes = range(len(bounds.nodes))

    def range_index(self, record: EpochRecord) -> int:
        if record not in self._places:
            self._places[record] = len(self.stages)
            self.stages.append(Stage(record, self.rules))
        return self._places[record]

    def extended(
        self, history: tuple[int, ...], name: str, make: Callable[[EpochRecord], EpochRecord]
    ) -> tuple[int, ...]:
        """Return ``history`` with the record that ``make`` makes of the last one; ``name`` identifies ``make``."""
        key = (history[-1], name)
        if key not in self._followers:
            self._followers[key] = self.range_index(make(self.stages[history[-1]].record))
        return (*history, self._followers[key])

    def may_choose(self, state: State, step: str) -> bool:
        """Return whether the bounds allow another record, of this kind."""
        chosen, script = len(state.history), self.bounds.script
        return chosen < self.bounds.deepest and (not script or script[chosen - 1] == step)

    def stage(self, state: State, epoch: int) -> Stage:
        return self.stages[state.history[epoch - 1]]

    def write_of(self, version: int) -> int:
        """Return the write that drew ``version``; second versions of writes follow all first versions."""
        return (version - 1) % len(self.bounds.writes)

    def deletes(self, version: int) -> bool:
        return version > 0 and self.bounds.writes[self.write_of(version)] == DELETE

    def noticed(self, state: State, version: int) -> State:
        """Return the state after ``version`` was acknowledged or returned: no older version may be from now on."""
        if version <= state.due:
            return state
        overtaken = state.overtaken
        if not self.rules.retry_keeps_version and state.due:
            overtaken |= (1 << self.write_of(state.due)) & ~(1 << self.write_of(version))
        return state._replace(due=version, overtaken=overtaken)

    def objection(self, state: State, version: int, due: int, overtaken: int) -> str:
        """Return why a read that must return ``due`` or newer must not return ``version``; empty if it may."""
        deleted = self.deletes(due) or (state.proven and self.tombstone >= due)
        if version < due and not (version == 0 and deleted):
            found = f"version {version}" if version else "nothing"
            return f"a read returns {found} after version {due} was acknowledged or read"
        if version > due and overtaken >> self.write_of(version) & 1:
            return f"a read returns write {self.write_of(version) + 1} again, after what replaced it was read"
        return ""
