"""What does not change while a search runs: the bounds, the rules, and every stage met so far."""

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

    def place_of(self, record: EpochRecord) -> int:
        if record not in self._places:
            self._places[record] = len(self.stages)
            self.stages.append(Stage(record, self.rules))
        return self._places[record]

    def extended(
        self, history: tuple[int, ...], name: str, make: Callable[[EpochRecord], EpochRecord]
    ) -> tuple[int, ...]:
        """With the record that ``make`` makes of the last one; ``name`` tells the ways to make one apart."""
        key = (history[-1], name)
        if key not in self._followers:
            self._followers[key] = self.place_of(make(self.stages[history[-1]].record))
        return (*history, self._followers[key])

    def may_choose(self, state: State, step: str) -> bool:
        """Whether the bounds allow another record, and that it is one of this kind."""
        chosen, script = len(state.history), self.bounds.script
        return chosen < self.bounds.deepest and (not script or script[chosen - 1] == step)

    def stage(self, state: State, epoch: int) -> Stage:
        return self.stages[state.history[epoch - 1]]

    def write_of(self, version: int) -> int:
        """The number of the write that drew ``version``; a second version of it comes after all first ones."""
        return (version - 1) % len(self.bounds.writes)

    def deletes(self, version: int) -> bool:
        return version > 0 and self.bounds.writes[self.write_of(version)] == DELETE

    def noticed(self, state: State, version: int) -> State:
        """``version`` was acknowledged or returned: from now on no older one may be."""
        if version <= state.due:
            return state
        overtaken = state.overtaken
        if not self.rules.retry_keeps_version and state.due:
            overtaken |= (1 << self.write_of(state.due)) & ~(1 << self.write_of(version))
        return state._replace(due=version, overtaken=overtaken)

    def objection(self, state: State, version: int, due: int, overtaken: int) -> str:
        """Why a read that had to return ``due`` or a newer version must not return ``version``; empty: it may."""
        deleted = self.deletes(due) or (state.proven and self.tombstone >= due)
        if version < due and not (version == 0 and deleted):
            found = f"version {version}" if version else "nothing"
            return f"a read returns {found} after version {due} was acknowledged or read"
        if version > due and overtaken >> self.write_of(version) & 1:
            return f"a read returns write {self.write_of(version) + 1} again, after what replaced it was read"
        return ""
