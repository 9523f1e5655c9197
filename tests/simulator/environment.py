"""The environment of a random run, drawn from its seed, so that different seeds find different bugs.

- Latency of network and disks, and the handoff rate: if everything is fast, a ring change ends before a fault can
  occur during it.
- Whether hints and anti-entropy repair replicas. If they do, a write that was wrongly acknowledged soon reaches all of
  its replicas, and no read shows the fault. A third replica that stores the write hides the fault as well.
- The number of keys and the share of reads: a lost write does not show once the key is written again, and a read
  may repair it.
- The weight of each kind of fault: if all are equally frequent, bugs that take several faults of one kind hardly ever
  show (Groce et al., "Swarm Testing", 2012).
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
"""Settings with intervals far shorter than in production."""


@dataclass(frozen=True)
class Environment:
    latency_s: tuple[float, float]
    """Minimum and maximum latency of a message."""
    flush_s: float
    repairs: bool
    """Whether hints and anti-entropy are enabled."""
    write_loss: float
    """Share of write requests that are always lost, so that most keys have the minimum number of copies."""
    keys: int
    """Maximum number of keys that clients use."""
    gets: float
    """Share of reads among the clients' operations."""
    pause_s: float
    """Maximum pause of a client between two operations."""
    fault_weights: dict[FaultKind, float]
    """Factor for the weight of each kind of fault."""
    fault_every_s: float
    """Maximum time from one fault to the next."""
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
