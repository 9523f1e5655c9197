"""Which replicas missed a write, told once the write is acknowledged.

A write that was not acknowledged leaves no hint: what is reported as not done must never happen later. Nor does
what failed under an epoch in which it was not acknowledged, since only the attempt that was knows the replicas.
"""

from __future__ import annotations

from typing import Protocol

from ...identity import Identity
from ..storage.interface import Entry


class HintSink(Protocol):
    def keep(self, to: Identity, key: bytes, entry: Entry) -> None:
        """Keep an acknowledged write for a replica that missed it. Never fails, and never waits."""


class Missed:
    """The replicas that missed one attempt of one write, also those that turn out to after its end."""

    def __init__(self, hints: HintSink, key: bytes, entry: Entry) -> None:
        self._hints = hints
        self._key = key
        self._entry = entry
        self._acknowledged = False
        self._by: list[Identity] = []

    def by(self, replica: Identity) -> None:
        if self._acknowledged:
            self._hints.keep(replica, self._key, self._entry)
        else:
            self._by.append(replica)

    def acknowledged(self) -> None:
        self._acknowledged = True
        for replica in self._by:
            self._hints.keep(replica, self._key, self._entry)
