"""Breadth-first search of all states; the first violation found has a shortest trace."""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import Model
from .normal import Normal
from .state import Label, State


@dataclass(frozen=True)
class Found:
    states: int
    kinds: frozenset[str]
    """Kinds of steps that were taken."""
    fault: str = ""
    """The first violation; empty if there is none."""
    trace: tuple[Label, ...] = field(default=())
    """The steps that lead to the violation."""


def explore(model: Model, max_states: int = 5_000_000) -> Found:
    """Visit every state until one is a violation. Raise RuntimeError beyond ``max_states``."""
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
        if len(parents) > max_states:
            raise RuntimeError(f"{model.bounds.name}: more than {max_states} states")
        frontier = following
    return Found(len(parents), frozenset(kinds))


def _retraced(
    model: Model, normal: Normal, parents: dict[State, State | None], last: State
) -> tuple[str, tuple[Label, ...]]:
    """Return the violation and its trace, in which each node keeps one name throughout."""
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
