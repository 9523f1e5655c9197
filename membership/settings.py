"""The settings of the gossip protocol. Durations are in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GossipSettings:
    heartbeat_interval_s: float = 1.0
    """Per interval, a node sends one heartbeat and begins one exchange, which is also its probe."""
    indirect_probes: int = 3
    """Number of members that are asked to probe a member that did not answer."""
    unreachable_probes: int = 4
    """Expected number of members that contact a given down or suspect member per interval."""
    push_fanout: int = 3
    """Number of members that an important change is pushed to."""
    relays_per_interval: int = 32
    """Maximum number of relays of other members' changes; exchanges deliver the rest."""
    suspicion_rounds: float = 2.0
    """Number of intervals that a suspect has to refute before it is down; multiplied in a large cluster."""
    max_delta_bytes: int = 32 * 1024
    """Approximate maximum size of the records of one message, encoded."""
    max_digest_entries: int = 1024
    max_suspicions: int = 64
    """Maximum number of suspicions in one message."""
    forget_after_s: float = 3600.0
    """Time after which members that left, and down members that own nothing, are forgotten."""
