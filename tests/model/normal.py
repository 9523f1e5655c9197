"""Normal forms of states: what cannot matter any more is removed, and equivalent nodes are exchanged.

This is sound, since it removes only steps that lead to no other state:
- a request or write-back whose epoch no replica can be at any more is never served (it would be only without the fence
  of docs/ring-changes.md, rule 4);
- a late reply to a pull is discarded by a node at a later epoch;
- a node that has pulled enough pulls no more;
- confirmations under an epoch that a missing replica has left never become complete;
- nodes are equivalent if exchanging them changes no preference list and no pull of any ring.
"""

from __future__ import annotations

from itertools import permutations, product

from covey.identity import Identity
from covey.ring.moves import RingChange
from covey.ring.ring import Ring

from .stages import NAMES, PLACE, TOKEN, mask_of, ring_of
from .state import Message, Node, Read, State, Write, permuted_mask
from .world import World

Permutation = tuple[int, ...]


class Normal:
    def __init__(self, world: World) -> None:
        self._world = world
        self._alike = _alike(world)

    def __call__(self, state: State) -> State:
        state = self._pruned(state)
        if not self._alike:
            return state
        return min(state, *(_permuted(state, to) for to in self._alike))

    def _pruned(self, state: State) -> State:
        rules = self._world.rules
        if not (rules.replicas_are_fenced and rules.check_and_apply_in_one_step):
            return state
        useful = self._useful(state)
        return State(
            state.history,
            tuple([self._without_spare_pulls(state, place, node) for place, node in enumerate(state.nodes)]),
            tuple([w if not w.sent & ~useful else w._replace(sent=w.sent & useful) for w in state.writes]),
            state.read,
            state.reads_left,
            tuple([message for message in state.messages if self._may_arrive(state, useful, message)]),
            state.due,
            state.overtaken,
            self._still_confirming(state) if state.confirmed else (),
            state.proven,
            state.faults,
            state.wrong,
        )

    def _useful(self, state: State) -> int:
        """Return the epochs whose requests some replica can still serve, one bit each."""
        useful = 0
        for number in range(1, len(state.history) + 1):
            replicas = self._world.stage(state, number).replicas
            if any(replicas >> place & 1 and node.epoch <= number for place, node in enumerate(state.nodes)):
                useful |= 1 << number
        return useful

    def _without_spare_pulls(self, state: State, place: int, node: Node) -> Node:
        stage = self._world.stage(state, node.epoch)
        if node.pulled and place in stage.pulls and stage.pulled_enough(place, node.pulled):
            return node._replace(pulled=mask_of(stage.pulls[place].sources))
        return node

    def _may_arrive(self, state: State, useful: int, message: Message) -> bool:
        if message[0] == "write back":
            return bool(useful >> message[1] & 1)
        if message[0] == "pulled" and self._world.rules.pulls_carry_epoch:
            return bool(state.nodes[message[2]].epoch <= message[1])
        return True

    def _still_confirming(self, state: State) -> tuple[tuple[int, int], ...]:
        if not self._world.rules.confirmed_by_all:
            return state.confirmed
        return tuple(
            (number, confirmed)
            for number, confirmed in state.confirmed
            if all(
                node.epoch <= number
                for place, node in enumerate(state.nodes)
                if self._world.stage(state, number).replicas & ~confirmed >> place & 1
            )
        )


def _alike(world: World) -> tuple[Permutation, ...]:
    """Return all permutations of nodes, except the identity, that change no ring within the bounds."""
    bounds = world.bounds
    quorums = {bounds.quorums, bounds.new_quorums or bounds.quorums}
    rings = [ring_of(names, q) for names in sorted({bounds.owners, *bounds.changes}) for q in quorums]
    lists = {mask_of(Ring(ring).preference_list(TOKEN)) for ring in rings}
    pulls = {
        (number, PLACE[pull.gainer], _place_of(pull.displaced), mask_of(pull.sources))
        for number, (before, after) in enumerate(product(rings, rings))
        for move in RingChange.between(before, after).moves
        if move.token_range.contains(TOKEN)
        for pull in move.pulls
    }
    places = len(bounds.nodes)

    def unchanged(to: Permutation) -> bool:
        full = (*to, *range(places, len(NAMES)))
        return all(permuted_mask(mask, full) == mask for mask in lists) and pulls == {
            (number, full[gainer], full[displaced] if displaced >= 0 else -1, permuted_mask(sources, full))
            for number, gainer, displaced, sources in pulls
        }

    found = [to for to in permutations(range(places)) if unchanged(to)]
    return tuple(to for to in found if to != tuple(range(places)))


def _place_of(displaced: Identity | None) -> int:
    return -1 if displaced is None else PLACE[displaced]


def _permuted(state: State, to: Permutation) -> State:
    back = sorted(range(len(to)), key=to.__getitem__)
    nodes = state.nodes
    moved = tuple([_permuted_node(nodes[place], to) for place in back])
    writes = tuple([_permuted_write(write, to) for write in state.writes])
    messages = state.messages and tuple(sorted(_permuted_message(message, to) for message in state.messages))
    confirmed = state.confirmed and tuple(
        (number, permuted_mask(mask, to)) for number, mask in state.confirmed
    )
    return state._replace(
        nodes=moved,
        writes=writes,
        read=_permuted_read(state.read, back),
        messages=messages,
        confirmed=confirmed,
    )


def _permuted_node(node: Node, to: Permutation) -> Node:
    return node._replace(pulled=permuted_mask(node.pulled, to)) if node.pulled else node


def _permuted_write(write: Write, to: Permutation) -> Write:
    return write._replace(acks=permuted_mask(write.acks, to)) if write.acks else write


def _permuted_read(read: Read, back: list[int]) -> Read:
    if not read.replies:
        return read
    replies = read.replies
    return read._replace(replies=(*(replies[place] for place in back), *replies[len(back) :]))


def _permuted_message(message: Message, to: Permutation) -> Message:
    kind = message[0]
    if kind == "pulled":
        _, number, place, source, version = message
        return (kind, number, to[place], to[source], version)
    if kind == "done":
        return (kind, to[message[1]], message[2])
    if kind == "checked":
        return (*message[:3], to[message[3]])
    return message
