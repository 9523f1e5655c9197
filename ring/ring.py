"""A ring: the tokens of virtual nodes on a circle, and the owners that replicate each range between two tokens.

Rules
- A key belongs to the range (previous token, token] that contains its token.
- A range's preference list is n = min(N, owners) distinct owners, found by walking clockwise from the range's
  closing token: first the nearest owner of each zone, nearest zone first, until n are found; if there are fewer zones
  than n, then the nearest of the other owners. The list has that order, so its first entries are in as many different
  zones as possible.
- A ring is immutable. Lists are computed on first use and cached, since every operation needs one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from sortedcontainers import SortedDict

from ..identity import Identity
from .epoch import RingSpec
from .tokens import TOKEN_SPACE, TokenRange, merge_adjacent

PreferenceList = tuple[Identity, ...]


class ReplicatedRange(NamedTuple):
    """One range of a ring, and the owners that replicate it."""

    after: int
    upto: int
    preference_list: PreferenceList

    @property
    def token_range(self) -> TokenRange:
        return TokenRange(self.after, self.upto)


class Ring:
    """The ring that a ``RingSpec`` describes. The constructor raises ValueError if the spec is invalid."""

    def __init__(self, spec: RingSpec) -> None:
        self.spec = spec
        self.n, self.w, self.r = spec.n, spec.w, spec.r
        self.virtual_nodes = _place(spec)
        self._tokens: list[int] = list(self.virtual_nodes)
        self._owners: list[Identity] = list(self.virtual_nodes.values())
        self._zones = [spec.owners[owner].zone for owner in self._owners]
        self._zone_count = len(set(self._zones))
        # There is one entry more than there are tokens: after the last token, the first range follows again.
        self._lists: list[PreferenceList | None] = [None] * (len(self._tokens) + 1)

    def preference_list(self, token: int) -> PreferenceList:
        """Return the owners that replicate the range which contains ``token``, in preference order."""
        index = bisect_left(self._tokens, token)
        return self._lists[index] or self._compute_list(index)

    def range_index(self, token: int) -> int:
        """Return the index, in token order, of the range that contains ``token``."""
        return bisect_left(self._tokens, token)

    def compute_lists(self) -> None:
        """Compute every preference list now, so that no operation has to wait for it."""
        for index in range(len(self._tokens)):
            if self._lists[index] is None:
                self._compute_list(index)

    def ranges(self) -> Iterator[ReplicatedRange]:
        """Yield every range once, in token order, beginning with the one that wraps past zero."""
        after = self._tokens[-1]
        for index, upto in enumerate(self._tokens):
            yield ReplicatedRange(after, upto, self._lists[index] or self._compute_list(index))
            after = upto

    def ranges_of(self, identity: Identity) -> tuple[TokenRange, ...]:
        """Return the ranges that ``identity`` replicates; adjacent ranges are joined."""
        return merge_adjacent(
            found.token_range for found in self.ranges() if identity in found.preference_list
        )

    def primary_ranges(self, identity: Identity) -> dict[PreferenceList, tuple[TokenRange, ...]]:
        """Return each preference list that begins with ``identity``, with its ranges; adjacent ranges are joined."""
        ranges: dict[PreferenceList, list[TokenRange]] = {}
        for found in self.ranges():
            if found.preference_list[0] == identity:
                ranges.setdefault(found.preference_list, []).append(found.token_range)
        return {owners: merge_adjacent(held) for owners, held in ranges.items()}

    def ownership(self) -> dict[Identity, float]:
        """Return each owner's share of all copies, by the width of its ranges; the shares sum to 1."""
        widths = dict.fromkeys(sorted(self.spec.owners), 0)
        for found in self.ranges():
            width = found.token_range.width
            for owner in found.preference_list:
                widths[owner] += width
        return {owner: width / (self.n * TOKEN_SPACE) for owner, width in widths.items()}

    def check(self) -> None:
        """Raise AssertionError unless the ring obeys the rules of this module."""
        assert self._tokens == sorted(set(self._tokens)), "tokens ascend and are distinct"
        assert sum(found.token_range.width for found in self.ranges()) == TOKEN_SPACE, "ranges tile the ring"
        zones_needed = min(self.n, self._zone_count)
        for found in self.ranges():
            owners = found.preference_list
            assert len(set(owners)) == len(owners) == self.n, f"{found.token_range}: n distinct owners"
            first_zones = {self.spec.owners[owner].zone for owner in owners[:zones_needed]}
            assert len(first_zones) == zones_needed, f"{found.token_range}: distinct zones come first"
            assert self.preference_list(found.upto) == owners, f"{found.token_range}: holds its closing token"
        assert abs(sum(self.ownership().values()) - 1) < 1e-9, "shares sum to 1"

    def _compute_list(self, index: int) -> PreferenceList:
        index %= len(self._tokens)
        found = self._ordered(walk(self._owners, self._zones, index, self.n, self._zone_count))
        self._lists[index] = found
        if index == 0:
            self._lists[-1] = found
        return found

    def _ordered(self, taken: list[int]) -> PreferenceList:
        """Return the owners at these indices: the nearest of each zone first, then the others."""
        owners, count = self._owners, len(self._owners)
        if self._zone_count == 1:
            return tuple([owners[index % count] for index in taken])
        nearest: dict[str, int] = {}
        for index in taken:
            nearest.setdefault(self._zones[index % len(self._zones)], index)
        firsts = nearest.values()
        ordered = [*firsts, *(index for index in taken if index not in firsts)]
        return tuple(owners[index % count] for index in ordered)


def _place(spec: RingSpec) -> SortedDict[int, Identity]:
    """Return the owners of all virtual nodes, by token."""
    if not spec.owners:
        raise ValueError("a ring needs at least one owner")
    placed: dict[int, Identity] = {}
    for identity, owner in sorted(spec.owners.items()):
        if not owner.tokens:
            raise ValueError(f"{identity} owns no tokens")
        if not 0 < owner.weight < math.inf:
            raise ValueError(f"{identity}: weight {owner.weight} is not a positive number")
        for token in owner.tokens:
            if not 0 <= token < TOKEN_SPACE:
                raise ValueError(f"{identity}: token {token} is not a 64-bit unsigned number")
            if token in placed:
                raise ValueError(f"token {token} belongs to both {placed[token]} and {identity}")
            placed[token] = identity
    return SortedDict(placed)


def walk(
    owners: Sequence[Hashable], zones: Sequence[str], start: int, copies: int, zone_count: int
) -> list[int]:
    """Return the indices of the virtual nodes whose owners replicate a range, nearest first.

    The walk begins at ``start``, the closing token of the range. It takes an owner that it has not taken yet if the
    owner's zone is new, or if there is room for a second owner of a zone: a list of ``copies`` owners needs
    min(copies, zones) distinct zones, and the room is the rest of its places. This is the greedy algorithm on a matroid
    whose bases are the valid preference lists. Therefore one virtual node added to a ring displaces at most one owner
    from any list, on which ``displacement`` relies.

    ``owners`` and ``zones`` are by virtual node in token order. Indices continue past the last virtual node
    instead of restarting at 0, so that they ascend.
    """
    count = len(owners)
    room = copies - min(copies, zone_count)
    taken: list[int] = []
    # To search a short list is faster than to search a set, and this runs for every range of every ring.
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
