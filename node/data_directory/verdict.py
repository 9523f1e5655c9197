"""The stored decision that a cluster of one becomes part of another cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ...identity import Identity
from ..errors import StorageFailed

META_ALONE = "alone"
"""Set while the cluster was formed by this node alone and no other node has ever joined."""
META_VERDICT = "absorption"


@dataclass(frozen=True)
class Verdict:
    cluster_id: str
    """The cluster that this node is to join."""
    members: tuple[tuple[Identity, str], ...]
    """Members of that cluster and their last known addresses; never empty."""
    segment: int = 0
    """All segments below this one are acknowledged there."""
    entries: int = 0
    """Number of entries acknowledged there."""
    skipped: int = 0
    """Number of segments that could not be read completely."""
    finished: bool = False
    """Whether everything is acknowledged there."""

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
        """Decode a verdict. Raise StorageFailed for anything else."""
        try:
            content = json.loads(encoded)
            members = tuple((Identity.parse(name), str(address)) for name, address in content.pop("members"))
            return cls(members=members, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageFailed("the note of which cluster to join is damaged") from error
