"""What is drawn on terminals of different sizes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from covey.api.cluster import ClusterStatus, Condition, LoadReport, NodeStatus
from covey.client.cli.tables import status_view
from covey.client.cli.up_display import CLEAR_SCREEN, LiveTable
from covey.identity import Identity

NAMES = ["n1", "a-node-with-a-name-of-32-letters"]
PIDS = {"n1": 4194301, NAMES[1]: 4194302}
ERASED = re.compile(r"\x1b\[(\d+)A\r\x1b\[J")


def node(name: str) -> NodeStatus:
    return NodeStatus(
        identity=Identity(name, 7),
        address="127.0.0.1:65001",
        zone="",
        weight=1.0,
        state="serving",
        owner=True,
        generation=1,
        epoch=3,
        heartbeat_age_s=0.25,
        ownership=0.5,
        keys=1_000_000,
        load=LoadReport(1, 0, 0.5, 0.25, 12, 3456),
        condition=Condition(0, 0, 0, 0, False, 0, False, 0),
        handoff=None,
    )


def status(*names: str) -> ClusterStatus:
    return ClusterStatus(
        cluster_id="c0ffee",
        epoch=3,
        changing=False,
        synced=True,
        nodes=tuple(map(node, names)),
        answered_by="n1",
        notes=(),
        replication_factor=3,
        write_quorum=2,
        read_quorum=2,
    )


def test_a_node_without_a_cluster_shows_no_numbers_of_one() -> None:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(status_view(replace(status("n1"), cluster_id="", epoch=0)))
    assert capture.get().splitlines()[0] == "no cluster yet   seen by n1"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_names_states_and_process_ids_are_whole_at_every_width(width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(status_view(status(*NAMES), PIDS))
    rows = [row.split() for row in capture.get().splitlines()]
    for name, pid in PIDS.items():
        assert any({name, "serving", str(pid)} <= set(row) for row in rows)
    assert "…" not in capture.get()


def test_where_all_columns_fit_all_are_shown() -> None:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(status_view(status(*NAMES), PIDS))
    for heading in ("address", "share", "keys", "heartbeat", "in flight", "cpu"):
        assert heading in capture.get()


def test_each_drawing_erases_as_many_rows_as_the_last_one_took(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where not all of them fit, when as many are drawn as do."""
    table = LiveTable(Console(width=80, height=6, color_system=None))
    table.show_status(status(*(f"n{number}" for number in range(20))), [])
    first = capsys.readouterr().out
    assert first.count("\n") <= 5
    assert "more rows" in first
    table.show_message("news")
    erased = ERASED.match(capsys.readouterr().out)
    assert erased is not None
    assert int(erased[1]) == first.count("\n")


def test_another_size_has_the_whole_screen_drawn_anew(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=80, height=24, color_system=None)
    table = LiveTable(console)
    table.show_message("news")
    table.show_status(status("n1"), [])
    capsys.readouterr()
    console.size = console.size._replace(width=60)  # type: ignore[misc]
    table.resize()
    drawn = capsys.readouterr().out
    assert drawn.startswith(CLEAR_SCREEN)
    assert "news" in drawn
    assert all(len(row) <= 60 for row in drawn.removeprefix(CLEAR_SCREEN).splitlines())
