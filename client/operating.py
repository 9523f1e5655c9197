"""Carries operations to one node: a lane, the stream that takes its batches, and the timers of both.

There is one stream at a time; it is opened for the first batch, and again when it has ended and something waits.
What waits is certainly not sent until there is a connection, and goes elsewhere when there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from copy import copy
from math import inf
from typing import NamedTuple

from ..proto.generated import kv_pb2, kv_pb2_grpc
from .batching import Answer, Flight, Lane, Pending
from .cluster_identity import ClusterIdentity
from .columns import deliver, is_well, request_of
from .errors import CoveyError, InternalError, InvalidRequest, Unanswered, Unavailable
from .node_clock import NodeClock
from .requests import Operation
from .statuses import Greeting
from .stream import OperateStream
from .version import HighestSeen

SWEEP_EVERY_S = 0.01
"""Operations whose time is up are looked for so often at most, and end late by as much."""


class Heard(NamedTuple):
    """What a reply tells about the node that sent it."""

    address: str
    now: float
    round_trip_s: float | None
    """From the departure of the batch; None when it is not the first reply to it."""
    operations: int
    """In the batch."""
    others: int
    """Operations of other clients that are under way there."""
    well: bool
    """It did some of what it was asked."""


class Operator:
    """Of one node. Owns the writer of the stream, and the streams with their readers."""

    def __init__(
        self,
        address: str,
        stub: kv_pb2_grpc.KVAsyncStub,
        seen: HighestSeen,
        on_reply: Callable[[Heard], None],
        cluster: ClusterIdentity | None = None,
    ) -> None:
        self.lane = Lane(seen)
        self.clock = NodeClock()
        self._cluster = cluster or ClusterIdentity()
        self._address = address
        self._stub = stub
        self._seen = seen
        self._on_reply = on_reply
        self._loop = asyncio.get_running_loop()
        self._stream: OperateStream | None = None
        self._streams: set[OperateStream] = set()
        """The one in use, and those that are ending."""
        self._writer: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        """What the writer waits for while nothing may leave."""
        self._straggling: asyncio.TimerHandle | None = None
        """Set while something waits for the batch before it."""
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        """Not later than the earliest deadline."""
        self._closed = False

    def submit(self, operation: Operation, deadline: float, answer: Answer) -> None:
        """Queue an operation; the answer gets its result or a CoveyError, soon after the deadline at the latest.

        Raises Overloaded when too much waits already, Unavailable once it is closed.
        """
        if self._closed:
            raise Unavailable("the client is closed")
        self.lane.add(Pending(operation, deadline, answer))
        if deadline < self._alarm_at:
            self._set_alarm(deadline)
        if self._writer is None:
            self._start_writing()
        elif self._bell is not None and self._straggling is None and self._may_leave():
            self._ring()

    async def close(self, why: str = "the client was closed") -> None:
        """End what is under way: what was in flight may have happened, what waited did not."""
        self._closed = True
        for timer in (self._alarm, self._straggling):
            if timer is not None:
                timer.cancel()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        for stream in list(self._streams):
            await stream.close()
            self._fail(self.lane.land_all(stream), Unanswered(why, maybe_applied=True))
        self._streams.clear()
        self._stream = None
        self._fail(self.lane.turn_away(), Unavailable(f"{why} before the operation was sent"))

    # --- writing ---

    def _start_writing(self) -> None:
        self._writer = self._loop.create_task(self._write())
        self._writer.add_done_callback(self._written)

    async def _write(self) -> None:
        while True:
            await self._time_to_leave()
            stream = await self._connected()
            if stream is not None:
                now = self._loop.time()
                flight = self.lane.board(stream, now)
                if flight is not None:
                    await stream.send(self._request(flight, now))

    def _request(self, flight: Flight, now: float) -> kv_pb2.OperateRequest:
        seen, lost = self._seen.told, self._seen.lost
        stamp = self.clock.stamp(self._cluster.cluster_id, seen, lost)
        flight.latest_timestamp = stamp.latest_timestamp
        if flight.writes:
            self._seen.allow(flight.latest_timestamp)
        return request_of(flight, seen, now, stamp, lost)

    def _greet(self, greeting: Greeting, took_s: float) -> CoveyError | None:
        self.clock.allow_skew(greeting.max_skew_ms)
        self.clock.read(greeting.clock_ms, took_s)
        self.clock.took(took_s)
        return self._cluster.met(self._address, greeting.cluster_id)

    async def _time_to_leave(self) -> None:
        while not self._may_leave():
            self._bell = self._loop.create_future()
            await self._bell

    async def _connected(self) -> OperateStream | None:
        """The stream to write to; None when there is no connection, which those that wait are told."""
        if self._stream is not None and self._stream.open:
            return self._stream
        stream = OperateStream(self._stub, self._address, self._hear, self._ended, self._greet)
        self._stream = stream
        self._streams.add(stream)
        return stream if await stream.connected() else None

    def _written(self, writer: asyncio.Task[None]) -> None:
        """The writer ends when the client is closed, and by a defect, which those under way are told."""
        self._writer = self._bell = None
        if self._closed:
            return
        if not writer.cancelled() and (defect := writer.exception()) is not None:
            for stream in self._streams:
                self._fail(self.lane.land_all(stream), defect)
            self._fail(self.lane.turn_away(), defect)
        if self.lane.outstanding:
            self._start_writing()  # a stream that a defect of its reader ends takes the writer along

    # --- reading ---

    def _hear(self, reply: kv_pb2.OperateReply) -> None:
        self._seen.observe(reply.seen_timestamp)
        flight = self.lane.flight(reply.id)
        if flight is None:
            self.clock.read(reply.clock_ms)
            return  # it came too late
        now = self._loop.time()
        self.clock.read(reply.clock_ms, now - flight.departed_at)
        round_trip_s = None if flight.heard else now - flight.departed_at
        if round_trip_s is not None:
            self.clock.took(round_trip_s)
        well = is_well(reply)
        foreign = self._cluster.met(self._address, reply.cluster_id) if reply.cluster_id else None
        if foreign is not None and not well:
            self._fail(self.lane.land(flight), foreign)
        else:
            self._deliver(reply, flight)
        others = max(0, reply.queue_depth - self.lane.in_flight)
        self._on_reply(Heard(self._address, now, round_trip_s, len(flight.batch), others, well))
        self._go_on()  # after the answers were given: who asks again at once rides along

    def _deliver(self, reply: kv_pb2.OperateReply, flight: Flight) -> None:
        try:
            self.lane.answered(flight, deliver(reply, flight))
        except ValueError as fault:
            self._fail(self.lane.land(flight), InternalError(f"{self._address}: {fault}", maybe_applied=True))

    def _ended(self, stream: OperateStream, error: BaseException) -> None:
        self._streams.discard(stream)
        if isinstance(error, InvalidRequest) and self.lane.carried_by(stream) > 1:
            error.maybe_applied = True  # one batch was refused as a whole; which one is not known
        if stream.last_begun is not None:
            not_begun = Unavailable(f"{self._address} stopped before it began the operation")
            self._fail(self.lane.land_all(stream, after=stream.last_begun), not_begun)
        self._fail(self.lane.land_all(stream), error)
        if not stream.used:
            self._fail(self.lane.turn_away(), _certainly_not_done(error))
        self._go_on()

    @staticmethod
    def _fail(pendings: Iterable[Pending], error: BaseException) -> None:
        """Each gets an error of its own, since whoever handles it may change it."""
        for pending in pendings:
            pending.fail(copy(error) if isinstance(error, CoveyError) else error)

    # --- time ---

    def _may_leave(self) -> bool:
        departure = self.lane.departure()
        if departure is None:
            return False
        if departure <= self._loop.time():
            return True
        if self._straggling is None:
            self._straggling = self._loop.call_at(departure, self._straggle)
        return False

    def _straggle(self) -> None:
        self._straggling = None
        self._go_on()

    def _go_on(self) -> None:
        """Something changed that may let the next batch leave."""
        if self._bell is not None and not self._closed and self._may_leave():
            self._ring()

    def _ring(self) -> None:
        if self._straggling is not None:
            self._straggling.cancel()
            self._straggling = None
        if self._bell is not None:
            bell, self._bell = self._bell, None
            bell.set_result(None)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        self._alarm, self._alarm_at = None, inf
        earliest = self.lane.expire(now)
        if earliest is not None:
            self._set_alarm(max(earliest, now + SWEEP_EVERY_S))
        self._go_on()


def _certainly_not_done(error: BaseException) -> BaseException:
    """What ended the stream, to those that were not sent over it."""
    if isinstance(error, CoveyError) and error.maybe_applied:
        return Unavailable(str(error))
    return error
