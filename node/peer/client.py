"""Calling peers: envelopes, addresses, clocks, and what a reply that is not an answer means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...identity import Identity
from ...quorum.hybrid_clock import HybridClock
from ...quorum.version import COUNTER_BITS
from ..errors import ClockSkew, ForeignCluster, PeerNotReady, PeerRefused, PeerTimeout, PeerUnreachable
from ..messages.control import Acknowledged
from ..messages.data import DataReply, ScanReply
from ..messages.envelope import (
    Envelope,
    EpochMismatch,
    Refusal,
    RefusalCode,
    Reply,
    ReplyBody,
    Request,
    RequestBody,
)
from ..messages.membership import Recall
from ..ports import Transport
from .clocks import PeerClocks

B = TypeVar("B")

REFUSED_AS = {RefusalCode.FOREIGN_CLUSTER: ForeignCluster, RefusalCode.NOT_READY: PeerNotReady}
"""Refusals that callers distinguish."""


@dataclass(slots=True)
class LocalIdentity:
    """Who this process is to its peers."""

    identity: Identity
    generation: int
    address: str
    process: int = 0
    """Tells it from a process that was started on a copy of its disk."""
    lost: str = ""
    """Why it has no right to its identity any more: from then on it asks, answers and acknowledges nothing."""
    unproven: str = ""
    """Why it may not act under its identity yet (see ``disk_check``); it only asks and answers ``Recall``."""

    @property
    def silent(self) -> str:
        """Return why it does not act under its identity, or not yet; empty while it does."""
        return self.lost or self.unproven

    def may_not(self, body: RequestBody) -> str:
        """Return why it neither sends nor answers such a request; empty when it does."""
        return self.lost if isinstance(body, Recall) else self.silent


class PeerClient:
    """Calls by identity. ``address_of`` gives the address that gossip knows, ``cluster_id`` the cluster's."""

    def __init__(
        self,
        me: LocalIdentity,
        transport: Transport,
        clock: HybridClock,
        address_of: Callable[[Identity], str | None],
        cluster_id: Callable[[], str],
    ) -> None:
        self.me = me
        self._transport = transport
        self._clock = clock
        self._clocks = PeerClocks(clock.machine)
        self._address_of = address_of
        self._cluster_id = cluster_id

    async def call(
        self, to: Identity, body: RequestBody, expect: type[B], timeout_s: float
    ) -> B | EpochMismatch:
        """Ask ``to``; returns the expected answer or an EpochMismatch.

        Raises PeerUnreachable (certainly not handled), PeerRefused (handled by refusing) or PeerTimeout.
        """
        address = self._address_of(to)
        if address is None:
            raise PeerUnreachable(f"no address is known for {to.name}")
        reply = await self.call_address(address, body, timeout_s, to)
        if isinstance(reply.body, expect | EpochMismatch):
            return reply.body
        raise PeerRefused(f"{to.name} answered with {type(reply.body).__name__}")

    async def ask(self, to: Identity, body: RequestBody, expect: type[B], timeout_s: float) -> B:
        """Like ``call`` for requests that have nothing to do with epochs."""
        answer = await self.call(to, body, expect, timeout_s)
        if isinstance(answer, EpochMismatch):
            raise PeerRefused(f"{to.name} is at another epoch")
        return answer

    async def tell(self, to: Identity, body: RequestBody, timeout_s: float) -> None:
        await self.ask(to, body, Acknowledged, timeout_s)

    async def call_address(
        self,
        address: str,
        body: RequestBody,
        timeout_s: float,
        to: Identity | None = None,
        *,
        as_stranger: bool = False,
    ) -> Reply:
        """Ask the node that listens at ``address``; raises as ``call`` does.

        ``as_stranger`` names no cluster, as a node that belongs to none, so that another cluster answers too.
        """
        began_s = self._clock.machine.monotonic()
        reply = await self._reply(address, body, timeout_s, to, as_stranger)
        if _says(reply, RefusalCode.EXPIRED):
            # The peer's clock was set meanwhile, or was not known: its refusal carries it.
            left_s = began_s + timeout_s - self._clock.machine.monotonic()
            if left_s > 0:
                reply = await self._reply(address, body, left_s, to, as_stranger)
        if isinstance(reply.body, Refusal):
            if reply.body.code is RefusalCode.WRONG_DESTINATION:
                raise PeerUnreachable(f"{address}: {reply.body.reason}")
            refused = f"{address} refused: {reply.body.reason}"
            raise REFUSED_AS.get(reply.body.code, PeerRefused)(refused)
        self._follow_clock(reply.timestamp, reply.body)
        return reply

    async def _reply(
        self, address: str, body: RequestBody, timeout_s: float, to: Identity | None, as_stranger: bool
    ) -> Reply:
        if reason := self.me.may_not(body):
            raise PeerUnreachable(reason)
        request = Request(self._envelope(to, address, timeout_s, as_stranger), body)
        reply = await self._transport.call(address, request, timeout_s=timeout_s)
        if reason := self.me.may_not(body):
            raise PeerTimeout(reason)
        self._clocks.note(address, reply.timestamp)
        return reply

    def _follow_clock(self, timestamp: int, body: ReplyBody) -> None:
        try:
            self._clock.observe(timestamp)
        except ClockSkew as skew:
            if isinstance(body, DataReply | ScanReply):
                raise PeerTimeout(f"a reply that cannot be counted: {skew}") from skew

    def _envelope(self, to: Identity | None, address: str, timeout_s: float, as_stranger: bool) -> Envelope:
        timestamp = self._clock.current()
        return Envelope(
            source=self.me.identity,
            generation=self.me.generation,
            address=self.me.address,
            cluster_id="" if as_stranger else self._cluster_id(),
            destination=to,
            timestamp=timestamp,
            expires_ms=self._clocks.expiry_ms(address, timeout_s, timestamp >> COUNTER_BITS),
        )


def _says(reply: Reply, code: RefusalCode) -> bool:
    return isinstance(reply.body, Refusal) and reply.body.code is code
