"""Displacement: which owner loses which range when a node of a given zone joins a ring.

A virtual node of a joiner makes the joiner replicate the ranges whose walks (``ring.walk``) pass it, and it displaces
exactly one owner from each of their preference lists. Which owner is displaced, and how far along the walk a virtual
node still enters the list, depends on the range and on the joiner's zone, but not on the joiner's tokens. So both are
computed once per range, and what a set of tokens takes from each owner is a sum over ranges.

The ring is divided into slots: its ranges, or equal parts of them if there are too few ranges to choose from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..identity import Identity
from .epoch import Owner
from .ring import walk
from .tokens import TOKEN_SPACE


class Slot(NamedTuple):
    """A part of a range, and the owner that the joiner displaces there."""

    after: int
    """The token that the slot begins after."""
    tokens: int
    """Its width in tokens."""
    width: float
    """Its width as a part of the ring."""
    owner: int
    """The displaced owner, by index in ``Displacement.owners``."""
    virtual_node: int
    """The virtual node by which that owner holds the range, by index in token order."""
    reach: int
    """A token of the joiner takes this slot if it is in one of this number of slots after it, or in the slot itself."""


@dataclass(slots=True)
class Displacement:
    """What a joiner would take from a ring."""

    owners: list[Identity]
    virtual_nodes: list[int]
    """The owner of each virtual node, by index in ``owners``, in token order."""
    held: list[float]
    """The total width of the ranges that each virtual node replicates before the join, as a part of the ring."""
    slots: list[Slot] = field(default_factory=list)
    """In ring order. A token in a slot also takes the slots before it whose ``reach`` extends to it."""


def displacement(owners: Mapping[Identity, Owner], zone: str, copies: int, min_slots: int) -> Displacement:
    """Return what a joiner in ``zone`` displaces in the ring of ``owners``, in at least ``min_slots`` slots."""
    names = sorted(owners)
    placed = sorted((token, place) for place, name in enumerate(names) for token in owners[name].tokens)
    places = [place for _, place in placed]
    zones = [owners[names[place]].zone for place in places]
    zone_count = len({zone, *zones})
    count = len(placed)
    held = [0.0] * count
    parts = -(-min_slots // count)
    slots: list[Slot] = []
    before = placed[-1][0]
    for index, (token, _) in enumerate(placed):
        taken = walk(places, zones, index, copies, zone_count)
        displaced = (
            taken[-1] if zone_count == 1 else _displaced(zone, taken, [zones[i % count] for i in taken])
        )
        tokens = (token - before) % TOKEN_SPACE or TOKEN_SPACE
        width = tokens / TOKEN_SPACE
        for i in taken:
            held[i % count] += width
        virtual_node = displaced % count
        reach = (displaced - index + 1) * parts - 1
        for part in range(parts):
            begin, end = tokens * part // parts, tokens * (part + 1) // parts
            slots.append(
                Slot(
                    after=(before + begin) % TOKEN_SPACE,
                    tokens=end - begin,
                    width=(end - begin) / TOKEN_SPACE,
                    owner=places[virtual_node],
                    virtual_node=virtual_node,
                    reach=reach - part,
                )
            )
        before = token
    return Displacement(owners=names, virtual_nodes=places, held=held, slots=slots)


def _displaced(zone: str, taken: list[int], taken_zones: list[str]) -> int:
    """Return the virtual node, of those ``taken`` by a walk, that a joiner of ``zone`` ahead of it displaces.

    It is the last one without which the list is still valid. If the list lacks the joiner's zone, that is the last of
    all; otherwise it is the last one whose zone is still in the list without it.
    """
    if zone not in taken_zones:
        return taken[-1]
    return next(
        index
        for index, its_zone in zip(reversed(taken), reversed(taken_zones), strict=True)
        if its_zone == zone or taken_zones.count(its_zone) > 1
    )
