"""How a node has served this client lately: how long it takes, how busy others keep it, how much it is trusted with.

As in C3 (Suresh et al., NSDI'15) a node's score is its service time, times the cube of its queue. The queue is
what *others* have under way there, in units of ``FILL``: this client's own operations are what the score is to
place. The service time is that of batches, less what large ones take longer. What was learned more than
``KEPT_FOR_S`` ago is forgotten, so a node that was slow gets another chance.

A node that is not known (any more) is trusted with ``FIRST_FILL`` operations at a time, and with twice as many
after each good reply: one that comes back is not run over.
"""

from __future__ import annotations

FILL = 128
"""As many operations of one client are best carried by one node; more are spread."""
FIRST_FILL = 4
KEPT_FOR_S = 10.0
NEW_SHARE = 0.25
"""The weight of the newest observation."""
FAST_S = 0.005
"""Below this, differences mean nothing. What is not known is taken to be so fast."""


class NodeScore:
    """Of one node."""

    __slots__ = ("_heard_at", "_others", "_service_s", "fill", "place", "well_at")

    def __init__(self, place: float) -> None:
        self.place = place
        """Among nodes that are equally good: this client's own order."""
        self.fill = FIRST_FILL
        self.well_at = float("-inf")
        """When it last did what it was asked."""
        self._heard_at = float("-inf")
        self._service_s = 0.0
        self._others = 0.0

    def heard(self, now: float, round_trip_s: float, operations: int, others: int) -> None:
        """A batch was answered for the first time after ``round_trip_s``."""
        service_s = round_trip_s / (1 + operations / FILL)
        if now - self._heard_at > KEPT_FOR_S:
            self._service_s, self._others = service_s, others
        else:
            self._service_s += NEW_SHARE * (service_s - self._service_s)
            self._others += NEW_SHARE * (others - self._others)
        self._heard_at = now

    def served(self, now: float) -> None:
        """It did what it was asked."""
        self.well_at = now
        self.fill = min(FILL, self.fill * 2)

    def failed(self) -> None:
        self.fill = FIRST_FILL

    def score(self, now: float, silent_s: float) -> float | None:
        """The lower the better; None when nothing is known. It has been silent for so long on a batch."""
        if now - self._heard_at > KEPT_FOR_S:
            self.fill = FIRST_FILL
            return silent_s if silent_s > FAST_S else None
        return max(self._service_s, silent_s, FAST_S) * (1 + self._others / FILL) ** 3
