"""The ``covey`` command (also ``python -m covey``): the client's commands and the one that runs a node.

The only place that knows both the client and the node.
"""

from __future__ import annotations

import os
import sys

# Before anything imports gRPC, whose core would otherwise write about connections to stderr.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from .client.shell.main import build_app, invoke
from .node import cli as node_cli


def run() -> None:
    app = build_app()
    node_cli.register(app)
    sys.exit(invoke(app, sys.argv[1:]))


if __name__ == "__main__":
    run()
