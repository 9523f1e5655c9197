"""What every engine keeps to, on disk or in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from covey.node.errors import Quarantined, StorageFailed
from covey.node.storage.engine import StoreEngine
from covey.node.storage.interface import Chunk, Cursor, Engine, Entry, Usage
from covey.node.storage.segments import segment_of, segment_range
from covey.quorum.version import Version
from covey.ring.tokens import TOKEN_SPACE, WHOLE_RING, TokenRange, token_of
from tests.support.memory_engine import MemoryEngine

OpenEngine = Callable[..., StoreEngine]

KEYS = sorted((b"key-%d" % number for number in range(40)), key=token_of)
"""In ring order from zero."""
TOKENS = [token_of(key) for key in KEYS]


def version(timestamp: int, disk_id: int = 1, generation: int = 1) -> Version:
    return Version(timestamp, disk_id, generation)


def entry(timestamp: int, value: bytes | None = b"value") -> Entry:
    return Entry(version(timestamp), value)


def filled(engine: Engine, keys: Sequence[bytes] = KEYS, value: bytes | None = b"value") -> None:
    engine.merge([(key, entry(1, value)) for key in keys])


def keys_of(chunk: Chunk) -> list[bytes]:
    return [key for key, _ in chunk.entries]


def scanned(engine: Engine, span: TokenRange, max_entries: int = 1000, prefix: bytes = b"") -> list[bytes]:
    found: list[bytes] = []
    after: Cursor | None = None
    while True:
        chunk = engine.scan(span, after, max_entries, 1 << 20, prefix)
        found += keys_of(chunk)
        if chunk.next is None:
            return found
        after = chunk.next


class TestMerge:
    def test_a_key_never_written_is_absent(self, engine: Engine) -> None:
        assert engine.get(b"k") is None

    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    def test_the_newer_version_stands_in_either_order(self, engine: Engine, order: tuple[int, int]) -> None:
        for timestamp in order:
            engine.merge([(b"k", entry(timestamp, b"%d" % timestamp))])
        assert engine.get(b"k") == entry(2, b"2")

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_and_within_one_merge(self, engine: Engine, order: tuple[int, int]) -> None:
        given = [(b"k", entry(1, b"old")), (b"k", entry(2, b"newer"))]
        engine.merge([given[at] for at in order])
        assert engine.get(b"k") == entry(2, b"newer")
        assert engine.usage() == Usage(1, len(b"k" + b"newer"))

    def test_it_returns_what_now_stands(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(5))])
        assert engine.merge([(b"a", entry(4)), (b"b", entry(1)), (b"a", entry(6))]) == [
            version(5),
            version(1),
            version(6),
        ]

    def test_disk_id_and_generation_decide_between_equal_timestamps(self, engine: Engine) -> None:
        engine.merge([(b"k", Entry(version(1, 2, 1), b"b"))])
        engine.merge([(b"k", Entry(version(1, 1, 9), b"a"))])
        assert engine.get(b"k") == Entry(version(1, 2, 1), b"b")
        engine.merge([(b"k", Entry(version(1, 2, 2), b"c"))])
        assert engine.get(b"k") == Entry(version(1, 2, 2), b"c")

    def test_the_same_again_changes_nothing(self, engine: Engine) -> None:
        for _ in range(2):
            assert engine.merge([(b"k", entry(1))]) == [version(1)]
        assert engine.usage().keys == 1

    @pytest.mark.parametrize("value", [b"", b"\0", b"\xff" * 100_000])
    def test_any_value_comes_back_as_it_was(self, engine: Engine, value: bytes) -> None:
        engine.merge([(b"k", entry(1, value))])
        assert engine.get(b"k") == entry(1, value)

    def test_the_largest_version_comes_back(self, engine: Engine) -> None:
        largest = version(2**64 - 1, 2**64 - 1, 2**32 - 1)
        engine.merge([(b"k", Entry(largest, b""))])
        held = engine.get(b"k")
        assert held is not None
        assert held.version == largest

    def test_many_keys_are_read_in_the_order_asked(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(1)), (b"b", entry(2, None))])
        assert engine.get_many([b"b", b"c", b"a", b"b"]) == [entry(2, None), None, entry(1), entry(2, None)]
        assert engine.get_many([]) == []

    def test_nothing_to_merge_is_no_matter(self, engine: Engine) -> None:
        assert engine.merge([]) == []


class TestTombstones:
    def test_a_tombstone_is_held(self, engine: Engine) -> None:
        engine.merge([(b"k", entry(1))])
        engine.merge([(b"k", entry(2, None))])
        held = engine.get(b"k")
        assert held == entry(2, None)
        assert held is not None
        assert held.tombstone

    def test_an_older_value_does_not_come_back(self, engine: Engine) -> None:
        engine.merge([(b"k", entry(2, None))])
        assert engine.merge([(b"k", entry(1))]) == [version(2)]
        assert engine.get(b"k") == entry(2, None)

    def test_scans_show_it(self, engine: Engine) -> None:
        filled(engine, KEYS, None)
        assert scanned(engine, WHOLE_RING) == KEYS

    def test_a_purge_takes_exactly_the_tombstone_that_was_named(self, engine: Engine) -> None:
        filled(engine, KEYS[:2], None)
        engine.merge([(KEYS[2], entry(2, None)), (KEYS[3], entry(2))])
        assert engine.purge([(key, version(1)) for key in (KEYS[0], *KEYS[2:5])]) == 1
        assert [engine.get(key) for key in KEYS[:4]] == [None, entry(1, None), entry(2, None), entry(2)]

    def test_after_a_purge_the_digest_is_that_of_what_is_left(self, engine: Engine) -> None:
        before = engine.digests([WHOLE_RING])
        filled(engine, KEYS, None)
        assert engine.digests([WHOLE_RING]) != before
        engine.purge([(key, version(1)) for key in KEYS])
        assert engine.digests([WHOLE_RING]) == before

    def test_an_empty_value_is_none(self, engine: Engine) -> None:
        engine.merge([(b"k", entry(1, b""))])
        held = engine.get(b"k")
        assert held is not None
        assert not held.tombstone


class TestScan:
    def test_the_whole_ring_is_in_ring_order(self, engine: Engine) -> None:
        filled(engine)
        assert scanned(engine, WHOLE_RING)[0] == KEYS[0]
        assert scanned(engine, WHOLE_RING) == KEYS

    def test_a_range_is_open_at_its_beginning_and_closed_at_its_end(self, engine: Engine) -> None:
        filled(engine)
        assert scanned(engine, TokenRange(TOKENS[3], TOKENS[7])) == KEYS[4:8]

    @pytest.mark.parametrize("max_entries", [1, 3, 1000])
    def test_a_wrapping_range_goes_on_past_zero(self, engine: Engine, max_entries: int) -> None:
        filled(engine)
        assert scanned(engine, TokenRange(TOKENS[30], TOKENS[5]), max_entries) == KEYS[31:] + KEYS[:6]

    @pytest.mark.parametrize("max_entries", [1, 7, 40])
    def test_all_of_the_ring_can_begin_anywhere(self, engine: Engine, max_entries: int) -> None:
        filled(engine)
        assert scanned(engine, TokenRange(TOKENS[9], TOKENS[9]), max_entries) == KEYS[10:] + KEYS[:10]

    @pytest.mark.parametrize(
        "span", [TokenRange(TOKEN_SPACE - 1, 0), TokenRange(TOKEN_SPACE - 2, TOKEN_SPACE - 1)]
    )
    def test_the_ends_of_the_token_space_are_ranges_too(self, engine: Engine, span: TokenRange) -> None:
        filled(engine)
        assert scanned(engine, span) == []

    def test_a_range_that_ends_at_the_last_token(self, engine: Engine) -> None:
        filled(engine)
        assert scanned(engine, TokenRange(TOKENS[37], TOKEN_SPACE - 1), 1) == KEYS[38:]

    def test_a_bound_on_entries(self, engine: Engine) -> None:
        filled(engine)
        chunk = engine.scan(WHOLE_RING, None, 4, 1 << 20)
        assert keys_of(chunk) == KEYS[:4]
        assert chunk.next == Cursor(TOKENS[3], KEYS[3])

    def test_the_last_chunk_says_so_also_when_it_is_full(self, engine: Engine) -> None:
        filled(engine, KEYS[:4])
        assert engine.scan(WHOLE_RING, None, 4, 1 << 20).next is None

    def test_a_bound_on_key_and_value_bytes(self, engine: Engine) -> None:
        filled(engine, KEYS, b"v" * 100)
        chunk = engine.scan(WHOLE_RING, None, 1000, 350)
        assert keys_of(chunk) == KEYS[:3]

    def test_one_entry_comes_however_large(self, engine: Engine) -> None:
        filled(engine, KEYS[:2], b"v" * 100)
        chunk = engine.scan(WHOLE_RING, None, 1000, 10)
        assert keys_of(chunk) == KEYS[:1]
        assert chunk.next is not None
        assert keys_of(engine.scan(WHOLE_RING, chunk.next, 1000, 10)) == KEYS[1:2]

    def test_merges_between_chunks_do_not_disturb_it(self, engine: Engine) -> None:
        """What lies ahead is seen, what lies behind is not gone back for, nothing is skipped or repeated."""
        filled(engine, KEYS[10:])
        first = engine.scan(WHOLE_RING, None, 10, 1 << 20)
        engine.merge([(KEYS[0], entry(1)), (KEYS[15], entry(2, b"newer")), (KEYS[25], entry(2, b"newer"))])
        engine.drop([TokenRange(TOKENS[18], TOKENS[19])])
        rest = engine.scan(WHOLE_RING, first.next, 1000, 1 << 20)
        assert keys_of(first) + keys_of(rest) == KEYS[10:]
        assert dict(rest.entries)[KEYS[25]].value == b"newer"

    def test_a_prefix_picks_keys(self, engine: Engine) -> None:
        filled(engine)
        wanted = [key for key in KEYS if key.startswith(b"key-1")]
        assert scanned(engine, WHOLE_RING, 3, b"key-1") == wanted
        assert scanned(engine, WHOLE_RING, 3, b"none") == []

    def test_passed_over_keys_end_a_chunk_too(self, engine: Engine) -> None:
        filled(engine)
        chunk = engine.scan(WHOLE_RING, None, 2, 1 << 20, b"none")
        assert chunk.entries == ()
        assert chunk.next == Cursor(TOKENS[31], KEYS[31])

    def test_and_count_in_bytes_since_they_are_read(self, engine: Engine) -> None:
        filled(engine, KEYS, b"v" * 100)
        chunk = engine.scan(WHOLE_RING, None, 1000, 350, b"none")
        assert chunk == Chunk((), Cursor(TOKENS[2], KEYS[2]))

    def test_without_values_nothing_stands_for_each_and_tombstones_stay(self, engine: Engine) -> None:
        engine.merge([(KEYS[0], entry(1)), (KEYS[1], entry(2, None))])
        chunk = engine.scan(WHOLE_RING, None, 1000, 1000, with_values=False)
        assert chunk.entries == ((KEYS[0], entry(1, b"")), (KEYS[1], entry(2, None)))

    def test_a_cursor_from_elsewhere_is_refused(self, engine: Engine) -> None:
        with pytest.raises(ValueError, match="is not in"):
            engine.scan(TokenRange(10, 20), Cursor(30, b"k"), 10, 100)


class TestDrop:
    def test_it_takes_the_ranges_and_nothing_else(self, engine: Engine) -> None:
        filled(engine)
        engine.drop([TokenRange(TOKENS[3], TOKENS[7]), TokenRange(TOKENS[30], TOKENS[1])])
        assert scanned(engine, WHOLE_RING) == KEYS[2:4] + KEYS[8:31]
        assert engine.get(KEYS[5]) is None

    def test_the_digest_is_that_of_what_is_left(self, engine: Engine) -> None:
        before = engine.digests([WHOLE_RING])
        filled(engine)
        engine.drop([WHOLE_RING])
        assert engine.digests([WHOLE_RING]) == before

    def test_it_counts_what_is_left(self, engine: Engine) -> None:
        filled(engine)
        engine.drop([TokenRange(TOKENS[3], TOKENS[7])])
        left = KEYS[:4] + KEYS[8:]
        assert engine.usage() == Usage(len(left), sum(len(key + b"value") for key in left))

    def test_all_of_the_ring(self, engine: Engine) -> None:
        filled(engine)
        engine.drop([TokenRange(5, 5)])
        assert scanned(engine, WHOLE_RING) == []
        assert engine.usage() == Usage(0, 0)

    def test_overlapping_ranges_count_once(self, engine: Engine) -> None:
        filled(engine)
        engine.drop([TokenRange(TOKENS[3], TOKENS[7]), TokenRange(TOKENS[5], TOKENS[9])])
        assert engine.usage().keys == len(KEYS) - 6

    def test_what_is_merged_afterwards_stays(self, engine: Engine) -> None:
        filled(engine)
        engine.drop([WHOLE_RING])
        engine.merge([(KEYS[0], entry(0, b"older"))])
        assert engine.get(KEYS[0]) == entry(0, b"older")

    async def test_it_happens_together_with_the_named_values(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        filled(engine)
        engine.drop([WHOLE_RING], {"epoch": b"7"})
        await engine.close()
        engine = open_engine()
        assert engine.get_meta("epoch") == b"7"
        assert scanned(engine, WHOLE_RING) == []

    def test_no_ranges_are_no_matter(self, engine: Engine) -> None:
        filled(engine)
        engine.drop([], {"epoch": b"7"})
        assert engine.get_meta("epoch") == b"7"
        assert engine.usage().keys == len(KEYS)


class TestDigests:
    def test_replicas_with_the_same_versions_have_the_same_in_whatever_order_they_came(
        self, engine: Engine
    ) -> None:
        other = MemoryEngine()
        filled(engine)
        other.merge([(key, entry(0, b"overwritten")) for key in reversed(KEYS)])
        filled(other, KEYS[::-1])
        spans = [
            WHOLE_RING,
            TokenRange(TOKENS[3], TOKENS[7]),
            TokenRange(TOKENS[30], TOKENS[2]),
            TokenRange(1, 2),
        ]
        assert engine.digests(spans) == other.digests(spans)
        assert engine.digests(spans)[-1] == 0

    @pytest.mark.parametrize("differing", [entry(2), entry(2, None)])
    def test_a_difference_shows_in_the_ranges_that_it_lies_in_and_no_others(
        self, engine: Engine, differing: Entry
    ) -> None:
        filled(engine)
        spans = [WHOLE_RING, TokenRange(TOKENS[4], TOKENS[5]), TokenRange(TOKENS[5], TOKENS[4])]
        before = engine.digests(spans)
        engine.merge([(KEYS[5], differing)])
        changed = [one != other for one, other in zip(before, engine.digests(spans), strict=True)]
        assert changed == [True, True, False]

    def test_disjoint_ranges_add_up(self, engine: Engine) -> None:
        filled(engine)
        whole, one, other = engine.digests(
            [WHOLE_RING, TokenRange(TOKENS[4], TOKENS[9]), TokenRange(TOKENS[9], TOKENS[4])]
        )
        assert whole == one ^ other


class TestTombstonesOfARange:
    def test_they_come_page_by_page_up_to_a_timestamp(self, engine: Engine) -> None:
        engine.merge([(key, entry(at, None if at % 2 else b"v")) for at, key in enumerate(KEYS)])
        first = engine.tombstones(WHOLE_RING, None, 9, 3)
        assert [key for key, _ in first.entries] == [KEYS[1], KEYS[3], KEYS[5]]
        rest = engine.tombstones(WHOLE_RING, first.next, 9, 30)
        assert rest.entries == ((KEYS[7], version(7)), (KEYS[9], version(9)))
        assert rest.next is None

    def test_a_purge_takes_exactly_the_tombstones_given(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(1, None)), (b"b", entry(2, None)), (b"c", entry(1))])
        assert (
            engine.purge([(b"a", version(1)), (b"b", version(1)), (b"c", version(1)), (b"d", version(1))])
            == 1
        )
        assert [engine.get(key) for key in (b"a", b"b", b"c")] == [None, entry(2, None), entry(1)]
        assert engine.usage() == Usage(1, len(b"b" + b"c" + b"value"))

    def test_a_purged_tombstone_is_not_durably_gone_before_a_flush(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(1, None))])
        engine.purge([(b"a", version(1))])
        assert not engine.is_durable(b"a")


class TestLatestTimestamp:
    async def test_it_outlasts_what_had_it_and_restarts(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        engine.merge([(b"a", entry(7)), (b"b", entry(3))])
        engine.drop([WHOLE_RING])
        engine.merge([(b"a", entry(5))])
        assert engine.latest_timestamp() == 7
        await engine.close()
        assert open_engine().latest_timestamp() == 7


class TestQuarantine:
    def test_nothing_of_it_is_read_or_merged(self, engine: Engine) -> None:
        filled(engine)
        engine.quarantine([segment_of(TOKENS[3])], "a test")
        with pytest.raises(Quarantined):
            engine.get(KEYS[3])
        with pytest.raises(Quarantined):
            engine.merge([(KEYS[3], entry(2))])
        assert engine.get(KEYS[4]) == entry(1)

    def test_of_many_keys_read_at_once_only_those_in_it_are_refused(self, engine: Engine) -> None:
        filled(engine)
        engine.quarantine([segment_of(TOKENS[3])], "a test")
        before, barred, after, absent = engine.get_many([KEYS[2], KEYS[3], KEYS[4], b"absent"])
        assert (before, after, absent) == (entry(1), entry(1), None)
        assert isinstance(barred, Quarantined)
        assert "a test" in str(barred)

    def test_a_scan_that_comes_to_it_ends_there_by_an_error(self, engine: Engine) -> None:
        filled(engine)
        engine.quarantine([segment_of(TOKENS[3])], "a test")
        with pytest.raises(Quarantined):
            scanned(engine, WHOLE_RING)

    def test_nothing_of_it_is_read_written_compared_or_purged(self, engine: Engine) -> None:
        filled(engine)
        key, span = KEYS[5], segment_range(segment_of(TOKENS[5]))
        engine.quarantine([segment_of(TOKENS[5])], "a test")
        for touching in (
            lambda: engine.get(key),
            lambda: engine.merge([(KEYS[9], entry(2)), (key, entry(2))]),
            lambda: engine.scan(span, None, 10, 1000),
            lambda: engine.digests([span]),
            lambda: engine.digests([TokenRange(span.after - 1, span.after + 1)]),
            lambda: engine.tombstones(WHOLE_RING, None, 9, 9),
            lambda: engine.purge([(key, version(1))]),
        ):
            with pytest.raises(Quarantined, match="a test"):
                touching()
        assert engine.get(KEYS[9]) == entry(1)
        assert engine.digests([TokenRange(span.upto, span.after)]) != [0]

    def test_a_scan_brings_what_lies_before_it_first(self, engine: Engine) -> None:
        filled(engine)
        engine.quarantine([segment_of(TOKENS[5])], "a test")
        chunk = engine.scan(WHOLE_RING, None, 1000, 1 << 20)
        assert keys_of(chunk) == KEYS[:5]
        with pytest.raises(Quarantined):
            engine.scan(WHOLE_RING, chunk.next, 1000, 1 << 20)
        assert scanned(engine, TokenRange(segment_range(segment_of(TOKENS[5])).upto, TOKENS[39])) == KEYS[6:]

    def test_replacing_or_dropping_all_of_it_ends_it_and_a_part_does_not(self, engine: Engine) -> None:
        filled(engine)
        number = segment_of(TOKENS[5])
        span = segment_range(number)
        engine.quarantine([number], "a test")
        engine.drop([TokenRange(span.after, TOKENS[5])])
        engine.replace([TokenRange(TOKENS[5] - 1, TOKENS[5])], [(KEYS[5], entry(3))])
        assert engine.quarantined() == (number,)
        engine.replace([span], [(KEYS[5], entry(4)), (KEYS[5], entry(3))])
        assert engine.quarantined() == ()
        assert engine.get(KEYS[5]) == entry(4)
        engine.quarantine([number], "a test")
        engine.drop([WHOLE_RING])
        assert engine.quarantined() == ()
        assert engine.usage() == Usage(0, 0)

    async def test_it_outlasts_a_restart_and_is_told_once(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        told: list[tuple[int, ...]] = []
        engine.watch_quarantine(lambda numbers, reason: told.append(numbers))
        engine.quarantine([7, 9], "a test")
        engine.quarantine([9], "again")
        assert [number for numbers in told for number in numbers] == [7, 9]
        await engine.close()
        assert open_engine().quarantined() == (7, 9)

    def test_an_entry_outside_what_is_replaced_is_a_mistake(self, engine: Engine) -> None:
        with pytest.raises(ValueError, match="lies in none of the ranges"):
            engine.replace([TokenRange(TOKENS[4], TOKENS[5])], [(KEYS[6], entry(1))])


class TestNamedValues:
    def test_they_are_set_and_deleted(self, engine: Engine) -> None:
        assert engine.get_meta("a") is None
        engine.put_meta({"a": b"1", "b": b"2"})
        engine.put_meta({"a": None, "b": b""})
        assert (engine.get_meta("a"), engine.get_meta("b")) == (None, b"")

    def test_they_go_with_a_merge(self, engine: Engine) -> None:
        engine.merge([(b"k", entry(1))], {"cursor": b"k"})
        assert engine.get_meta("cursor") == b"k"

    def test_they_go_with_a_merge_that_changes_nothing_else(self, engine: Engine) -> None:
        engine.merge([(b"k", entry(2))])
        engine.merge([(b"k", entry(1))], {"cursor": b"k"})
        assert engine.get_meta("cursor") == b"k"

    def test_they_are_no_entries(self, engine: Engine) -> None:
        engine.put_meta({"name": b"value"})
        assert scanned(engine, WHOLE_RING) == []
        assert engine.get(b"name") is None
        assert engine.usage() == Usage(0, 0)


class TestRows:
    NAMES = (b"\xffa", b"\xffa1", b"\xffa2", b"\xffb")

    def test_they_are_set_and_deleted(self, engine: Engine) -> None:
        engine.put_rows([(b"\xffa", b"1"), (b"\xffb", b"2")])
        engine.put_rows([(b"\xffa", None), (b"\xffb", b"")])
        assert (engine.get_row(b"\xffa"), engine.get_row(b"\xffb")) == (None, b"")

    def test_those_of_a_prefix_come_in_order_from_where_one_says(self, engine: Engine) -> None:
        engine.put_rows([(name, name[1:]) for name in reversed(self.NAMES)])
        assert [name for name, _ in engine.rows(b"\xffa")] == list(self.NAMES[:3])
        assert list(engine.rows(b"\xffa", self.NAMES[1])) == [(b"\xffa2", b"a2")]
        assert list(engine.rows(b"\xffa", self.NAMES[2])) == []
        assert [name for name, _ in engine.rows(b"\xffb", self.NAMES[0])] == [b"\xffb"]

    def test_all_of_a_prefix_are_dropped_and_no_others(self, engine: Engine) -> None:
        engine.put_rows([(name, b"") for name in (*self.NAMES, b"\xff")])
        engine.put_meta({"name": b"value"})
        engine.drop_rows(b"\xffa")
        engine.put_rows([(b"\xffa", b"later")])
        assert [name for name, _ in engine.rows(b"\xff")] == [b"\xff", b"\xffa", b"\xffb"]
        assert engine.get_meta("name") == b"value"

    def test_they_are_neither_entries_nor_usage(self, engine: Engine) -> None:
        engine.put_rows([(b"\xffa", b"1")])
        assert scanned(engine, WHOLE_RING) == []
        assert engine.usage() == Usage(0, 0)

    async def test_they_survive_the_process(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        engine.put_rows([(b"\xffa", b"1")])
        await engine.close()
        assert open_engine().get_row(b"\xffa") == b"1"


class TestUsage:
    def test_a_tombstone_is_no_key_but_has_bytes(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(1, b"12345")), (b"b", entry(1, b""))])
        assert engine.usage() == Usage(2, 7)
        engine.merge([(b"a", entry(2, None))])
        assert engine.usage() == Usage(1, 2)

    def test_the_whole_ring_has_the_size_of_all_bytes(self, engine: Engine) -> None:
        filled(engine)
        assert engine.size(WHOLE_RING) == engine.usage().bytes

    def test_a_large_range_has_about_the_bytes_it_holds(self, engine: Engine) -> None:
        filled(engine, KEYS, b"v" * 94)
        held = sum(len(key) + 94 for key in KEYS[10:30])
        assert engine.size(TokenRange(TOKENS[9], TOKENS[29])) == pytest.approx(held, abs=200)

    async def test_it_is_exact_after_reopening(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        filled(engine)
        engine.drop([TokenRange(TOKENS[3], TOKENS[7])])
        engine.merge([(KEYS[0], entry(2, None)), (KEYS[1], entry(2, b"longer than before"))])
        before = engine.usage()
        await engine.close()
        assert open_engine().usage() == before


class TestDurability:
    async def test_a_merged_key_is_durable_only_after_a_flush(self, engine: Engine) -> None:
        assert engine.is_durable(b"a")
        engine.merge([(b"a", entry(1))])
        assert not engine.is_durable(b"a")
        assert engine.is_durable(b"b")
        await engine.durable()
        assert engine.is_durable(b"a")

    @pytest.mark.parametrize("timestamp", [1, 2])
    async def test_a_merge_that_changes_nothing_keeps_it(self, engine: Engine, timestamp: int) -> None:
        engine.merge([(b"a", entry(2))])
        await engine.durable()
        engine.merge([(b"a", entry(timestamp))])
        assert engine.is_durable(b"a")

    async def test_a_merge_during_a_flush_is_not_covered_by_it(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(1)), (b"b", entry(1))])
        flush = asyncio.create_task(engine.durable())
        await asyncio.sleep(0)  # to durable()
        await asyncio.sleep(0)  # to the flush
        engine.merge([(b"a", entry(2))])
        await flush
        assert engine.is_durable(b"b")
        assert not engine.is_durable(b"a")

    async def test_a_drop_is_durable_only_after_a_flush(self, engine: Engine) -> None:
        filled(engine)
        await engine.durable()
        engine.drop([TokenRange(TOKENS[3], TOKENS[7])])
        assert not engine.is_durable(KEYS[5])
        assert engine.is_durable(KEYS[3])
        await engine.durable()
        assert engine.is_durable(KEYS[5])

    async def test_a_range_is_durable_unless_something_in_it_is_not(self, engine: Engine) -> None:
        token = token_of(b"a")
        around, beside = TokenRange(token - 1, token), TokenRange(token, token - 1)
        assert engine.is_durable_within(around)
        engine.merge([(b"a", entry(1))])
        assert not engine.is_durable_within(around)
        assert engine.is_durable_within(beside)
        await engine.durable()
        assert engine.is_durable_within(around)

    async def test_no_range_is_durable_while_a_drop_is_not(self, engine: Engine) -> None:
        engine.drop([TokenRange(10, 20)])
        assert not engine.is_durable_within(TokenRange(30, 40))
        await engine.durable()
        assert engine.is_durable_within(TokenRange(30, 40))

    async def test_what_is_found_at_opening_is_durable(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        filled(engine)
        await engine.close()
        engine = open_engine()
        assert all(engine.is_durable(key) for key in KEYS)

    async def test_periodic_keys_count_as_durable_at_once(self, open_engine: OpenEngine) -> None:
        engine = open_engine("periodic")
        engine.merge([(b"a", entry(1))])
        assert engine.is_durable(b"a")
        await engine.durable()
        await engine.durable(always=True)

    async def test_many_callers_are_all_served(self, engine: Engine) -> None:
        async def put(number: int) -> None:
            engine.merge([(b"%d" % number, entry(1))])
            await engine.durable()
            assert engine.is_durable(b"%d" % number)

        await asyncio.gather(*(put(number) for number in range(200)))


class TestClosing:
    async def test_everything_is_there_after_reopening(self, open_engine: OpenEngine) -> None:
        engine = open_engine()
        filled(engine)
        engine.put_meta({"name": b"value"})
        await engine.close()
        engine = open_engine()
        assert scanned(engine, WHOLE_RING) == KEYS
        assert engine.get(KEYS[0]) == entry(1)
        assert engine.get_meta("name") == b"value"

    async def test_callers_who_wait_are_released(self, engine: Engine) -> None:
        engine.merge([(b"a", entry(1))])
        waiting = asyncio.create_task(engine.durable())
        await asyncio.sleep(0)
        await engine.close()
        await waiting

    async def test_a_second_close_does_nothing(self, engine: Engine) -> None:
        await engine.close()
        await engine.close()

    @pytest.mark.parametrize(
        "use",
        [
            lambda engine: engine.get(b"k"),
            lambda engine: engine.get_many([]),
            lambda engine: engine.merge([(b"k", entry(1))]),
            lambda engine: engine.scan(WHOLE_RING, None, 1, 1),
            lambda engine: engine.size(WHOLE_RING),
            lambda engine: engine.drop([WHOLE_RING]),
            lambda engine: engine.get_meta("k"),
            lambda engine: engine.put_meta({"k": b""}),
            lambda engine: engine.get_row(b"\xffk"),
            lambda engine: engine.rows(b"\xff"),
            lambda engine: engine.put_rows([(b"\xffk", b"")]),
            lambda engine: engine.drop_rows(b"\xffk"),
            lambda engine: engine.is_durable(b"k"),
        ],
    )
    async def test_a_closed_engine_refuses(self, engine: Engine, use: Callable[[Engine], object]) -> None:
        await engine.close()
        with pytest.raises(StorageFailed, match="closed"):
            use(engine)

    async def test_a_closed_engine_is_not_durable(self, engine: Engine) -> None:
        await engine.close()
        with pytest.raises(StorageFailed, match="closed"):
            await engine.durable()
