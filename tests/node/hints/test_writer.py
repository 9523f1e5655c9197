from __future__ import annotations

import asyncio

from covey.identity import Identity
from covey.node.events import Event
from covey.node.hints.store import Hint, HintStore
from covey.node.hints.writer import DAMAGED, FOREIGN, LOG_INTERVAL_S, NO_ROOM, TOO_OLD, HintLog, HintWriter
from tests.support.manual_clock import ManualClock
from tests.support.memory_engine import MemoryEngine
from tests.support.replicas import EventRecorder, entry
from tests.support.rings import identities

ME, A, B = identities(3)
PLENTY = 1 << 30


class Keeper:
    """Keeping with everything it leans on."""

    def __init__(self, max_bytes: int = PLENTY) -> None:
        self.engine = MemoryEngine(reserve_bytes=1000)
        self.store = HintStore(self.engine, max_bytes)
        self.clock = ManualClock()
        self.lines = EventRecorder()
        self.lacking: list[Identity] = []
        self.log = HintLog(self.clock, self.lines)
        self.writer = HintWriter(ME, self.store, self.lacking.append, self.log)

    async def keep(self, *hints: Hint) -> None:
        for hint in hints:
            self.writer.keep(*hint)
        await asyncio.sleep(0)

    def dropped(self) -> list[tuple[object, object, object]]:
        return [(line["member"], line["hints"], line["reason"]) for line in self.lines.of(Event.HINT_DROPPED)]


def hints(to: Identity = A, *, number: int = 1, count: int = 1) -> list[Hint]:
    return [Hint(to, b"k%d" % key, entry(number)) for key in range(count)]


async def test_hints_of_one_iteration_of_the_event_loop_are_one_write() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(A, count=5), *hints(B, count=5))
    assert keeper.engine.unsynced_batches == 1
    assert (keeper.store.stored(A).hints, keeper.store.stored(B).hints) == (5, 5)


async def test_hints_of_later_iterations_are_separate_writes() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(number=1))
    await keeper.keep(*hints(number=2))
    assert keeper.engine.unsynced_batches == 2
    assert keeper.store.stored(A).hints == 1


async def test_waiting_hints_are_stored_when_the_node_stops() -> None:
    keeper = Keeper()
    keeper.writer.keep(*hints()[0])
    keeper.writer.flush()
    assert keeper.store.stored(A).hints == 1


async def test_a_node_keeps_no_hints_for_itself() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(ME))
    assert keeper.store.destinations() == []
    assert (keeper.lacking, keeper.lines.lines) == ([], [])


async def test_hints_without_room_are_dropped_and_reported() -> None:
    keeper = Keeper(max_bytes=1)
    await keeper.keep(*hints(count=3))
    assert keeper.lacking == [A]
    assert keeper.dropped() == [("n2", 3, NO_ROOM)]
    assert keeper.lines.of(Event.HINT_STORED) == []


async def test_a_broken_disk_drops_hints_and_raises_nothing() -> None:
    keeper = Keeper()
    keeper.engine.break_disk()
    await keeper.keep(*hints(A), *hints(B))
    assert keeper.lacking == [A, B]
    assert [(member, count) for member, count, _ in keeper.dropped()] == [("n2", 1), ("n3", 1)]
    assert "the disk is broken" in str(keeper.dropped()[0][2])


async def test_on_a_full_disk_new_hints_are_dropped_and_old_hints_can_be_deleted() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(A))
    keeper.engine.set_free_space(900)
    keeper.engine.check_free_space()
    await keeper.keep(*hints(A, number=2), *hints(B))
    assert keeper.lacking == [A, B]
    assert "less free space" in str(keeper.dropped()[0][2])
    keeper.writer.expire(hints(A))
    assert keeper.store.destinations() == []


async def test_the_destination_stales_hints_that_are_too_old_or_damaged() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(A), *hints(B))
    keeper.writer.expire(hints(A))
    [(name, packed)] = keeper.engine.rows(b"\xffhint")
    keeper.engine.put_rows([(name, packed[:-1])])
    keeper.writer.drop_damaged(B, [name])
    assert keeper.lacking == [A, B]
    assert keeper.dropped() == [("n2", 1, TOO_OLD), ("n3", 1, DAMAGED)]
    assert keeper.store.destinations() == []


async def test_a_member_that_is_no_replica_any_more_lacks_nothing() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(count=2))
    keeper.writer.discard_foreign(A, hints(count=2))
    assert (keeper.lacking, keeper.store.destinations()) == ([], [])
    assert keeper.dropped() == [("n2", 2, FOREIGN)]


# --- the log ---


async def test_the_first_hint_is_logged_at_once_and_the_next_after_ten_seconds() -> None:
    keeper = Keeper()
    for _ in range(3):
        await keeper.keep(*hints(count=2))
    keeper.clock.now_s += LOG_INTERVAL_S
    await keeper.keep(*hints(count=7))
    assert [line["hints"] for line in keeper.lines.of(Event.HINT_STORED)] == [2, 7]


async def test_each_destination_is_logged_separately() -> None:
    keeper = Keeper()
    await keeper.keep(*hints(A), *hints(B))
    assert [line["member"] for line in keeper.lines.of(Event.HINT_STORED)] == ["n2", "n3"]


async def test_drops_are_summed_up_between_lines_and_none_is_left_out() -> None:
    keeper = Keeper(max_bytes=1)
    for _ in range(4):
        await keeper.keep(*hints())
    keeper.log.flush()
    assert keeper.dropped() == [("n2", 1, NO_ROOM)]
    keeper.clock.now_s += LOG_INTERVAL_S
    keeper.log.flush()
    keeper.log.flush()
    assert keeper.dropped() == [("n2", 1, NO_ROOM), ("n2", 3, NO_ROOM)]


def test_replays_are_summed_up_between_lines() -> None:
    keeper = Keeper()
    for _ in range(3):
        keeper.log.replayed(A, 2, 10, 0.5)
    keeper.clock.now_s += LOG_INTERVAL_S
    keeper.log.flush()
    assert keeper.lines.of(Event.HINT_REPLAYED) == [
        {"member": "n2", "keys": 2, "bytes": 10, "after_s": 0.5},
        {"member": "n2", "keys": 4, "bytes": 20, "after_s": 1.0},
    ]
