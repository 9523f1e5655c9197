"""Breadth first through every state; what is found first is a shortest way to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import Model
from .normal import Normal
from .state import Label, State


@dataclass(frozen=True)
class Found:
    states: int
    kinds: frozenset[str]
    """Every kind of step that was taken."""
    fault: str = ""
    """The first promise seen broken; empty when none was."""
    trace: tuple[Label, ...] = field(default=())
    """The steps that lead to it."""


def explore(model: Model, most_states: int = 5_000_000) -> Found:
    """Visit every state, until one is wrong. Raises RuntimeError beyond ``most_states``."""
    normal = Normal(model.world)
    start = normal(model.start())
    parents: dict[State, State | None] = {start: None}
    frontier = [start]
    met: set[State] = set()
    kinds: set[str] = set()
    while frontier:
        following: list[State] = []
        for state in frontier:
            for label, after in model.steps(state):
                kinds.add(label[0])
                if after in met:
                    continue
                met.add(after)
                after = normal(after)
                if after in parents:
                    continue
                parents[after] = state
                if model.fault(after):
                    fault, trace = _retraced(model, normal, parents, after)
                    return Found(len(parents), frozenset(kinds), fault, trace)
                following.append(after)
        if len(parents) > most_states:
            raise RuntimeError(f"{model.bounds.name}: more than {most_states} states")
        frontier = following
    return Found(len(parents), frozenset(kinds))


def _retraced(
    model: Model, normal: Normal, parents: dict[State, State | None], last: State
) -> tuple[str, tuple[Label, ...]]:
    """Go the way again, so that each node has one name from its beginning to its end."""
    way: list[State] = []
    state: State | None = last
    while state is not None:
        way.append(state)
        state = parents[state]
    at = model.start()
    trace: list[Label] = []
    for goal in reversed(way[:-1]):
        label, at = next((label, after) for label, after in model.steps(at) if normal(after) == goal)
        trace.append(label)
    return model.fault(at), tuple(trace)
