"""Queues to replicas, which send operations in batches.

- While one batch to a replica is in flight, further operations wait for the next batch.
- Operations that are submitted in one call are sent in one batch. Their callback is called exactly once, with one
  outcome for each of them, in order: a result or ``Undelivered``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...identity import Identity
from ...quorum.ranking import ReplicaRanking
from ...ring.epoch import EpochStamp
from ..epoch.fenced_client import FencedClient
from ..errors import NodeError, PeerRefused, PeerUnreachable
from ..messages.data import REPLY_FULL, DataBatch, DataReply, FailedResult, Merge, Read, ReadResult, Result
from ..messages.envelope import EpochMismatch
from ..ports import Clock
from ..replica.service import ReplicaService

MAX_BATCH_OPERATIONS = 512
MAX_BATCH_BYTES = 4 << 20
"""Size of keys and values. Operations submitted in one call are never divided, whatever their size."""
MAX_WAITING_OPERATIONS = 20_000
MAX_WAITING_BYTES = 32 << 20
"""Maximum size of the keys and values that wait for one replica; further operations are not sent to it."""

STOPPING = "the node is stopping"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """No result came from the replica."""

    maybe_applied: bool
    reason: str


Outcome = Result | Undelivered
OnOutcomes = Callable[[Identity, Sequence[Outcome]], None]
Send = Callable[[DataBatch], Awaitable[DataReply | EpochMismatch]]


class _Waiting(NamedTuple):
    since_s: float
    epoch: EpochStamp
    operations: Sequence[Read | Merge]
    on_outcomes: OnOutcomes
    size_bytes: int


class ReplicaQueue:
    """The queue to one replica."""

    def __init__(self, to: Identity, send: Send, ranking: ReplicaRanking, clock: Clock) -> None:
        self._to = to
        self._send = send
        self._ranking = ranking
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._waiting_operations = self._waiting_bytes = 0
        self._max_reads = MAX_BATCH_OPERATIONS
        """Approximate maximum of reads in one batch; fewer while replies are full of large values."""
        self._draining: asyncio.Task[None] | None = None
        self.closed = False

    def submit(self, epoch: EpochStamp, operations: Sequence[Read | Merge], on_outcomes: OnOutcomes) -> None:
        """Submit operations, which stay in one message; ``on_outcomes`` is called once, also if they are refused."""
        count = len(operations)
        size_bytes = sum(map(_size_bytes, operations))
        if self.closed or self._is_full(count, size_bytes):
            reason = STOPPING if self.closed else f"too much waits for {self._to.name}"
            on_outcomes(self._to, [Undelivered(False, reason)] * count)
            return
        self._waiting.append(
            _Waiting(
                since_s=self._clock.monotonic(),
                epoch=epoch,
                operations=operations,
                on_outcomes=on_outcomes,
                size_bytes=size_bytes,
            )
        )
        self._waiting_operations += count
        self._waiting_bytes += size_bytes
        self._ranking.sent(self._to, count)
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    def _is_full(self, operations: int, size_bytes: int) -> bool:
        if self._waiting_operations + operations > MAX_WAITING_OPERATIONS:
            return True
        return bool(self._waiting) and self._waiting_bytes + size_bytes > MAX_WAITING_BYTES

    async def close(self) -> None:
        """End the operations that are in flight or wait, and refuse all others."""
        self.closed = True
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        while self._waiting:
            waiting = self._next()
            self._ranking.failed(self._to, len(waiting.operations))
            waiting.on_outcomes(self._to, [Undelivered(False, STOPPING)] * len(waiting.operations))

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._take_batch()
                operations = [operation for waiting in batch for operation in waiting.operations]
                outcomes: Sequence[Outcome] = [Undelivered(True, STOPPING)] * len(operations)
                try:
                    outcomes = await self._deliver(DataBatch(batch[0].epoch, operations), batch[0].since_s)
                finally:
                    self._distribute(batch, outcomes)
        finally:
            self._draining = None

    def _take_batch(self) -> list[_Waiting]:
        """Take the next operations that share an epoch, within the bounds of a batch."""
        batch = [self._next()]
        operations, size_bytes = len(batch[0].operations), batch[0].size_bytes
        reads = _reads(batch[0])
        while self._waiting:
            following = self._waiting[0]
            operations += len(following.operations)
            reads += _reads(following)
            size_bytes += following.size_bytes
            if (
                following.epoch != batch[0].epoch
                or operations > MAX_BATCH_OPERATIONS
                or reads > self._max_reads
                or size_bytes > MAX_BATCH_BYTES
            ):
                break
            batch.append(self._next())
        return batch

    def _next(self) -> _Waiting:
        waiting = self._waiting.popleft()
        self._waiting_operations -= len(waiting.operations)
        self._waiting_bytes -= waiting.size_bytes
        return waiting

    def _distribute(self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        begin = 0
        for waiting in batch:
            end = begin + len(waiting.operations)
            waiting.on_outcomes(self._to, outcomes[begin:end])
            begin = end

    async def _deliver(self, batch: DataBatch, since_s: float) -> Sequence[Outcome]:
        count = len(batch.operations)
        try:
            reply = await self._send(batch)
        except PeerUnreachable as error:
            self._ranking.unreachable(self._to, count, self._clock.monotonic())
            return [Undelivered(False, str(error))] * count
        except NodeError as error:
            self._ranking.failed(self._to, count)
            return [Undelivered(not isinstance(error, PeerRefused), str(error))] * count
        except BaseException:
            self._ranking.failed(self._to, count)
            raise
        if isinstance(reply, EpochMismatch):
            self._ranking.failed(self._to, count)
            return [Undelivered(False, f"{self._to.name} is at another epoch")] * count
        now_s = self._clock.monotonic()
        self._ranking.replied(
            self._to, count, now_s - since_s, reply.queue_depth, reply.service_time_ms, now_s
        )
        if len(reply.results) != count or reply.epoch != batch.epoch:
            return [Undelivered(True, f"{self._to.name} sent a reply that does not fit")] * count
        self._adapt(reply.results)
        return reply.results

    def _adapt(self, results: Sequence[Result]) -> None:
        """Lower the number of reads in a batch when a reply had no room for all values; else raise it gradually."""
        if FailedResult in map(type, results) and REPLY_FULL in results:
            self._max_reads = max(1, sum(type(result) is ReadResult for result in results))
        elif self._max_reads < MAX_BATCH_OPERATIONS:
            self._max_reads = min(MAX_BATCH_OPERATIONS, self._max_reads + 1 + self._max_reads // 4)


def _reads(waiting: _Waiting) -> int:
    """Return the number of reads: all or none, since the operations of one call are of one kind."""
    return len(waiting.operations) if type(waiting.operations[0]) is Read else 0


def _size_bytes(operation: Read | Merge) -> int:
    if isinstance(operation, Merge) and operation.entry.value is not None:
        return len(operation.key) + len(operation.entry.value)
    return len(operation.key)


class ReplicaQueues:
    """A queue to every replica. That of this node itself calls its replica service without the network."""

    def __init__(
        self,
        peers: FencedClient,
        replica: ReplicaService,
        ranking: ReplicaRanking,
        clock: Clock,
    ) -> None:
        self._ranking = ranking
        self._clock = clock
        self._peers = peers
        self._replica = replica
        self._queues: dict[Identity, ReplicaQueue] = {}
        self._closed = False

    def to(self, replica: Identity) -> ReplicaQueue:
        queue = self._queues.get(replica)
        if queue is None:
            # This node's own speed must not affect the choice between other replicas.
            ranking = ReplicaRanking() if replica == self._peers.me else self._ranking
            queue = ReplicaQueue(replica, self._sender(replica), ranking, clock=self._clock)
            queue.closed = self._closed
            self._queues[replica] = queue
        return queue

    async def close(self) -> None:
        # Operations that have not ended yet may still request a queue, which must then be closed.
        self._closed = True
        for queue in list(self._queues.values()):
            await queue.close()

    def _sender(self, replica: Identity) -> Send:
        async def serve(batch: DataBatch) -> DataReply | EpochMismatch:
            # Messages to other nodes are sent first, so that they work while this node does its own part.
            await asyncio.sleep(0)
            return await self._replica.serve(batch)

        async def send(batch: DataBatch) -> DataReply | EpochMismatch:
            return await self._peers.call(replica, batch, DataReply)

        return serve if replica == self._peers.me else send
