"""The clockwise walk that finds who replicates a range.

From the range's closing token on, the walk takes an owner it has not met when that owner's zone is new to it,
or when room is left for owners of known zones: a list of ``copies`` owners needs min(copies, zones) distinct
zones, and what exceeds these is the room.

In other words it is the greedy algorithm on a matroid, whose bases are the legal preference lists. That is
why one virtual node put into a ring makes at most one owner give way in any list; ``displacement`` builds on
it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def walk(
    owners: Sequence[Hashable], zones: Sequence[str], start: int, copies: int, zone_count: int
) -> list[int]:
    """Indices of the virtual nodes whose owners are taken, nearest first.

    ``owners`` and ``zones`` are by virtual node in token order. Indices run on past the last virtual node
    instead of beginning again, so that they ascend.
    """
    count = len(owners)
    room = copies - min(copies, zone_count)
    taken: list[int] = []
    # A list is searched faster than a set as long as it has a handful of items, and this is called for every
    # range of every ring.
    met: list[Hashable] = []
    met_zones: list[str] = []
    place = start % count
    for index in range(start, start + count):
        owner = owners[place]
        if owner not in met:
            zone = zones[place]
            new_zone = zone not in met_zones
            if new_zone or room:
                if new_zone:
                    met_zones.append(zone)
                else:
                    room -= 1
                met.append(owner)
                taken.append(index)
                if len(taken) == copies:
                    break
        place += 1
        if place == count:
            place = 0
    return taken
