"""The data folder: one process, one identity, one generation per start, whatever crashes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from covey.identity import Identity
from covey.membership.extent import Extent
from covey.node.data_directory.directory import DataDirectory
from covey.node.data_directory.local_state import LocalState, MemoryDataDirectory
from covey.node.data_directory.opening import COPIED, FORGIVEN_GENERATIONS, FORMAT
from covey.node.errors import DataDirectoryError


def reopened(path: Path, name: str = "n1") -> DataDirectory:
    folder = DataDirectory.open(path, name)
    folder.close()
    return folder


def test_a_new_folder_is_made_with_all_above_it(tmp_path: Path) -> None:
    folder = reopened(tmp_path / "a" / "b")
    assert folder.identity.name == "n1"
    assert folder.generation == 1
    assert folder.engine_path.is_dir()


def test_the_disk_id_is_64_bits_of_the_random_source(tmp_path: Path) -> None:
    folder = DataDirectory.open(tmp_path / "d", "n1", random.Random(7))
    assert folder.identity.disk_id == random.Random(7).getrandbits(64)
    folder.close()


def test_two_folders_have_two_disk_ids(tmp_path: Path) -> None:
    assert reopened(tmp_path / "a").identity != reopened(tmp_path / "b").identity


def test_the_identity_stays_and_the_generation_rises(tmp_path: Path) -> None:
    openings = [reopened(tmp_path / "d") for _ in range(3)]
    assert len({folder.identity for folder in openings}) == 1
    assert [folder.generation for folder in openings] == [1, 2, 3]


def test_another_name_is_refused_and_costs_no_generation(tmp_path: Path) -> None:
    reopened(tmp_path / "d", "n1")
    with pytest.raises(DataDirectoryError, match="belongs to node 'n1', not 'n2'"):
        DataDirectory.open(tmp_path / "d", "n2")
    assert reopened(tmp_path / "d", "n1").generation == 2


def test_a_folder_in_use_is_refused_naming_the_process(tmp_path: Path) -> None:
    held = DataDirectory.open(tmp_path / "d", "n1")
    with pytest.raises(DataDirectoryError, match=f"in use by process {os.getpid()}:"):
        DataDirectory.open(tmp_path / "d", "n1")
    held.close()
    held.close()
    reopened(tmp_path / "d")


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from covey.node.data_directory.directory import DataDirectory\n"
        "DataDirectory.open(Path(sys.argv[1]), 'n1'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], check=False, timeout=30)
    assert reopened(tmp_path / "d").generation == 2


def test_a_newer_format_is_refused_with_advice(tmp_path: Path) -> None:
    reopened(tmp_path / "d")
    (tmp_path / "d" / "FORMAT").write_text(f"{FORMAT + 1}\n")
    with pytest.raises(DataDirectoryError, match=r"newer version.*upgrade covey"):
        DataDirectory.open(tmp_path / "d", "n1")


def test_an_older_format_is_taken_and_marked_as_this_one(tmp_path: Path) -> None:
    """So that an older covey, which would not find its counts, refuses it from then on."""
    identity = reopened(tmp_path / "d").identity
    (tmp_path / "d" / "FORMAT").write_text("1\n")
    assert reopened(tmp_path / "d").identity == identity
    assert (tmp_path / "d" / "FORMAT").read_text() == f"{FORMAT}\n"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": "n1", "generation": 1}'])
def test_a_damaged_identity_is_refused(tmp_path: Path, content: str) -> None:
    reopened(tmp_path / "d")
    (tmp_path / "d" / "identity.json").write_text(content)
    with pytest.raises(DataDirectoryError, match=r"identity.json is damaged"):
        DataDirectory.open(tmp_path / "d", "n1")


def test_data_without_an_identity_gets_no_new_one(tmp_path: Path) -> None:
    reopened(tmp_path / "d")
    (tmp_path / "d" / "identity.json").unlink()
    with pytest.raises(DataDirectoryError, match="is missing though there is data"):
        DataDirectory.open(tmp_path / "d", "n1")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear all")
    with pytest.raises(DataDirectoryError, match="no covey data"):
        DataDirectory.open(tmp_path, "n1")
    assert not (tmp_path / "FORMAT").exists()


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match="cannot use the data folder"):
        DataDirectory.open(tmp_path / "file" / "d", "n1")
    with pytest.raises(DataDirectoryError, match="cannot use the data folder"):
        DataDirectory.open(tmp_path / "file", "n1")


def test_addresses_are_there_after_reopening(tmp_path: Path) -> None:
    known = {Identity("n2", 2**64 - 1): "127.0.0.1:7002", Identity("n#3", 0): "[::1]:7003"}
    folder = DataDirectory.open(tmp_path / "d", "n1")
    assert folder.peers() == {}
    folder.save_peers(known)
    assert folder.peers() == known
    folder.close()
    assert reopened(tmp_path / "d").peers() == known


def test_damaged_addresses_are_refused_with_advice(tmp_path: Path) -> None:
    reopened(tmp_path / "d")
    (tmp_path / "d" / "peers.json").write_text('["n2"]')
    with pytest.raises(DataDirectoryError, match=r"peers.json is damaged: delete it"):
        DataDirectory.open(tmp_path / "d", "n1")
    (tmp_path / "d" / "peers.json").unlink()
    reopened(tmp_path / "d")


class Crash(BaseException):
    """The process dies here."""


def crashing_call(*args: object) -> None:
    raise Crash


def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system call number ``step`` that changes or syncs a file raise instead, and all after it."""
    calls = 0

    def crashing(name: str, real: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls > step:
                raise Crash(name)
            return real(*args, **kwargs)  # type: ignore[operator]

        return call

    for name in ("fsync", "pwrite", "mkdir", "replace", "rename"):
        monkeypatch.setattr(os, name, crashing(name, getattr(os, name)))
    monkeypatch.setattr(os, "ftruncate", crashing("ftruncate", os.ftruncate))


def test_a_file_keeps_its_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    old, new = {Identity("n2", 2): "a:1"}, {Identity("n2", 2): "b:2"}
    folder = DataDirectory.open(tmp_path / "d", "n1")
    folder.save_peers(old)
    for step in ("fsync", "replace"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, step, crashing_call)
            with pytest.raises(Crash):
                folder.save_peers(new)
    folder.close()
    assert reopened(tmp_path / "d").peers() == old


def opens_and_saves(path: Path) -> bool:
    """Whether it came to the end. The lock is let go of as by the death of the process."""
    with ExitStack() as process:
        try:
            folder = DataDirectory.open(path, "n1")
            process.callback(folder.close)
            folder.save_peers({Identity("n2", 2): "127.0.0.1:7002"})
        except Crash:
            return False
        return True


@pytest.mark.parametrize("opened_before", [0, 1])
def test_a_crash_at_any_step_leaves_a_folder_that_opens(tmp_path: Path, opened_before: int) -> None:
    """And no generation that was ever handed out is handed out again."""
    for step in range(30):
        path = tmp_path / str(step)
        before = [reopened(path) for _ in range(opened_before)]
        with pytest.MonkeyPatch.context() as patch:
            crash_at(step, patch)
            crashed = not opens_and_saves(path)
        after = reopened(path)
        assert after.generation > opened_before
        assert all(folder.identity == after.identity for folder in before)
        if not crashed:
            assert after.generation == opened_before + 2
            return
    pytest.fail("opening takes more steps than were tried")


def test_a_memory_folder_restarts_as_the_same_disk() -> None:
    first: LocalState = MemoryDataDirectory(Identity("n1", 1))
    assert isinstance(first, MemoryDataDirectory)
    first.save_peers({Identity("n2", 2): "a:1"})
    second = first.restarted()
    assert (second.identity, second.generation) == (first.identity, 2)
    assert second.peers() == {Identity("n2", 2): "a:1"}


def test_a_folder_that_gave_up_its_data_is_a_new_disks_that_knows_where_to_look(tmp_path: Path) -> None:
    path, known = tmp_path / "n1", {Identity("n2", 2): "n2:1"}
    folder = DataDirectory.open(path, "n1")
    before = folder.identity
    (folder.engine_path / "data").write_text("x")
    folder.discard_data(known)
    folder.close()
    assert not list(path.glob("engine*"))
    folder = DataDirectory.open(path, "n1")
    assert folder.identity.name == "n1" and folder.identity != before
    assert folder.peers() == known
    folder.close()


def test_data_that_is_set_aside_outlasts_the_next_opening(tmp_path: Path) -> None:
    path = tmp_path / "n1"
    for _ in range(2):
        folder = DataDirectory.open(path, "n1")
        (folder.engine_path / "data").write_text("x")
        folder.discard_data({}, "engine.unread-c")
        folder.close()
    DataDirectory.open(path, "n1").close()
    assert sorted(found.parent.name for found in path.glob("*/data")) == [
        "engine.unread-c",
        "engine.unread-c-2",
    ]


def test_data_given_up_by_a_process_that_died_is_erased_at_the_next_opening(tmp_path: Path) -> None:
    path = tmp_path / "n1"
    folder = DataDirectory.open(path, "n1")
    folder.engine_path.rename(path / "engine.given-up")
    folder.close()
    DataDirectory.open(path, "n1").close()
    assert sorted(found.name for found in path.glob("engine*")) == ["engine"]


# --- copies, and what is in doubt ---


def claimed(path: Path) -> DataDirectory:
    """Opened, and found to have the engine that names its identity; closed again."""
    folder = DataDirectory.open(path, "n1")
    folder.claim()
    folder.close()
    return folder


def test_a_folder_that_was_only_started_again_is_not_in_doubt(tmp_path: Path) -> None:
    claimed(tmp_path / "d")
    claimed(tmp_path / "d")
    assert reopened(tmp_path / "d").doubt == ""


def test_a_folder_that_was_moved_or_got_other_modes_is_not_in_doubt(tmp_path: Path) -> None:
    claimed(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "e")
    for path in (tmp_path / "e").iterdir():
        path.chmod(0o700)
        os.utime(path)
    assert reopened(tmp_path / "e").doubt == ""


def copied_aside(path: Path, copy: Path) -> None:
    shutil.copytree(path, copy)


def copied_and_put_back(path: Path, copy: Path) -> None:
    shutil.copytree(path, copy.with_name("aside"))
    claimed(path)
    shutil.rmtree(path)
    shutil.copytree(copy.with_name("aside"), copy)


def copied_over_itself(path: Path, copy: Path) -> None:
    """The files are overwritten where they are, after a later start."""
    shutil.copytree(path, copy.with_name("aside"))
    claimed(path)
    shutil.copytree(copy.with_name("aside"), path, dirs_exist_ok=True)
    path.rename(copy)


@pytest.mark.parametrize("copied", [copied_aside, copied_and_put_back, copied_over_itself])
def test_a_copy_of_a_folder_is_in_doubt(tmp_path: Path, copied: Callable[[Path, Path], None]) -> None:
    before = claimed(tmp_path / "d")
    copied(tmp_path / "d", tmp_path / "copy")
    copy = reopened(tmp_path / "copy")
    assert copy.doubt == COPIED
    assert copy.identity == before.identity


def test_a_doubt_stays_until_the_folder_is_claimed_again(tmp_path: Path) -> None:
    claimed(tmp_path / "d")
    folder = DataDirectory.open(tmp_path / "d", "n1")
    folder.record_doubt("n2 remembers more")
    folder.close()
    assert reopened(tmp_path / "d").doubt == "n2 remembers more"
    claimed(tmp_path / "d")
    assert reopened(tmp_path / "d").doubt == ""


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"place": 1, "remembered": []}'])
def test_a_witness_that_cannot_be_read_is_a_doubt(tmp_path: Path, content: str) -> None:
    claimed(tmp_path / "d")
    (tmp_path / "d" / "witness.json").write_text(content)
    assert reopened(tmp_path / "d").doubt == COPIED


def test_an_operator_can_accept_a_folder_in_doubt_once(tmp_path: Path) -> None:
    """Later generations than the copy knows of are left to what it lacks."""
    claimed(tmp_path / "d")
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    folder = DataDirectory.open(tmp_path / "copy", "n1", accept_restored=True)
    assert folder.doubt == "" and folder.forgiving and folder.generation == 1 + FORGIVEN_GENERATIONS
    folder.claim()
    folder.close()
    folder = DataDirectory.open(tmp_path / "copy", "n1", accept_restored=True)
    assert not folder.forgiving and folder.generation == 2 + FORGIVEN_GENERATIONS
    folder.close()


def test_an_engine_that_is_given_up_is_kept_aside(tmp_path: Path) -> None:
    folder = DataDirectory.open(tmp_path / "d", "n1")
    folder.claim()
    for number in range(2):
        (folder.engine_path / "data").write_text(str(number))
        old, moved = folder.identity, folder.set_engine_aside()
        assert moved.name == f"engine.{old.disk_id:016x}" and (moved / "data").read_text() == str(number)
        folder.close()
        folder = DataDirectory.open(tmp_path / "d", "n1")
        assert folder.identity != old and folder.generation == 1 and folder.doubt == ""
    folder.close()


def test_what_was_heard_of_others_is_there_after_reopening(tmp_path: Path) -> None:
    heard = {Identity("n2", 2): (Extent(1, 2**64 - 1, 3), Extent(2, 5, 7))}
    folder = DataDirectory.open(tmp_path / "d", "n1")
    folder.claim()
    asyncio.run(folder.save_remembered(heard))
    folder.close()
    again = reopened(tmp_path / "d")
    assert again.remembered() == heard and again.doubt == ""


def test_a_crash_at_any_step_of_claiming_raises_no_doubt(tmp_path: Path) -> None:
    for step in range(20):
        path = tmp_path / str(step)
        before = claimed(path)
        with pytest.MonkeyPatch.context() as patch, ExitStack() as process:
            folder = DataDirectory.open(path, "n1")
            process.callback(folder.close)
            crash_at(step, patch)
            try:
                folder.claim()
            except Crash:
                crashed = True
            else:
                crashed = False
        after = reopened(path)
        assert after.identity == before.identity and after.doubt == ""
        if not crashed:
            return
    pytest.fail("claiming takes more steps than were tried")
