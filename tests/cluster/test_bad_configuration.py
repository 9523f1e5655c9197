"""Settings, places and data folders that cannot be."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.error_output import (
    ANY_PORT,
    LOOPBACK,
    USAGE,
    clean_cluster,
    error_of,
    node_command,
    stop_quickly,
)

# --- configuration ---


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "replicaton_factor=3",
            "--set: unknown setting 'replicaton_factor'; did you mean replication_factor?",
        ),
        ("evict_after=soon", "--set: evict_after=soon: must be a number of seconds, at least 1"),
        ("evict_after", "'evict_after' is not KEY=VALUE"),
        ("write_quorum=1", "write_quorum = 1 (--set), replication_factor = 3 (default)"),
    ],
)
def test_settings_of_flags_that_cannot_be(tmp_path: Path, setting: str, expected: str) -> None:
    assert expected in error_of(node_command(tmp_path / "d", "--set", setting), USAGE)
    assert not (tmp_path / "d").exists()


def test_a_weight_that_makes_too_many_virtual_nodes(tmp_path: Path) -> None:
    command = node_command(tmp_path / "d", "--weight", "100", "--set", "tokens_per_weight=64")
    assert "that makes 6,400 virtual nodes, and one node has at most 4,096" in error_of(command, USAGE)
    assert not (tmp_path / "d").exists()


def test_settings_of_the_environment_that_cannot_be(tmp_path: Path) -> None:
    unknown = node_command(tmp_path / "d", COVEY_SET_EVICT_AFTR="9")
    assert "COVEY_SET_EVICT_AFTR: unknown setting 'evict_aftr'; did you mean evict_after?" in error_of(
        unknown, USAGE
    )
    mistyped = node_command(tmp_path / "d", COVEY_SET_EVICT_AFTER="soon")
    assert "COVEY_SET_EVICT_AFTER=soon: must be a number of seconds" in error_of(mistyped, USAGE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"seds": []}', "unknown setting 'seds'; did you mean seeds?"),
        ('{"seeds": "127.0.0.1:1"}', "must be a list of host:port"),
        ('{"seeds": ["n1"]}', "'n1' is not an address"),
        ('{"read_quorum": 9}', "read_quorum = 9"),
        ('{"read_quorum": 2,}', "not JSON"),
        ("[]", "must be a JSON object"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, content: str | None, expected: str) -> None:
    file = tmp_path / "seeds.json"
    if content is not None:
        file.write_text(content)
    said = error_of(node_command(tmp_path / "d", "--config", str(file)), USAGE)
    assert expected in said
    assert str(file) in said


@pytest.mark.parametrize("weight", ["0", "-1", "101", "nan", "inf", "heavy"])
def test_a_weight_that_cannot_be(tmp_path: Path, weight: str) -> None:
    assert "--weight" in error_of(node_command(tmp_path / "d", "--weight", weight), USAGE)


@pytest.mark.parametrize(
    ("listen", "arguments", "expected"),
    [
        ("0.0.0.0:0", (), "add --insecure if that is intended"),
        ("0.0.0.0:0", ("--insecure",), "set the address at which others reach it by --advertise"),
        ("192.0.2.1:7001", ("--insecure",), "cannot listen at 192.0.2.1:7001"),
        (LOOPBACK, (), "--listen: '127.0.0.1' is not an address"),
        (ANY_PORT, ("--seed", "n1"), "--seed: 'n1' is not an address"),
        (ANY_PORT, ("--advertise", "n1:0"), "--advertise: 'n1:0' is not an address"),
        (ANY_PORT, ("--advertise", "0.0.0.0:7001"), "--advertise 0.0.0.0:7001: others cannot connect to it"),
        (ANY_PORT, ("--advertise", "[::]:7001"), "--advertise [::]:7001: others cannot connect to it"),
        (ANY_PORT, ("--data", ""), "a path is not empty"),
        (ANY_PORT, ("--log-format", "xml"), "neither json nor console"),
    ],
)
def test_places_that_cannot_be(
    tmp_path: Path, listen: str, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in error_of(node_command(tmp_path / "d", *arguments, listen=listen), USAGE)


@pytest.mark.smoke
def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as holder:
        address = f"{LOOPBACK}:{holder.getsockname()[1]}"
        said = error_of(node_command(tmp_path / "d", listen=address), USAGE)
    assert f"cannot listen at {address}: another process does" in said


# --- data folders ---


@pytest.mark.smoke
def test_data_folders_that_cannot_be_taken(tmp_path: Path) -> None:
    """In use, another node's, of a newer version, not covey's, a file: each is left as it is."""
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        assert node.process is not None
        with cluster.client() as client:
            client.put("k", "v")
        said = error_of(node_command(node.data), USAGE)
        assert f"is in use by process {node.process.pid}: stop it or choose another folder" in said
        stop_quickly(node)
        said = error_of(node_command(node.data, name="other"), USAGE)
        assert "belongs to node 'n1', not 'other'" in said
        format_file = node.data / "FORMAT"
        current = format_file.read_text()
        format_file.write_text("99\n")
        assert "made by a newer version of covey" in error_of(node_command(node.data), USAGE)
        format_file.write_text(current)
        node.start()
        with cluster.client() as client:
            assert client.get("k") == b"v"
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to.txt").write_text("dear")
    assert "holds other files" in error_of(node_command(tmp_path / "letters"), USAGE)
    assert "it is a file" in error_of(node_command(tmp_path / "letters" / "to.txt"), USAGE)
