"""The states that the model moves between: plain tuples, so that equal ones are found again quickly."""

from __future__ import annotations

from typing import Any, NamedTuple

IDLE, RUNNING, DONE = 0, 1, 2

UNKNOWN = 1
"""A node's mark: what it held was corrupt, and it has not been merged from others yet."""
FOUND_HERE = 8
"""It was found to be corrupt under this very epoch."""
STALE = 2
"""What it held of a range it entered is still to be dropped (a broken rule)."""
CONDEMNED = 4
"""A deletion was decided that is still to happen (a broken rule)."""

Message = tuple[Any, ...]
Label = tuple[Any, ...]


class Node(NamedTuple):
    epoch: int
    held: int
    """The version held of the key; 0 for none."""
    synced: int
    """What a loss of power leaves of it."""
    pulled: int
    """From which sources it has pulled, under this epoch."""
    marks: int = 0


class Write(NamedTuple):
    version: int
    status: int = IDLE
    epoch: int = 0
    """Of the coordinator, as far as this write is concerned."""
    acks: int = 0
    sent: int = 0
    """Under which epochs it was ever sent, a bit each. What was sent may arrive at any time, or never."""


class Read(NamedTuple):
    status: int = IDLE
    epoch: int = 0
    due: int = 0
    """The version that must be returned, or a newer one: what was acknowledged or read before it began."""
    overtaken: int = 0
    replies: tuple[int, ...] = ()
    """By node: the version, 0 for absent, -1 for none yet."""
    writing_back: int = 0


class State(NamedTuple):
    history: tuple[int, ...]
    """The records chosen so far, by number, as places in the model's table of stages."""
    nodes: tuple[Node, ...]
    writes: tuple[Write, ...]
    read: Read
    reads_left: int
    messages: tuple[Message, ...]
    """Besides requests to write: write-backs, answers to pulls, and what only broken rules send. Sorted."""
    due: int
    """The newest version that was acknowledged or returned: no read that begins now may return an older one."""
    overtaken: int
    """Writes that were acknowledged or returned before a newer one was, a bit each."""
    confirmed: tuple[tuple[int, int], ...]
    """Who confirmed the tombstone, by epoch."""
    proven: int
    """The first epoch under which everyone who had to confirm did; 0 for none."""
    faults: int
    """How many more of the faults may happen that the model counts."""
    wrong: str = ""
    """The promise that the last step broke, in a sentence."""


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
