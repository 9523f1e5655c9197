"""Pipes to replicas: single operations ride in batches.

While one batch to a replica is in flight, what comes meanwhile rides in the next. An operation's callback is
called exactly once, with the replica's result or with ``Undelivered``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...identity import Identity
from ...ring.epoch import EpochStamp
from ..errors import NodeError, PeerRefused, PeerUnreachable
from ..fenced import FencedPeers
from ..messages import DataBatch, DataReply, EpochMismatch, Merge, Read, Result
from .replica import Replica

MAX_BATCH_OPERATIONS = 512
MAX_BATCH_BYTES = 4 << 20
MAX_WAITING = 20_000

STOPPING = "the node is stopping"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """No result came from the replica."""

    maybe_applied: bool
    reason: str


Outcome = Result | Undelivered
OnOutcome = Callable[[Identity, Outcome], None]
Send = Callable[[DataBatch], Awaitable[DataReply | EpochMismatch]]


class _Waiting(NamedTuple):
    epoch: EpochStamp
    operation: Read | Merge
    on_outcome: OnOutcome


class Pipe:
    """The way to one replica."""

    def __init__(self, to: Identity, send: Send, *, closed: bool = False) -> None:
        self._to = to
        self._send = send
        self._waiting: deque[_Waiting] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._closed = closed

    def submit(self, epoch: EpochStamp, operation: Read | Merge, on_outcome: OnOutcome) -> None:
        if self._closed:
            on_outcome(self._to, Undelivered(False, STOPPING))
            return
        if len(self._waiting) >= MAX_WAITING:
            on_outcome(self._to, Undelivered(False, f"too much waits for {self._to.name}"))
            return
        self._waiting.append(_Waiting(epoch, operation, on_outcome))
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def close(self) -> None:
        """End what is in flight or waits, and refuse what comes later."""
        self._closed = True
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft().on_outcome(self._to, Undelivered(False, STOPPING))

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                outcomes: list[Outcome] = [Undelivered(True, STOPPING)] * len(batch)
                try:
                    outcomes = await self._deliver(batch)
                finally:
                    for waiting, outcome in zip(batch, outcomes, strict=True):
                        waiting.on_outcome(self._to, outcome)
        finally:
            self._draining = None

    def _take(self) -> list[_Waiting]:
        """The next operations that share an epoch, within the bounds of a batch."""
        batch = [self._waiting.popleft()]
        size = _weight(batch[0].operation)
        while self._waiting and len(batch) < MAX_BATCH_OPERATIONS and size < MAX_BATCH_BYTES:
            if self._waiting[0].epoch != batch[0].epoch:
                break
            batch.append(self._waiting.popleft())
            size += _weight(batch[-1].operation)
        return batch

    async def _deliver(self, batch: list[_Waiting]) -> list[Outcome]:
        message = DataBatch(batch[0].epoch, tuple(waiting.operation for waiting in batch))
        try:
            reply = await self._send(message)
        except (PeerUnreachable, PeerRefused) as error:
            return [Undelivered(False, str(error))] * len(batch)
        except NodeError as error:
            return [Undelivered(True, str(error))] * len(batch)
        if isinstance(reply, EpochMismatch):
            return [Undelivered(False, f"{self._to.name} is at another epoch")] * len(batch)
        if len(reply.results) != len(batch) or reply.epoch != message.epoch:
            return [Undelivered(True, f"{self._to.name} sent a reply that does not fit")] * len(batch)
        return list(reply.results)


def _weight(operation: Read | Merge) -> int:
    if isinstance(operation, Merge) and operation.entry.value is not None:
        return len(operation.key) + len(operation.entry.value)
    return len(operation.key)


class Pipes:
    """A pipe to every replica; the one to this node itself has no network in it."""

    def __init__(self, peers: FencedPeers, replica: Replica, rpc_timeout_s: float) -> None:
        self._peers = peers
        self._replica = replica
        self._rpc_timeout_s = rpc_timeout_s
        self._pipes: dict[Identity, Pipe] = {}
        self._closed = False

    def to(self, replica: Identity) -> Pipe:
        pipe = self._pipes.get(replica)
        if pipe is None:
            pipe = self._pipes[replica] = Pipe(replica, self._sender(replica), closed=self._closed)
        return pipe

    async def close(self) -> None:
        self._closed = (
            True  # operations go on until they hear of it, and may want a pipe that is not there yet
        )
        for pipe in list(self._pipes.values()):
            await pipe.close()

    def _sender(self, replica: Identity) -> Send:
        if replica == self._peers.me:
            return self._replica.serve

        async def send(batch: DataBatch) -> DataReply | EpochMismatch:
            return await self._peers.call(replica, batch, DataReply, self._rpc_timeout_s)

        return send
