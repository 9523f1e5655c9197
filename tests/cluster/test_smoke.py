"""Real processes, the short way round: form, store, kill, restart, leave, stop."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.processes import covey, process_cluster, until

MAX_STOP_S = 3.0


@pytest.mark.smoke
def test_three_nodes_live_through_a_kill_a_return_and_a_leave(tmp_path: Path) -> None:
    with process_cluster(tmp_path, handoff_grace="1") as cluster:
        n1, n2, n3 = cluster.form(3)
        with cluster.client() as client:
            stored = {f"key/{i}": f"value {i}" * 10 for i in range(500)}
            client.put_many(stored)
            n2.kill()
            assert client.get_many(stored) == {key: value.encode() for key, value in stored.items()}
            client.put("after", "the kill")
            until(lambda: n1.events("member.down"), "n1 notices")
            n2.start([n1.address])
            cluster.wait(3)
            client.admin.leave("n3", timeout=60)
            assert n3.exited() == 0
            cluster.wait(2)
            assert client.get_many(stored) == {key: value.encode() for key, value in stored.items()}
            assert client.get("after") == b"the kill"
        began = time.monotonic()
        assert [n1.stop(), n2.stop()] == [0, 0]
        assert time.monotonic() - began < 2 * MAX_STOP_S


@pytest.mark.smoke
def test_the_shell_commands_say_what_they_did_by_their_exit_codes(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        n1, *_ = cluster.form(1)
        at = ("--server", n1.address)
        assert covey("put", "greeting", "hello", *at).returncode == 0
        assert covey("get", "greeting", *at).stdout == b"hello"
        assert covey("put", "empty", "", *at).returncode == 0
        assert covey("get", "empty", *at).stdout == b""
        assert covey("get", "nothing", *at).returncode == 1
        assert covey("put", "", "value", *at).returncode == 2
        assert covey("leave", "n1", *at).returncode == 4
        assert covey("remove", "nobody", *at).returncode == 4
        assert covey("delete", "greeting", *at).returncode == 0
        assert covey("keys", *at).stdout == b"empty\n"
        n1.kill()
        assert covey("put", "greeting", "again", *at).returncode == 3
