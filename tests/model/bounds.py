"""How far a search goes: which rings, how many changes, writes, reads and faults."""

from __future__ import annotations

from dataclasses import dataclass

from covey.ring.epoch import Quorums

PUT, DELETE = "put", "delete"


@dataclass(frozen=True)
class Bounds:
    """One key. Rings are named by their owners, a letter each; a key's list is the first N of them."""

    name: str
    quorums: Quorums
    owners: str
    changes: tuple[str, ...] = ()
    """The successors of the first begin, of the second, and so on; each is then finished or aborted."""
    new_quorums: Quorums | None = None
    """What the successors replicate by, if by other numbers than the owners."""
    writes: tuple[str, ...] = (PUT,)
    """PUT or DELETE; the first draws version 1, and so on. They may be sent in any order."""
    reads: int = 0
    """Reads whose questions, write-backs and answers interleave with everything else, one after the other.

    Besides them, a read that takes no time is tried in every state (``reads.probe``)."""
    collects: bool = False
    """Whether the newest tombstone is confirmed, the floor raised to it, and the tombstone purged."""
    early_floor: bool = False
    """Whether the floor may also rise without such a tombstone, as other keys' and corrupt copies make it."""
    repairs: bool = False
    """Whether anti-entropy sends what a node holds to the other replicas, to arrive whenever it will."""
    hints: bool = False
    """Whether an acknowledged write is also sent under later epochs."""
    late_pulls: bool = False
    """Whether the answer to a pull may arrive at any time after it was given."""
    corruptions: int = 0
    deepest: int = 3
    """The last record's number."""
    script: tuple[str, ...] = ()
    """What the records after the first are to be (begin, finish, abort, raise), where that is not left open."""

    @property
    def nodes(self) -> str:
        return "".join(sorted(set(self.owners).union(*self.changes)))
