from __future__ import annotations

import json

import pytest

from covey.proto.generated import cluster_pb2
from tests.client.cli.conftest import Covey
from tests.client.cli.fake_node import FakeNode

EQUAL = cluster_pb2.NodeRepair(name="n1", compared=4096, differing=3, received=1000, sent=2, bytes=5000)


def test_the_table_has_a_row_for_every_node_that_was_asked(covey: Covey, fake: FakeNode) -> None:
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


def test_nodes_that_are_down_are_named_and_not_waited_for(covey: Covey, fake: FakeNode) -> None:
    fake.repaired = cluster_pb2.RepairResponse(nodes=[EQUAL], down=["n3"])
    result = covey("repair")
    assert result.code == 0
    assert "n3" in result.stderr


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (cluster_pb2.NodeRepair(name="n2", unfinished=["n1"]), "n2: not equal yet to n1"),
        (cluster_pb2.NodeRepair(name="n2", failure="n2:1 did not answer"), "n2: n2:1 did not answer"),
    ],
)
def test_what_is_not_finished_exits_3_and_is_said(
    covey: Covey, fake: FakeNode, node: cluster_pb2.NodeRepair, said: str
) -> None:
    fake.repaired = cluster_pb2.RepairResponse(nodes=[EQUAL, node])
    result = covey("repair")
    assert result.code == 3
    assert said in result.stderr
