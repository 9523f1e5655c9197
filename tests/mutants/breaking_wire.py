"""Mutations of the checks of a request's cluster and expiry."""

from __future__ import annotations

from .mutation import Mutation, mutation

LATE = "tests/simulation/test_late_operations.py"

WIRE = (
    mutation(
        "a batch for another cluster is begun",
        0,
        "node/coordinator/request_checks.py",
        "if wanted and wanted != (mine := self.cluster_id()) and mine:",
        "if wanted and wanted != (mine := self.cluster_id()) and not mine:",
        "tests/node/rpc/test_preconditions.py",
    ),
    mutation(
        "a client sends to a node of another cluster",
        0,
        "client/sender.py",
        "return self._cluster.met(self._address, greeting.cluster_id)",
        "return None",
        "tests/client/test_sender.py",
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
        "tests/client/test_clusters.py",
    ),
    mutation(
        "an operation that its client gave up is begun",
        0,
        "node/coordinator/coordinator.py",
        "return now_ms if now_ms > bounds.sent_ms + bounds.shortest_s * 1000 else 0",
        "return 0",
        LATE,
    ),
    mutation(
        "a write gets a version beyond what its client allows",
        14,
        "quorum/hybrid_clock.py",
        "if latest and last > latest:",
        "if latest and last < 0:",
        LATE,
    ),
    mutation(
        "a client does not count the last version that a write of unknown outcome may get as seen",
        14,
        "client/batching.py",
        "self._seen.lose(self.latest_timestamp)",
        "pass",
        "tests/client/test_sender.py",
    ),
    mutation(
        "a write whose caller is cancelled does not count as seen",
        14,
        "client/version.py",
        "        self.lose(self._allowed)\n",
        "",
        "tests/client/test_operations.py",
    ),
    mutation(
        "a client sends operations before it knows the node's clock",
        0,
        "client/stream.py",
        "        if self.open and not self._greeted:\n            await self._greeting()\n",
        "",
        "tests/client/test_sender.py",
    ),
    mutation(
        "a peer's request that has expired is begun",
        0,
        "node/peer/server.py",
        "if late_ms <= 0:",
        "if late_ms != 0:",
        "tests/node/peer/test_server.py",
        LATE,
    ),
    mutation(
        "a peer's request expires by the sender's wall clock",
        0,
        "node/peer/client.py",
        "        if lead_ms is None:\n",
        "        if lead_ms is None or own_ms:\n",
        "tests/node/peer/test_client.py",
    ),
    mutation(
        "an operator's request that has expired is begun",
        0,
        "node/coordinator/request_checks.py",
        "if sent_ms and self.clock_ms() > sent_ms + timeout_s * 1000:",
        "if sent_ms and self.clock_ms() > sent_ms + timeout_s * 1000 * 1000:",
        "tests/node/rpc/test_preconditions.py",
    ),
)
