"""Mutations of the limits on the memory and connections that clients and peers use."""

from __future__ import annotations

from .mutation import mutation

BOUNDS = (
    mutation(
        "a stream is read although its outbox is full",
        0,
        "node/rpc/streams.py",
        "            while self._full:\n",
        "            while False:\n",
        "tests/node/rpc/test_operate.py",
    ),
    mutation(
        "reads begin without room for what they bring",
        0,
        "node/rpc/waves.py",
        "each_bytes = self._share.expected_bytes if self._reads else 0",
        "each_bytes = 0",
        "tests/node/rpc/test_waves.py",
        "tests/node/rpc/test_operate.py",
    ),
    mutation(
        "the operations in flight of a stream are bounded in number only",
        0,
        "node/rpc/budget.py",
        "return self._bytes > 0 and self._bytes + self._request_bytes > self._of.part_bytes",
        "return False",
        "tests/node/rpc/test_budget.py",
    ),
    mutation(
        "the operations of a huge batch begin beyond their client's share",
        0,
        "node/rpc/budget.py",
        "most = min(operations, max(of.part - self._in_hand, int(idle)))",
        "most = operations",
        "tests/node/rpc/test_budget.py",
    ),
    mutation(
        "a read whose reply was full counts as answered",
        0,
        "node/rpc/waves.py",
        "if len(results) == 1 and type(results[0]) is ReplyFull:",
        "if False:",
        "tests/node/rpc/test_waves.py",
    ),
    mutation(
        "a client that reads no replies keeps the memory that others wait for",
        0,
        "node/rpc/streams.py",
        "if stream.writing_since_s < since_s and (stream.of_peer or self.clients.awaited):",
        "if False:",
        "tests/node/rpc/test_operate.py",
    ),
    mutation(
        "a list longer than its limit is accepted",
        0,
        "api/codec.py",
        "expect(len(elements) <= most,",
        "expect(True,",
        "tests/node/rpc/test_list_bounds.py",
    ),
    mutation(
        "the reply of a replica has no bound in bytes",
        0,
        "node/replica/service.py",
        "room_bytes -= size_bytes",
        "room_bytes -= 0",
        "tests/node/replica/test_service.py",
    ),
    mutation(
        "what waits for a slow replica has no bound in bytes",
        0,
        "node/coordinator/replica_queue.py",
        "return bool(self._waiting) and self._waiting_bytes + size_bytes > MAX_WAITING_BYTES",
        "return False",
        "tests/node/coordinator/test_replica_queue.py",
    ),
    mutation(
        "connections take the descriptors of the storage",
        0,
        "node/rpc/descriptors.py",
        "left = limit - OWN - STORAGE_BESIDE_TABLES - tables - CONNECTIONS_PER_LINK * links",
        "left = limit",
        "tests/node/rpc/test_descriptors.py",
    ),
    mutation(
        "connections in use are closed instead of idle connections",
        0,
        "node/rpc/connections.py",
        "if one.silent_ms >= IDLE_MS), reverse=True)",
        "if one.silent_ms >= 0))",
        "tests/node/rpc/test_connections.py",
    ),
)
