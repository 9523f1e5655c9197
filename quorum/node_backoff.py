"""Exponential backoff of nodes that failed: while it lasts, callers prefer other nodes. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)
MAX_DOUBLINGS = 30


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float
    until_s: float


class NodeBackoff(Generic[N]):
    """The backoff of each node: doubled by each failure, from ``first_s`` to ``max_s``, and ended by a success.

    A failure more than ``forgiven_after_s`` after the previous one starts at ``first_s`` again. With
    ``merge_concurrent``, failures during a backoff do not double it.
    """

    def __init__(
        self,
        first_s: float,
        max_s: float,
        *,
        forgiven_after_s: float = math.inf,
        merge_concurrent: bool = False,
    ) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._forgiven_after_s = forgiven_after_s
        self._merge_concurrent = merge_concurrent
        self._failures: dict[N, _Failures] = {}

    def failed(self, node: N, now_s: float, at_least_s: float = 0.0) -> None:
        """Record a failure; the backoff lasts at least ``at_least_s``."""
        failures = self._failures.get(node)
        if failures is None or now_s - failures.last_s > self._forgiven_after_s:
            failures = self._failures[node] = _Failures(0, now_s, now_s)
        if now_s >= failures.until_s or not self._merge_concurrent:
            failures.count += 1
        backoff_s = self._first_s * 2.0 ** min(failures.count - 1, MAX_DOUBLINGS)
        failures.last_s = now_s
        failures.until_s = now_s + max(min(self._max_s, backoff_s), at_least_s)

    def succeeded(self, node: N) -> None:
        self._failures.pop(node, None)

    def until_s(self, node: N, now_s: float) -> float:
        """Return when the node's backoff ends; 0 if it has none."""
        failures = self._failures.get(node)
        return failures.until_s if failures is not None and now_s < failures.until_s else 0.0

    def is_backed_off(self, node: N, now_s: float) -> bool:
        return self.until_s(node, now_s) > 0.0
