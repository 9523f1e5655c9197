"""The numbers of the gossip protocol. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GossipSettings:
    heartbeat_interval_s: float = 1.0
    """One heartbeat and one exchange, which is also the probe, per interval."""
    indirect_probes: int = 3
    """How many members are asked to try a member that did not answer."""
    unreachable_probes: int = 4
    """Expected number of members that try each member that is down or suspect, per interval."""
    push_fanout: int = 3
    """How many members are told news at once."""
    relays_per_interval: int = 32
    """How often other members' news is passed on at once; what is beyond waits for the exchanges."""
    suspicion_rounds: float = 2.0
    """Intervals a suspect has to refute before it is down; more in a large cluster."""
    max_delta_bytes: int = 32 * 1024
    """About how large the records of one message get, encoded."""
    max_digest_entries: int = 1024
    max_suspicions: int = 64
    """How many suspicions one message carries at most."""
    forget_after_s: float = 3600.0
    """How long members that left, and down members that own nothing, stay in the view."""
