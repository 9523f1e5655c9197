"""The engine on RocksDB under what happens to disks: kills, failing writes, torn and damaged files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from covey.node.errors import Corruption, Quarantined, StorageFailed
from covey.node.storage import ledger, salvage
from covey.node.storage.encoding import stored_key
from covey.node.storage.interface import Cursor, Entry, Usage
from covey.node.storage.rocks import RocksEngine
from covey.node.storage.segments import SEGMENTS, segment_of, segment_range
from covey.quorum.version import Version
from covey.ring.tokens import WHOLE_RING, TokenRange, token_of

WRITER = """
import asyncio, os, sys
from pathlib import Path
from covey.quorum.version import Version
from covey.node.storage.engine import Entry
from covey.node.storage.rocks import RocksEngine

async def write(path, durability, count):
    engine = RocksEngine.open(Path(path), durability)
    for number in range(int(count)):
        engine.merge([(b"%d" % number, Entry(Version(1, 1, 1), b"v" * 100))], {"last": b"%d" % number})
        await engine.durable()
        print(number, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(write(*sys.argv[1:]))
"""


def written_and_killed(path: Path, durability: str, count: int, kill_after: int | None = None) -> int:
    """Let a process put keys until it is killed; returns how many it knew to be durable."""
    command = [sys.executable, "-c", WRITER, str(path), durability, str(count)]
    acknowledged = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in writer.stdout:
            acknowledged += 1
            if acknowledged == kill_after:
                writer.kill()
    assert writer.returncode == -signal.SIGKILL
    return acknowledged


def filled(path: Path, count: int = 1) -> RocksEngine:
    engine = RocksEngine.open(path)
    engine.merge([(b"%d" % number, Entry(Version(1, 1, 1), b"value")) for number in range(count)])
    return engine


def held_keys(engine: RocksEngine, count: int) -> list[int]:
    return [number for number in range(count) if engine.get(b"%d" % number) is not None]


IN_RING_ORDER = sorted((b"%d" % number for number in range(20)), key=token_of)


def scanned_up_to_damage(engine: RocksEngine) -> tuple[list[bytes], Corruption | None]:
    """The keys that scans bring, and what ended them if not the ring's end."""
    keys: list[bytes] = []
    after: Cursor | None = None
    while True:
        try:
            chunk = engine.scan(WHOLE_RING, after, 1000, 1 << 20)
        except Corruption as error:
            return keys, error
        keys += [key for key, _ in chunk.entries]
        after = chunk.next
        if after is None:
            return keys, None


def only(path: Path, pattern: str) -> Path:
    (found,) = path.glob(pattern)
    return found


def largest_table(path: Path) -> Path:
    return max(path.glob("*.sst"), key=lambda table: table.stat().st_size)


def damage(file: Path, at: float) -> None:
    """Flip a bit at a share of the file's length."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 1
    file.write_bytes(content)


class TestKilledProcess:
    async def test_all_that_was_durable_is_there(self, tmp_path: Path) -> None:
        acknowledged = written_and_killed(tmp_path / "e", "sync", 100_000, kill_after=300)
        engine = RocksEngine.open(tmp_path / "e")
        assert held_keys(engine, acknowledged) == list(range(acknowledged))
        await engine.close()

    async def test_under_periodic_all_that_was_merged_is_there(self, tmp_path: Path) -> None:
        written_and_killed(tmp_path / "e", "periodic", 300)
        engine = RocksEngine.open(tmp_path / "e")
        assert held_keys(engine, 300) == list(range(300))
        await engine.close()

    async def test_usage_and_named_values_agree_with_the_entries(self, tmp_path: Path) -> None:
        written_and_killed(tmp_path / "e", "sync", 100_000, kill_after=200)
        engine = RocksEngine.open(tmp_path / "e")
        chunk = engine.scan(WHOLE_RING, None, 10_000, 1 << 30)
        held = [(key, entry.value or b"") for key, entry in chunk.entries]
        assert engine.usage() == Usage(len(held), sum(len(key) + len(value) for key, value in held))
        assert engine.get_meta("last") == b"%d" % (len(held) - 1)
        await engine.close()

    async def test_what_recovery_found_no_longer_hangs_on_the_log(self, tmp_path: Path) -> None:
        """Which may hold writes that were never synced, yet count as durable once recovered."""
        written_and_killed(tmp_path / "e", "periodic", 50)
        engine = RocksEngine.open(tmp_path / "e")
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in (tmp_path / "e").iterdir():
            if file.suffix != ".log":
                (copy / file.name).write_bytes(file.read_bytes())
        await engine.close()
        engine = RocksEngine.open(copy)
        assert held_keys(engine, 50) == list(range(50))
        await engine.close()


class TestDamagedLog:
    async def test_a_torn_tail_is_dropped(self, tmp_path: Path) -> None:
        written_and_killed(tmp_path / "e", "sync", 50)
        log = only(tmp_path / "e", "*.log")
        os.truncate(log, log.stat().st_size - 20)
        engine = RocksEngine.open(tmp_path / "e")
        assert held_keys(engine, 50) == list(range(49))
        assert engine.usage().keys == 49
        assert engine.get_meta("last") == b"48"
        await engine.close()

    def test_damage_before_the_tail_is_not_passed_over(self, tmp_path: Path) -> None:
        written_and_killed(tmp_path / "e", "sync", 50)
        damage(only(tmp_path / "e", "*.log"), 0.5)
        with pytest.raises(Corruption, match=r"cannot open .*start the node on an empty data folder"):
            RocksEngine.open(tmp_path / "e")


class TestDamagedEntries:
    async def flipped(self, path: Path, key: bytes) -> RocksEngine:
        """An engine where one byte of a key's entry has changed behind RocksDB's back."""
        await filled(path, 20).close()
        raw = Rdict(str(path), Options(raw_mode=True), {"meta": Options(raw_mode=True)})
        packed = bytearray(raw[stored_key(key)] or b"")
        packed[-1] ^= 1
        raw[stored_key(key)] = bytes(packed)
        raw.close()
        return RocksEngine.open(path)

    async def test_a_read_finds_it_and_names_the_key(self, tmp_path: Path) -> None:
        engine = await self.flipped(tmp_path, b"7")
        with pytest.raises(Corruption, match="key b'7'"):
            engine.get(b"7")
        assert engine.get(b"8") is not None
        await engine.close()

    async def test_a_scan_finds_it_behind_what_comes_before(self, tmp_path: Path) -> None:
        engine = await self.flipped(tmp_path, b"7")
        found, error = scanned_up_to_damage(engine)
        assert found == [key for key in IN_RING_ORDER if token_of(key) < token_of(b"7")]
        assert "key b'7'" in str(error)
        await engine.close()

    async def test_a_merge_does_not_overwrite_it(self, tmp_path: Path) -> None:
        """What was damaged may have been newer."""
        engine = await self.flipped(tmp_path, b"7")
        with pytest.raises(Corruption, match="key b'7'"):
            engine.merge([(b"7", Entry(Version(2, 1, 1), b""))])
        await engine.close()

    async def test_a_drop_clears_it(self, tmp_path: Path) -> None:
        engine = await self.flipped(tmp_path, b"7")
        engine.drop([TokenRange(token_of(b"7") - 1, token_of(b"7"))])
        assert engine.get(b"7") is None
        assert engine.usage().keys == 19
        await engine.close()


class TestDamagedTables:
    """A bit flipped in a table file of 5,000 entries."""

    async def damaged(self, path: Path) -> RocksEngine:
        await filled(path, 5000).close()
        damage(largest_table(path), 0.5)
        return RocksEngine.open(path)

    async def test_a_scan_does_not_end_early(self, tmp_path: Path) -> None:
        engine = await self.damaged(tmp_path / "e")
        _, error = scanned_up_to_damage(engine)
        assert "cannot scan" in str(error)
        await engine.close()

    async def test_what_is_damaged_goes_into_quarantine_and_all_else_is_served(self, tmp_path: Path) -> None:
        engine = await self.damaged(tmp_path / "e")
        scanned_up_to_damage(engine)
        quarantined = engine.quarantined()
        assert 0 < len(quarantined) < 200
        for number in range(5000):
            key = b"%d" % number
            if segment_of(token_of(key)) in quarantined:
                with pytest.raises(Quarantined):
                    engine.get(key)
            else:
                assert engine.get(key) is not None
        assert engine.quarantined() == quarantined, "all of it was found by the scan"
        await engine.close()

    async def test_a_read_finds_it_too(self, tmp_path: Path) -> None:
        engine = await self.damaged(tmp_path / "e")
        with pytest.raises(Quarantined, match="cannot read"):
            held_keys(engine, 5000)
        assert len(engine.quarantined()) == 1
        await engine.close()

    async def test_of_many_keys_read_at_once_those_that_can_be_are_served(self, tmp_path: Path) -> None:
        engine = await self.damaged(tmp_path / "e")
        keys = [b"%d" % number for number in range(5000)]
        answers = engine.get_many(keys)
        refused = {key for key, answer in zip(keys, answers, strict=True) if isinstance(answer, Quarantined)}
        assert {segment_of(token_of(key)) for key in refused} == set(engine.quarantined())
        assert 0 < len(refused) < 200
        assert None not in answers
        await engine.close()

    async def test_a_merge_that_touches_it_does_nothing(self, tmp_path: Path) -> None:
        engine = await self.damaged(tmp_path / "e")
        with pytest.raises(Quarantined, match="cannot read"):
            engine.merge([(b"%d" % number, Entry(Version(2, 1, 1), b"newer")) for number in range(5000)])
        (quarantined,) = engine.quarantined()
        assert engine.needs_restart()
        whole = next(b"%d" % n for n in range(5000) if segment_of(token_of(b"%d" % n)) != quarantined)
        assert engine.get(whole) == Entry(Version(1, 1, 1), b"value")
        await engine.close()

    async def test_the_next_opening_leaves_out_what_cannot_be_read_and_keeps_it_in_quarantine(
        self, tmp_path: Path
    ) -> None:
        engine = await self.damaged(tmp_path / "e")
        engine.put_meta({"agreement": b"a vote"})
        scanned_up_to_damage(engine)
        quarantined = engine.quarantined()
        assert engine.needs_restart()
        await engine.close()
        engine = RocksEngine.open(tmp_path / "e")
        assert not engine.needs_restart()
        assert engine.get_meta("agreement") == b"a vote"
        assert engine.quarantined() == quarantined
        for number in range(5000):
            if segment_of(token_of(b"%d" % number)) not in quarantined:
                assert engine.get(b"%d" % number) is not None
        await engine.close()

    async def test_then_it_can_be_healed_for_good(self, tmp_path: Path) -> None:
        engine = await self.damaged(tmp_path / "e")
        scanned_up_to_damage(engine)
        await engine.close()
        engine = RocksEngine.open(tmp_path / "e")
        good = [(b"%d" % number, Entry(Version(1, 1, 1), b"value")) for number in range(5000)]
        for segment in engine.quarantined():
            span = segment_range(segment)
            engine.replace([span], [(key, entry) for key, entry in good if span.contains(token_of(key))])
        await engine.close()
        engine = RocksEngine.open(tmp_path / "e")
        assert engine.quarantined() == ()
        assert engine.usage() == Usage(5000, sum(len(key) + len(b"value") for key, _ in good))
        assert len(scanned_up_to_damage(engine)[0]) == 5000
        for segment in range(SEGMENTS):
            for _ in engine.verify(segment, step_bytes=1 << 20):
                pass
        assert engine.quarantined() == ()
        await engine.close()

    async def test_damage_that_is_found_only_when_rewriting_goes_into_quarantine_too(
        self, tmp_path: Path
    ) -> None:
        engine = await self.damaged(tmp_path / "e")
        with pytest.raises(Quarantined):
            held_keys(engine, 5000)
        (known,) = engine.quarantined()
        await engine.close()
        engine = RocksEngine.open(tmp_path / "e")
        assert known in engine.quarantined()
        assert len(engine.quarantined()) > 1
        found = scanned_to_the_end(engine)
        missing = {segment_of(token_of(b"%d" % n)) for n in range(5000) if b"%d" % n not in found}
        assert missing <= set(engine.quarantined())
        await engine.close()

    @pytest.mark.parametrize("survived", range(8))
    async def test_a_crash_while_rewriting_leaves_all_that_was_there(
        self, tmp_path: Path, survived: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process dies at one fsync of a folder after another."""
        engine = await self.damaged(tmp_path / "e")
        scanned_up_to_damage(engine)
        quarantined = engine.quarantined()
        await engine.close()
        syncs = iter(range(survived))

        def die(folder: Path) -> None:
            if next(syncs, None) is None:
                raise OSError(5, "the process dies")

        with monkeypatch.context() as dying:
            dying.setattr(salvage, "_sync", die)
            with suppress(StorageFailed):
                await RocksEngine.open(tmp_path / "e").close()
        engine = RocksEngine.open(tmp_path / "e")
        assert engine.quarantined() == quarantined
        whole = [n for n in range(5000) if segment_of(token_of(b"%d" % n)) not in quarantined]
        assert all(engine.get(b"%d" % number) is not None for number in whole)
        await engine.close()


def scanned_to_the_end(engine: RocksEngine) -> set[bytes]:
    """All that can be scanned, segment by segment."""
    found: set[bytes] = set()
    for number in set(range(SEGMENTS)) - set(engine.quarantined()):
        found |= {key for key, _ in engine.scan(segment_range(number), None, 10_000, 1 << 20).entries}
    return found


@pytest.fixture
def dead_log(tmp_path: Path) -> RocksEngine:
    """An engine with one unsynced entry, whose open log has turned into something that cannot be synced."""
    engine = filled(tmp_path / "e")
    log = str(only(tmp_path / "e", "*.log"))
    links = {
        int(link.name): os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
    }
    (descriptor,) = [number for number, target in links.items() if target == log]
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
    return engine


class TestFailingDisk:
    async def test_a_failed_fsync_ends_all_acknowledgements(self, dead_log: RocksEngine) -> None:
        with pytest.raises(StorageFailed, match="cannot sync"):
            await dead_log.durable()
        assert dead_log.failed is not None
        with pytest.raises(StorageFailed, match="cannot sync"):
            await dead_log.durable()
        with pytest.raises(StorageFailed, match="cannot sync"):
            dead_log.merge([(b"b", Entry(Version(1, 1, 1), b""))])
        with pytest.raises(StorageFailed, match="cannot sync"):
            dead_log.put_meta({"a": b""})
        assert not dead_log.is_durable(b"0")
        assert dead_log.get(b"0") is not None
        await dead_log.close()

    def test_a_failed_write_ends_all_writes(self, tmp_path: Path) -> None:
        """In a process of its own, whose files may not grow beyond a limit."""
        code = """
import resource, signal, sys
from pathlib import Path
from covey.node.errors import StorageFailed
from covey.quorum.version import Version
from covey.node.storage.engine import Entry
from covey.node.storage.rocks import RocksEngine

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
failures = []
engine = RocksEngine.open(Path(sys.argv[1]), "sync", failures.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
written = 0
try:
    while True:
        engine.merge([(b"%d" % written, Entry(Version(1, 1, 1), bytes(50_000)))])
        written += 1
except StorageFailed as error:
    assert failures == [error] == [engine.failed], failures
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try:
    engine.merge([(b"again", Entry(Version(1, 1, 1), b""))])
except StorageFailed:
    assert written > 10 and all(engine.get(b"%d" % number) for number in range(written))
    assert engine.usage().keys == written
    print("refused")
"""
        ran = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "e")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (ran.stdout, ran.stderr) == ("refused\n", "")


class TestOpening:
    async def test_a_database_of_format_1_gets_its_ledger_from_what_is_there(self, tmp_path: Path) -> None:
        """It has counts under another name, and neither summaries nor a latest timestamp."""
        engine = filled(tmp_path / "e", 100)
        engine.merge([(b"deleted", Entry(Version(9, 1, 1), None))])
        expected = engine.usage(), engine.digests([WHOLE_RING]), engine.latest_timestamp()
        engine.put_rows([(name, None) for name, _ in engine.rows(b"\xff")])
        engine.put_rows([(b"\xffusage\0\1", b"a count of format 1")])
        await engine.close()
        engine = RocksEngine.open(tmp_path / "e")
        assert (engine.usage(), engine.digests([WHOLE_RING]), engine.latest_timestamp()) == expected
        assert engine.get_row(b"\xffusage\0\1") is None
        assert len(engine.tombstones(WHOLE_RING, None, 9, 10).entries) == 1
        await engine.close()

    async def test_a_damaged_summary_puts_its_segment_in_quarantine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledger, "JOURNAL_ROWS", 0)
        engine = filled(tmp_path / "e", 20)
        name, packed = next(iter(engine.rows(b"\xffsegment")))
        engine.put_rows([(name, packed[:-1] + b"?")])
        await engine.close()
        engine = RocksEngine.open(tmp_path / "e")
        assert engine.quarantined() == (int.from_bytes(name[-2:], "big"),)
        await engine.close()

    async def test_a_database_in_use_is_refused(self, tmp_path: Path) -> None:
        engine = RocksEngine.open(tmp_path / "e")
        with pytest.raises(StorageFailed, match="cannot open"):
            RocksEngine.open(tmp_path / "e")
        await engine.close()

    def test_a_path_that_cannot_be_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageFailed, match="cannot open"):
            RocksEngine.open(tmp_path / "file")

    async def test_closing_leaves_no_thread_of_ours(self, tmp_path: Path) -> None:
        engine = filled(tmp_path / "e")
        await engine.durable()
        await engine.close()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("covey")]
