from __future__ import annotations

from collections.abc import Callable

import pytest

from covey.identity import Identity
from covey.node.errors import StorageFailed
from covey.node.hints.store import NAME_PREFIX, NO_HINTS, Hint, HintStore, StoredHints
from covey.node.storage.engine import StoreEngine
from covey.node.storage.interface import Engine, Entry
from covey.quorum.version import COUNTER_BITS, Version
from covey.ring.tokens import token_of
from tests.support.memory_engine import MemoryEngine

PLENTY = 1 << 30
A, B = Identity("a", 1), Identity("b", 1)
A_AGAIN = Identity("a", 2)
"""The same name on another disk."""
KEYS = sorted((b"key%d" % number for number in range(20)), key=token_of)


def entry_at(wall_ms: int, value: bytes | None = b"value") -> Entry:
    return Entry(Version(wall_ms << COUNTER_BITS, 7, 1), value)


def hint(to: Identity = A, key: bytes = b"k", wall_ms: int = 1, value: bytes | None = b"value") -> Hint:
    return Hint(to, key, entry_at(wall_ms, value))


def all_for(store: HintStore, to: Identity = A) -> list[Hint]:
    return list(store.page(to, None, 1000, PLENTY).hints)


def damage(engine: Engine, number: int = 0) -> None:
    """Flip a bit in the row of this number."""
    name, packed = list(engine.rows(NAME_PREFIX))[number]
    engine.put_rows([(name, packed[:-1] + bytes([packed[-1] ^ 1]))])


@pytest.fixture
def store(engine: StoreEngine) -> HintStore:
    return HintStore(engine, PLENTY)


def test_hints_are_stored_by_identity(store: HintStore) -> None:
    store.add([hint(A), hint(B), hint(A_AGAIN)])
    assert (all_for(store, A), all_for(store, B), all_for(store, A_AGAIN)) == (
        [hint(A)],
        [hint(B)],
        [hint(A_AGAIN)],
    )
    assert sorted(store.destinations()) == [A, A_AGAIN, B]


def test_a_delete_is_stored_like_a_value(store: HintStore) -> None:
    store.add([hint(value=None), hint(key=b"empty", value=b"")])
    assert sorted(all_for(store)) == [hint(key=b"empty", value=b""), hint(value=None)]


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_only_the_newest_write_of_a_key_is_stored(store: HintStore, in_one_batch: bool) -> None:
    writes = [hint(wall_ms=2), hint(wall_ms=3, value=b"newest"), hint(wall_ms=1)]
    for batch in [writes] if in_one_batch else [[write] for write in writes]:
        assert store.add(batch) == []
    assert all_for(store) == [hint(wall_ms=3, value=b"newest")]
    assert store.stored(A).hints == 1


def test_the_hints_of_one_call_are_stored_by_one_write() -> None:
    engine = MemoryEngine()
    HintStore(engine, PLENTY).add([hint(A), hint(B), hint(key=b"other")])
    assert engine.unsynced_batches == 1


def test_pages_follow_each_other_in_ring_order(store: HintStore) -> None:
    store.add([hint(key=key) for key in KEYS])
    store.add([hint(B, key=key) for key in KEYS])
    first = store.page(A, None, 8, PLENTY)
    second = store.page(A, first.next, 8, PLENTY)
    third = store.page(A, second.next, 8, PLENTY)
    assert [h.key for page in (first, second, third) for h in page.hints] == KEYS
    assert (len(first.hints), len(third.hints), third.next) == (8, 4, None)


def test_a_page_keeps_to_its_bytes_but_has_at_least_one_hint(store: HintStore) -> None:
    store.add([hint(key=key, value=b"x" * 100) for key in KEYS])
    assert len(store.page(A, None, 1000, 400).hints) == 3
    assert len(store.page(A, None, 1000, 1).hints) == 1


def test_deleted_hints_are_gone(store: HintStore) -> None:
    store.add([hint(key=key) for key in KEYS])
    assert store.delete([hint(key=key) for key in KEYS[:19]]) == 19
    assert all_for(store) == [hint(key=KEYS[19])]
    store.delete(all_for(store))
    assert (store.stored(A), store.destinations()) == (NO_HINTS, [])


def test_a_hint_that_replaced_the_given_one_is_not_deleted(store: HintStore) -> None:
    store.add([hint(wall_ms=1)])
    sent = all_for(store)
    store.add([hint(wall_ms=2)])
    assert store.delete(sent) == 0
    assert all_for(store) == [hint(wall_ms=2)]
    assert store.stored(A).hints == 1


def test_deleting_absent_hints_changes_nothing(store: HintStore) -> None:
    store.add([hint()])
    assert store.delete([hint(key=b"other"), hint(B)]) == 0
    assert store.delete([hint(), hint()]) == 1
    assert store.stored(A) == NO_HINTS


def test_the_size_of_the_hints_for_each_destination_is_bounded(engine: StoreEngine) -> None:
    roomy = HintStore(engine, PLENTY)
    roomy.add([hint(key=KEYS[0])])
    store = HintStore(engine, 3 * roomy.stored(A).bytes + 2)
    refused = store.add([hint(to, key=key) for to in (A, B) for key in KEYS[:5]])
    assert len(refused) == 4
    assert (store.stored(A).hints, store.stored(B).hints) == (3, 3)
    assert {h.to for h in refused} == {A, B}


def test_a_newer_write_of_a_stored_key_needs_room_only_for_its_growth(engine: StoreEngine) -> None:
    roomy = HintStore(engine, PLENTY)
    roomy.add([hint(wall_ms=1)])
    store = HintStore(engine, roomy.stored(A).bytes)
    assert store.add([hint(wall_ms=2)]) == []
    assert store.add([hint(wall_ms=3, value=b"larger value")]) == [hint(wall_ms=3, value=b"larger value")]
    assert all_for(store) == [hint(wall_ms=2)]


async def test_counts_after_a_restart_are_those_of_the_disk(
    open_engine: Callable[..., StoreEngine],
) -> None:
    engine = open_engine()
    store = HintStore(engine, PLENTY)
    store.add([hint(key=key, wall_ms=5 + number) for number, key in enumerate(KEYS)])
    store.add([hint(B), hint(key=KEYS[3], wall_ms=50, value=b"another value")])
    store.delete([hint(key=KEYS[1], wall_ms=6)])
    before = {to: store.stored(to) for to in (A, B, A_AGAIN)}
    await engine.close()
    found = HintStore(open_engine(), PLENTY)
    assert {to: found.stored(to) for to in (A, B, A_AGAIN)} == before
    assert before[A] == StoredHints(19, before[A].bytes, oldest_ms=5)


def test_hints_survive_the_process_without_an_fsync() -> None:
    engine = MemoryEngine()
    HintStore(engine, PLENTY).add([hint()])
    assert all_for(HintStore(engine.crash(keep_unsynced=engine.unsynced_batches), PLENTY)) == [hint()]


def test_the_oldest_wall_time_is_known_and_can_be_corrected(store: HintStore) -> None:
    store.add([hint(key=b"a", wall_ms=7), hint(key=b"b", wall_ms=5), hint(key=b"c", wall_ms=9)])
    assert store.stored(A).oldest_ms == 5
    store.delete([hint(key=b"b", wall_ms=5)])
    store.note_oldest(A, 7)
    assert store.stored(A).oldest_ms == 7
    store.note_oldest(B, 7)
    assert store.stored(B) == NO_HINTS


def test_a_damaged_hint_is_never_returned_and_can_be_deleted(store: HintStore, engine: StoreEngine) -> None:
    store.add([hint(key=key) for key in KEYS[:3]])
    damage(engine, 1)
    page = store.page(A, None, 10, PLENTY)
    assert [h.key for h in page.hints] == [KEYS[0], KEYS[2]]
    assert store.delete((), page.damaged) == 1
    assert store.page(A, None, 10, PLENTY).damaged == ()
    assert store.stored(A).hints == 2


def test_a_damaged_hint_is_replaced_by_any_write(store: HintStore, engine: StoreEngine) -> None:
    store.add([hint(wall_ms=2)])
    damage(engine)
    store.add([hint(wall_ms=1)])
    assert all_for(store) == [hint(wall_ms=1)]
    assert store.stored(A).hints == 1


@pytest.mark.parametrize("rest", [b"", b"\x00\x05a", b"\x00\x01a"])
def test_hints_that_cannot_be_counted_do_not_prevent_startup(engine: StoreEngine, rest: bytes) -> None:
    HintStore(engine, PLENTY).add([hint()])
    engine.put_rows([(NAME_PREFIX + rest, b"")])
    store = HintStore(engine, PLENTY)
    assert "is not a hint" in store.unreadable
    assert (store.stored(A), all_for(store)) == (NO_HINTS, [])
    assert HintStore(engine, PLENTY).unreadable == ""


def test_all_hints_for_a_destination_are_deleted_at_once(store: HintStore) -> None:
    store.add([hint(), hint(key=b"other"), hint(B)])
    assert store.delete_all(A) == 2
    assert (store.stored(A), all_for(store, A), all_for(store, B)) == (NO_HINTS, [], [hint(B)])
    assert store.delete_all(A) == 0


def test_the_counts_stay_as_they_were_when_the_disk_fails() -> None:
    engine = MemoryEngine()
    store = HintStore(engine, PLENTY)
    store.add([hint()])
    kept = store.stored(A)
    engine.break_disk()
    with pytest.raises(StorageFailed):
        store.add([hint(key=b"other")])
    with pytest.raises(StorageFailed):
        store.delete([hint()])
    assert store.stored(A) == kept
