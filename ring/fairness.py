"""What share of the copies each owner ought to hold, and how near a ring comes to it.

Shares follow weights as far as the placement rule allows: an owner holds at most one copy of a key, and every
key has copies in as many zones as it can, so a zone with few nodes carries more than its weight and one with
many carries less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..identity import Identity
from .epoch import Owner, RingSpec
from .ring import Ring

_HALVINGS = 200
"""Enough to bring any bracket of floats down to two neighbours."""


def fair_shares(owners: Mapping[Identity, Owner], copies: int) -> dict[Identity, float]:
    """For each owner the number of copies of the whole key space it ought to hold; they sum to ``copies``."""
    zones = _by_zone(owners)
    bounds = [_zone_bounds(len(members), len(zones), copies) for members in zones.values()]
    weights = [sum(owners[member].weight for member in members) for members in zones.values()]
    fair: dict[Identity, float] = {}
    for members, zone_copies in zip(zones.values(), _share_out(copies, weights, bounds), strict=True):
        member_weights = [owners[member].weight for member in members]
        shares = _share_out(zone_copies, member_weights, [_Bounds(0.0, 1.0)] * len(members))
        fair.update(zip(members, shares, strict=True))
    return fair


def share_ratio(spec: RingSpec) -> float:
    """The largest ratio of an owner's share to its fair share; 1 is perfectly even."""
    fair = fair_shares(spec.owners, spec.n)
    return max(spec.n * share / fair[owner] for owner, share in Ring(spec).ownership().items())


class _Bounds(NamedTuple):
    minimum: float
    maximum: float


def _by_zone(owners: Mapping[Identity, Owner]) -> dict[str, list[Identity]]:
    zones: dict[str, list[Identity]] = {}
    for identity in sorted(owners):
        zones.setdefault(owners[identity].zone, []).append(identity)
    return zones


def _zone_bounds(members: int, zones: int, copies: int) -> _Bounds:
    """How many copies of a key one zone may hold."""
    if zones >= copies:
        return _Bounds(0.0, 1.0)
    return _Bounds(1.0, float(members))


def _share_out(total: float, weights: Sequence[float], bounds: Sequence[_Bounds]) -> list[float]:
    """Split ``total`` in proportion to ``weights``, no part below or above its bounds."""

    def parts(level: float) -> list[float]:
        return [
            min(max(level * weight, bound.minimum), bound.maximum)
            for weight, bound in zip(weights, bounds, strict=True)
        ]

    low, high = 0.0, max(_levels_that_fill(weights, bounds))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break  # neighbours: nothing lies between them
        if sum(parts(middle)) < total:
            low = middle
        else:
            high = middle
    return parts(high)


def _levels_that_fill(weights: Sequence[float], bounds: Sequence[_Bounds]) -> Iterable[float]:
    return (bound.maximum / weight for weight, bound in zip(weights, bounds, strict=True))
