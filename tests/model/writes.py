"""Writes: begun, sent again, applied, acknowledged (docs/ring-changes.md, rules 4, 11, 15 and 16)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .stages import places_in
from .state import (
    DONE,
    IDLE,
    RUNNING,
    UNKNOWN,
    Label,
    State,
    Write,
    with_message,
    with_node,
    with_write,
)
from .world import World


class _Request(NamedTuple):
    """A write that was sent under ``epoch``, at the replica ``place``."""

    number: int
    write: Write
    epoch: int
    place: int


def steps(world: World, state: State) -> Iterator[tuple[Label, State]]:
    for number, write in enumerate(state.writes):
        yield from _coordinator(world, state, number, write)
        for epoch in range(1, len(state.history) + 1):
            if write.sent >> epoch & 1:
                yield from _replicas(world, state, number, write, epoch)
    if not world.rules.check_and_apply_in_one_step:
        yield from _unfenced(world, state)


def _coordinator(world: World, state: State, number: int, write: Write) -> Iterator[tuple[Label, State]]:
    """Begin the write, send it again under a newer epoch, or deliver a hint."""
    oldest = min(node.epoch for node in state.nodes)
    for epoch in range(max(write.epoch + 1, oldest), len(state.history) + 1):
        if write.status == IDLE:
            if write.version > world.stage(state, epoch).floor:
                begun = Write(write.version, RUNNING, epoch, 0, 1 << epoch)
                yield ("write", number, write.version, epoch), with_write(state, number, begun)
        elif write.status == RUNNING:
            again = _under(world, write, epoch)
            yield ("write again", number, again.version, epoch), with_write(state, number, again)
    if write.status == DONE and world.bounds.hints:
        for epoch in range(oldest, len(state.history) + 1):
            if not write.sent >> epoch & 1:
                hinted = write._replace(sent=write.sent | 1 << epoch)
                yield ("hint", number, write.version, epoch), with_write(state, number, hinted)


def _under(world: World, write: Write, epoch: int) -> Write:
    version, sent = write.version, write.sent
    if not world.rules.retry_keeps_version:
        first = len(world.bounds.writes)
        version, sent = (version + first if version <= first else version), 0
    acks = 0 if world.rules.acks_of_one_epoch else write.acks
    return Write(version, RUNNING, epoch, acks, sent | 1 << epoch)


def _replicas(
    world: World, state: State, number: int, write: Write, epoch: int
) -> Iterator[tuple[Label, State]]:
    """Deliver a request that was sent under ``epoch`` to a replica."""
    rules = world.rules
    stage = world.stage(state, epoch)
    for place in places_in(stage.writers_ask | (stage.replicas if _asks_all(world) else 0)):
        if state.nodes[place].epoch != epoch and rules.replicas_are_fenced:
            continue
        request = _Request(number, write, epoch, place)
        if not rules.check_and_apply_in_one_step:
            checked = ("checked", epoch, number, place)
            if checked not in state.messages:
                yield ("check", number, place, epoch), with_message(state, checked)
        yield from _apply(world, state, request)
        if not rules.hints_never_count:
            yield from _counted(world, state, state, request, "count a hint for")


def _asks_all(world: World) -> bool:
    """Return whether writes are sent to all replicas, also those whose acknowledgement is not needed."""
    return world.rules.writes_ask_owners and world.rules.writes_ask_successors


def _apply(world: World, state: State, request: _Request) -> Iterator[tuple[Label, State]]:
    node, version = state.nodes[request.place], request.write.version
    if node.marks & UNKNOWN:
        return
    if world.rules.floor_at_the_door and version <= world.stage(state, node.epoch).floor:
        return
    held = max(node.held, version)
    synced = held if world.rules.sync_before_report else node.synced
    applied = with_node(state, request.place, node._replace(held=held, synced=synced))
    yield from _counted(world, state, applied, request, "apply")


def _counted(
    world: World, before: State, after: State, request: _Request, how: str
) -> Iterator[tuple[Label, State]]:
    """Count the replica's acknowledgement, if it is of this epoch; one that ends the write may also be lost."""
    number, write, epoch, place = request
    label = (how, number, place, epoch, write.version)
    counts = write.status == RUNNING and (epoch == write.epoch or not world.rules.acks_of_one_epoch)
    acks = write.acks | 1 << place if counts else write.acks
    reached = counts and world.stage(after, write.epoch).write_reached(acks)
    if reached:
        done = Write(write.version, DONE, 0, 0, write.sent)
        yield (*label, "acknowledged"), world.noticed(with_write(after, number, done), write.version)
    elif acks != write.acks:
        after = with_write(after, number, write._replace(acks=acks))
    if after != before:
        yield label, after


def _unfenced(world: World, state: State) -> Iterator[tuple[Label, State]]:
    """Without rule 16, a write that was checked under one epoch is applied under the node's current one."""
    for message in state.messages:
        if message[0] == "checked":
            _, epoch, number, place = message
            yield from _apply(world, state, _Request(number, state.writes[number], epoch, place))
