"""Which replicas to ask first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ...identity import Identity
from ...membership.record import LoadReport
from .tally import Requirement


def expected_wait_ms(load: LoadReport | None) -> float:
    """A rough time to an answer from gossiped load: work waiting ahead, at the usual time a piece."""
    if load is None:
        return 1.0
    return (1 + load.queue_depth + load.in_flight / 8) * max(load.service_time_ms, 0.05)


def rank(
    replicas: Iterable[Identity], me: Identity, load_of: Callable[[Identity], LoadReport | None]
) -> list[Identity]:
    """Best first: this node itself (no message), then by expected wait; ties keep list order."""
    return sorted(replicas, key=lambda r: (r != me, 0.0 if r == me else expected_wait_ms(load_of(r))))


def fewest_for(requirements: Sequence[Requirement], ranked: Sequence[Identity]) -> list[Identity]:
    """The shortest prefix-greedy choice of ``ranked`` that can satisfy every requirement (or all that help)."""
    missing = [part.needed for part in requirements]
    chosen = []
    for replica in ranked:
        helps = [i for i, part in enumerate(requirements) if missing[i] > 0 and replica in part.replicas]
        if helps:
            chosen.append(replica)
            for i in helps:
                missing[i] -= 1
    return chosen
