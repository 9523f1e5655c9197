"""The numbers of the gossip protocol. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GossipSettings:
    heartbeat_interval_s: float = 1.0
    """One heartbeat and one exchange, which is also the probe, per interval."""
    indirect_probes: int = 3
    """Number of members that are asked to probe a member that did not answer."""
    unreachable_probes: int = 4
    """Expected number of members that try each member that is down or suspect, per interval."""
    push_fanout: int = 3
    """Number of members that news is pushed to."""
    relays_per_interval: int = 32
    """Maximum number of relays of other members' news; the rest waits for the exchanges."""
    suspicion_rounds: float = 2.0
    """Intervals a suspect has to refute before it is down; more in a large cluster."""
    max_delta_bytes: int = 32 * 1024
    """Approximate maximum size of the records of one message, encoded."""
    max_digest_entries: int = 1024
    max_suspicions: int = 64
    """Maximum number of suspicions in one message."""
    forget_after_s: float = 3600.0
    """How long members that left, and down members that own nothing, stay in the view."""
