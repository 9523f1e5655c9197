"""Genesis: the first record, epoch 1, and the cluster's id.

A cluster is formed only when every listed seed has answered with the same terms. The first record is a pure function of
the sorted seed list, each seed's identity, zone and weight, and the settings. So every seed computes the same record,
and no vote is needed at a time when there are no owners to vote. The cluster id is a hash of all of these: two
different first records belong to two clusters, whose nodes refuse each other.

What the driver must do: a seed stores the record that it takes part in before it confirms it, and takes part in no
other. A seed that has ever known an epoch returns that record instead, and nodes that receive it join its cluster.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..identity import Identity
from .allocation import TOKENS_PER_WEIGHT, Joiner, allocate
from .epoch import QUORUM_SETTINGS, EpochRecord, Owner, Quorums, RingSpec


@dataclass(frozen=True, slots=True)
class GenesisTerms:
    """What all seeds must agree on before they form a cluster."""

    seeds: tuple[str, ...]
    """The seed list: addresses (host:port), sorted, without duplicates."""
    quorums: Quorums
    tokens_per_weight: int = TOKENS_PER_WEIGHT
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The first record's other settings."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The node at one address of the seed list."""

    address: str
    """As it is written in the seed list."""
    identity: Identity
    zone: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class GenesisSeat:
    """What one seed contributes to epoch 1."""

    seat: Seat
    terms: GenesisTerms


def first_record(terms: GenesisTerms, seats: Sequence[Seat]) -> EpochRecord:
    """Return record 1 of the cluster that these seeds form; the order of ``seats`` does not matter.

    Raise ValueError, with a sentence for the operator, unless there is exactly one node for each seed.
    """
    ordered = sorted(seats, key=lambda seat: seat.address)
    _check_seats(terms, ordered)
    joiners = [Joiner(seat.identity, seat.zone, seat.weight) for seat in _by_identity(ordered)]
    tokens = allocate({}, joiners, terms.quorums, terms.tokens_per_weight)
    owners = {
        seat.identity: Owner(tokens[seat.identity], seat.zone, float(seat.weight))
        for seat in _by_identity(ordered)
    }
    record = EpochRecord(
        number=1,
        cluster_id=_cluster_id(terms, ordered),
        owners=RingSpec(owners, terms.quorums),
        settings=dict(terms.settings),
    )
    record.check()
    return record


def missing_seeds(terms: GenesisTerms, seats: Sequence[Seat]) -> tuple[str, ...]:
    """Return the seeds that have not answered yet."""
    answered = {seat.address for seat in seats}
    return tuple(address for address in terms.seeds if address not in answered)


def seat_conflicts(mine: GenesisTerms, theirs: GenesisTerms) -> str | None:
    """Return why two seeds cannot form one cluster, as a sentence with all differences; None if they can."""
    differences = [
        _difference("seeds", ", ".join(mine.seeds), ", ".join(theirs.seeds)),
        *(
            _difference(name, getattr(mine.quorums, name), getattr(theirs.quorums, name))
            for name in QUORUM_SETTINGS
        ),
        _difference("tokens_per_weight", mine.tokens_per_weight, theirs.tokens_per_weight),
        *(
            _difference(name, mine.settings.get(name), theirs.settings.get(name))
            for name in sorted(mine.settings.keys() | theirs.settings.keys())
        ),
    ]
    found = [difference for difference in differences if difference]
    return "the seeds' configurations differ: " + "; ".join(found) if found else None


def _difference(name: str, mine: object, theirs: object) -> str:
    # Compare the values as JSON, as a record stores them: JSON distinguishes true from 1, and == does not.
    if json.dumps(mine, sort_keys=True) == json.dumps(theirs, sort_keys=True):
        return ""
    return f"{name} is {_describe(mine)} here and {_describe(theirs)} there"


def _describe(value: object) -> str:
    if value is None:
        return "not set"
    return f"[{value}]" if isinstance(value, str) else str(value)


def _check_seats(terms: GenesisTerms, ordered: Sequence[Seat]) -> None:
    if list(terms.seeds) != sorted(set(terms.seeds)):
        raise ValueError("the seed list must be sorted and name each seed once")
    if [seat.address for seat in ordered] != list(terms.seeds):
        answered = ", ".join(seat.address for seat in ordered)
        raise ValueError(f"every seed takes part once: listed {', '.join(terms.seeds)}; answered {answered}")
    holders: dict[str, Seat] = {}
    for seat in ordered:
        if not 0 < seat.weight < math.inf:
            raise ValueError(f"seed {seat.address} has weight {seat.weight}; it must be a number above 0")
        first = holders.setdefault(seat.identity.name, seat)
        if first.identity == seat.identity and first is not seat:
            raise ValueError(
                f"seeds {first.address} and {seat.address} are one node, {seat.identity}: list it once"
            )
        if first is not seat:
            raise ValueError(f"two nodes are named {seat.identity.name}: {first.address} and {seat.address}")


def _by_identity(seats: Sequence[Seat]) -> list[Seat]:
    return sorted(seats, key=lambda seat: seat.identity)


def _cluster_id(terms: GenesisTerms, ordered: Sequence[Seat]) -> str:
    """Return 64 bits of a hash: enough to distinguish clusters, and short enough for people to compare."""
    everything = {
        "seats": [[s.address, str(s.identity), s.zone, float(s.weight)] for s in ordered],
        "quorums": asdict(terms.quorums),
        "tokens_per_weight": terms.tokens_per_weight,
        "settings": dict(terms.settings),
    }
    canonical = json.dumps(everything, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
