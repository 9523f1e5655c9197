from __future__ import annotations

import json
import signal
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from covey.client.cli.log_lines import parse_time
from tests.client.cli.conftest import Covey

LOGS = Path("logs")


def line(second: int, node: str, event: str, level: str = "info", **fields: object) -> str:
    head = {
        "timestamp": f"2025-01-01T00:00:{second:02}.000000Z",
        "level": level,
        "event": event,
        "node": node,
    }
    return json.dumps(head | fields) + "\n"


@pytest.fixture
def two_logs() -> None:
    LOGS.mkdir()
    (LOGS / "server_n1.log").write_text(
        line(1, "n1", "node.started", address="127.0.0.1:7001")
        + line(4, "n1", "member.down", "warning", member="n2")
    )
    (LOGS / "server_n2.log").write_text(
        line(2, "n2", "node.started") + line(3, "n2", "quorum.failed", "error", key="k") + '{"timestamp": "20'
    )


def events(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines()]


@pytest.mark.usefixtures("two_logs")
def test_files_are_merged_by_time(covey: Covey) -> None:
    lines = covey("logs").text.splitlines()
    assert [line.split()[2] for line in lines] == ["n1", "n2", "n2", "n1"]
    assert lines[3] == "00:00:04.000 warning  n1     member.down member=n2"


@pytest.mark.usefixtures("two_logs")
def test_lines_that_are_no_log_lines_are_skipped_and_counted(covey: Covey) -> None:
    with (LOGS / "server_n1.log").open("a") as log:
        log.write('Traceback (most recent call last):\n["a list"]\n\n')
    result = covey("logs", "--json")
    assert len(events(result.text)) == 4
    assert result.stderr == "covey: skipped 2 lines that are no log lines\n"


@pytest.mark.usefixtures("two_logs")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--event", "node.started"], ["node.started", "node.started"]),
        (["--event", "member.*", "--event", "quorum.*"], ["quorum.failed", "member.down"]),
        (["--node", "n2"], ["node.started", "quorum.failed"]),
        (["--key", "k"], ["quorum.failed"]),
        (["--level", "warning"], ["quorum.failed", "member.down"]),
        (["--since", "2025-01-01T00:00:03"], ["quorum.failed", "member.down"]),
        (["--until", "2025-01-01T00:00:01Z"], ["node.started"]),
        (["--since", "2025-01-01T02:00:04+02:00"], ["member.down"]),
        (["--since", "10m"], []),
        (["logs/server_n1.log"], ["node.started", "member.down"]),
    ],
)
def test_filters(covey: Covey, flags: list[str], expected: list[str]) -> None:
    assert events(covey("logs", "--json", *flags).text) == expected


@pytest.mark.usefixtures("two_logs")
@pytest.mark.parametrize(
    "flags", [["--level", "loud"], ["--since", "soon"], ["--since", "-5m"], ["nowhere.log"]]
)
def test_what_cannot_be_understood_exits_2(covey: Covey, flags: list[str]) -> None:
    result = covey("logs", *flags)
    assert result.code == 2
    assert result.stderr.count("\n") == 1


def test_a_span_counts_back_from_now() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert parse_time("90s", lambda: now) == now - timedelta(seconds=90)
    assert parse_time("2h", lambda: now) == now - timedelta(hours=2)


@pytest.mark.usefixtures("two_logs")
def test_follow_prints_appended_lines_and_new_files_until_ctrl_c() -> None:
    following = subprocess.Popen(
        [sys.executable, "-P", "-m", "covey", "logs", "--json", "--follow", "--event", "node.*"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert events(following.stdout.readline() + following.stdout.readline()) == ["node.started"] * 2
    with (LOGS / "server_n1.log").open("a") as log:
        log.write(line(5, "n1", "node.stopping")[:-10])
        log.flush()
        (LOGS / "server_n3.log").write_text(line(6, "n3", "node.serving"))
        assert events(following.stdout.readline()) == ["node.serving"]
        log.write(line(5, "n1", "node.stopping")[-10:])
    assert events(following.stdout.readline()) == ["node.stopping"]
    following.send_signal(signal.SIGINT)
    _, stderr = following.communicate(timeout=20)
    assert (following.returncode, stderr) == (130, "")


def test_a_field_with_spaces_or_newlines_is_quoted_and_stays_on_the_line(covey: Covey) -> None:
    LOGS.mkdir()
    (LOGS / "client.log").write_text(line(1, "client", "shell.failed", reason="no node\nanswered", key="k"))
    assert covey("logs").text.endswith('shell.failed reason="no node\\nanswered" key=k\n')


def test_a_line_without_an_end_takes_bounded_memory_and_is_skipped(covey: Covey) -> None:
    LOGS.mkdir()
    (LOGS / "server_n1.log").write_text("x" * (32 << 20) + "\n" + line(1, "n1", "node.started"))
    tracemalloc.start()
    result = covey("logs", "--json")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert events(result.text) == ["node.started"]
    assert "skipped 1 lines" in result.stderr
    assert peak_bytes < 16 << 20
