"""Bounds of a search: rings, changes, writes, reads and faults."""

from __future__ import annotations

from dataclasses import dataclass

from covey.ring.epoch import Quorums

PUT, DELETE = "put", "delete"


@dataclass(frozen=True)
class Bounds:
    """Bounds for one key. A ring is named by its owners, a letter each; the key's list is the first N of them."""

    name: str
    quorums: Quorums
    owners: str
    changes: tuple[str, ...] = ()
    """The successors of the first begin, the second, and so on; each change is finished or aborted."""
    new_quorums: Quorums | None = None
    """N, W and R of the successors, if they differ from the owners'."""
    writes: tuple[str, ...] = (PUT,)
    """PUT or DELETE each; the first draws version 1, and so on. They may be sent in any order."""
    reads: int = 0
    """Number of successive reads whose requests, write-backs and replies interleave with all other steps.

    In addition, a read that takes no time is tried in every state (``reads.probe``)."""
    collects: bool = False
    """Whether the newest tombstone is collected: confirmed, floor raised, purged."""
    early_floor: bool = False
    """Whether the floor may also rise without a confirmed tombstone, as other keys and healing make it."""
    repairs: bool = False
    """Whether anti-entropy sends a node's version to the other replicas, to arrive at any time."""
    hints: bool = False
    """Whether an acknowledged write is also sent under later epochs."""
    late_pulls: bool = False
    """Whether the reply to a pull may arrive at any time."""
    corruptions: int = 0
    deepest: int = 3
    """Number of the last record."""
    script: tuple[str, ...] = ()
    """The kinds of the records after the first (begin, finish, abort, raise); empty for any."""

    @property
    def nodes(self) -> str:
        return "".join(sorted(set(self.owners).union(*self.changes)))
