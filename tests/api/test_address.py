"""Addresses as people write them."""

from __future__ import annotations

import pytest

from covey.api.address import Address, NotAnAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7001", Address("127.0.0.1", 7001)),
        ("node-0.covey.example:1", Address("node-0.covey.example", 1)),
        ("[::1]:65535", Address("::1", 65535)),
        (" n1:7001 ", Address("n1", 7001)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7001",
        "n1",
        ":7001",
        "n1:",
        "n1:0",
        "n1:65536",
        "n1:-1",
        "n1:+1",
        "n1:7_001",
        "n1:٧٠٠١",
        "n1:" + "9" * 5000,
        "::1",
        "::1:7001",
        "[::1]",
        "[n1]:7001",
        "[::1:7001",
        "http://n1:7001",
        "n1/x:7001",
        "a b:7001",
        "256.1.1.1:7001",
        "0:7001",
        "127.1:7001",
    ],
)
def test_anything_else_is_refused_and_named(text: str) -> None:
    with pytest.raises(NotAnAddress) as caught:
        parse_address(text)
    assert repr(text)[:80] in str(caught.value)


def test_port_0_is_for_listening_only() -> None:
    assert parse_address("127.0.0.1:0", any_port=True).port == 0
    with pytest.raises(NotAnAddress, match="from 1 to 65535"):
        parse_address("127.0.0.1:0")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost.", "::ffff:127.0.0.1"]
)
def test_loopback_is_what_only_this_machine_reaches(host: str) -> None:
    assert Address(host, 7001).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "n1", "localhost.example", "::ffff:10.0.0.1"])
def test_all_else_may_be_reached_from_elsewhere(host: str) -> None:
    assert not Address(host, 7001).is_loopback


@pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "[0::0]:1", "[::ffff:0.0.0.0]:1"])
def test_an_address_of_all_addresses_is_for_listening_only(text: str) -> None:
    assert parse_address(text).is_unspecified
    assert not parse_address(text).is_loopback


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::1]:1", "n1:1", "10.0.0.1:1"])
def test_other_addresses_can_be_connected_to(text: str) -> None:
    assert not parse_address(text).is_unspecified
