"""Reads: requests, replies, write-backs, results; and the read that takes no time (``probe``)."""

from __future__ import annotations

from collections.abc import Iterator

from .stages import NAMES, Stage, places_in
from .state import IDLE, RUNNING, UNKNOWN, Label, Read, State, with_message, with_node
from .world import World

NONE_YET = (-1,) * len(NAMES)


def steps(world: World, state: State) -> Iterator[tuple[Label, State]]:
    read = state.read
    oldest = min(node.epoch for node in state.nodes)
    if read.status == RUNNING or state.reads_left:
        for epoch in range(max(read.epoch + 1, oldest), len(state.history) + 1):
            yield ("read again" if read.status == RUNNING else "read", epoch), _asked(world, state, epoch)
    if read.status == RUNNING and not read.writing_back:
        yield from _replies(world, state, read)
    if world.bounds.repairs:
        yield from _repairs(world, state)
    for message in state.messages:
        if message[0] == "write back":
            yield from _written_back(world, state, *message[1:])


def _asked(world: World, state: State, epoch: int) -> State:
    """Return the read under ``epoch``: a new one, or the running one with its replies discarded."""
    read = state.read
    if read.status == IDLE:
        began = Read(RUNNING, epoch, state.due, state.overtaken, NONE_YET)
        return state._replace(read=began, reads_left=state.reads_left - 1)
    replies = NONE_YET if world.rules.replies_of_one_epoch else read.replies
    return _decided(world, state._replace(read=read._replace(epoch=epoch, replies=replies, writing_back=0)))


def _replies(world: World, state: State, read: Read) -> Iterator[tuple[Label, State]]:
    for place in places_in(world.stage(state, read.epoch).readers_ask):
        node = state.nodes[place]
        here = node.epoch == read.epoch or not world.rules.replicas_are_fenced
        if here and read.replies[place] < 0 and not node.marks & UNKNOWN:
            replied = state._replace(read=_with_reply(read, place, node.held))
            yield ("reply", place, read.epoch, node.held), _decided(world, replied)


def _with_reply(read: Read, place: int, version: int) -> Read:
    return read._replace(replies=(*read.replies[:place], version, *read.replies[place + 1 :]))


def _decided(world: World, state: State) -> State:
    """Return a result, write back, or wait for more replies."""
    read = state.read
    stage = world.stage(state, read.epoch)
    reached, newest, settled = stage.judge(read.replies)
    if not reached:
        return state
    if settled and world.rules.read_waits_for_write_back:
        return _returned(world, state, newest)
    if settled:
        return with_message(_returned(world, state, newest), ("write back", read.epoch, newest))
    writing = state._replace(read=read._replace(writing_back=newest))
    return with_message(writing, ("write back", read.epoch, newest))


def _returned(world: World, state: State, version: int) -> State:
    read = state.read
    wrong = world.objection(state, version, read.due, read.overtaken)
    return world.noticed(state._replace(read=Read(), wrong=wrong), version)


def _repairs(world: World, state: State) -> Iterator[tuple[Label, State]]:
    """Let anti-entropy send a replica's version to the others, like a write-back."""
    for place, node in enumerate(state.nodes):
        stage = world.stage(state, node.epoch)
        if node.held and stage.stable and stage.replicas >> place & 1 and not node.marks & UNKNOWN:
            sent = with_message(state, ("write back", node.epoch, node.held))
            if sent is not state:
                yield ("repair", place, node.epoch, node.held), sent


def _written_back(world: World, state: State, epoch: int, version: int) -> Iterator[tuple[Label, State]]:
    """Deliver a write-back; it is never refused for age."""
    for place in places_in(world.stage(state, epoch).replicas):
        node = state.nodes[place]
        if (node.epoch != epoch and world.rules.replicas_are_fenced) or node.marks & UNKNOWN:
            continue
        held = max(node.held, version)
        synced = held if world.rules.sync_before_report else node.synced
        after = with_node(state, place, node._replace(held=held, synced=synced))
        read = state.read
        if read.epoch == epoch and read.writing_back == version:
            after = after._replace(read=_with_reply(read, place, version))
            if world.stage(state, epoch).judge(after.read.replies)[2]:
                after = _returned(world, after, version)
        if after != state:
            yield ("write back", place, epoch, version), after


def probe(world: World, state: State) -> str:
    """Return the violation, if any, of a read that begins now and gets all replies at once."""
    if not state.due:
        return ""
    nodes = state.nodes
    for epoch in {node.epoch for node in nodes}:
        stage = world.stage(state, epoch)
        serving = _serving(world, state, epoch)
        for places in stage.smallest_read_quorums:
            if all(serving >> place & 1 for place in places):
                wrong = _probe(world, state, stage, places, serving)
                if wrong:
                    by = ", ".join(NAMES[place] for place in places)
                    return f"{wrong} (asked under epoch {epoch}: {by})"
    return ""


def _serving(world: World, state: State, epoch: int) -> int:
    """Return the nodes that would reply to a request of ``epoch``."""
    fenced = world.rules.replicas_are_fenced
    return sum(
        1 << place
        for place, node in enumerate(state.nodes)
        if (node.epoch == epoch or not fenced) and not node.marks & UNKNOWN
    )


def _probe(world: World, state: State, stage: Stage, places: tuple[int, ...], serving: int) -> str:
    newest = max(state.nodes[place].held for place in places)
    if not (newest < state.due or state.overtaken):
        return ""
    if not (wrong := world.objection(state, newest, state.due, state.overtaken)):
        return ""
    replies = tuple(state.nodes[place].held if place in places else -1 for place in range(len(NAMES)))
    return wrong if stage.returns(replies, serving & stage.replicas) == newest else ""
