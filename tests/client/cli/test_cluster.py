from __future__ import annotations

import json

import grpc
import pytest

from covey.identity import Identity
from covey.proto.generated import cluster_pb2, types_pb2
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from tests.client.cli.conftest import Covey
from tests.client.cli.fake_node import FakeNode, node_status, status_of


def test_status_json_has_the_fixed_form(covey: Covey, fake: FakeNode) -> None:
    fake.status = status_of(node_status("n1"), node_status("n2", "joining", owner=False))
    fake.status.nodes[1].handoff.CopyFrom(types_pb2.HandoffProgress(epoch=3, bytes_done=5, bytes_total=9))
    fake.status.nodes[0].condition.CopyFrom(types_pb2.Condition(hints=3))
    result = covey("status", "--json")
    assert result.code == 0
    status = json.loads(result.text)
    first, second = status.pop("nodes")
    assert status == {"cluster_id": "c0ffee", "epoch": 3, "changing": False, "synced": True}
    assert first == {
        "name": "n1",
        "address": "127.0.0.1:7001",
        "zone": "",
        "state": "serving",
        "owner": True,
        "generation": 1,
        "heartbeat_age_s": 0.25,
        "ownership": 0.5,
        "keys": 12,
        "load": {
            "in_flight": 1,
            "queue_depth": 0,
            "service_time_ms": 0.5,
            "cpu": 0.25,
            "keys": 12,
            "bytes": 3456,
        },
        "condition": {
            "hints": 3,
            "comparisons": 0,
            "quarantined": 0,
            "floor_wanted": 0,
            "disk_full": False,
            "clock_off_ms": 0,
            "needs_restart": False,
            "keys_ahead": 0,
        },
        "handoff": None,
    }
    assert (second["owner"], second["handoff"]) == (False, {"bytes_done": 5, "bytes_total": 9})


def test_the_status_table_shows_members_and_notes(covey: Covey, fake: FakeNode) -> None:
    fake.status = status_of(node_status("n1"), node_status("n2", "down"), notes=("n2 is down",), synced=False)
    text = covey("status").text
    assert "n1" in text
    assert "127.0.0.1:7002" in text
    assert "not synced" in text
    assert "n2 is down" in text
    assert "\x1b" not in text  # no colours into a pipe


def explanation() -> cluster_pb2.ExplainResponse:
    held = cluster_pb2.ReplicaReport(
        name="n1",
        state="serving",
        answered=True,
        version=types_pb2.Version(timestamp=(1000 << 16) + 2, disk_id=255, generation=4),
        bytes=2048,
    )
    return cluster_pb2.ExplainResponse(
        key=b"k",
        token=(1 << 64) - 1,
        epoch=3,
        replicas=[held, cluster_pb2.ReplicaReport(name="n2", state="down")],
        reachable=1,
        read_quorum=2,
        write_quorum=2,
    )


def test_explain_json_has_the_fixed_form(covey: Covey, fake: FakeNode) -> None:
    fake.explanation = explanation()
    result = covey("explain", "k", "--json")
    assert result.code == 0
    assert json.loads(result.text) == {
        "key": "k",
        "token": "18446744073709551615",
        "epoch": 3,
        "replicas": [
            {
                "name": "n1",
                "state": "serving",
                "version": "1000.2-00000000000000ff-4",
                "tombstone": False,
                "bytes": 2048,
            },
            {"name": "n2", "state": "down", "version": None, "tombstone": False, "bytes": 0},
        ],
        "reachable": 1,
        "read_quorum": 2,
        "write_quorum": 2,
    }


def test_the_explain_table_distinguishes_no_answer_from_no_value(covey: Covey, fake: FakeNode) -> None:
    fake.explanation = explanation()
    fake.explanation.replicas.append(cluster_pb2.ReplicaReport(name="n3", state="serving", answered=True))
    lines = {line.split()[0]: line for line in covey("explain", "k").text.splitlines() if line.strip()}
    assert "2.0 kB" in lines["n1"]
    assert "no answer" in lines["n2"]
    assert "nothing" in lines["n3"]


@pytest.fixture
def record() -> EpochRecord:
    half = 1 << 63
    owners = {
        Identity("n1", 1): Owner((0, half // 2), "z1"),
        Identity("n2", 2): Owner((half,), "z2"),
    }
    return EpochRecord(7, "c0ffee", RingSpec(owners, Quorums()))


def test_ring_json_lists_owners_with_tokens_as_text(
    covey: Covey, fake: FakeNode, record: EpochRecord
) -> None:
    fake.record = record
    ring = json.loads(covey("ring", "--json").text)
    assert (ring["epoch"], ring["changing"], ring["successors"]) == (7, False, None)
    assert ring["owners"][1] == {
        "name": "n2",
        "disk_id": "0000000000000002",
        "address": fake.address,
        "zone": "z2",
        "weight": 1.0,
        "tokens": [str(1 << 63)],
    }


def test_the_ring_table_shows_each_owners_part_of_the_tokens(
    covey: Covey, fake: FakeNode, record: EpochRecord
) -> None:
    fake.record = record
    lines = {line.split()[0]: line for line in covey("ring").text.splitlines() if line.strip()}
    assert "75.0%" in lines["n1"]
    assert "25.0%" in lines["n2"]


@pytest.mark.parametrize("command", ["leave", "remove"])
def test_leave_and_remove_name_the_node_to_the_cluster(covey: Covey, fake: FakeNode, command: str) -> None:
    assert covey(command, "n2").code == 0
    assert fake.left == ["n2"]


@pytest.mark.parametrize("command", ["leave", "remove"])
@pytest.mark.parametrize("status", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND])
def test_a_refused_change_exits_4_with_the_reason(
    covey: Covey, fake: FakeNode, command: str, status: grpc.StatusCode
) -> None:
    fake.refusal = (status, "n2 is alive; use leave")
    result = covey(command, "n2")
    assert result.code == 4
    assert result.stderr == "covey: n2 is alive; use leave\n"


def test_wait_ends_when_exactly_the_given_number_of_owners_serves(covey: Covey, fake: FakeNode) -> None:
    n1, n2, n3 = node_status("n1"), node_status("n2"), node_status("n3", "joining", owner=False)
    fake.later_statuses = [status_of(n1), status_of(n1, n2, n3)]
    assert covey("wait", "--nodes", "2", "--timeout", "10") == (0, b"", "")
    assert fake.later_statuses == []


def test_wait_does_not_take_more_owners_for_enough(covey: Covey, fake: FakeNode) -> None:
    fake.status = status_of(node_status("n1"), node_status("n2"))
    result = covey("wait", "--nodes", "1", "--timeout", "0.3")
    assert result.code == 3
    assert "2 owners serve, not 1" in result.stderr


def test_wait_synced_gives_the_reason_when_time_runs_out(covey: Covey, fake: FakeNode) -> None:
    fake.status = status_of(node_status("n1"), synced=False, notes=("n2 knows epoch 2, not 3",))
    result = covey("wait", "--synced", "--timeout", "0.3")
    assert result.code == 3
    assert "n2 knows epoch 2, not 3" in result.stderr


def test_wait_names_members_that_are_down_and_does_not_wait_for_them(covey: Covey, fake: FakeNode) -> None:
    fake.status = status_of(node_status("n1"), node_status("n2", "down"))
    result = covey("wait", "--nodes", "1", "--synced", "--timeout", "5")
    assert result.code == 0
    assert "n2" in result.stderr


def test_wait_for_a_server_that_never_comes_exits_3(covey: Covey) -> None:
    result = covey("wait", "--synced", "--server", "127.0.0.1:1", "--timeout", "0.3")
    assert result.code == 3
    assert "127.0.0.1:1" in result.stderr


def test_wait_without_a_condition_is_a_wrong_command_line_that_names_the_conditions(covey: Covey) -> None:
    result = covey("wait")
    assert result.code == 2
    assert "--nodes N, --synced, or both" in result.stderr


# --- repair ---

EQUAL = cluster_pb2.NodeRepair(name="n1", compared=4096, differing=3, received=1000, sent=2, bytes=5000)


def test_the_repair_table_has_a_row_for_every_node_that_was_asked(covey: Covey, fake: FakeNode) -> None:
    fake.repaired = cluster_pb2.RepairResponse(nodes=[EQUAL, cluster_pb2.NodeRepair(name="n2")])
    result = covey("repair")
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.text.splitlines() if line.strip()}
    assert lines["n1"].split() == ["n1", "4,096", "3", "1,000", "2", "5.0", "kB", "equal"]
    assert "n2" in lines


def test_repair_json_has_the_fixed_form(covey: Covey, fake: FakeNode) -> None:
    fake.repaired = cluster_pb2.RepairResponse(nodes=[EQUAL], down=["n3"])
    assert json.loads(covey("repair", "--json").text) == {
        "nodes": [
            {
                "name": "n1",
                "compared": 4096,
                "differing": 3,
                "received": 1000,
                "sent": 2,
                "bytes": 5000,
                "unfinished": [],
                "failure": None,
            }
        ],
        "down": ["n3"],
    }


def test_repair_names_nodes_that_are_down_and_does_not_wait_for_them(covey: Covey, fake: FakeNode) -> None:
    fake.repaired = cluster_pb2.RepairResponse(nodes=[EQUAL], down=["n3"])
    result = covey("repair")
    assert result.code == 0
    assert "n3" in result.stderr


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (cluster_pb2.NodeRepair(name="n2", unfinished=["n1"]), "n2: not equal yet to n1"),
        (cluster_pb2.NodeRepair(name="n2", failure="n2:1 did not answer"), "n2: n2:1 did not answer"),
    ],
)
def test_an_unfinished_repair_exits_3_and_is_reported(
    covey: Covey, fake: FakeNode, node: cluster_pb2.NodeRepair, message: str
) -> None:
    fake.repaired = cluster_pb2.RepairResponse(nodes=[EQUAL, node])
    result = covey("repair")
    assert result.code == 3
    assert message in result.stderr
