"""Records are chosen, and nodes adopt them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from covey.ring.epoch import EpochRecord, RingSpec
from covey.ring.succession import Step, abort, begin, finish, raise_floor

from .stages import Stage, followed, ring_of
from .state import CONDEMNED, FOUND_HERE, STALE, Label, Node, State, with_node
from .world import World


def steps(world: World, state: State) -> Iterator[tuple[Label, State]]:
    for name, history in _chosen(world, state):
        if world.may_choose(state, name):
            yield (name, len(history)), state._replace(history=history)
    yield from _raise_floor(world, state)
    for place, node in enumerate(state.nodes):
        for number in range(node.epoch + 1, len(state.history) + 1):
            adopted = _adopt(world, world.stage(state, number), place, node, number)
            yield ("adopt", place, number), with_node(state, place, adopted)
        yield from _faults(world, state, place, node)


def _chosen(world: World, state: State) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the records that may be chosen next."""
    history = state.history
    head = world.stages[history[-1]]
    if not head.stable:
        yield "abort", world.extended(history, "abort", partial(followed, step=abort, expected=Step.ABORT))
        if head.may_finish(_done(world, state, head), _adopted(state)):
            yield (
                "finish",
                world.extended(history, "finish", partial(followed, step=finish, expected=Step.FINISH)),
            )
        return
    begun = sum(not world.stages[place].stable for place in history)
    if begun < len(world.bounds.changes):
        quorums = world.bounds.new_quorums or head.record.owners.quorums
        successors = ring_of(world.bounds.changes[begun], quorums)
        if not world.rules.quorums_change_by_a_begin:
            switched = partial(_without_begin, owners=successors)
            yield "switch", world.extended(history, "switch", switched)
        elif successors != head.record.owners:
            make = partial(followed, step=partial(begin, successors=successors), expected=Step.BEGIN)
            yield "begin", world.extended(history, f"begin {begun}", make)


def _raise_floor(world: World, state: State) -> Iterator[tuple[Label, State]]:
    head = world.stages[state.history[-1]]
    if (state.proven or world.bounds.early_floor) and head.stable and world.may_choose(state, "raise"):
        floor = max(world.tombstone, head.floor + 1)
        make = partial(followed, step=partial(raise_floor, floor=floor), expected=Step.RAISE_FLOOR)
        history = world.extended(state.history, "raise", make)
        yield ("raise the floor", len(history), floor), state._replace(history=history)


def _without_begin(record: EpochRecord, owners: RingSpec) -> EpochRecord:
    return replace(record, number=record.number + 1, owners=owners)


def _done(world: World, state: State, head: Stage) -> int:
    """Return the nodes that the steward takes for done."""
    number = len(state.history)
    done = 0
    for place, node in enumerate(state.nodes):
        if node.epoch == number and head.pulled_enough(place, node.pulled):
            done |= 1 << place
    for message in state.messages:
        if message[0] == "done":
            done |= 1 << message[1]
    return done


def _adopted(state: State) -> int:
    number = len(state.history)
    return sum(1 << place for place, node in enumerate(state.nodes) if node.epoch == number)


def _adopt(world: World, stage: Stage, place: int, node: Node, number: int) -> Node:
    rules = world.rules
    kept = Node(number, node.held, node.synced, 0, node.marks & ~FOUND_HERE)
    if not rules.resumes_its_own_number:
        if stage.stable:
            return kept._replace(pulled=node.pulled)
        if node.pulled:
            return kept._replace(pulled=node.pulled)
    if not stage.gainers >> place & 1 or not rules.gaining_drops:
        return kept
    if not rules.drops_before_serving:
        return kept._replace(marks=node.marks | STALE)
    return Node(number, 0, 0, 0, node.marks & CONDEMNED)


def _faults(world: World, state: State, place: int, node: Node) -> Iterator[tuple[Label, State]]:
    """Yield the faults of one node: those that are counted, and those that only a broken rule allows."""
    rules = world.rules
    if node.marks & STALE:
        dropped = node._replace(held=0, synced=0, marks=node.marks & ~STALE)
        yield ("drop late", place), with_node(state, place, dropped)
    if not rules.sync_before_report and node.synced != node.held:
        yield ("sync", place), with_node(state, place, node._replace(synced=node.held))
        if state.faults:
            lost = state._replace(faults=state.faults - 1)
            yield ("lose power", place), with_node(lost, place, node._replace(held=node.synced))
    if not rules.wiped_disk_is_a_new_node and state.faults and node.held:
        wiped = state._replace(faults=state.faults - 1)
        yield ("wipe", place), with_node(wiped, place, Node(node.epoch, 0, 0, 0))
