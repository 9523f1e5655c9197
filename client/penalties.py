"""Nodes that failed lately, which are asked last."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PENALTY_S = 0.5
MAX_PENALTY_S = 15.0
FORGIVEN_AFTER_S = 30.0
"""A node that went this long without failing starts again with the first penalty."""


@dataclass(slots=True)
class _Offence:
    strikes: int
    failed_at: float
    until: float


class NodeBackoff:
    """Nodes that failed lately. Each failure after the penalty doubles the next; a success ends it."""

    def __init__(self) -> None:
        self._offences: dict[str, _Offence] = {}

    def failed(self, address: str, now: float, at_least_s: float = 0.0) -> None:
        offence = self._offences.get(address)
        if offence is None or now - offence.failed_at > FORGIVEN_AFTER_S:
            offence = self._offences[address] = _Offence(0, now, now)
        if now >= offence.until:  # operations that fail together count as one failure
            offence.strikes += 1
        penalty_s = min(MAX_PENALTY_S, FIRST_PENALTY_S * 2 ** (offence.strikes - 1))
        offence.failed_at = now
        offence.until = now + max(penalty_s, at_least_s)

    def succeeded(self, address: str) -> None:
        self._offences.pop(address, None)

    def until(self, address: str, now: float) -> float:
        """When the node gets out; 0 when it is not in."""
        offence = self._offences.get(address)
        return offence.until if offence is not None and now < offence.until else 0.0
