"""Renders a counterexample as text: a numbered line for each step."""

from __future__ import annotations

from .search import Found
from .stages import NAMES
from .state import Label

SENTENCES = {
    "abort": "record {1} is chosen: the change is aborted",
    "adopt": "{1n} adopts record {2}",
    "answer a pull": "{1n} replies to the pull of {2n} under epoch {3}: {4v}",
    "apply": "{2n} applies write {1w} as {4v}, sent under epoch {3}",
    "begin": "record {1} is chosen: a change begins",
    "check": "{2n} checks that it is at epoch {3} before it applies write {1w}",
    "clean up": "{1n} deletes its copy, which is outside of its lists",
    "clean up late": "{1n} deletes the copy that it had decided to delete",
    "confirm": "{1n} confirms the tombstone under epoch {2}",
    "corrupt": "the copy of {1n} is corrupt",
    "count a hint for": "a hint for {2n} is counted towards write {1w} under epoch {3}",
    "decide to clean up": "{1n} decides to delete its copy",
    "drop late": "{1n} drops its old copy of the range that it gained",
    "finish": "record {1} is chosen: the successors become the owners",
    "heal": "{1n} merges the key from {2ns}",
    "hint": "hints of write {1w}, {2v}, are sent under epoch {3}",
    "lose power": "{1n} loses power and returns with what it had synced",
    "pull": "{1n} pulls the key from {2n} under epoch {3}: {4v}",
    "purge": "{1n} purges the tombstone at epoch {2}",
    "raise the floor": "record {1} is chosen: the floor is raised to {2v}",
    "read": "a read begins under epoch {1}",
    "read again": "the reader adopts record {1}",
    "receive a pull": "{1n} receives the reply of {2n} to its pull under epoch {3}: {4v}",
    "repair": "{1n} sends {3v} to the other replicas under epoch {2}, as anti-entropy does",
    "reply": "{1n} replies to the read under epoch {2}: {3v}",
    "switch": "record {1} is chosen: N, W, R change without a begin",
    "sync": "{1n} syncs",
    "wipe": "the disk of {1n} is wiped; it keeps its identity",
    "write": "write {1w} begins under epoch {3}, as {2v}",
    "write again": "the coordinator of write {1w} adopts record {3} and sends it again, as {2v}",
    "write back": "{1n} receives a write-back or repair, sent under epoch {2}: {3v}",
}


def sentence(label: Label) -> str:
    text = SENTENCES[label[0]]
    for place, value in enumerate(label[1:], start=1):
        if isinstance(value, int):
            for kind, written in (
                ("", str(value)),
                ("n", NAMES[value] if value < len(NAMES) else ""),
                ("w", str(value + 1)),
                ("v", f"version {value}" if value else "nothing"),
            ):
                text = text.replace(f"{{{place}{kind}}}", written)
        elif isinstance(value, tuple):
            text = text.replace(f"{{{place}ns}}", " and ".join(NAMES[item] for item in value))
    return text + (": acknowledged" if label[-1] == "acknowledged" else "")


def render(found: Found) -> str:
    lines = [f"{number:3}. {sentence(label)}" for number, label in enumerate(found.trace, start=1)]
    return "\n".join([*lines, f"  => {found.fault}"])
