"""What an engine knows of its entries, after any opening, whatever became of the journal in between."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.storage import ledger
from covey.node.storage.engine import StoreEngine
from covey.node.storage.interface import Entry
from covey.node.storage.ledger import recount
from covey.node.storage.rocks import RocksEngine
from covey.node.storage.segments import SEGMENTS
from covey.node.storage.summary import Summary
from covey.quorum.version import Version
from covey.ring.tokens import TOKEN_SPACE, TokenRange

JOURNAL = b"\xffjournal"
WHOLE_RING = TokenRange(TOKEN_SPACE - 1, TOKEN_SPACE - 1)
KEYS = [b"key%d" % number for number in range(12)]


def kept(engine: StoreEngine) -> list[Summary]:
    return list(engine._ledger.summaries)


def counted(engine: StoreEngine) -> list[Summary]:
    return [recount(engine._store, number)[0] for number in range(SEGMENTS)]


def journal(engine: StoreEngine) -> list[tuple[bytes, bytes]]:
    return list(engine.rows(JOURNAL))


def write(engine: StoreEngine, number: int, key: bytes | None = None) -> None:
    entry = Entry(Version(number, 1, 1), None if number % 5 == 0 else b"v" * (number % 40))
    engine.merge([(key or KEYS[number % len(KEYS)], entry)])


@pytest.fixture(autouse=True)
def short_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "JOURNAL_ROWS", 4)


STEPS = st.one_of(
    st.tuples(st.just("merge"), st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 99)), max_size=5)),
    st.tuples(st.just("drop"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("purge"), st.sampled_from(KEYS)),
    st.tuples(st.just("named"), st.none()),
    st.tuples(st.just("open again"), st.none()),
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, max_size=30))
def test_it_adds_up_to_the_entries_after_any_steps(steps: list[tuple[str, object]]) -> None:
    async def main(folder: Path) -> None:
        engine = RocksEngine.open(folder)
        for step, what in steps:
            if step == "merge":
                engine.merge([(k, Entry(Version(n, 1, 1), b"v" * n if n % 3 else None)) for k, n in what])
            elif step == "drop":
                engine.drop([TokenRange(what, (what + TOKEN_SPACE // 3) % TOKEN_SPACE)])
            elif step == "purge" and (held := engine.get(what)) is not None and held.tombstone:
                engine.purge([(what, held.version)])
            elif step == "named":
                engine.put_meta({"name": b"value"})
            elif step == "open again":
                latest = engine.latest_timestamp()
                await engine.close()
                engine = RocksEngine.open(folder)
                assert engine.latest_timestamp() == latest
            assert kept(engine) == counted(engine)
            assert len(journal(engine)) <= ledger.JOURNAL_ROWS
        await engine.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "engine"))


async def test_a_batch_adds_one_row_whatever_it_changes(open_engine: Callable[..., StoreEngine]) -> None:
    engine = open_engine()
    before = len(list(engine.rows(b"\xffsegment")))
    engine.merge([(key, Entry(Version(1, 1, 1), b"v")) for key in KEYS])
    assert len(journal(engine)) == 1
    assert len(list(engine.rows(b"\xffsegment"))) == before


async def test_a_long_journal_gives_way_to_the_rows_of_the_summaries(
    open_engine: Callable[..., StoreEngine],
) -> None:
    engine = open_engine()
    for number in range(1, ledger.JOURNAL_ROWS + 1):
        write(engine, number)
    assert len(journal(engine)) == ledger.JOURNAL_ROWS
    write(engine, 50)
    assert journal(engine) == []
    assert len(list(engine.rows(b"\xffsegment"))) == sum(summary != Summary() for summary in kept(engine))


@pytest.mark.parametrize("damaged", [0, 1, 2])
async def test_what_a_damaged_journal_said_is_found_out_from_the_entries(
    tmp_path: Path, damaged: int
) -> None:
    engine = RocksEngine.open(tmp_path / "e")
    for number in range(1, 4):
        write(engine, number)
    name, packed = journal(engine)[damaged]
    engine.put_rows([(name, packed[:-1] + b"?")])
    expected, latest = kept(engine), engine.latest_timestamp()
    await engine.close()
    engine = RocksEngine.open(tmp_path / "e")
    assert (kept(engine), engine.latest_timestamp()) == (expected, latest)
    assert journal(engine) == []
    write(engine, 60)
    await engine.close()
    engine = RocksEngine.open(tmp_path / "e")
    assert kept(engine) == counted(engine)
    await engine.close()


async def test_a_folder_without_a_journal_is_read_as_it_is(tmp_path: Path) -> None:
    """As format 2 left it: every summary in its row."""
    engine = RocksEngine.open(tmp_path / "e")
    for number in range(1, ledger.JOURNAL_ROWS + 2):
        write(engine, number)
    assert journal(engine) == []
    expected = kept(engine)
    await engine.close()
    engine = RocksEngine.open(tmp_path / "e")
    assert kept(engine) == expected
    await engine.close()
