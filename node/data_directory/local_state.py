"""What a node asks of its data folder, and an implementation without files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...identity import Identity
from ...membership.extent import Extent
from .witness import Memory


class LocalState(Protocol):
    """The local state of a node, which outlasts the process."""

    @property
    def identity(self) -> Identity: ...

    @property
    def generation(self) -> int:
        """Number of this start, from 1."""

    def peers(self) -> dict[Identity, str]:
        """Return the last known addresses of other nodes (host:port)."""

    def save_peers(self, addresses: Mapping[Identity, str]) -> None:
        """Replace what ``peers`` returns."""

    @property
    def claimed(self) -> bool:
        """Whether the engine names the identity, since an earlier start or this one."""

    @property
    def older(self) -> bool:
        """Whether it is of a format in which the engine did not name the identity although it may hold data."""

    @property
    def doubt(self) -> str:
        """Why this may not be the disk that the identity stands for; empty if there is no doubt."""

    @property
    def forgiving(self) -> bool:
        """Whether an operator accepts the data of a folder that was in doubt."""

    def claim(self) -> None:
        """Record that the engine names the identity, and that there is no doubt any more."""

    def record_doubt(self, reason: str) -> None:
        """Record on disk that it is in doubt."""

    def remembered(self) -> dict[Identity, tuple[Extent, ...]]:
        """Return the last saved extents of other members' data."""

    async def save_remembered(self, remembered: Memory) -> None:
        """Replace what ``remembered`` returns, without blocking the event loop."""


class MemoryDataDirectory:
    """A local state in memory; ``restarted`` returns the same disk under the next process."""

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
        """Return a copy of the folder as it is now: the next start from it finds what this one would."""
        return self._under(self.generation)

    def _under(self, generation: int) -> MemoryDataDirectory:
        folder = MemoryDataDirectory(self.identity, generation, self._addresses)
        folder.claimed, folder.doubt = self.claimed, self.doubt
        folder._remembered = dict(self._remembered)
        return folder
