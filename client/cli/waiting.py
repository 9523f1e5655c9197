"""Waiting until a node sees the cluster as wished."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import Overloaded, Timeout, Unavailable

if TYPE_CHECKING:
    from ...api.cluster import ClusterStatus
    from ..admin import Administration

POLL_INTERVAL_S = 0.25
ANSWER_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Goal:
    nodes: int | None
    """Exactly so many serving owners; None: at least one."""
    synced: bool

    def missing(self, status: ClusterStatus) -> str | None:
        """Why the goal is not reached; None when it is."""
        serving = [node.name for node in status.nodes if node.owner and node.state == "serving"]
        if self.nodes is not None and len(serving) != self.nodes:
            return f"{len(serving)} owners serve, not {self.nodes} ({_others(status)})"
        if not serving:
            return f"no owner serves ({_others(status)})"
        if self.synced and not status.synced:
            return "; ".join(status.notes) or f"{status.answered_by} is not synced"
        return None


def _others(status: ClusterStatus) -> str:
    """What every member is instead, as far as one can tell."""
    return ", ".join(f"{node.name} {node.state}{'' if node.owner else ', no owner'}" for node in status.nodes)


@dataclass(frozen=True)
class Outcome:
    reason: str | None
    """Why waiting was in vain; None when the goal was reached."""
    down: tuple[str, ...]


async def wait_for(admin: Administration, goal: Goal, timeout_s: float) -> Outcome:
    """Ask again and again until the goal is reached or time runs out."""
    now = asyncio.get_running_loop().time
    deadline = now() + timeout_s
    while True:
        outcome = await _look(admin, goal, min(ANSWER_TIMEOUT_S, max(deadline - now(), 0.001)))
        if outcome.reason is None or now() + POLL_INTERVAL_S >= deadline:
            return outcome
        await asyncio.sleep(POLL_INTERVAL_S)


async def _look(admin: Administration, goal: Goal, timeout_s: float) -> Outcome:
    try:
        status = await admin.status(timeout=timeout_s)
    except (Unavailable, Timeout, Overloaded) as error:
        return Outcome(str(error), ())
    down = tuple(node.name for node in status.nodes if node.owner and node.state == "down")
    return Outcome(goal.missing(status), down)
