"""What commands and nodes print when they fail: one or two lines, the right exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import NodeProcess, ProcessCluster, process_cluster

DONE, NOT_FOUND, USAGE, NOT_DONE, REFUSED, MAYBE_DONE = range(6)
MAX_STOP_S = 3.0
LOOPBACK = "127.0.0.1"
ANY_PORT = f"{LOOPBACK}:0"


def short_error(text: str) -> str:
    """Return the text, after checking that it is short and no traceback."""
    assert "Traceback" not in text
    assert 1 <= len(text.strip().splitlines()) <= 2, text
    return text


def error_of(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    assert done.returncode == code, (done.returncode, done.stderr.decode())
    return short_error(done.stderr.decode())


def error_of_node(node: NodeProcess, code: int) -> str:
    """Return the error output of a node that ends by itself with this exit code."""
    assert node.exited() == code
    return short_error(node.errors_file.read_text())


def node_command(
    data: Path, *arguments: str, name: str = "n1", listen: str = ANY_PORT, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a node that is expected to refuse its command line."""
    command = ["node", "--name", name, "--listen", listen, "--data", str(data), *arguments]
    return subprocess.run(
        [sys.executable, "-m", "covey", *command],
        capture_output=True,
        timeout=20,
        check=False,
        env=os.environ | environment,
    )


@contextmanager
def clean_cluster(folder: Path, **settings: str) -> Iterator[ProcessCluster]:
    """A cluster none of whose nodes may print or log a traceback."""
    folder.mkdir(exist_ok=True)
    with process_cluster(folder, **settings) as cluster:
        yield cluster
        for node in cluster.nodes.values():
            assert not [line for line in node.log() if "traceback" in line], node.name
            assert "Traceback" not in node.errors_file.read_text(), node.name


def reasons(node: NodeProcess, event: str) -> str:
    return "\n".join(line["reason"] for line in node.events(event))


def stop_quickly(node: NodeProcess) -> None:
    began = time.monotonic()
    assert node.stop() == DONE
    assert time.monotonic() - began < MAX_STOP_S
