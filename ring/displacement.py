"""Who gives way where, when a node of some zone joins a ring.

One virtual node of a joiner makes it replicate the ranges whose walks (``walk``) come past it, and in each
of them exactly one owner gives way. Which one, and how far along the walk the joiner may stand and still get
in, depends on the range and on the joiner's zone, but not on where the joiner stands, nor on its other
tokens. So it is found once per range; what any set of tokens would take from whom is then a matter of adding
up.

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
    """A part of a range, and what happens to it when the joiner comes."""

    after: int
    """The token that the slot begins after."""
    tokens: int
    """How many tokens wide it is."""
    width: float
    """The same as a part of the ring."""
    owner: int
    """Who gives way to the joiner, by place in ``Displacement.owners``."""
    virtual_node: int
    """By which of its virtual nodes, in token order."""
    reach: int
    """The last slot, counted on from this one, in which a token of the joiner takes this one."""


@dataclass(slots=True)
class Displacement:
    """A ring as it looks to one joiner."""

    owners: list[Identity]
    virtual_nodes: list[int]
    """Whose each virtual node is, by place in ``owners``, in token order."""
    held: list[float]
    """How many copies of the key space each virtual node accounts for before the join."""
    slots: list[Slot] = field(default_factory=list)
    """In ring order; the joiner's token in a slot also takes slots before it, as far as their reach goes."""


def displacement(owners: Mapping[Identity, Owner], zone: str, copies: int, least_slots: int) -> Displacement:
    """Look at the ring of ``owners`` as a joiner in ``zone`` does, in ``least_slots`` slots or more."""
    names = sorted(owners)
    placed = sorted((token, place) for place, name in enumerate(names) for token in owners[name].tokens)
    places = [place for _, place in placed]
    zones = [owners[names[place]].zone for place in places]
    zone_count = len({zone, *zones})
    count = len(placed)
    held = [0.0] * count
    parts = -(-least_slots // count)
    slots: list[Slot] = []
    before = placed[-1][0]
    for index, (token, _) in enumerate(placed):
        taken = walk(places, zones, index, copies, zone_count)
        loser = taken[-1] if zone_count == 1 else _gives_way(zone, taken, [zones[i % count] for i in taken])
        tokens = (token - before) % TOKEN_SPACE or TOKEN_SPACE
        width = tokens / TOKEN_SPACE
        for i in taken:
            held[i % count] += width
        virtual_node = loser % count
        reach = (loser - index + 1) * parts - 1
        if parts == 1:
            slots.append(Slot(before, tokens, width, places[virtual_node], virtual_node, reach))
        else:
            for part in range(parts):
                after, part_tokens = _part_of(before, tokens, part, parts)
                slots.append(
                    Slot(
                        after,
                        part_tokens,
                        part_tokens / TOKEN_SPACE,
                        places[virtual_node],
                        virtual_node,
                        reach - part,
                    )
                )
        before = token
    return Displacement(names, places, held, slots)


def _part_of(before: int, tokens: int, part: int, parts: int) -> tuple[int, int]:
    """Return where one of equal parts of a range begins, and how many tokens wide it is."""
    begin, end = tokens * part // parts, tokens * (part + 1) // parts
    return (before + begin) % TOKEN_SPACE, end - begin


def _gives_way(zone: str, taken: list[int], taken_zones: list[str]) -> int:
    """Which virtual node ``taken`` by a walk drops out for a joiner of ``zone`` that stands before it.

    It is the last whose loss leaves a legal list: the last of all when the joiner brings a zone that the list
    lacks, else the last whose zone remains covered.
    """
    if zone not in taken_zones:
        return taken[-1]
    return next(
        index
        for index, its_zone in zip(reversed(taken), reversed(taken_zones), strict=True)
        if its_zone == zone or taken_zones.count(its_zone) > 1
    )
