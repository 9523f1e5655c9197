"""Answers nodes that start: sends them what this node remembers of their disks (see ``check``)."""

from __future__ import annotations

from collections.abc import Callable

from ...identity import Identity
from ...membership.extent import MAX_IDENTITIES
from ..data_directory.local_state import LocalState
from ..epoch.epochs import Epochs
from ..errors import PeerError, PeerNotReady
from ..messages.envelope import Envelope
from ..messages.membership import MAX_RECALL_ADDRESSES, Ping, Recall, RecallReply
from ..peer.client import PeerClient
from ..runtime import Runtime
from .memory import MemberMemory

ASKED_FOR_S = 0.5
"""Time in which a node that starts expects the answers."""


class RecallResponder:
    def __init__(
        self,
        runtime: Runtime,
        peers: PeerClient,
        epochs: Epochs,
        memory: MemberMemory,
        home: LocalState,
        address_of: Callable[[Identity], str | None],
    ) -> None:
        """Take ``address_of``, which returns the last known address of a member."""
        self._me = runtime.me
        self._peers = peers
        self._epochs = epochs
        self._memory = memory
        self._home = home
        self._address_of = address_of
        self.asked_from: dict[Identity, str] = {}
        """The addresses from which members last asked what is remembered of them."""

    async def on_recall(self, envelope: Envelope, message: Recall) -> RecallReply:
        """Return what this node remembers of the disk of a node that starts.

        If another process runs under the same identity, extents of the asking generation and of later
        generations are left out: they are that process', and do not contradict the disk. First contact and gossip
        decide which process ends.
        """
        remembered = self._memory.extents_of(envelope.source)
        if message.extent is not None:
            self._memory.note_extent(envelope.source, message.extent)
        runs_at = ""
        if message.extent is None or any(extent.generation >= envelope.generation for extent in remembered):
            runs_at = await self._runs_elsewhere(envelope)
        if runs_at:
            remembered = tuple(extent for extent in remembered if extent.generation < envelope.generation)
        self.asked_from[envelope.source] = envelope.address
        if len(self.asked_from) > MAX_IDENTITIES:
            del self.asked_from[next(iter(self.asked_from))]
        others = dict.fromkeys([*self.asked_from.values(), *self._home.peers().values()])
        return RecallReply(
            remembered=remembered,
            doubtful=bool(self._me.unproven),
            record=self._epochs.record,
            runs_at=runs_at,
            addresses=tuple(others)[-MAX_RECALL_ADDRESSES:],
        )

    async def _runs_elsewhere(self, envelope: Envelope) -> str:
        """Return another address at which a process answers for the source's identity; empty if none is known."""
        known = {self._address_of(envelope.source), self.asked_from.get(envelope.source)}
        for address in sorted(address for address in known if address and address != envelope.address):
            try:
                await self._peers.call_address(address, Ping(), ASKED_FOR_S / 2, to=envelope.source)
            except PeerNotReady:
                return address  # a process answers there, though it does not serve yet
            except PeerError:
                continue
            return address
        return ""
