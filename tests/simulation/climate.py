"""What a run's world is like, drawn from its seed: how fast the network and the disks are, how handoff creeps.

Where everything is quick, a ring change is over before anything can happen in the middle of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

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
class Climate:
    latency_s: tuple[float, float]
    """Shortest and longest way of a message."""
    flush_s: float
    settings: dict[str, Any]

    @classmethod
    def of(cls, seed: int) -> Climate:
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
        return cls((0.0002 * slower, 0.002 * slower), rng.choice([0.001, 0.001, 0.02, 0.1]), settings)
