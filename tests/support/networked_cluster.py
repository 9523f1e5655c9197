"""Clusters with one network host per node, and one for commands and clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.network_namespaces import CLIENT, Network, NoNetwork, private_network
from tests.support.processes import NodeProcess, ProcessCluster

PORT = 7001


class NetworkedCluster(ProcessCluster):
    def __init__(self, folder: Path, network: Network, **settings: str) -> None:
        super().__init__(folder, **settings)
        self.network = network
        self.prefix = network.host(CLIENT).prefix

    def node(self, name: str) -> NodeProcess:
        known = name in self.nodes
        node = super().node(name)
        if not known:
            host = self.network.host(name)
            node.prefix = host.prefix
            node.listen = node.address = f"{host.address}:{PORT}"
            node.extra = ("--insecure",)  # nothing outside of the test reaches it
        return node

    def part(self, names: list[str]) -> None:
        """Cut these nodes off from the others; clients reach both sides."""
        self.network.cut(names, [name for name in self.nodes if name not in names])


@contextmanager
def networked_cluster(folder: Path, **settings: str) -> Iterator[NetworkedCluster]:
    """A cluster none of whose processes and hosts outlives the block; skips the test where it cannot be."""
    try:
        with private_network() as network:
            cluster = NetworkedCluster(folder, network, **settings)
            try:
                yield cluster
            finally:
                cluster.close()
    except NoNetwork as reason:
        pytest.skip(str(reason))
