"""All mutations, sorted by the rule that they break."""

from __future__ import annotations

from .breaking_agreement import AGREEMENT
from .breaking_bounds import BOUNDS
from .breaking_client import CLIENT
from .breaking_disk import DISK
from .breaking_future import FUTURE
from .breaking_handoff import HANDOFF
from .breaking_lone import LONE
from .breaking_plan import PLAN
from .breaking_replicas import REPLICAS
from .breaking_requests import REQUESTS
from .breaking_shell import SHELL
from .breaking_wire import WIRE

PARTS = (
    AGREEMENT,
    BOUNDS,
    CLIENT,
    DISK,
    FUTURE,
    HANDOFF,
    LONE,
    PLAN,
    REPLICAS,
    REQUESTS,
    SHELL,
    WIRE,
)

TABLE = tuple(
    sorted((mutation for part in PARTS for mutation in part), key=lambda mutation: mutation.rule or 99)
)
