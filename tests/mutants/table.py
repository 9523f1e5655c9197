"""Every mutation, by the part of covey that it breaks."""

from __future__ import annotations

from .breaking_agreement import AGREEMENT
from .breaking_handoff import HANDOFF
from .breaking_plan import PLAN
from .breaking_replicas import REPLICAS
from .breaking_requests import REQUESTS

TABLE = tuple(
    sorted((*AGREEMENT, *REQUESTS, *HANDOFF, *PLAN, *REPLICAS), key=lambda mutation: mutation.rule or 99)
)
