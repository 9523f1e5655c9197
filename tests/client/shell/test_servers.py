from __future__ import annotations

import json
from pathlib import Path

import pytest

from covey.client.shell.exits import CommandError
from covey.client.shell.servers import choose_servers

SEEDS = Path("seeds.json")


def test_flags_come_before_everything_else() -> None:
    SEEDS.write_text('{"seeds": ["c:3"]}')
    assert choose_servers(["a:1", "b:2"], {"COVEY_SERVER": "d:4"}) == ("a:1", "b:2")


def test_the_environment_lists_servers_with_commas() -> None:
    SEEDS.write_text('{"seeds": ["c:3"]}')
    assert choose_servers(None, {"COVEY_SERVER": "a:1, b:2,"}) == ("a:1", "b:2")


def test_the_seed_file_is_read_where_nothing_else_is_given() -> None:
    SEEDS.write_text('{"seeds": ["a:1", "[::1]:2"], "replication_factor": 3}')
    assert choose_servers(None, {}) == ("a:1", "[::1]:2")


def test_the_older_form_of_the_seed_list_is_understood() -> None:
    SEEDS.write_text(json.dumps({"servers": [{"id": "n1", "ip": "10.0.0.1", "port": 7001}]}))
    assert choose_servers(None, {}) == ("10.0.0.1:7001",)


def test_without_any_of_them_it_is_loopback() -> None:
    assert choose_servers(None, {}) == ("127.0.0.1:7001",)


@pytest.mark.parametrize(
    "address", ["nowhere", ":7001", "host:", "host:port", "host:0", "host:65536", "host:²"]
)
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(CommandError, match="--server"):
        choose_servers([address], {})


@pytest.mark.parametrize("content", ["{", "[]", '{"seeds": "a:1"}', '{"seeds": ["a"]}', '{"servers": [{}]}'])
def test_an_unusable_seed_file_is_named(content: str) -> None:
    SEEDS.write_text(content)
    with pytest.raises(CommandError, match=r"seeds\.json"):
        choose_servers(None, {})


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a":' * 100_000, '{"cluster_size": ' + "9" * 5000 + "}", " " * (1 << 20) + "{}"],
)
def test_a_seed_file_without_bounds_is_named(content: str) -> None:
    SEEDS.write_text(content)
    with pytest.raises(CommandError, match=r"seeds\.json"):
        choose_servers(None, {})


def test_a_seed_file_without_end_is_named() -> None:
    SEEDS.symlink_to("/dev/zero")
    with pytest.raises(CommandError, match=r"seeds\.json: it is longer than"):
        choose_servers(None, {})
