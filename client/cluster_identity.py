"""The cluster that a client belongs to, and the addresses at which another cluster answers.

Rules
- A client belongs to the cluster of the first node that sends it a cluster id. From then on, every request names that
  cluster, and rings are learned only from it.
- An address at which a node of another cluster answers is foreign. It is not used until a node of the client's cluster
  answers there again. (The address of a dead node may have been given to a node of another cluster.)
- If a given address is foreign and was never known to belong to the client's cluster, the caller made a mistake: every
  operation fails with an error that names both clusters. An address that is in the ring of the client's cluster is
  known to belong to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .errors import WrongCluster


class ClusterIdentity:
    def __init__(self, given: Collection[str] = ()) -> None:
        self.cluster_id = ""
        """The cluster's id; empty until a node has sent one."""
        self.conflict: WrongCluster | None = None
        """The error of every operation while the given addresses belong to two clusters; else None."""
        self._learned_at = ""
        self._given = frozenset(given)
        self._unverified = set(given)
        """Given addresses that are not known to have belonged to this cluster."""
        self._foreign: dict[str, str] = {}

    @property
    def foreign(self) -> Mapping[str, str]:
        """The foreign addresses, each with the id of its cluster; a live view."""
        return self._foreign

    @property
    def doubtful(self) -> list[str]:
        """The addresses to check again: foreign addresses, and given addresses that are not verified yet."""
        return list(dict.fromkeys([*self._foreign, *sorted(self._unverified)]))

    def met(self, address: str, cluster_id: str) -> WrongCluster | None:
        """Record the cluster id of the node at ``address``, empty if it has none. Return an error if it is foreign."""
        if not cluster_id:
            return None
        if not self.cluster_id:
            self.cluster_id, self._learned_at = cluster_id, address
        if cluster_id == self.cluster_id:
            self._unverified.discard(address)
            if self._foreign.pop(address, None) is not None:
                self._judge()
            return None
        self._foreign[address] = cluster_id
        self._judge()
        return self._error(address)

    def listed(self, addresses: Collection[str]) -> None:
        """Record the addresses in the ring of the cluster. Forget others, except for given addresses."""
        kept = {*addresses, *self._given}
        for address in [address for address in self._foreign if address not in kept]:
            del self._foreign[address]
        self._unverified.difference_update(addresses)
        self._judge()

    def _judge(self) -> None:
        mistaken = next((address for address in self._foreign if address in self._unverified), None)
        self.conflict = None if mistaken is None else self._error(mistaken)

    def _error(self, address: str) -> WrongCluster:
        theirs = self._foreign[address]
        return WrongCluster(
            f"the node at {address} belongs to cluster {theirs!r}, and this client to cluster {self.cluster_id!r}, "
            f"learned from {self._learned_at}; nothing was done. Give a client the addresses of one cluster, or make "
            "a new client if the cluster was created again",
            cluster_id=theirs,
        )
