"""What a run's world is like, drawn from its seed, so that seeds look for different things.

- How fast the network and the disks are, and how handoff creeps: where everything is quick, a ring change is over
  before anything can happen in the middle of it.
- Whether hints and comparisons mend copies: where they do, a write that was wrongly acknowledged is soon on all of
  its replicas all the same, and nobody reads that it was not. So
  does a third copy that nobody had to wait for.
- How many keys clients use, and how often they read: what is lost is not seen once it was written anew, and is no
  longer lost once it was read. And how often each kind of fault comes: with everything equally often,
  what takes several faults of one kind hardly ever happens (Groce et al., "Swarm Testing", 2012).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from .faults import FaultKind

BASE: dict[str, Any] = {
    "tokens_per_weight": 4,
    "rpc_timeout": 0.5,
    "handoff_timeout": 6.0,
    "evict_after": 8.0,
    "handoff_grace": 1.0,
    "request_timeout": 2.5,
    "tombstone_age": 5.0,
    "repair_interval": 4.0,
}
"""Settings, far shorter than those of production: a minute is as long as an hour there."""


@dataclass(frozen=True)
class Environment:
    latency_s: tuple[float, float]
    """Shortest and longest way of a message."""
    flush_s: float
    repairs: bool
    """Whether copies that differ become equal by themselves."""
    write_loss: float
    """The share of requests to write that are lost all the time: most keys have no more copies than they must."""
    keys: int
    """How many clients use, of those there are."""
    gets: float
    """The share of reads in what clients do."""
    pause_s: float
    """The longest that a client waits between two operations."""
    fault_weights: dict[FaultKind, float]
    """How much more often than usual each fault comes."""
    fault_every_s: float
    """The longest time from one fault to the next."""
    settings: dict[str, Any]

    @classmethod
    def of(cls, seed: int) -> Environment:
        rng = random.Random(f"climate {seed}")
        slower = rng.choice([1, 1, 10, 40])
        settings = {
            **BASE,
            "handoff_rate": rng.choice([0, 0, 100, 20]),
            "repair_interval": rng.choice([4.0, 4.0, 15.0]),
            "hint_rate": rng.choice([0, 100]),
            "handoff_grace": rng.choice([0.2, 1.0, 5.0]),
        }
        if rng.random() < 0.1:
            settings |= {"replication_factor": 5, "write_quorum": 3, "read_quorum": 3}
        repairs = rng.random() < 0.6
        if not repairs:
            settings |= {"repair_interval": 0, "hint_max_bytes": 0}
        return cls(
            latency_s=(0.0002 * slower, 0.002 * slower),
            flush_s=rng.choice([0.001, 0.001, 0.02, 0.1]),
            repairs=repairs,
            write_loss=0.0 if repairs else rng.choice([0.0, 0.4]),
            keys=rng.choice([2, 8, 64]),
            gets=rng.choice([0.2, 0.5]),
            pause_s=rng.choice([0.25, 0.25, 0.1]),
            fault_weights={what: rng.choice([0.2, 1.0, 1.0, 4.0]) for what in FaultKind},
            fault_every_s=rng.choice([3.0, 3.0, 6.0]),
            settings=settings,
        )
