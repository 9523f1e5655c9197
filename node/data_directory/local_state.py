"""The interface of a node's data folder, and an implementation in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...identity import Identity
from ...membership.extent import Extent
from .witness import Memory


class LocalState(Protocol):
    """The state of a node that survives its process, apart from the engine's data."""

    @property
    def identity(self) -> Identity: ...

    @property
    def generation(self) -> int:
        """The number of this start of the node, from 1; higher than that of every earlier start."""

    def peers(self) -> dict[Identity, str]:
        """Return the last known addresses of other nodes (host:port)."""

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        """Replace the addresses that ``peers`` returns."""

    @property
    def claimed(self) -> bool:
        """Whether the engine has stored the identity (``disk_identity.history``), at an earlier start or this one."""

    @property
    def older(self) -> bool:
        """Whether the folder is of a format in which an engine with data did not store the identity."""

    @property
    def doubt(self) -> str:
        """Why this may not be the disk that belongs to the identity; empty if there is no doubt."""

    @property
    def forgiving(self) -> bool:
        """Whether an operator accepts the data of a folder that was in doubt."""

    def claim(self) -> None:
        """Record that the engine has stored the identity, and that there is no doubt."""

    def record_doubt(self, reason: str) -> None:
        """Record that this may not be the disk that belongs to the identity, for the next start to decide."""

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        """Return the last saved extents of other members' data."""

    async def save_remembered(self, remembered: Memory) -> None:
        """Replace the extents that ``remembered`` returns, without blocking the event loop."""


class MemoryDataDirectory:
    """A local state in memory; ``restarted`` returns that of the next process on the same disk."""

    def __init__(
        self, identity: Identity, generation: int = 1, addresses: Mapping[Identity, str] | None = None
    ) -> None:
        self.identity = identity
        self.generation = generation
        self.claimed = self.older = self.forgiving = False
        self.doubt = ""
        self._addresses = dict(addresses or {})
        self._remembered: dict[Identity, tuple[Extent, ...]] = {}

    def claim(self) -> None:
        self.claimed, self.doubt = True, ""

    def record_doubt(self, reason: str) -> None:
        self.doubt = reason

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        return dict(self._remembered)

    async def save_remembered(self, remembered: Memory) -> None:
        self._remembered = dict(remembered)

    def peers(self) -> dict[Identity, str]:
        return dict(self._addresses)

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        self._addresses = dict(addresses)

    def restarted(self) -> MemoryDataDirectory:
        return self._under(self.generation + 1)

    def copy(self) -> MemoryDataDirectory:
        """Return a copy of the folder as it is now, from which a start finds the same state as from the original."""
        return self._under(self.generation)

    def _under(self, generation: int) -> MemoryDataDirectory:
        folder = MemoryDataDirectory(self.identity, generation, self._addresses)
        folder.claimed, folder.doubt = self.claimed, self.doubt
        folder._remembered = dict(self._remembered)
        return folder
