"""However often an event happens, and whatever is in it, the log stays readable."""

from __future__ import annotations

import asyncio

from covey.node.event_limit import MAX_TEXT, shown_key
from covey.node.events import Event, EventLog
from tests.simulator.virtual_time import in_virtual_time


class EventRecorder(list[tuple[str, dict[str, object]]]):
    def log(self, level: int, event: str, **fields: object) -> None:
        self.append((event, fields))

    def is_enabled_for(self, level: int) -> bool:
        return True


def fail(log: EventLog, reason: str = "n2 is down", key: str = "k", operation: str = "put") -> None:
    log.emit(Event.QUORUM_FAILED, operation=operation, key=key, reason=reason, maybe_applied=False)


def times(lines: EventRecorder) -> list[object]:
    return [fields.get("times", 1) for _, fields in lines]


@in_virtual_time
async def test_what_happens_again_within_a_second_is_one_line_that_says_how_often() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    for number in range(1000):
        fail(log, key=f"key{number}")
    assert times(lines) == [1]
    await asyncio.sleep(1.1)
    assert times(lines) == [1, 999]
    assert lines[-1][1]["key"] == "key999"
    await asyncio.sleep(10)
    assert len(lines) == 2


@in_virtual_time
async def test_what_goes_on_happening_is_a_line_a_second() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    for _ in range(1000):
        fail(log)
        await asyncio.sleep(0.01)
    assert 10 <= len(lines) <= 12
    log.close()
    assert sum(map(int, map(str, times(lines)))) == 1000


@in_virtual_time
async def test_what_happens_once_more_later_is_written_at_once() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    fail(log)
    await asyncio.sleep(2.1)
    fail(log)
    assert times(lines) == [1, 1]
    log.close()


@in_virtual_time
async def test_causes_are_told_apart_but_not_by_numbers_or_keys() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    fail(log, "1.5 s too late", "a")
    fail(log, "2.5 s too late", "b")
    fail(log, "too many", "c")
    fail(log, "too many", "c", "get")
    assert [fields["reason"] for _, fields in lines] == ["1.5 s too late", "too many", "too many"]
    log.close()


@in_virtual_time
async def test_only_so_many_causes_have_lines_of_their_own() -> None:
    """What a stranger says of itself must not fill the disk."""
    lines = EventRecorder()
    log = EventLog(lines)
    for number in range(5000):
        name = "".join(chr(97 + number // 26**place % 26) for place in range(4))
        log.emit(Event.MEMBER_REFUSED, member=name, address=f"h:{number}", reason="who are you")
    await asyncio.sleep(1.1)
    assert len(lines) <= 10
    log.close()
    assert sum(map(int, map(str, times(lines)))) == 5000


@in_virtual_time
async def test_each_of_many_members_has_a_line() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    for letter in "abcdefghijklmnopqrstuvwxyz":
        log.emit(Event.MEMBER_DOWN, member=letter)
    assert len(lines) == 26
    log.close()


@in_virtual_time
async def test_what_was_counted_is_written_when_the_log_is_closed() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    for _ in range(5):
        fail(log)
    log.close()
    assert times(lines) == [1, 4]
    await asyncio.sleep(2)
    assert len(lines) == 2


@in_virtual_time
async def test_an_event_that_is_no_repetition_is_always_written() -> None:
    lines = EventRecorder()
    log = EventLog(lines)
    for epoch in range(20):
        log.emit(Event.EPOCH_ADOPTED, epoch=epoch, changing=False, owners=[], successors=[])
    assert len(lines) == 20


def test_without_a_loop_everything_is_written_at_once() -> None:
    """Nobody would write later what was counted."""
    lines = EventRecorder()
    log = EventLog(lines)
    for _ in range(3):
        fail(log)
    assert times(lines) == [1, 1, 1]


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    lines = EventRecorder()
    EventLog(lines).emit(Event.NODE_WAITING, reason="x" * 5000)
    ((_, fields),) = lines
    assert fields["reason"] == "x" * MAX_TEXT + "... (5000 characters)"


def test_of_a_traceback_the_end_is_kept_with_its_lines() -> None:
    lines = EventRecorder()
    EventLog(lines).emit(Event.NODE_DEFECT, method="Get", traceback="line\n" * 5000 + "ValueError: why\n")
    ((_, fields),) = lines
    kept = str(fields["traceback"])
    assert len(kept) < 8100 and kept.endswith("line\nValueError: why\n")


def test_a_long_list_is_cut() -> None:
    lines = EventRecorder()
    missing = [f"h:{number}" for number in range(250)]
    EventLog(lines).emit(Event.GENESIS_WAITING, missing=missing, reason="why")
    ((_, fields),) = lines
    assert fields["missing"] == [*missing[:100], "... and 150 more"]


def test_a_key_is_shown_as_text_and_cut() -> None:
    assert shown_key("grün".encode()) == "grün"
    assert shown_key(b"\xff\x00\n") == "\\xff\\x00\\n"
    assert shown_key(b"k" * 4096) == "k" * 64 + "... (4096 bytes)"
    assert len(shown_key(bytes(4096))) < 300
