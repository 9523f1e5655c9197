"""Keeps the cluster that a client belongs to, and the addresses that belong to another one.

Rules
- A client belongs to the cluster of the first node that sends it a cluster id. Every request names that cluster from
  then on, and rings are learned only from it.
- An address whose node belongs to another cluster is foreign: it is left out until its node is found to belong to the
  client's own cluster again. A dead node's address may have been given to another cluster.
- A given address that never belonged to the client's cluster is a mistake of the caller, so every operation fails and
  names both clusters. An address that the cluster's own ring lists is no mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .errors import WrongCluster


class ClusterIdentity:
    def __init__(self, given: Collection[str] = ()) -> None:
        self.cluster_id = ""
        """The cluster's id; empty until a node has sent one."""
        self.conflict: WrongCluster | None = None
        """The error of every operation while the client's addresses are of two clusters."""
        self._learned_at = ""
        self._given = frozenset(given)
        self._unverified = set(given)
        """Given addresses that are not known to have belonged to this cluster."""
        self._foreign: dict[str, str] = {}

    @property
    def foreign(self) -> Mapping[str, str]:
        """The addresses that belong to another cluster now, with its id. Follows what is met."""
        return self._foreign

    @property
    def doubtful(self) -> list[str]:
        """Return the addresses to check again: foreign addresses, and given addresses at which no node has answered."""
        return list(dict.fromkeys([*self._foreign, *sorted(self._unverified)]))

    def met(self, address: str, cluster_id: str) -> WrongCluster | None:
        """Note the cluster id of the node at ``address`` (empty: none yet). Return the error when it is foreign."""
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
        """Note the addresses in the cluster's own ring. Of the others, only given addresses are kept."""
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
            "a new client if the cluster was made anew",
            cluster_id=theirs,
        )
