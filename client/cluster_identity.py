"""Which cluster a client belongs to, and which addresses belong to another one.

Rules
- A client belongs to the first cluster that any node told it the id of. Every request names that cluster from then on,
  and rings are learned from it alone.
- An address whose node belongs to another cluster is foreign: it is left out until its node is found to belong to the
  client's own cluster again. A dead node's address may have been given to another cluster.
- An address that the client was given and that never belonged to its cluster is a mistake of whoever gave it, so every
  operation fails and names both. An address that the cluster's own ring lists is no mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .errors import WrongCluster


class ClusterIdentity:
    def __init__(self, given: Collection[str] = ()) -> None:
        self.cluster_id = ""
        """Empty until a node has told one."""
        self.conflict: WrongCluster | None = None
        """What every operation fails with while the client's addresses are of two clusters."""
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
        """Addresses to look at again: foreign ones, and given ones that no node has answered at."""
        return list(dict.fromkeys([*self._foreign, *sorted(self._unverified)]))

    def met(self, address: str, cluster_id: str) -> WrongCluster | None:
        """A node at ``address`` told its cluster's id (empty: none yet). Returns the error when it is foreign."""
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
        """The cluster's own ring has these addresses. Of the others, only given ones are kept in mind."""
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
