"""Handoff: gaining nodes pull the key, nodes that lost it clean up, corrupt copies are healed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from .stages import PLACE, Stage, places_in
from .state import CONDEMNED, FOUND_HERE, UNKNOWN, Label, Node, State, with_message, with_node
from .world import World


def steps(world: World, state: State) -> Iterator[tuple[Label, State]]:
    for place, node in enumerate(state.nodes):
        stage = world.stage(state, node.epoch)
        if place in stage.pulls and not node.marks & UNKNOWN:
            yield from _pulls(world, state, place, node, stage)
        if node.held:
            yield from _cleanup(world, state, place, node, stage)
        if world.bounds.corruptions:
            yield from _corruption(world, state, place, node, stage)
    for message in state.messages:
        if message[0] == "pulled":
            yield from _arrive(world, state, *message[1:])


def _pulls(world: World, state: State, place: int, node: Node, stage: Stage) -> Iterator[tuple[Label, State]]:
    """Let a source reply; unless replies may be late, the gainer merges it at once."""
    late = world.bounds.late_pulls or not world.rules.pulls_carry_epoch
    on_their_way = {message[3] for message in state.messages if message[:3] == ("pulled", node.epoch, place)}
    for identity in stage.pulls[place].sources:
        source = PLACE[identity]
        if source == place or node.pulled >> source & 1 or source in on_their_way:
            continue
        asked = state.nodes[source]
        here = asked.epoch == node.epoch or (
            not world.rules.snapshot_after_adoption and asked.epoch < node.epoch
        )
        if not here or asked.marks & UNKNOWN:
            continue
        if late:
            answer = ("pulled", node.epoch, place, source, asked.held)
            yield ("answer a pull", source, place, node.epoch, asked.held), with_message(state, answer)
        else:
            label = ("pull", place, source, node.epoch, asked.held)
            yield label, _merged(world, state, place, source, asked.held)


def _arrive(
    world: World, state: State, number: int, place: int, source: int, version: int
) -> Iterator[tuple[Label, State]]:
    node = state.nodes[place]
    stage = world.stage(state, node.epoch)
    late = number < node.epoch
    if (late and world.rules.pulls_carry_epoch) or place not in stage.pulls or number > node.epoch:
        return
    left = state._replace(
        messages=tuple(m for m in state.messages if m != ("pulled", number, place, source, version))
    )
    yield ("receive a pull", place, source, number, version), _merged(world, left, place, source, version)


def _merged(world: World, state: State, place: int, source: int, version: int) -> State:
    node = state.nodes[place]
    held = max(node.held, version)
    pulled = node._replace(held=held, synced=held, pulled=node.pulled | 1 << source)
    after = with_node(state, place, pulled)
    if not world.rules.done_carries_epoch and world.stage(state, node.epoch).pulled_enough(
        place, pulled.pulled
    ):
        return with_message(after, ("done", place, node.epoch))
    return after


def _cleanup(
    world: World, state: State, place: int, node: Node, stage: Stage
) -> Iterator[tuple[Label, State]]:
    """Delete copies outside the node's lists."""
    rules = world.rules
    empty = node._replace(held=0, synced=0, marks=node.marks & ~CONDEMNED)
    if node.marks & CONDEMNED:
        yield ("clean up late", place), with_node(state, place, empty)
        return
    outside = (
        not stage.replicas >> place & 1 if rules.cleanup_when_stable else not stage.lists[-1] >> place & 1
    )
    if not outside or (rules.cleanup_when_stable and not stage.stable):
        return
    if rules.cleanup_rechecks:
        yield ("clean up", place), with_node(state, place, empty)
    else:
        condemned = node._replace(marks=node.marks | CONDEMNED)
        yield ("decide to clean up", place), with_node(state, place, condemned)


def _corruption(
    world: World, state: State, place: int, node: Node, stage: Stage
) -> Iterator[tuple[Label, State]]:
    """Corrupt a copy, a bounded number of times; later replace it from r others of the owners' list."""
    if not node.marks & UNKNOWN:
        if state.faults and node.held:
            unknown = UNKNOWN | FOUND_HERE if world.rules.corrupt_is_unknown else 0
            broken = Node(node.epoch, 0, 0, 0, node.marks | unknown)
            yield ("corrupt", place), with_node(state._replace(faults=state.faults - 1), place, broken)
        return
    if not stage.stable or (node.marks & FOUND_HERE and world.rules.healing_needs_newer_epoch):
        return
    others = [
        other
        for other in places_in(stage.lists[0] & ~(1 << place))
        if state.nodes[other].epoch == node.epoch and not state.nodes[other].marks & UNKNOWN
    ]
    for sources in combinations(others, stage.record.owners.r):
        held = max(state.nodes[source].held for source in sources)
        healed = node._replace(held=held, synced=held, marks=node.marks & ~(UNKNOWN | FOUND_HERE))
        yield ("heal", place, sources), with_node(state, place, healed)
