"""Displacement: which owner loses which range when a node of some zone joins a ring.

One virtual node of a joiner makes it replicate the ranges whose walks (``ring.walk``) pass it, and in each of them
exactly one owner is displaced. Which one, and how far along the walk the joiner may be to enter the list, depends on
the range and on the joiner's zone, but not on the joiner's position or its other tokens. So it is computed once per
range; what a set of tokens takes from each owner is then a sum.

The ring is cut into slots: its ranges, or equal parts of them where there are too few to choose from.
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
    """The same as a part of the ring."""
    owner: int
    """The displaced owner, by index in ``Displacement.owners``."""
    virtual_node: int
    """The virtual node by which it holds the range, by index in token order."""
    reach: int
    """The last slot, counted on from this one, in which a token of the joiner takes this one."""


@dataclass(slots=True)
class Displacement:
    """What one joiner would take from a ring."""

    owners: list[Identity]
    virtual_nodes: list[int]
    """The owner of each virtual node, by index in ``owners``, in token order."""
    held: list[float]
    """Copies of the key space that each virtual node accounts for before the join."""
    slots: list[Slot] = field(default_factory=list)
    """In ring order; the joiner's token in a slot also takes slots before it, as far as their reach goes."""


def displacement(owners: Mapping[Identity, Owner], zone: str, copies: int, min_slots: int) -> Displacement:
    """Compute what a joiner in ``zone`` displaces in the ring of ``owners``, in at least ``min_slots`` slots."""
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
        loser = taken[-1] if zone_count == 1 else _displaced(zone, taken, [zones[i % count] for i in taken])
        tokens = (token - before) % TOKEN_SPACE or TOKEN_SPACE
        width = tokens / TOKEN_SPACE
        for i in taken:
            held[i % count] += width
        virtual_node = loser % count
        reach = (loser - index + 1) * parts - 1
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
    """Return which virtual node ``taken`` by a walk is displaced by a joiner of ``zone`` that precedes it.

    It is the last whose loss leaves a legal list: the last of all when the joiner adds a zone that the list
    lacks, otherwise the last whose zone remains covered.
    """
    if zone not in taken_zones:
        return taken[-1]
    return next(
        index
        for index, its_zone in zip(reversed(taken), reversed(taken_zones), strict=True)
        if its_zone == zone or taken_zones.count(its_zone) > 1
    )
