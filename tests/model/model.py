"""The model: from a state to every state that one step leads to.

What is abstract here
- There is one key. Agreement is taken as given: ``history`` is the chain of records that were chosen, and
  anyone may learn of any of them at any time (that one record at most is chosen is explored apart, in
  tests/ring).
- A step is atomic where the product's is: adopt and drop; check and apply, read or snapshot.
- What was sent is never taken out of the network: it may arrive at any time, again, or never. So losing,
  delaying and reordering need no steps of their own; neither do nodes that are slow, crash and come back with
  what they had synced, or are dead: they are the ones that take no step for a while, or for ever.
- Acknowledgements and replies are counted when they are given. One that arrives later leads nowhere else,
  since its coordinator is in the same epoch then or discards it; the write's last one may also be lost.
- A coordinator is a process apart, at any epoch not older than it was.

What is the product's own: records and their succession, preference lists, what an operation asks of them,
tallies, and what handoff moves and finishes on (``stages``).
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
    """Bounds and rules, explored by ``search``."""

    def __init__(self, bounds: Bounds, rules: Rules = KEPT) -> None:
        self.bounds = bounds
        self.rules = rules
        self.world = World(bounds, rules)

    def start(self) -> State:
        first = self.world.place_of(first_record(self.bounds.owners, self.bounds.quorums))
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
        """What may happen next."""
        world = self.world
        yield from control.steps(world, state)
        yield from handoff.steps(world, state)
        yield from writes.steps(world, state)
        yield from reads.steps(world, state)
        if self.bounds.collects:
            yield from tombstones.steps(world, state)

    def fault(self, state: State) -> str:
        """What is wrong in ``state``, in a sentence; empty when nothing is."""
        return state.wrong or reads.probe(self.world, state)
