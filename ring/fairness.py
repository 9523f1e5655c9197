"""Fair shares: the share of the copies that each owner should hold, and how far a ring deviates from them.

Shares are proportional to weights as far as placement allows. An owner holds at most one copy of a key, and the copies
of a key are in as many zones as possible. So the owners of a small zone may have to hold more than their weights give
them, and those of a large zone less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..identity import Identity
from .epoch import Owner, RingSpec
from .ring import Ring

_HALVINGS = 200
"""Maximum number of bisection steps; enough to narrow any interval of floats to two adjacent floats."""


def fair_shares(owners: Mapping[Identity, Owner], copies: int) -> dict[Identity, float]:
    """Return how many copies of the key space each owner should hold; they sum to ``copies``."""
    zones: dict[str, list[Identity]] = {}
    for identity in sorted(owners):
        zones.setdefault(owners[identity].zone, []).append(identity)
    if len(zones) >= copies:
        bounds = [_Bounds(0.0, 1.0)] * len(zones)
    else:
        bounds = [_Bounds(1.0, float(len(members))) for members in zones.values()]
    weights = [sum(owners[member].weight for member in members) for members in zones.values()]
    fair: dict[Identity, float] = {}
    for members, zone_copies in zip(zones.values(), _share_out(copies, weights, bounds), strict=True):
        member_weights = [owners[member].weight for member in members]
        shares = _share_out(zone_copies, member_weights, [_Bounds(0.0, 1.0)] * len(members))
        fair.update(zip(members, shares, strict=True))
    return fair


def share_ratio(spec: RingSpec) -> float:
    """Return the largest ratio of an owner's share to its fair share; 1 is perfectly even."""
    fair = fair_shares(spec.owners, spec.n)
    return max(spec.n * share / fair[owner] for owner, share in Ring(spec).ownership().items())


class _Bounds(NamedTuple):
    """Bounds on how many copies of a key a zone or an owner may hold."""

    minimum: float
    maximum: float


def _share_out(total: float, weights: Sequence[float], bounds: Sequence[_Bounds]) -> list[float]:
    """Split ``total`` in proportion to ``weights``, no part below or above its bounds."""

    def parts(level: float) -> list[float]:
        return [
            min(max(level * weight, bound.minimum), bound.maximum)
            for weight, bound in zip(weights, bounds, strict=True)
        ]

    low, high = 0.0, max(bound.maximum / weight for weight, bound in zip(weights, bounds, strict=True))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break  # no float is between the two
        if sum(parts(middle)) < total:
            low = middle
        else:
            high = middle
    return parts(high)
