"""Bounds the operations and bytes in hand, and divides them among the streams of clients.

The bytes in hand are those of the values of unfinished requests, of the values that reads under way are expected to
return, and of the replies that the transport has not accepted yet. All streams with work in hand have equal parts of
the budget, so a stream with many callers gets no more than one with few. A stream that has used its part is not read
further: its requests wait at the sender, which knows for certain that they were not begun, and do not delay the
requests of other streams.

Rules:
- The size of a value is not known before it is read, so a read reserves the recent average, which each returned value
  corrects (``Share.expect``).
- When the bytes in hand reach ``MAX_BYTES``, only reads of streams with small values begin, so that clients with large
  values do not block them. The other reads wait, in the order of their requests.
- A stream whose client accepts no reply for ``STALLED_S`` while others wait for room is ended (``streams``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MAX_IN_HAND: Final = 512
"""Approximate maximum number of operations of all streams; with more, they would wait for each other."""
MIN_PART: Final = 32
"""Minimum number of operations of a stream, for any number of streams."""
MAX_BYTES: Final = 8 << 20
"""Maximum number of bytes of all streams. The memory used is a multiple: gRPC's buffers and replicas have copies."""
MIN_BYTES: Final = 64 << 10
"""Minimum number of bytes of a stream, for any number of streams."""
STALLED_S: Final = 5.0
MIN_EXPECTED_BYTES: Final = 64
"""Minimum number of bytes expected of one read."""
AVERAGE_WEIGHT: Final = 0.1
"""Weight of the latest value in an average."""


class Budget:
    def __init__(
        self,
        max_operations: int = MAX_IN_HAND,
        min_operations: int = MIN_PART,
        max_bytes: int = MAX_BYTES,
        min_bytes: int = MIN_BYTES,
    ) -> None:
        self._max_operations: Final = max_operations
        self._min_operations: Final = min_operations
        self._max_bytes: Final = max_bytes
        self.min_bytes: Final = min_bytes
        self._busy: Final[set[Share]] = set()
        self._waiting: Final[dict[Share, None]] = {}
        """Shares that wait for room, the longest waiting first."""
        self.bytes = 0
        """Bytes in hand of all streams."""
        self.expected_bytes: float = MIN_EXPECTED_BYTES
        """Average bytes of values read recently; expected of a read of a client that has not read before."""

    @property
    def part(self) -> int:
        """The number of operations in hand at which no more requests are read from a stream."""
        return max(self._min_operations, self._max_operations // max(1, len(self._busy)))

    @property
    def part_bytes(self) -> int:
        """The number of bytes in hand at which no more requests are read from a stream."""
        return max(self.min_bytes, self._max_bytes // max(1, len(self._busy)))

    @property
    def room_bytes(self) -> int:
        return self._max_bytes - self.bytes

    @property
    def awaited(self) -> bool:
        """Whether a share waits for room."""
        return bool(self._waiting)

    def share(self, on_change: Callable[[], None]) -> Share:
        """Return a stream's share; it calls ``on_change`` when it has less in hand, or there may be room for it."""
        return Share(self, self._busy, on_change)

    def wait(self, share: Share) -> None:
        self._waiting.setdefault(share)

    def leave(self, share: Share) -> None:
        self._waiting.pop(share, None)

    def call_next(self) -> None:
        """Let the longest waiting share check whether there is room for it; ``Share.room`` then calls the next."""
        if self._waiting and self.room_bytes > 0:
            share = next(iter(self._waiting))
            del self._waiting[share]
            share.changed()

    def found(self, bytes_each: float) -> None:
        self.expected_bytes += (bytes_each - self.expected_bytes) * AVERAGE_WEIGHT


class Share:
    """Counts the operations and bytes that one stream or call has in hand."""

    def __init__(self, of: Budget, busy: set[Share], on_change: Callable[[], None]) -> None:
        self._of = of
        self._busy = busy
        self.changed = on_change
        self._in_hand = 0
        self._bytes = 0
        self._request_bytes = 0
        """Bytes of the values in the last request."""
        self._expected_bytes = 0.0
        """Average bytes of the values that this stream has read; 0 before the first."""
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether another request like the last one would exceed the stream's part."""
        if self._in_hand >= self._of.part:
            return True
        return self._bytes > 0 and self._bytes + self._request_bytes > self._of.part_bytes

    @property
    def expected_bytes(self) -> int:
        """The bytes that the next read is expected to return."""
        return max(MIN_EXPECTED_BYTES, int(self._expected_bytes or self._of.expected_bytes))

    def expect(self, found: int, found_bytes: int) -> None:
        """Update the averages from reads that have returned this number of values and bytes."""
        each = found_bytes / found
        self._of.found(each)
        grown = each > self._expected_bytes
        self._expected_bytes = (
            each if grown else self._expected_bytes + (each - self._expected_bytes) * AVERAGE_WEIGHT
        )

    def room(self, operations: int, each_bytes: int) -> int:
        """Return how many of these operations may begin now, with ``each_bytes`` reserved for the value of each.

        If there is no room, it is 0, and ``on_change`` is called when that may have changed.
        """
        of = self._of
        idle = self._in_hand == 0
        most = min(operations, max(of.part - self._in_hand, int(idle)))
        if not each_bytes:
            return max(0, most)
        room_bytes = min(of.part_bytes - self._bytes, max(of.room_bytes, of.min_bytes - self._bytes))
        if idle and of.room_bytes > 0:
            room_bytes = max(room_bytes, each_bytes)  # or a read of more than the part would never begin
        most = max(0, min(most, room_bytes // each_bytes))
        if most == 0 and of.room_bytes < each_bytes:
            of.wait(self)
        elif of.awaited:
            of.leave(self)
            of.call_next()
        return most

    def take(self, operations: int) -> None:
        self._in_hand += operations
        self._busy.add(self)

    def give_back(self, operations: int) -> None:
        self._in_hand -= operations
        self._rest()

    def came(self, request_bytes: int) -> None:
        """Count the values of a received request as in hand."""
        self._request_bytes = request_bytes
        self.hold(request_bytes)

    def hold(self, size_bytes: int) -> None:
        """Count these bytes as in hand."""
        if not self._closed:
            self._bytes += size_bytes
            self._of.bytes += size_bytes
            self._busy.add(self)

    def release(self, size_bytes: int) -> None:
        """Stop counting these bytes as in hand."""
        if not self._closed:
            self._bytes -= size_bytes
            self._of.bytes -= size_bytes
            self._rest()
            self._of.call_next()

    def close(self) -> None:
        """Release all bytes, since the stream has ended; later calls of ``release`` have no effect."""
        self._busy.discard(self)
        self._of.leave(self)
        self._of.bytes -= self._bytes
        self._bytes = 0
        self._closed = True
        self._of.call_next()

    def _rest(self) -> None:
        if self._in_hand == 0 and self._bytes == 0:
            self._busy.discard(self)
        self.changed()
