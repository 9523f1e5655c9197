"""Collection of the newest tombstone: confirm under a stable epoch, raise the floor, purge."""

from __future__ import annotations

from collections.abc import Iterator

from .stages import Stage
from .state import UNKNOWN, Label, Node, State, with_node
from .world import World


def steps(world: World, state: State) -> Iterator[tuple[Label, State]]:
    for place, node in enumerate(state.nodes):
        stage = world.stage(state, node.epoch)
        if not state.proven:
            yield from _confirm(world, state, place, node, stage)
        elif _may_purge(world, state, node, stage):
            yield ("purge", place, node.epoch), with_node(state, place, node._replace(held=0, synced=0))


def _confirm(
    world: World, state: State, place: int, node: Node, stage: Stage
) -> Iterator[tuple[Label, State]]:
    """Let a replica confirm that it holds the tombstone or a newer version."""
    if not stage.stable or not stage.replicas >> place & 1 or node.marks & UNKNOWN:
        return
    if node.held < world.tombstone:
        return
    so_far = dict(state.confirmed)
    confirmed = so_far.get(node.epoch, 0) | 1 << place
    if confirmed == so_far.get(node.epoch):
        return
    label = ("confirm", place, node.epoch)
    if _proves(world, stage, confirmed):
        # Every read would return it by now, so it counts as one that did.
        yield label, world.noticed(state._replace(confirmed=(), proven=node.epoch), world.tombstone)
    else:
        so_far[node.epoch] = confirmed
        yield label, state._replace(confirmed=tuple(sorted(so_far.items())))


def _proves(world: World, stage: Stage, confirmed: int) -> bool:
    if not world.rules.confirmed_by_all:
        return stage.write_reached(confirmed)
    return confirmed == stage.replicas


def _may_purge(world: World, state: State, node: Node, stage: Stage) -> bool:
    rules = world.rules
    if node.held != world.tombstone and (rules.purge_only_the_tombstone or not node.held):
        return False
    if rules.purge_needs_floor and stage.floor < world.tombstone:
        return False
    return node.epoch > state.proven or (node.epoch == state.proven and not rules.purge_needs_newer_epoch)
