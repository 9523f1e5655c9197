"""Sends operations to one node: the queue of operations, the stream that carries the batches, and their timers.

One stream is in use at a time. It is opened for the first batch, and another one when it has ended and operations wait.
Until there is a connection, operations wait in the queue. If the connection fails, they were certainly not sent, and
their errors have ``maybe_applied`` False.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from copy import copy
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ..api.metadata import Greeting
from .batching import Completion, InFlightBatch, OperationQueue, Pending
from .cluster_identity import ClusterIdentity
from .columns import Reply, Request, deliver, is_served, request_of
from .errors import CoveyError, InternalError, InvalidRequest, Unanswered, Unavailable
from .node_clock import NodeClock
from .requests import Operation
from .stream import OperateStream
from .version import HighestSeen

if TYPE_CHECKING:
    from .stream import KVAsyncStub

SWEEP_EVERY_S = 0.01
"""Minimum time between two checks for expired operations, and thus how much later than its deadline one may end."""


class ReplyReport(NamedTuple):
    """The state of a node, as a reply to operations shows it."""

    address: str
    now: float
    round_trip_s: float | None
    """Time since the batch was sent; None if this is not the first reply to it."""
    operations: int
    """Number of operations in the batch."""
    others: int
    """Number of operations of other clients in flight there."""
    served: bool
    """True if the node carried out any of the operations."""


class OperationSender:
    """Sends operations to one node. It owns the task that writes batches, and the streams with their readers."""

    def __init__(
        self,
        address: str,
        stub: KVAsyncStub,
        seen: HighestSeen,
        on_reply: Callable[[ReplyReport], None],
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self.queue = OperationQueue(seen)
        self.clock = NodeClock()
        self._cluster = cluster or ClusterIdentity()
        self._address = address
        self._stub = stub
        self._seen = seen
        self._on_reply = on_reply
        self._loop = asyncio.get_running_loop()
        self._stream: OperateStream | None = None
        self._streams: set[OperateStream] = set()
        """The stream in use, and those that are ending."""
        self._writer: asyncio.Task[None] | None = None
        self._wakeup: asyncio.Future[None] | None = None
        """Wakes the writer; None while it does not wait."""
        self._straggler_timer: asyncio.TimerHandle | None = None
        """Set while operations wait for the batch before them."""
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_at = inf
        """Time of the next check for expired operations; not later than the earliest deadline."""
        self._closed = False

    def submit(self, operation: Operation, deadline: float, completion: Completion) -> None:
        """Queue an operation. It is completed with a result or CoveyError, at the latest shortly after its deadline.

        Raise Overloaded if too many operations wait already, Unavailable if this is closed.
        """
        if self._closed:
            raise Unavailable("the client is closed")
        self.queue.add(Pending(operation, deadline, completion))
        if deadline < self._expiry_at:
            self._set_expiry(deadline)
        if self._writer is None:
            self._start_writer()
        elif self._wakeup is not None and self._straggler_timer is None and self._may_send():
            self._wake()

    async def close(self, why: str = "the client was closed") -> None:
        """Fail all operations: those in flight with ``maybe_applied`` True, those that wait as not done."""
        self._closed = True
        for timer in (self._expiry, self._straggler_timer):
            if timer is not None:
                timer.cancel()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        for stream in list(self._streams):
            await stream.close()
            self._fail(self.queue.complete_all(stream), Unanswered(why, maybe_applied=True))
        self._streams.clear()
        self._stream = None
        self._fail(self.queue.reject(), Unavailable(f"{why} before the operation was sent"))

    # --- writing ---

    def _start_writer(self) -> None:
        self._writer = self._loop.create_task(self._write())
        self._writer.add_done_callback(self._on_writer_end)

    async def _write(self) -> None:
        while True:
            await self._wait_for_turn()
            stream = await self._connected()
            if stream is not None:
                now = self._loop.time()
                batch = self.queue.take_batch(stream, now)
                if batch is not None:
                    await stream.send(self._request(batch, now))

    def _request(self, batch: InFlightBatch, now: float) -> Request:
        seen, lost = self._seen.observed, self._seen.lost
        stamp = self.clock.stamp(self._cluster.cluster_id, seen, lost)
        batch.latest_timestamp = stamp.latest_timestamp
        if batch.writes:
            self._seen.allow(batch.latest_timestamp)
        return request_of(batch, seen, now, stamp, lost)

    def _on_greeting(self, greeting: Greeting, took_s: float) -> CoveyError | None:
        self.clock.allow_skew(greeting.max_skew_ms)
        self.clock.read(greeting.clock_ms, took_s)
        self.clock.took(took_s)
        return self._cluster.met(self._address, greeting.cluster_id)

    async def _wait_for_turn(self) -> None:
        while not self._may_send():
            self._wakeup = self._loop.create_future()
            await self._wakeup

    async def _connected(self) -> OperateStream | None:
        """Return the stream to write to; None if there is no connection, after all waiting operations have failed."""
        if self._stream is not None and self._stream.open:
            return self._stream
        stream = OperateStream(
            self._stub,
            self._address,
            on_reply=self._receive,
            on_end=self._on_stream_end,
            on_greeting=self._on_greeting,
        )
        self._stream = stream
        self._streams.add(stream)
        return stream if await stream.connected() else None

    def _on_writer_end(self, writer: asyncio.Task[None]) -> None:
        """Start another writer, unless the client is closed. A defect of the writer fails all operations."""
        self._writer = self._wakeup = None
        if self._closed:
            return
        if not writer.cancelled() and (defect := writer.exception()) is not None:
            for stream in self._streams:
                self._fail(self.queue.complete_all(stream), defect)
            self._fail(self.queue.reject(), defect)
        if self.queue.outstanding:
            self._start_writer()  # a defect of a stream's reader also ends the writer

    # --- reading ---

    def _receive(self, reply: Reply) -> None:
        self._seen.observe(reply.seen_timestamp)
        batch = self.queue.batch(reply.id)
        if batch is None:
            self.clock.read(reply.clock_ms)
            return  # its operations have expired
        now = self._loop.time()
        self.clock.read(reply.clock_ms, now - batch.sent_at)
        round_trip_s = None if batch.answered else now - batch.sent_at
        if round_trip_s is not None:
            self.clock.took(round_trip_s)
        served = is_served(reply)
        foreign = self._cluster.met(self._address, reply.cluster_id) if reply.cluster_id else None
        if foreign is not None and not served:
            self._fail(self.queue.complete(batch), foreign)
        else:
            self._deliver(reply, batch)
        others = max(0, reply.queue_depth - self.queue.in_flight)
        self._on_reply(
            ReplyReport(
                address=self._address,
                now=now,
                round_trip_s=round_trip_s,
                operations=len(batch.operations),
                others=others,
                served=served,
            )
        )
        self._on_change()  # after the results, so that operations that callers begin then join the next batch

    def _deliver(self, reply: Reply, batch: InFlightBatch) -> None:
        try:
            self.queue.record_answers(batch, deliver(reply, batch))
        except ValueError as fault:
            self._fail(
                self.queue.complete(batch), InternalError(f"{self._address}: {fault}", maybe_applied=True)
            )

    def _on_stream_end(self, stream: OperateStream, error: BaseException) -> None:
        self._streams.discard(stream)
        if isinstance(error, InvalidRequest) and self.queue.batches_on(stream) > 1:
            error.maybe_applied = True  # one of the batches was refused, and it is not known which
        if stream.last_begun is not None:
            not_begun = Unavailable(f"{self._address} stopped before it began the operation")
            self._fail(self.queue.complete_all(stream, after=stream.last_begun), not_begun)
        self._fail(self.queue.complete_all(stream), error)
        if not stream.used:
            self._fail(self.queue.reject(), _certainly_not_done(error))
        self._on_change()

    @staticmethod
    def _fail(pendings: Iterable[Pending], error: BaseException) -> None:
        """Fail each with a copy of the error, since handlers may change it."""
        for pending in pendings:
            pending.fail(copy(error) if isinstance(error, CoveyError) else error)

    # --- time ---

    def _may_send(self) -> bool:
        departure = self.queue.departure()
        if departure is None:
            return False
        if departure <= self._loop.time():
            return True
        if self._straggler_timer is None:
            self._straggler_timer = self._loop.call_at(departure, self._on_straggler)
        return False

    def _on_straggler(self) -> None:
        self._straggler_timer = None
        self._on_change()

    def _on_change(self) -> None:
        """Wake the writer if the next batch may leave now."""
        if self._wakeup is not None and not self._closed and self._may_send():
            self._wake()

    def _wake(self) -> None:
        if self._straggler_timer is not None:
            self._straggler_timer.cancel()
            self._straggler_timer = None
        if self._wakeup is not None:
            wakeup, self._wakeup = self._wakeup, None
            wakeup.set_result(None)

    def _set_expiry(self, at: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_at = at
        self._expiry = self._loop.call_at(at, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        self._expiry, self._expiry_at = None, inf
        earliest = self.queue.expire(now)
        if earliest is not None:
            self._set_expiry(max(earliest, now + SWEEP_EVERY_S))
        self._on_change()


def _certainly_not_done(error: BaseException) -> BaseException:
    """Return the error for operations that were not sent over a stream that ended with this error."""
    if isinstance(error, CoveyError) and error.maybe_applied:
        return Unavailable(str(error))
    return error
