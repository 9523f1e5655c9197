"""Which cluster a client belongs to, and what it makes of addresses of another one."""

from __future__ import annotations

from covey.client.cluster_identity import ClusterIdentity


def test_the_first_cluster_that_a_node_tells_is_the_clients_own() -> None:
    cluster = ClusterIdentity(["a:1", "b:1"])
    assert cluster.met("a:1", "") is None
    assert cluster.met("a:1", "ours") is None
    assert cluster.cluster_id == "ours"


def test_a_node_of_another_cluster_is_an_error_that_names_both() -> None:
    cluster = ClusterIdentity(["a:1"])
    cluster.met("a:1", "ours")
    error = cluster.met("b:1", "theirs")
    assert error is not None
    assert all(part in str(error) for part in ("a:1", "ours", "b:1", "theirs"))
    assert not error.maybe_applied
    assert dict(cluster.foreign) == {"b:1": "theirs"}


def test_an_address_that_has_come_back_is_foreign_no_more() -> None:
    cluster = ClusterIdentity(["a:1"])
    cluster.met("a:1", "ours")
    cluster.met("b:1", "theirs")
    assert cluster.met("b:1", "ours") is None
    assert not cluster.foreign


def test_an_address_of_ones_own_that_was_taken_is_no_conflict() -> None:
    cluster = ClusterIdentity(["a:1", "b:1", "c:1"])
    cluster.met("a:1", "ours")
    cluster.met("b:1", "ours")
    cluster.listed(["a:1", "c:1"])
    cluster.met("b:1", "theirs")
    cluster.met("c:1", "theirs")
    assert cluster.conflict is None
    assert set(cluster.foreign) == {"b:1", "c:1"}


def test_a_given_address_that_was_never_ones_own_is_a_conflict_until_it_is() -> None:
    cluster = ClusterIdentity(["a:1", "b:1"])
    cluster.met("a:1", "ours")
    cluster.met("b:1", "theirs")
    assert cluster.conflict is not None
    assert "b:1" in str(cluster.conflict)
    cluster.met("b:1", "ours")
    assert cluster.conflict is None


def test_a_conflict_ends_when_the_ring_lists_the_address() -> None:
    cluster = ClusterIdentity(["a:1", "b:1"])
    cluster.met("a:1", "ours")
    cluster.met("b:1", "theirs")
    cluster.listed(["a:1", "b:1"])
    assert cluster.conflict is None


def test_addresses_that_nobody_names_any_more_are_forgotten() -> None:
    cluster = ClusterIdentity(["a:1"])
    cluster.met("a:1", "ours")
    for number in range(100):
        cluster.met(f"x:{number}", "theirs")
    cluster.listed(["a:1", "x:7"])
    assert list(cluster.foreign) == ["x:7"]


def test_given_addresses_that_nobody_answered_at_are_looked_at_again() -> None:
    cluster = ClusterIdentity(["a:1", "b:1"])
    cluster.met("a:1", "ours")
    cluster.met("x:1", "theirs")
    assert cluster.doubtful == ["x:1", "b:1"]
