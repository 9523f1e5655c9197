"""The ``covey`` command (also ``python -m covey``): the client's commands and the one that runs a node.

The only place that knows both the client and the node.
"""

from __future__ import annotations

import os
import sys

# Before anything imports gRPC, whose core otherwise logs connections to stderr.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from .client.cli.local_plan import ClusterPlan, NodePlan
from .client.cli.main import build_app, invoke
from .node.process import cli as node_cli


def run() -> None:
    app = build_app(node_complaint)
    node_cli.register(app)
    sys.exit(invoke(app, sys.argv[1:]))


def node_complaint(node: NodePlan, cluster: ClusterPlan) -> str | None:
    """Return why a node of ``covey up`` would not start, by the node's own rules; None if nothing is wrong."""
    from .node.process.options import NodeOptions, complaint

    return complaint(
        NodeOptions(
            name=node.name,
            listen=node.address,
            data=node.data,
            seeds=cluster.seeds,
            config_file=cluster.config,
            log_file=node.log,
            settings=node_cli.assignments(cluster.settings),
        )
    )


if __name__ == "__main__":
    run()
