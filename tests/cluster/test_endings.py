"""Signals, leaving, removing, and waiting without success."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from covey.client.errors import CoveyError
from tests.support.error_output import (
    DONE,
    MAX_STOP_S,
    NOT_DONE,
    REFUSED,
    clean_cluster,
    error_of,
    stop_quickly,
)
from tests.support.foreign_servers import silent_server
from tests.support.node_client import NodeClient
from tests.support.processes import covey, until
from tests.support.workload import PacedLoad

# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_waits_to_join(tmp_path: Path, number: signal.Signals) -> None:
    with clean_cluster(tmp_path) as cluster, silent_server() as address:
        node = cluster.node("n1")
        node.start([address])
        assert node.process is not None
        began = time.monotonic()
        node.process.send_signal(number)
        assert node.exited() == DONE
        assert time.monotonic() - began < MAX_STOP_S
        assert node.errors_file.read_text() == ""


def test_sigterm_under_load_ends_in_time_and_loses_nothing(tmp_path: Path) -> None:
    records = {f"k{i}": f"v{i}".encode() * 20 for i in range(8_000)}
    with clean_cluster(tmp_path) as cluster:
        n1, n2, n3 = cluster.form(3)
        with cluster.client() as client:
            load = PacedLoad(client, records, 6.0)
            for node in (n3, n2):
                until(lambda: load.share_done > 0.1, "it is under way")
                stop_quickly(node)
                node.start([n1.address])
            load.join(60)
            until(lambda: load.share_done == 1, "all is told")
            acknowledged = load.acknowledged
            cluster.wait(3)
            assert len(acknowledged) > len(records) * 0.9
            assert client.get_many(acknowledged) == acknowledged


@pytest.mark.smoke
def test_who_writes_through_a_node_that_stops_is_told_that_nothing_was_done(tmp_path: Path) -> None:
    """A client without a pause meets the refusal before the closing port, which would leave it in doubt."""
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        through = NodeClient(node.address)
        node.send_signal(signal.SIGTERM)
        while (result := through.put("k", "v")).WhichOneof("result") == "put":
            pass
        through.close()
        assert "this node is stopping" in result.failure.message
        assert not result.failure.maybe_applied
        assert node.exited() == DONE


def test_sigterm_of_the_only_node_under_load_loses_nothing(tmp_path: Path) -> None:
    records = {f"k{i}": f"v{i}".encode() for i in range(20_000)}
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        with cluster.client() as client:
            load = PacedLoad(client, records, 60.0)
            until(lambda: load.share_done > 0.02, "it is under way")
            stop_quickly(node)
            done = dict(load.acknowledged)
        with pytest.raises(CoveyError):
            load.join(60)
        node.start()
        with cluster.client() as client:
            assert client.get_many(done) == done


# --- administration ---


def test_what_cannot_be_left_removed_or_waited_for(tmp_path: Path) -> None:
    with clean_cluster(tmp_path, handoff_grace="1") as cluster:
        n1, n2, n3 = cluster.form(3)
        at = ("--server", n1.address)
        assert "no node is named n9; known are n1, n2, n3" in error_of(covey("leave", "n9", *at), REFUSED)
        assert "no node is named n9" in error_of(covey("remove", "n9", *at), REFUSED)
        assert "n2 is alive; 'covey leave n2' hands its data off" in error_of(
            covey("remove", "n2", *at), REFUSED
        )
        said = error_of(covey("wait", "--nodes", "4", "--timeout", "1", *at), NOT_DONE)
        assert "waited 1 s without success: 3 owners serve, not 4" in said
        n3.kill()
        until(lambda: n1.events("member.down"), "n1 notices")
        assert "n3 is down and cannot hand anything off; 'covey remove n3'" in error_of(
            covey("leave", "n3", *at), REFUSED
        )
        said = error_of(covey("wait", "--nodes", "3", "--timeout", "1", *at), NOT_DONE)
        assert "2 owners serve, not 3" in said
        assert "n3" in said
        assert "n3 is removed" in error_of(covey("remove", "n3", *at), DONE)
        cluster.wait(2)
        assert "n2 has left" in error_of(covey("leave", "n2", *at), DONE)
        assert n2.exited() == DONE
        assert "n1 is the only owner" in error_of(covey("leave", "n1", *at), REFUSED)


def test_what_waits_says_why(tmp_path: Path) -> None:
    """One of two owners is dead: no majority can admit a third node, and status and wait report that."""
    with clean_cluster(tmp_path) as cluster:
        n1, n2 = cluster.form(2)
        n2.kill()
        until(lambda: n1.events("member.down"), "n1 notices")
        joiner = cluster.node("n3")
        joiner.start([n1.address])
        until(lambda: n1.events("member.joined"), "n1 knows n3")
        said = error_of(covey("wait", "--synced", "--timeout", "2", "--server", n1.address), NOT_DONE)
        assert "n3 waits to join the ring, but the change cannot begin yet: only 1 of 2 owners" in said
        for command, name in (("remove", "n2"), ("leave", "n1")):
            refused = covey(command, name, "--server", n1.address)
            assert f"taking {name} out needs the agreement of 2 of 2 owners" in error_of(refused, REFUSED)
        stop_quickly(joiner)
