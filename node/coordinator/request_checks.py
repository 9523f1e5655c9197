"""Preconditions of a client's request, checked before any of it begins: the right cluster, and time that is left.

The limits of operations are checked by ``coordinator``.

A node sends its cluster id and clock when a stream opens (``greeting``), so that a client's first operation can contain
both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...api.metadata import Greeting
from ..errors import Expired, WrongCluster

MAX_SHOWN_CHARACTERS: Final = 64
"""Maximum length of a client's cluster id that an error text repeats."""


class Preconditions:
    """``clock_ms`` returns the node's hybrid clock; ``cluster_id`` its cluster, empty while it belongs to none."""

    def __init__(
        self, cluster_id: Callable[[], str], clock_ms: Callable[[], int], max_skew_ms: int = 0
    ) -> None:
        self.cluster_id: Final = cluster_id
        self.clock_ms: Final = clock_ms
        self._max_skew_ms: Final = max_skew_ms

    def greeting(self) -> tuple[tuple[str, str], ...]:
        """Return the initial metadata of a stream."""
        return Greeting(self.cluster_id(), self.clock_ms(), self._max_skew_ms).metadata

    def check_cluster(self, wanted: str) -> None:
        """Raise WrongCluster if a request names another cluster than this node's."""
        if wanted and wanted != (mine := self.cluster_id()) and mine:
            raise WrongCluster(
                "the operation was not done: it is for cluster "
                f"{wanted[:MAX_SHOWN_CHARACTERS]!r}, and this node belongs to cluster {mine!r}",
                mine,
            )

    def check_time(self, sent_ms: int, timeout_s: float) -> None:
        """Raise Expired if a request's caller has stopped waiting for it."""
        if sent_ms and self.clock_ms() > sent_ms + timeout_s * 1000:
            raise Expired.met_at(self.clock_ms(), sent_ms)


ANY: Final = Preconditions(lambda: "", lambda: 0)
"""Preconditions of a server that belongs to no cluster and has no clock."""
