"""What came of asking the seeds, and what there is to say about it while a node waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..messages.membership import HelloReply


@dataclass(frozen=True, slots=True)
class SeedAnswer:
    """What came of asking one seed."""

    address: str
    reply: HelloReply | None
    trouble: str = ""
    asked_s: float = 0.0
    heard_s: float = 0.0
    """By this node's monotonic clock."""
    foreign: bool = False
    """It belongs to another cluster than this node."""


def troubles(answers: Sequence[SeedAnswer]) -> str:
    return "; ".join(answer.trouble for answer in answers if answer.trouble) or "no addresses to ask"


def advice(answers: Sequence[SeedAnswer]) -> str:
    """When nodes wait for each other and none is a seed by its own list, none will ever form a cluster."""
    replies = [answer.reply for answer in answers if answer.reply is not None]
    if not replies or any(reply.record is not None or reply.seat is not None for reply in replies):
        return ""
    return (
        "; no node here is a seed by its own list: to form a new cluster, start one without --seed, "
        "or give the same list to all that are on it"
    )
