from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from covey.client.cli.exits import CommandError
from covey.client.cli.servers import choose_servers

SEEDS = Path("seeds.json")


def test_flags_come_before_everything_else() -> None:
    SEEDS.write_text('{"seeds": ["c:3"]}')
    assert choose_servers(["localhost:1", "[::1]:2"], {"COVEY_SERVER": "d:4"}) == ("localhost:1", "[::1]:2")


def test_a_flag_may_list_several_with_commas() -> None:
    assert choose_servers(["127.0.0.1:1,127.0.0.1:2", "127.0.0.1:3"], {}) == (
        "127.0.0.1:1",
        "127.0.0.1:2",
        "127.0.0.1:3",
    )


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
    "address",
    [
        "nowhere",
        ":7001",
        "host:",
        "host:port",
        "host:0",
        "host:65536",
        "host:²",
        f"host:{'1' * 5000}",
        f"{'h' * 5000}:7001",
        "http://127.0.0.1:7001",
        "user@host:7001",
        "256.1.1.1:7001",
        "0:7001",
        "::1:7001",
        "[::g]:7001",
        "127.0.0.1:7001,",
        "",
    ],
)
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(CommandError, match="--server") as raised:
        choose_servers([address], {})
    assert len(str(raised.value)) < 200


def resolver_fails_with(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def getaddrinfo(host: str, port: None) -> None:
        raise socket.gaierror(number, "resolver error")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_host_of_a_flag_that_the_resolver_does_not_know_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver_fails_with(monkeypatch, socket.EAI_NONAME)
    with pytest.raises(CommandError, match="no host of the name in n1:7001"):
        choose_servers(["n1:7001"], {})


def test_one_of_several_hosts_or_one_of_the_environment_may_be_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver_fails_with(monkeypatch, socket.EAI_NONAME)
    assert choose_servers(["n1:7001,127.0.0.1:7001"], {})
    assert choose_servers(None, {"COVEY_SERVER": "n1:7001"})


def test_a_failing_resolver_refuses_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver_fails_with(monkeypatch, socket.EAI_AGAIN)
    assert choose_servers(["n1:7001"], {})


def test_a_seed_file_without_seeds_is_noted_with_the_address_that_is_asked_instead() -> None:
    SEEDS.write_text('{"replication_factor": 3}')
    notes: list[str] = []
    assert choose_servers(None, {}, note=notes.append) == ("127.0.0.1:7001",)
    assert notes == ["seeds.json lists no seeds: using 127.0.0.1:7001"]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"seeds": "a:1"}',
        '{"seeds": ["a"]}',
        '{"servers": [{}]}',
        '{"seeds": ' + "[" * 100_000,
        '{"seeds": ["a:1"], "cluster_size": ' + "9" * 5000 + "}",
        '{"seeds": ["a:1"], "cluster_size": ' + "9" * 20 + "}",
        '{"seeds": [' + ",".join(['"a:1"'] * 2000) + "]}",
        '{"seeds": [' + " " * (2 << 20) + "]}",
    ],
)
def test_an_unusable_seed_file_is_named(content: str) -> None:
    SEEDS.write_text(content)
    with pytest.raises(CommandError, match=r"seeds\.json") as raised:
        choose_servers(None, {})
    assert len(str(raised.value)) < 300


def test_a_seed_file_without_end_is_named() -> None:
    SEEDS.symlink_to("/dev/zero")
    with pytest.raises(CommandError, match=r"seeds\.json: longer than"):
        choose_servers(None, {})
