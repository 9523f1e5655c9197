"""Mutations of whom requests are for, and of when they may begin."""

from __future__ import annotations

from .mutation import Mutation, mutation

LATE = "tests/simulation/test_late_operations.py"

WIRE = (
    mutation(
        "a batch for another cluster is begun",
        0,
        "node/preconditions.py",
        "if wanted and wanted != (mine := self.cluster_id()) and mine:",
        "if wanted and wanted != (mine := self.cluster_id()) and not mine:",
        "tests/node/rpc/test_preconditions.py",
    ),
    mutation(
        "a client sends to a node of another cluster",
        0,
        "client/operating.py",
        "return self._cluster.met(self._address, greeting.cluster_id)",
        "return None",
        "tests/client/test_operating.py",
    ),
    Mutation(
        "a client follows the ring of another cluster",
        0,
        "client/routing.py",
        (("return same_cluster and other.record.number", "return other.record.number"),),
        ("tests/client/test_routing.py",),
    ),
    mutation(
        "an address that another cluster has taken stays in use",
        0,
        "client/cluster_identity.py",
        "        self._foreign[address] = cluster_id\n        self._judge()\n        return self._error(address)\n",
        "        return None\n",
        "tests/client/test_cluster_identity.py",
        "tests/client/test_aio.py",
    ),
    mutation(
        "an operation that its client gave up is begun",
        0,
        "node/quorum/coordinator.py",
        "return now_ms if now_ms > bounds.sent_ms + bounds.shortest_s * 1000 else 0",
        "return 0",
        LATE,
    ),
    mutation(
        "a write gets a version beyond what its client allows",
        14,
        "node/quorum/clock.py",
        "if latest and timestamp + count - 1 > latest:",
        "if latest and timestamp + count - 1 < latest - timestamp:",
        LATE,
    ),
    mutation(
        "what a write that a client lost track of may yet get does not count as seen",
        14,
        "client/batching.py",
        "self._seen.lose(self.latest_timestamp)",
        "pass",
        "tests/client/test_operating.py",
    ),
    mutation(
        "a write whose caller is cancelled does not count as seen",
        14,
        "client/version.py",
        "        self.lose(self._allowed)\n",
        "",
        "tests/client/test_aio.py",
    ),
    mutation(
        "a client sends operations before it knows the node's clock",
        0,
        "client/stream.py",
        "        if self.open and not self._greeted:\n            await self._greeting()\n",
        "",
        "tests/client/test_operating.py",
    ),
    mutation(
        "a peer's request that is waited for no more is begun",
        0,
        "node/dispatch.py",
        "if late_ms <= 0:",
        "if late_ms != 0:",
        "tests/node/test_dispatch.py",
        LATE,
    ),
    mutation(
        "a peer's request expires by the sender's wall clock",
        0,
        "node/peer_clocks.py",
        "        if lead_ms is None:\n",
        "        if lead_ms is None or own_ms:\n",
        "tests/node/test_peers.py",
    ),
    mutation(
        "a change is begun that its caller waits for no more",
        0,
        "node/preconditions.py",
        "if sent_ms and self.clock_ms() > sent_ms + timeout_s * 1000:",
        "if sent_ms and self.clock_ms() > sent_ms + timeout_s * 1000 * 1000:",
        "tests/node/rpc/test_preconditions.py",
    ),
)
