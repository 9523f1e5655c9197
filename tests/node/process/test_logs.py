"""Where a node's log lines go and what they look like."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from covey.node.errors import ConfigurationError
from covey.node.events import Event, Level
from covey.node.process.logs import LineWriter, LogFormat, NodeLog, open_log

NOON_US = 1_795_435_200_000_000


def open_test_log(file: Path, level: Level = Level.INFO, node: str = "n1", form: str = "json") -> NodeLog:
    return open_log(node, LogFormat(form), file, level, wall_us=lambda: NOON_US + 7)


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


# --- lines ---


def test_a_line_has_time_level_event_node_and_the_fields_in_that_order(tmp_path: Path) -> None:
    log = open_test_log(tmp_path / "log")
    log.emit(Event.MEMBER_DOWN, member="n3")
    assert (tmp_path / "log").read_text() == (
        '{"timestamp": "2026-11-23T12:00:00.000007Z", "level": "warning", "event": "member.down", '
        '"node": "n1", "member": "n3"}\n'
    )


def test_events_below_the_level_are_not_written(tmp_path: Path) -> None:
    log = open_test_log(tmp_path / "log", Level.WARNING)
    log.emit(Event.MEMBER_LEFT, member="n2")
    log.emit(Event.MEMBER_DOWN, member="n3")
    assert [line["event"] for line in lines_of(tmp_path / "log")] == ["member.down"]
    assert not log.would_log(Event.MEMBER_LEFT)
    assert log.would_log(Event.MEMBER_DOWN)


def test_several_nodes_log_from_one_process(tmp_path: Path) -> None:
    """The log of one node knows nothing of another's name, file or level."""
    first, second = (open_test_log(tmp_path / name, node=name) for name in ("n1", "n2"))
    first.emit(Event.MEMBER_LEFT, member="n3")
    second.emit(Event.MEMBER_LEFT, member="n4")
    assert [(line["node"], line["member"]) for line in lines_of(tmp_path / "n1")] == [("n1", "n3")]
    assert [(line["node"], line["member"]) for line in lines_of(tmp_path / "n2")] == [("n2", "n4")]


def test_a_restarted_node_appends(tmp_path: Path) -> None:
    for _ in range(2):
        log = open_test_log(tmp_path / "logs" / "log")
        log.emit(Event.MEMBER_LEFT, member="n3")
        log.close()
    assert len(lines_of(tmp_path / "logs" / "log")) == 2


def test_without_a_file_lines_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    log = open_log("n1", LogFormat.JSON, None, Level.INFO)
    log.emit(Event.MEMBER_LEFT, member="n3")
    log.close()
    assert json.loads(capfd.readouterr().err)["member"] == "n3"


def test_text_that_is_no_unicode_or_moves_the_cursor_is_escaped(tmp_path: Path) -> None:
    open_test_log(tmp_path / "log").emit(Event.NODE_WAITING, reason="ä\udcff\n\x1b[2J\x9b")
    assert [line["reason"] for line in lines_of(tmp_path / "log")] == ["ä\\udcff\\n\\x1b[2J\\x9b"]


def test_console_lines_name_node_event_and_fields(tmp_path: Path) -> None:
    open_test_log(tmp_path / "log", form="console").emit(Event.MEMBER_DOWN, member="n3")
    line = (tmp_path / "log").read_text()
    assert re.search(r"12:00:00.*warning.*member\.down.*node=n1 member=n3\n$", line)


def test_a_file_that_cannot_be_opened_is_the_operators_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path))):
        open_test_log(tmp_path)


# --- a disk that is full ---


class SmallDisk(io.RawIOBase):
    """Takes bytes while there is room, as a file on a full disk does."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self.room = 0

    def write(self, data: Any) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(data)[: self.room]
        self.content += taken
        self.room -= len(taken)
        return len(taken)


@pytest.fixture
def disk() -> SmallDisk:
    return SmallDisk()


@pytest.fixture
def writer(disk: SmallDisk) -> LineWriter:
    return LineWriter(disk, dropped_line=lambda lines: f"{lines} dropped")  # type: ignore[arg-type]


def test_lines_that_could_not_be_written_are_counted(disk: SmallDisk, writer: LineWriter) -> None:
    writer.msg("a")
    writer.msg("b")
    disk.room = 1000
    writer.msg("c")
    writer.msg("d")
    assert disk.content == b"2 dropped\nc\nd\n"


def test_a_torn_line_is_dropped_and_ends_before_the_next_begins(disk: SmallDisk, writer: LineWriter) -> None:
    disk.room = 3
    writer.msg("abcdef")
    writer.msg("ghi")
    disk.room = 1000
    writer.msg("jkl")
    assert disk.content == b"abc\n2 dropped\njkl\n"


def test_the_count_itself_may_not_fit(disk: SmallDisk, writer: LineWriter) -> None:
    writer.msg("a")
    disk.room = 4
    writer.msg("b")
    disk.room = 1000
    writer.msg("c")
    assert disk.content == b"1 dr\n2 dropped\nc\n"


# --- a file that is moved away ---


def test_a_log_goes_on_in_a_new_file_where_the_old_one_was_moved_away(tmp_path: Path) -> None:
    log = open_test_log(tmp_path / "log")
    log.emit(Event.MEMBER_LEFT, member="n3")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.emit(Event.MEMBER_LEFT, member="n4")
    log.reopen()
    log.emit(Event.MEMBER_LEFT, member="n5")
    log.close()
    assert [line["member"] for line in lines_of(tmp_path / "log.1")] == ["n3", "n4"]
    assert [line.get("member") for line in lines_of(tmp_path / "log")] == [None, "n5"]
    assert lines_of(tmp_path / "log")[0]["event"] == "log.reopened"


def test_a_log_that_cannot_be_opened_again_goes_on_in_the_file_it_has(tmp_path: Path) -> None:
    log = open_test_log(tmp_path / "log")
    (tmp_path / "log").rename(tmp_path / "log.1")
    (tmp_path / "log").mkdir()
    log.reopen()
    (line,) = lines_of(tmp_path / "log.1")
    assert line["event"] == "log.kept" and "Is a directory" in line["reason"]


# --- a pipe that nobody reads ---


def test_a_pipe_that_is_full_holds_up_nobody_and_the_lines_are_counted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = open_test_log(pipe)
    for number in range(5_000):
        log.emit(Event.MEMBER_LEFT, member=f"n{number}")
    held = os.read(reader, 1 << 20)
    log.emit(Event.MEMBER_LEFT, member="the last")
    more = os.read(reader, 1 << 20)
    os.close(reader)
    log.close()
    lines = [json.loads(line) for line in (held + more).splitlines() if line.endswith(b"}")]
    (dropped,) = (line["lines"] for line in lines if line["event"] == "log.dropped")
    assert dropped + len(lines) - 1 == 5_001
    assert lines[-1]["member"] == "the last"


def test_a_pipe_that_nobody_has_opened_is_the_operators_fault_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="cannot write the log"):
        open_test_log(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_reach_who_logs() -> None:
    log = open_test_log(Path("/dev/full"))
    log.emit(Event.MEMBER_LEFT, member="n3")
    log.close()
