"""The epoch record: a numbered record, agreed on by the cluster, of the owners, their tokens and the settings.

Records form one total order. Each is chosen by Paxos among the owners of the record before it (``paxos``). A record has
a single encoding, its canonical bytes. They are digested, stored and sent, and any other bytes are refused; otherwise a
decoder could drop or round a part of what the digest covers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from ..identity import Identity
from .tokens import TOKEN_SPACE

QUORUM_SETTINGS = ("replication_factor", "write_quorum", "read_quorum")
"""The fields of ``Quorums``, in order."""
ALLOW_WEAK_QUORUMS = "allow_weak_quorums"
"""The agreed setting by which an operator accepts quorums that need not overlap."""


class EpochStamp(NamedTuple):
    """The number and digest of a record, by which messages refer to it; the record is sent only on mismatch."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Owner:
    """A node's tokens, zone and weight in a ring."""

    tokens: tuple[int, ...]
    """Virtual-node tokens, ascending, 64-bit unsigned, unique within a ring."""
    zone: str = ""
    weight: float = 1.0

    def check(self) -> None:
        """Raise ValueError unless there are tokens, all are valid and ascend, and the weight is above 0."""
        if not self.tokens:
            raise ValueError("an owner has no tokens")
        if not all(0 <= token < TOKEN_SPACE for token in self.tokens):
            raise ValueError("a token is not a 64-bit unsigned number")
        if any(a >= b for a, b in pairwise(self.tokens)):
            raise ValueError("an owner's tokens are not in ascending order, each once")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight is {self.weight}; it must be a number above 0")


@dataclass(frozen=True)
class Quorums:
    """The replication settings of one ring as configured. With fewer owners than N, n, w and r are smaller."""

    replication_factor: int = 3
    write_quorum: int = 2
    read_quorum: int = 2

    def n(self, owners: int) -> int:
        return min(self.replication_factor, owners)

    def w(self, owners: int) -> int:
        return min(self.write_quorum, owners)

    def r(self, owners: int) -> int:
        return min(self.read_quorum, owners)

    @property
    def strict(self) -> bool:
        """True if every read quorum overlaps every write quorum, and any two write quorums overlap."""
        n, w, r = self.replication_factor, self.write_quorum, self.read_quorum
        return r + w > n and 2 * w > n

    def check(self, allow_weak: bool = False) -> None:
        """Raise ValueError, with a sentence for the operator, if a ring cannot have these settings."""
        n = self.replication_factor
        if n < 1:
            raise ValueError(f"replication_factor is {n}; it must be at least 1")
        for name, quorum in (("write_quorum", self.write_quorum), ("read_quorum", self.read_quorum)):
            if not 1 <= quorum <= n:
                raise ValueError(f"{name} is {quorum}; it must be from 1 to replication_factor, which is {n}")
        if not (self.strict or allow_weak):
            raise ValueError(
                f"{self}: reads could miss acknowledged writes unless read_quorum + write_quorum > "
                f"replication_factor and write_quorum > replication_factor / 2; "
                f"set {ALLOW_WEAK_QUORUMS} to accept that"
            )

    def warnings(self) -> list[str]:
        """Return warnings about these settings for the operator, a sentence each; empty for the default."""
        n, w, r = self.replication_factor, self.write_quorum, self.read_quorum
        if n == 1:
            return [
                f"{self}: a dead node blocks every read and write of its keys and cannot be evicted safely"
            ]
        found = []
        if not self.strict:
            found.append(
                f"{self}: reads can miss acknowledged writes, and writes of one key can miss each other"
            )
        if w == n:
            found.append(f"{self}: a dead replica blocks writes, because write_quorum is replication_factor")
        if r == n:
            found.append(f"{self}: a dead replica blocks reads, because read_quorum is replication_factor")
        # To finish a change takes r sources to pull from, and n - r + 1 nodes of the old list that have adopted it.
        if r == n or r == 1:
            found.append(
                f"{self}: a dead replica cannot be evicted safely; prefer a read_quorum between 1 and {n}"
            )
        return found

    def __str__(self) -> str:
        return (
            f"replication_factor {self.replication_factor}, write_quorum {self.write_quorum}, "
            f"read_quorum {self.read_quorum}"
        )


@dataclass(frozen=True)
class RingSpec:
    """The owners of one ring and its replication settings."""

    owners: Mapping[Identity, Owner]
    quorums: Quorums

    @property
    def n(self) -> int:
        return self.quorums.n(len(self.owners))

    @property
    def w(self) -> int:
        return self.quorums.w(len(self.owners))

    @property
    def r(self) -> int:
        return self.quorums.r(len(self.owners))

    def check(self, allow_weak: bool = False) -> None:
        """Raise ValueError unless there are owners, all are valid, each token is given once, and quorums are valid."""
        self.quorums.check(allow_weak)
        if not self.owners:
            raise ValueError("a ring has no owners")
        holders: dict[int, Identity] = {}
        for identity, owner in sorted(self.owners.items()):
            if not identity.name or not 0 <= identity.disk_id < 1 << 64:
                raise ValueError(f"not an identity: {identity!r}")
            owner.check()
            for token in owner.tokens:
                if token in holders:
                    raise ValueError(f"token {token} is given to both {holders[token]} and {identity}")
                holders[token] = identity


@dataclass(frozen=True, eq=False)
class EpochRecord:
    """Record ``number`` of cluster ``cluster_id``. Two records are equal when their canonical bytes are."""

    number: int
    cluster_id: str
    owners: RingSpec
    successors: RingSpec | None = None
    floor: int = 0
    """G: the hybrid-clock timestamp at or below which every version is settled."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Other agreed settings as JSON values, for instance ``allow_weak_quorums``."""

    @property
    def changing(self) -> bool:
        return self.successors is not None

    @property
    def live_rings(self) -> tuple[RingSpec, ...]:
        return (self.owners,) if self.successors is None else (self.owners, self.successors)

    @property
    def live_owners(self) -> frozenset[Identity]:
        """The owners of any live ring."""
        return frozenset(owner for spec in self.live_rings for owner in spec.owners)

    @property
    def majority(self) -> int:
        """Number of owners that are needed to choose the next record."""
        return len(self.owners.owners) // 2 + 1

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes: compact JSON, keys sorted, tokens as decimal strings."""
        return json.dumps(
            _record_to_json(self), sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode()

    @cached_property
    def stamp(self) -> EpochStamp:
        return EpochStamp(self.number, hashlib.sha256(self.encoded).hexdigest()[:32])

    def __eq__(self, other: object) -> bool:
        return self.encoded == other.encoded if isinstance(other, EpochRecord) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.encoded)

    def check(self) -> None:
        """Raise ValueError, with a sentence for the operator, unless the record is valid."""
        if self.number < 1:
            raise ValueError(f"record number is {self.number}; the first is 1")
        if not self.cluster_id:
            raise ValueError("the record names no cluster")
        if not 0 <= self.floor < 1 << 64:
            raise ValueError(f"floor is {self.floor}, not a 64-bit unsigned number")
        for spec in self.live_rings:
            spec.check(allow_weak=self.settings.get(ALLOW_WEAK_QUORUMS) is True)

    @classmethod
    def decode(cls, encoded: bytes) -> EpochRecord:
        """Decode canonical bytes. Raise ValueError unless they are those of a valid record."""
        try:
            record = _record_from_json(json.loads(encoded))
            if record.encoded != encoded:
                raise ValueError("the bytes are not canonical")
            record.check()
        except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, ValueError) as error:
            raise ValueError(f"not an epoch record: {error}") from error
        return record


def _spec_to_json(spec: RingSpec) -> dict[str, Any]:
    return {
        "owners": {
            str(identity): {
                "tokens": [str(token) for token in owner.tokens],
                "zone": owner.zone,
                "weight": float(owner.weight),
            }
            for identity, owner in spec.owners.items()
        },
        **{name: getattr(spec.quorums, name) for name in QUORUM_SETTINGS},
    }


def _spec_from_json(data: dict[str, Any]) -> RingSpec:
    owners = {
        Identity.parse(identity): Owner(
            tuple(int(token) for token in owner["tokens"]), str(owner["zone"]), float(owner["weight"])
        )
        for identity, owner in sorted(data["owners"].items())
    }
    return RingSpec(owners, Quorums(*(int(data[name]) for name in QUORUM_SETTINGS)))


def _record_to_json(record: EpochRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "cluster_id": record.cluster_id,
        "owners": _spec_to_json(record.owners),
        "successors": None if record.successors is None else _spec_to_json(record.successors),
        "floor": str(record.floor),
        "settings": dict(record.settings),
    }


def _record_from_json(data: dict[str, Any]) -> EpochRecord:
    successors = data["successors"]
    return EpochRecord(
        number=int(data["number"]),
        cluster_id=str(data["cluster_id"]),
        owners=_spec_from_json(data["owners"]),
        successors=None if successors is None else _spec_from_json(successors),
        floor=int(data["floor"]),
        settings=dict(data["settings"]),
    )
