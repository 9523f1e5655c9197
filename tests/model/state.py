"""The states of the model: plain tuples, so that equal states are found quickly."""

from __future__ import annotations

from typing import Any, NamedTuple

IDLE, RUNNING, DONE = 0, 1, 2

UNKNOWN = 1
"""Mark of a node: its copy was corrupt and has not been replaced from others yet."""
FOUND_HERE = 8
"""Mark of a node: the corruption was found under its current epoch."""
STALE = 2
"""Mark of a node: its old copy of a gained range is still to be dropped (a broken rule)."""
CONDEMNED = 4
"""Mark of a node: a deletion that was decided is still to be performed (a broken rule)."""

Message = tuple[Any, ...]
Label = tuple[Any, ...]


class Node(NamedTuple):
    epoch: int
    held: int
    """The version held of the key; 0 for none."""
    synced: int
    """The version that a loss of power leaves."""
    pulled: int
    """The sources it has pulled from under this epoch, one bit each."""
    marks: int = 0


class Write(NamedTuple):
    version: int
    status: int = IDLE
    epoch: int = 0
    """The epoch of this write's coordinator."""
    acks: int = 0
    sent: int = 0
    """The epochs under which it was ever sent, one bit each. A request may arrive at any time, or never."""


class Read(NamedTuple):
    status: int = IDLE
    epoch: int = 0
    due: int = 0
    """The lowest version that may be returned: the newest acknowledged or read before the read began."""
    overtaken: int = 0
    replies: tuple[int, ...] = ()
    """By node: the version, 0 for absent, -1 for none yet."""
    writing_back: int = 0


class State(NamedTuple):
    history: tuple[int, ...]
    """The records chosen so far, by number, as indexes into the table of stages."""
    nodes: tuple[Node, ...]
    writes: tuple[Write, ...]
    read: Read
    reads_left: int
    messages: tuple[Message, ...]
    """Messages other than writes: write-backs, replies to pulls, and those that only broken rules send. Sorted."""
    due: int
    """The newest version acknowledged or returned: no read that begins now may return an older one."""
    overtaken: int
    """Writes that were acknowledged or returned before a newer one was, one bit each."""
    confirmed: tuple[tuple[int, int], ...]
    """The nodes that confirmed the tombstone, by epoch."""
    proven: int
    """The first epoch under which all replicas confirmed; 0 for none."""
    faults: int
    """The number of counted faults that may still happen."""
    wrong: str = ""
    """The promise that the last step broke, as a sentence."""


def with_node(state: State, place: int, node: Node) -> State:
    history, nodes, *rest = state
    return State(history, (*nodes[:place], node, *nodes[place + 1 :]), *rest)


def with_write(state: State, number: int, write: Write) -> State:
    history, nodes, writes, *rest = state
    return State(history, nodes, (*writes[:number], write, *writes[number + 1 :]), *rest)


def with_message(state: State, message: Message) -> State:
    if message in state.messages:
        return state
    return state._replace(messages=tuple(sorted((*state.messages, message))))


def permuted_mask(mask: int, to: tuple[int, ...]) -> int:
    moved = 0
    for place, target in enumerate(to):
        if mask >> place & 1:
            moved |= 1 << target
    return moved
