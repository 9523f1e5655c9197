"""The model: a function from a state to all states that one step leads to.

Abstractions:
- There is one key. Agreement is assumed: ``history`` is the chain of chosen records, and a node may learn of any of
  them at any time. That at most one record is chosen is explored separately (tests/ring).
- A step is atomic where it is in the product: adopt and drop; check and apply, read or snapshot.
- A message that was sent stays in the network: it may arrive at any time, repeatedly, or never. So loss, delay and
  reordering need no steps. Neither do nodes that are slow, that crash and return with what they had synced, or that are
  dead: they take no step for some time, or never again.
- Acknowledgements and replies are counted when they are given. One that arrives later leads to no other state, since
  its coordinator is still in the same epoch or discards it. The last acknowledgement of a write may also be lost.
- A coordinator is a separate process, at any epoch that is not lower than before.

Taken from the product's own code (``stages``): records and their succession, preference lists, the quorums of an
operation, tallies, and the pulls and the finish of a handoff.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import control, handoff, reads, tombstones, writes
from .bounds import Bounds
from .rules import KEPT, Rules
from .stages import first_record
from .state import Label, Node, Read, State, Write
from .world import World


class Model:
    """The steps and violations within given bounds and rules; explored by ``search``."""

    def __init__(self, bounds: Bounds, rules: Rules = KEPT) -> None:
        self.bounds = bounds
        self.rules = rules
        self.world = World(bounds, rules)

    def start(self) -> State:
        first = self.world.range_index(first_record(self.bounds.owners, self.bounds.quorums))
        return State(
            history=(first,),
            nodes=tuple(Node(1, 0, 0, 0) for _ in self.bounds.nodes),
            writes=tuple(Write(number + 1) for number in range(len(self.bounds.writes))),
            read=Read(),
            reads_left=self.bounds.reads,
            messages=(),
            due=0,
            overtaken=0,
            confirmed=(),
            proven=0,
            faults=self.world.faults,
        )

    def steps(self, state: State) -> Iterator[tuple[Label, State]]:
        """Yield every step that may happen next, with the state that it leads to."""
        world = self.world
        yield from control.steps(world, state)
        yield from handoff.steps(world, state)
        yield from writes.steps(world, state)
        yield from reads.steps(world, state)
        if self.bounds.collects:
            yield from tombstones.steps(world, state)

    def fault(self, state: State) -> str:
        """Return the violation in ``state``, as a sentence; empty if there is none."""
        return state.wrong or reads.probe(self.world, state)
