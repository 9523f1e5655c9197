"""What is wrong with a node's command line, found without starting the node or changing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from covey.node.data_directory.directory import DataDirectory
from covey.node.process.options import NodeOptions, complaint


@pytest.fixture
def options(tmp_path: Path) -> NodeOptions:
    return NodeOptions("n1", "127.0.0.1:0", tmp_path / "data")


def test_a_node_that_can_start_has_no_complaint_and_nothing_is_made(options: NodeOptions) -> None:
    assert complaint(options) is None
    assert not options.data.exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"settings": {"read_quorum": "9"}}, "read_quorum = 9 (--set)"),
        ({"name": "n 1"}, "--name 'n 1'"),
        ({"listen": "192.0.2.1:1"}, "add --insecure if that is intended"),
        ({"advertise": "0.0.0.0:7001"}, "--advertise 0.0.0.0:7001: others cannot connect to it"),
        ({"advertise": "[::]:7001"}, "--advertise [::]:7001: others cannot connect to it"),
        ({"advertise": "n1:0"}, "its port must be from 1"),
        (
            {"listen": "[0::0]:7001", "insecure": True},
            "set the address at which others reach it by --advertise",
        ),
        ({"seeds": ("n1",)}, "--seed: 'n1' is not an address"),
        ({"config_file": Path("no-such-file")}, "no-such-file: No such file"),
    ],
)
def test_what_is_wrong_is_said(options: NodeOptions, change: dict[str, object], expected: str) -> None:
    assert expected in str(complaint(replace(options, **change)))  # type: ignore[arg-type]


def a_file(path: Path) -> None:
    path.write_text("")


def another_nodes(path: Path) -> None:
    DataDirectory.open(path, "n2").close()


@pytest.mark.parametrize(
    ("make", "expected"), [(a_file, "it is a file"), (another_nodes, "belongs to node 'n2', not 'n1'")]
)
def test_a_data_folder_that_cannot_be_is_named(
    options: NodeOptions, make: Callable[[Path], None], expected: str
) -> None:
    make(options.data)
    assert expected in str(complaint(options))


def test_its_own_data_folder_is_no_complaint(options: NodeOptions) -> None:
    DataDirectory.open(options.data, "n1").close()
    assert complaint(options) is None


def test_a_damaged_identity_is_for_the_node_to_judge(options: NodeOptions) -> None:
    DataDirectory.open(options.data, "n1").close()
    (options.data / "identity.json").write_text("[" * 10_000)
    assert complaint(options) is None
