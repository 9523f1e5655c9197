"""The searches: small for every test run, large for ``tox -e model``, and one for each broken rule."""

from __future__ import annotations

from dataclasses import replace

from covey.ring.epoch import Quorums

from .bounds import DELETE, PUT, Bounds

ONE = Quorums(1, 1, 1)
TWO = Quorums(2, 2, 1)
THREE = Quorums(3, 2, 2)
READ_ONE = Quorums(3, 3, 1)
WRITE_ONE = Quorums(3, 1, 3)
FIVE = Quorums(5, 3, 3)

BACK_AND_FORTH = ("begin", "finish") * 2
COLLECTED_MEANWHILE = ("begin", "finish", "raise", "begin")

MOVE = Bounds("one copy moves", ONE, "a", ("b",), reads=1)
MOVE_TWICE = Bounds("one copy moves and returns", ONE, "a", ("b", "a"), deepest=5)
MOVE_AGAIN = Bounds("one copy's move is tried twice", ONE, "a", ("b", "b"), deepest=5)
PAIR = Bounds("one of two replicas is replaced", TWO, "ab", ("bc",))
PAIR_TWICE = Bounds(
    "one of two is replaced and returns", TWO, "ab", ("bc", "ab"), deepest=5, script=BACK_AND_FORTH
)
REPLACE = Bounds("one of three replicas is replaced", THREE, "abc", ("bcd",))
REPLACE_READ_ONE = Bounds("one of three is replaced, R = 1", READ_ONE, "abc", ("bcd",))
REPLACE_WRITE_ONE = Bounds("one of three is replaced, W = 1", WRITE_ONE, "abc", ("bcd",))
GROW = Bounds("two replicas become three", THREE, "ab", ("abc",))
SHRINK = Bounds("three replicas become one", THREE, "abc", ("a",))
SWITCH = Bounds("N, W, R change", THREE, "abc", ("abc",), new_quorums=READ_ONE)
STAY = Bounds("nothing changes", THREE, "abc", writes=(PUT, PUT), reads=1)
STAY_READ_ONE = Bounds("nothing changes, R = 1", READ_ONE, "abc", reads=1)
RETRY = Bounds(
    "a write is tried again", ONE, "a", ("b",), writes=(PUT, PUT), reads=1, script=("begin", "abort")
)
COLLECT = Bounds(
    "collection on two", TWO, "ab", writes=(PUT, DELETE), collects=True, repairs=True, hints=True
)
COLLECT_EARLY = Bounds(
    "collection above the floor",
    TWO,
    "ab",
    writes=(PUT, DELETE),
    collects=True,
    repairs=True,
    early_floor=True,
    deepest=2,
)
COLLECT_THREE = Bounds("collection on three", THREE, "abc", writes=(PUT, DELETE), collects=True)
COLLECT_REWRITTEN = Bounds(
    "collection under a new write", TWO, "ab", writes=(PUT, DELETE, PUT), collects=True
)
COLLECT_CHANGING = Bounds(
    "collection while the ring changes", ONE, "a", ("b",), writes=(PUT, DELETE), collects=True
)
COLLECT_RETURN = Bounds(
    "collection before a copy returns",
    ONE,
    "a",
    ("b", "a"),
    writes=(PUT, DELETE),
    collects=True,
    deepest=5,
    script=COLLECTED_MEANWHILE,
)
CORRUPT = Bounds(
    "a copy is found corrupt",
    THREE,
    "abc",
    writes=(PUT, PUT),
    corruptions=1,
    early_floor=True,
    deepest=2,
)

SMALL = (
    MOVE,
    MOVE_TWICE,
    MOVE_AGAIN,
    PAIR,
    PAIR_TWICE,
    REPLACE,
    REPLACE_READ_ONE,
    REPLACE_WRITE_ONE,
    GROW,
    SHRINK,
    SWITCH,
    STAY,
    STAY_READ_ONE,
    COLLECT,
    COLLECT_EARLY,
    COLLECT_THREE,
    COLLECT_CHANGING,
    CORRUPT,
)

READ_MEANWHILE = (
    Bounds("one copy moves twice, read", ONE, "a", ("b", "a"), reads=1, late_pulls=True, deepest=5),
    Bounds("one of two is replaced, read", TWO, "ab", ("bc",), reads=1),
    Bounds("both of two are replaced, read", TWO, "ab", ("cd",), reads=1),
    Bounds("one of three is replaced, read", THREE, "abc", ("bcd",), reads=1),
    Bounds("one of three is replaced, R = 1, read", READ_ONE, "abc", ("bcd",), reads=1),
    Bounds("two replicas become three, read", THREE, "ab", ("abc",), reads=1),
    Bounds("three replicas become one, read", THREE, "abc", ("a",), reads=1),
    Bounds("N, W, R change, read", THREE, "abc", ("abc",), new_quorums=READ_ONE, reads=1),
)

MORE_CHANGES = (
    Bounds("one of two is replaced, two writes", TWO, "ab", ("bc",), writes=(PUT, PUT)),
    Bounds("one of two is replaced, then another", TWO, "ab", ("bc", "ca"), deepest=5, late_pulls=True),
    Bounds("one of three is replaced and returns", THREE, "abc", ("bcd", "abc"), deepest=5),
    Bounds("two of three are replaced", THREE, "abc", ("cde",)),
    Bounds("one of five is replaced", FIVE, "abcde", ("bcdef",)),
)

COLLECT_MORE = (
    replace(COLLECT_THREE, name="collection on three, with repairs", repairs=True),
    replace(
        COLLECT_CHANGING, name="collection at any time", repairs=True, early_floor=True, hints=True, deepest=4
    ),
    replace(COLLECT_RETURN, name="collection while a copy moves and returns", script=(), deepest=6),
    Bounds(
        "collection while one of two is replaced",
        TWO,
        "ab",
        ("bc",),
        writes=(PUT, DELETE),
        collects=True,
        deepest=4,
    ),
)

LARGE = (RETRY, COLLECT_REWRITTEN, COLLECT_RETURN, *READ_MEANWHILE, *MORE_CHANGES, *COLLECT_MORE)

BREAKS = {
    "wiped_disk_is_a_new_node": STAY,
    "quorums_change_by_a_begin": SWITCH,
    "replicas_are_fenced": PAIR,
    "writes_ask_owners": REPLACE,
    "writes_ask_successors": MOVE,
    "acks_of_one_epoch": PAIR_TWICE,
    "retry_keeps_version": RETRY,
    "reads_ask_owners": REPLACE,
    "reads_ask_successors": MOVE,
    "replies_of_one_epoch": MOVE,
    "read_waits_for_write_back": STAY,
    "read_knows_w_holders": STAY_READ_ONE,
    "gaining_drops": COLLECT_RETURN,
    "drops_before_serving": MOVE,
    "resumes_its_own_number": MOVE_AGAIN,
    "pulls_carry_epoch": MOVE_AGAIN,
    "done_carries_epoch": MOVE_AGAIN,
    "snapshot_after_adoption": MOVE_AGAIN,
    "pulls_from_enough": REPLACE,
    "shrinking_merges": SHRINK,
    "finish_waits_for_done": PAIR,
    "finish_waits_for_adoption": REPLACE_READ_ONE,
    "cleanup_when_stable": REPLACE,
    "cleanup_rechecks": MOVE_TWICE,
    "floor_at_the_door": COLLECT,
    "confirmed_by_all": COLLECT_THREE,
    "purge_needs_floor": COLLECT_CHANGING,
    "purge_needs_newer_epoch": COLLECT_EARLY,
    "purge_only_the_tombstone": COLLECT_REWRITTEN,
    "hints_never_count": STAY,
    "check_and_apply_in_one_step": MOVE_TWICE,
    "sync_before_report": STAY,
    "corrupt_is_unknown": CORRUPT,
    "healing_needs_newer_epoch": CORRUPT,
}
"""By flag, the bounds within which its absence leads to a violation."""
