"""Server for peers: checks a request's destination, cluster, protocol, clock and expiry, then calls its handler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, get_args

from ...identity import Identity
from ...quorum.hybrid_clock import ClockSkew, HybridClock
from ...ring.paxos import DivergedRecord
from ..events import Event
from ..messages.absorption import Contribution
from ..messages.anti_entropy import RequestRepair
from ..messages.control import RequestLeave
from ..messages.envelope import (
    PROTOCOL_VERSION,
    DataBody,
    Envelope,
    Refusal,
    RefusalCode,
    Reply,
    ReplyBody,
    Request,
    RequestBody,
)
from ..runtime import Runtime

EXPIRING = (*get_args(DataBody), Contribution, RequestLeave, RequestRepair)
"""Requests that are not begun once their sender has stopped waiting. All other requests may arrive late: gossip is
ordered by the versions of records, Paxos by ballots, epoch records by their numbers, and genesis depends on nothing but
the seeds."""
LOGGED = (RefusalCode.PROTOCOL, RefusalCode.FOREIGN_CLUSTER)
"""Refusals that are logged here. Others are normal in operation, or are logged where their cause is known."""
MAX_REMEMBERED = 1000
"""Maximum number of refusals that are remembered as logged; when it is reached, all are forgotten."""

BodyHandler = Callable[[Envelope, Any], Awaitable[ReplyBody]]


class PeerServer:
    """Handlers of requests, by message type, and the checks that precede them."""

    def __init__(
        self,
        runtime: Runtime,
        clock: HybridClock,
        cluster_id: Callable[[], str],
        on_foreign_request: Callable[[Envelope], None],
    ) -> None:
        """Call ``on_foreign_request`` with the envelope of each request from a member of another cluster."""
        self._me = runtime.me
        self._log = runtime.log
        self._clock = clock
        self._cluster_id = cluster_id
        self._on_foreign_request = on_foreign_request
        self._handlers: dict[type[RequestBody], BodyHandler] = {}
        self._refused: set[tuple[Identity, RefusalCode]] = set()
        self.closed_for = ""
        """Why this node refuses its cluster's peers; empty while it answers them."""
        self.stopping = False

    def register(self, message: type[RequestBody], handler: BodyHandler) -> None:
        self._handlers[message] = handler

    async def handle(self, request: Request) -> Reply:
        body: ReplyBody
        refusal = self._refuse(request.envelope, request.body)
        if refusal is not None:
            self._log_once(request.envelope, refusal)
            body = refusal
        else:
            try:
                body = await self._handlers[type(request.body)](request.envelope, request.body)
            except DivergedRecord as diverged:
                body = Refusal(RefusalCode.FOREIGN_CLUSTER, str(diverged))
                self._log_once(request.envelope, body)
        if refusal is None and self.closed_for:
            body = Refusal(RefusalCode.NOT_READY, self.closed_for)
        if refusal is None and self._me.may_not(request.body):
            await asyncio.Event().wait()  # never reply: the sender must conclude neither success nor failure
        return Reply(
            source=self._me.identity,
            generation=self._me.generation,
            timestamp=self._clock.current(),
            body=body,
        )

    def _refuse(self, envelope: Envelope, body: RequestBody) -> Refusal | None:
        if reason := self._me.may_not(body):
            if self._meant_for_another(envelope):  # the sender must not take this node for the destination
                return Refusal(RefusalCode.WRONG_DESTINATION, self._meant(envelope))
            return Refusal(RefusalCode.STOPPING if self._me.lost else RefusalCode.NOT_READY, reason)
        if self.stopping:
            return Refusal(RefusalCode.STOPPING, f"{self._me.identity.name} is stopping")
        if envelope.protocol != PROTOCOL_VERSION:
            return Refusal(
                RefusalCode.PROTOCOL,
                f"protocol {envelope.protocol} is spoken there and {PROTOCOL_VERSION} by {self._me.identity.name}",
            )
        foreign = self._foreign(envelope)
        if foreign or (envelope.cluster_id and not self._cluster_id()):
            self._on_foreign_request(envelope)
        if self._meant_for_another(envelope):
            meant = self._meant(envelope)
            reason = f"{meant}; {foreign}" if foreign else meant
            return Refusal(RefusalCode.WRONG_DESTINATION, reason)
        if foreign:
            return Refusal(RefusalCode.FOREIGN_CLUSTER, foreign)
        if self.closed_for:
            return Refusal(RefusalCode.NOT_READY, self.closed_for)
        return self._refuse_clock(envelope, body) or self._refuse_expired(envelope, body)

    def _meant_for_another(self, envelope: Envelope) -> bool:
        return envelope.destination is not None and envelope.destination != self._me.identity

    def _meant(self, envelope: Envelope) -> str:
        return f"{envelope.destination} was meant, but {self._me.identity} listens at {self._me.address}"

    def _foreign(self, envelope: Envelope) -> str:
        """Return why a node of another cluster is refused; empty for a node of this cluster."""
        mine = self._cluster_id()
        if not envelope.cluster_id or not mine or envelope.cluster_id == mine:
            return ""
        return f"{envelope.source.name} belongs to cluster {envelope.cluster_id}, {self._me.identity.name} to {mine}"

    def _refuse_clock(self, envelope: Envelope, body: RequestBody) -> Refusal | None:
        try:
            self._clock.observe(envelope.timestamp)
        except ClockSkew as skew:
            if self._is_first(envelope.source, RefusalCode.CLOCK_SKEW):
                self._log.emit(
                    Event.CLOCK_SKEW,
                    member=envelope.source.name,
                    skew_s=round(skew.ahead_s, 3),
                    limit_s=skew.allowed_s,
                    reason=f"{envelope.source.name}'s clock is too far ahead: its reads and writes are refused here",
                )
            if isinstance(body, DataBody):
                return Refusal(RefusalCode.CLOCK_SKEW, str(skew))
        return None

    def _refuse_expired(self, envelope: Envelope, body: RequestBody) -> Refusal | None:
        """Return a refusal if the sender has stopped waiting for the request; else None."""
        if not envelope.expires_ms or not isinstance(body, EXPIRING):
            return None
        late_ms = self._clock.current_ms() - envelope.expires_ms
        if late_ms <= 0:
            return None
        return Refusal(
            RefusalCode.EXPIRED,
            f"it arrived {late_ms / 1000:.1f} s after {envelope.source.name} stopped waiting for it",
        )

    def _log_once(self, envelope: Envelope, refusal: Refusal) -> None:
        """Log only the first refusal for each peer and code."""
        reused = refusal.code is RefusalCode.WRONG_DESTINATION and self._foreign(envelope)
        if not (reused or refusal.code in LOGGED) or not self._is_first(envelope.source, refusal.code):
            return
        self._log.emit(
            Event.MEMBER_REFUSED,
            member=envelope.source.name,
            address=envelope.address,
            reason=refusal.reason,
        )

    def _is_first(self, source: Identity, code: RefusalCode) -> bool:
        if len(self._refused) >= MAX_REMEMBERED:
            self._refused.clear()
        first = (source, code) not in self._refused
        self._refused.add((source, code))
        return first
