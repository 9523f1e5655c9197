"""The stored decision that a cluster of one node becomes part of another cluster (``absorption``), and its progress."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ...identity import Identity
from ..errors import StorageFailed

META_ALONE = "alone"
"""Name of the value that is set while this node, which formed its cluster without others, has always been its only
member."""
META_VERDICT = "absorption"
"""Name under which a ``Verdict`` is stored."""


@dataclass(frozen=True)
class Verdict:
    cluster_id: str
    """The cluster that this node is to join."""
    members: tuple[tuple[Identity, str], ...]
    """Members of that cluster and their last known addresses; never empty."""
    segment: int = 0
    """All entries of the segments below this one are acknowledged by the other cluster."""
    entries: int = 0
    """Number of entries that the other cluster has acknowledged."""
    skipped: int = 0
    """Number of segments that could not be read completely."""
    finished: bool = False
    """Whether the other cluster has acknowledged all entries."""

    def encode(self) -> bytes:
        content = {
            "cluster_id": self.cluster_id,
            "members": [[str(identity), address] for identity, address in self.members],
            "segment": self.segment,
            "entries": self.entries,
            "skipped": self.skipped,
            "finished": self.finished,
        }
        return json.dumps(content).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Verdict:
        """Decode bytes that ``encode`` wrote. Raise StorageFailed for any other bytes."""
        try:
            content = json.loads(encoded)
            members = tuple((Identity.parse(name), str(address)) for name, address in content.pop("members"))
            return cls(members=members, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageFailed("the note of which cluster to join is damaged") from error
