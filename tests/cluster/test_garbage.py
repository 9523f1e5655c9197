"""Garbage collection does not pause a node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NODE_THAT_TELLS = """
import gc, os, signal, sys, threading, time
from pathlib import Path
from covey.node.process.main import run_node
from covey.node.process.options import NodeOptions

def tell(log):
    while not (log.exists() and "node.serving" in log.read_text()):
        time.sleep(0.02)
    deadline = time.monotonic() + 10
    while not gc.get_freeze_count() and time.monotonic() < deadline:
        time.sleep(0.02)
    print(gc.get_freeze_count(), len(gc.get_objects()))
    os.kill(os.getpid(), signal.SIGTERM)

folder = Path(sys.argv[1])
log = folder / "log"
threading.Thread(target=tell, args=(log,), daemon=True).start()
sys.exit(run_node(NodeOptions("n1", "127.0.0.1:0", folder / "data", log_file=log)))
"""


@pytest.mark.smoke
def test_a_node_that_serves_has_little_to_look_through(tmp_path: Path) -> None:
    node = subprocess.run(
        [sys.executable, "-c", NODE_THAT_TELLS, str(tmp_path)], capture_output=True, timeout=60, check=False
    )
    assert node.returncode == 0, node.stderr
    set_apart, left = map(int, node.stdout.split())
    assert left < set_apart / 4
