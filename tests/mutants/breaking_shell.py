"""Mutations of the command line."""

from __future__ import annotations

from .mutation import mutation

UP = "tests/client/cli/test_up.py"
DUMP = "tests/client/cli/test_dump.py"
LOAD = "tests/client/cli/test_load.py"
STREAMS = "tests/client/cli/test_output.py"

SHELL = (
    mutation(
        "a dump is written into the file that it replaces",
        0,
        "client/cli/dump.py",
        'file.open("wb") if is_stream else _replaced(file)',
        'file.open("wb")',
        f"{DUMP}::test_a_dump_that_fails_leaves_the_file_as_it_was",
    ),
    mutation(
        "a second signal kills nodes at once that a first one lets drain",
        0,
        "client/cli/local_cluster.py",
        "self._ended_at < REPEATED_SIGNAL_S",
        "self._ended_at < 0.0",
        f"{UP}::test_a_signal_that_comes_twice_at_once_lets_the_nodes_drain",
    ),
    mutation(
        "nodes outlive a `covey up` that is killed",
        0,
        "client/cli/local_cluster.py",
        "ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))\n",
        "",
        f"{UP}::test_nodes_end_when_their_parent_is_killed",
    ),
    mutation(
        "a write whose version cannot be printed reads as not done",
        0,
        "client/cli/output.py",
        "raise OutputError(message, ExitCode.OUTPUT_FAILED) from error",
        "raise OutputError(message, ExitCode.NOT_DONE) from error",
        f"{STREAMS}::test_a_put_whose_version_cannot_be_printed_is_reported_as_done",
    ),
    mutation(
        "of lines with one key, one that came before the last is written after it",
        0,
        "client/cli/load.py",
        "        self._next[key] = write\n",
        "        self._next.setdefault(key, write)\n",
        f"{LOAD}::test_lines_with_the_same_key_are_written_in_file_order",
        f"{LOAD}::test_many_lines_of_one_key_take_few_writes_and_all_count",
    ),
)
