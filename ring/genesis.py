"""How the first record comes to be: epoch 1, and with it the cluster's id.

A cluster is formed only when every listed seed answers, all with the same terms. The first record is a pure
function of what they bring (the sorted seed list, each seed's identity, zone and weight, and the settings),
so whichever seed computes it computes the same one, and no vote is needed before there are owners to vote.
The cluster id covers all of it: two first records that differ in anything are of two clusters, which refuse
each other.

The shell's share: each seed persists the record that it takes part in before it says so, and takes part in no
other; a seed that has ever known an epoch says that instead, and whoever hears it joins.
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
from .epoch import EpochRecord, Owner, Quorums, RingSpec


@dataclass(frozen=True, slots=True)
class GenesisTerms:
    """What all seeds must agree on before they form a cluster."""

    seeds: tuple[str, ...]
    """The seed list: host:port, sorted, each once."""
    quorums: Quorums
    tokens_per_weight: int = TOKENS_PER_WEIGHT
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Becomes the first record's other settings."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits at one address of the seed list."""

    address: str
    """As it stands in the seed list."""
    identity: Identity
    zone: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class GenesisSeat:
    """What one seed brings to epoch 1."""

    seat: Seat
    terms: GenesisTerms


def first_record(terms: GenesisTerms, seats: Sequence[Seat]) -> EpochRecord:
    """Record 1 of the cluster that these seeds form; the order of ``seats`` does not matter.

    Raises ValueError, with a sentence for the operator, when the seats are not one node for each seed.
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
    """The seeds that have not answered yet: what a waiting node says it waits for."""
    answered = {seat.address for seat in seats}
    return tuple(address for address in terms.seeds if address not in answered)


def seat_conflicts(mine: GenesisTerms, theirs: GenesisTerms) -> str | None:
    """Why two seeds cannot form a cluster together: a sentence naming what differs; None when they can."""
    differences = [
        _difference("seeds", ", ".join(mine.seeds), ", ".join(theirs.seeds)),
        *(_difference(name, a, b) for name, a, b in _numbers(mine, theirs)),
        *(
            _difference(name, mine.settings.get(name), theirs.settings.get(name))
            for name in sorted(mine.settings.keys() | theirs.settings.keys())
        ),
    ]
    told = [difference for difference in differences if difference]
    return "the seeds' configurations differ: " + "; ".join(told) if told else None


def _numbers(mine: GenesisTerms, theirs: GenesisTerms) -> list[tuple[str, object, object]]:
    a, b = asdict(mine.quorums), asdict(theirs.quorums)
    named = [(name, a[name], b[name]) for name in a]
    return [*named, ("tokens_per_weight", mine.tokens_per_weight, theirs.tokens_per_weight)]


def _difference(name: str, mine: object, theirs: object) -> str:
    # Compared as the record would hold them: JSON tells true from 1, Python's == does not.
    if json.dumps(mine, sort_keys=True) == json.dumps(theirs, sort_keys=True):
        return ""
    return f"{name} is {_told(mine)} here and {_told(theirs)} there"


def _told(value: object) -> str:
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
    """64 bits are plenty for telling clusters apart, and people can still compare them by eye."""
    everything = {
        "seats": [[s.address, str(s.identity), s.zone, float(s.weight)] for s in ordered],
        "quorums": asdict(terms.quorums),
        "tokens_per_weight": terms.tokens_per_weight,
        "settings": dict(terms.settings),
    }
    return hashlib.sha256(_canonical(everything)).hexdigest()[:16]


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
