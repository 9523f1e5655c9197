"""How the descriptors that a process may have are divided."""

from __future__ import annotations

import pytest

from covey.node.errors import ConfigurationError
from covey.node.rpc.descriptors import (
    CONNECTIONS_PER_LINK,
    MIN_DESCRIPTORS,
    MIN_TABLES,
    OWN,
    STORAGE_BESIDE_TABLES,
    budget_of,
)

PLENTY = 100_000


@pytest.mark.parametrize("limit", [MIN_DESCRIPTORS, 512, 1024, 4096, 65_536])
def test_connections_from_outside_leave_what_the_node_needs_itself(limit: int) -> None:
    budget = budget_of(limit, PLENTY)
    needed = OWN + STORAGE_BESIDE_TABLES + budget.tables + CONNECTIONS_PER_LINK * budget.links
    assert budget.connections + needed <= limit
    assert budget.tables >= MIN_TABLES
    assert budget.links >= 16 and budget.connections >= 16


def test_no_more_connections_are_taken_than_configured() -> None:
    assert budget_of(65_536, 100).connections == 100


@pytest.mark.parametrize("limit", [40, 80, MIN_DESCRIPTORS - 1])
def test_a_limit_too_low_to_serve_is_refused_with_what_to_do(limit: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"{limit} files.*at least {MIN_DESCRIPTORS}.*ulimit -n"):
        budget_of(limit, PLENTY)
