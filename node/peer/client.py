"""Client of peers: finds addresses, makes envelopes, estimates peers' clocks, and raises refusals as errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...identity import Identity
from ...quorum.hybrid_clock import ClockSkew, HybridClock, MachineClock
from ...quorum.version import COUNTER_BITS
from ..errors import ForeignCluster, PeerNotReady, PeerRefused, PeerTimeout, PeerUnreachable
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
from ..ports import Transport
from ..runtime import LocalIdentity

B = TypeVar("B")

REFUSED_AS = {RefusalCode.FOREIGN_CLUSTER: ForeignCluster, RefusalCode.NOT_READY: PeerNotReady}
"""The refusals that callers distinguish."""
MAX_CLOCKS = 4096
"""Maximum number of addresses whose clocks are estimated; when it is reached, all estimates are dropped."""
WEIGHT_OF_LESS = 0.125
"""Weight of a reading below the estimate. A reading above the estimate replaces it."""


class PeerClient:
    """Calls peers by identity or by address. ``rpc_timeout_s`` is the default timeout of a call."""

    def __init__(
        self,
        me: LocalIdentity,
        transport: Transport,
        clock: HybridClock,
        address_of: Callable[[Identity], str | None],
        cluster_id: Callable[[], str],
        rpc_timeout_s: float,
    ) -> None:
        """Take two functions: ``address_of`` returns a known address, ``cluster_id`` this node's cluster."""
        self.me = me
        self._transport = transport
        self._clock = clock
        self._clocks = PeerClocks(clock.machine)
        self._address_of = address_of
        self._cluster_id = cluster_id
        self._rpc_timeout_s = rpc_timeout_s

    async def call(
        self, to: Identity, body: RequestBody, expect: type[B], timeout_s: float | None = None
    ) -> B | EpochMismatch:
        """Send a request to ``to``; return the expected answer or an EpochMismatch.

        Raise PeerUnreachable (certainly not handled), PeerRefused (nothing was done) or PeerTimeout (possibly handled).
        """
        address = self._address_of(to)
        if address is None:
            raise PeerUnreachable(f"no address is known for {to.name}")
        reply = await self.call_address(address, body, timeout_s, to=to)
        if isinstance(reply.body, expect | EpochMismatch):
            return reply.body
        raise PeerRefused(f"{to.name} answered with {type(reply.body).__name__}")

    async def ask(
        self, to: Identity, body: RequestBody, expect: type[B], timeout_s: float | None = None
    ) -> B:
        """Send a request that is not fenced by epoch, and return the expected answer. Raise as ``call`` does."""
        answer = await self.call(to, body, expect, timeout_s)
        if isinstance(answer, EpochMismatch):
            raise PeerRefused(f"{to.name} is at another epoch")
        return answer

    async def send(self, to: Identity, body: RequestBody, timeout_s: float | None = None) -> None:
        """Send a request that is only acknowledged. Raise as ``call`` does."""
        await self.ask(to, body, Acknowledged, timeout_s)

    async def call_address(
        self,
        address: str,
        body: RequestBody,
        timeout_s: float | None = None,
        *,
        to: Identity | None = None,
        without_cluster_id: bool = False,
    ) -> Reply:
        """Send a request to the node that listens at ``address``. Raise as ``call`` does.

        With ``without_cluster_id``, the envelope names no cluster, so that a node of another cluster answers too.
        """
        timeout_s = self._rpc_timeout_s if timeout_s is None else timeout_s
        began_s = self._clock.machine.monotonic()
        reply = await self._reply(address, body, timeout_s, to, without_cluster_id)
        if _is_refusal(reply, RefusalCode.EXPIRED):
            # The estimate of the peer's clock was wrong or missing. The refusal has corrected it, so try again.
            left_s = began_s + timeout_s - self._clock.machine.monotonic()
            if left_s > 0:
                reply = await self._reply(address, body, left_s, to, without_cluster_id)
        if isinstance(reply.body, Refusal):
            if reply.body.code is RefusalCode.WRONG_DESTINATION:
                raise PeerUnreachable(f"{address}: {reply.body.reason}")
            refused = f"{address} refused: {reply.body.reason}"
            raise REFUSED_AS.get(reply.body.code, PeerRefused)(refused)
        self._follow_clock(reply.timestamp, reply.body)
        return reply

    async def _reply(
        self, address: str, body: RequestBody, timeout_s: float, to: Identity | None, without_cluster_id: bool
    ) -> Reply:
        if reason := self.me.may_not(body):
            raise PeerUnreachable(reason)
        request = Request(self._envelope(to, address, timeout_s, without_cluster_id), body)
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

    def _envelope(
        self, to: Identity | None, address: str, timeout_s: float, without_cluster_id: bool
    ) -> Envelope:
        timestamp = self._clock.current()
        return Envelope(
            source=self.me.identity,
            generation=self.me.generation,
            address=self.me.address,
            cluster_id="" if without_cluster_id else self._cluster_id(),
            destination=to,
            timestamp=timestamp,
            expires_ms=self._clocks.expiry_ms(address, timeout_s, timestamp >> COUNTER_BITS),
        )


def _is_refusal(reply: Reply, code: RefusalCode) -> bool:
    return isinstance(reply.body, Refusal) and reply.body.code is code


class PeerClocks:
    """Estimates of peers' hybrid clocks by their latest replies, so that expiry times are in the receiver's time.

    A difference between two wall clocks then neither makes a request expire early nor makes it expire late.
    """

    def __init__(self, clock: MachineClock) -> None:
        self._clock = clock
        self._leads_ms: dict[str, float] = {}
        """Distance of each peer's clock ahead of this machine's monotonic clock, by address."""

    def note(self, address: str, timestamp: int) -> None:
        """Record the peer's hybrid clock from a reply that has just arrived."""
        if len(self._leads_ms) >= MAX_CLOCKS:
            self._leads_ms.clear()
        lead_ms = (timestamp >> COUNTER_BITS) - self._clock.monotonic() * 1000
        before_ms = self._leads_ms.get(address, lead_ms)
        # The reading of a slow reply is too low; that of a hybrid clock ahead of its wall clock is too high.
        self._leads_ms[address] = max(lead_ms, before_ms + (lead_ms - before_ms) * WEIGHT_OF_LESS)

    def expiry_ms(self, address: str, timeout_s: float, own_ms: int) -> int:
        """Return what the clock at ``address`` will show in ``timeout_s``.

        For a peer that has never answered, use ``own_ms``, this node's clock.
        """
        lead_ms = self._leads_ms.get(address)
        if lead_ms is None:
            return own_ms + int(timeout_s * 1000)
        return int(lead_ms + (self._clock.monotonic() + timeout_s) * 1000)
