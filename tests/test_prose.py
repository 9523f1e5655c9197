"""Plain technical English in documentation, docstrings, comments and messages.

Two checks of each folder with product code and each page of documentation:
- no phrase of ``PHRASES`` occurs in text, comments, docstrings and messages (string literals that contain a space);
- the docstring of a function or method begins with a verb in the imperative, one of ``VERBS``.

Code within text (``like this``) is not checked.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("node", "client", "ring", "membership", "quorum", "api")

PHRASES = {
    r"told|tells?|telling": "send, report, show, inform",
    r"says?|said|saying": "state, report, contain, describe; return",
    r"whoever|whomever": "the node that, any client that",
    r"nobody|somebody|someone": "no node, another process, a person",
    r"so (?:many|much|long|often)": "the number or duration itself; as long as",
    r"of (?:its|their|one's) own": "its own X; a separate X",
    r"lets? go of": "release, close",
    r"go(?:es|ing)? on|went on": "continue",
    r"in vain": "without success",
    r"lately": "recently",
    r"whole li(?:fe|ves)": "lifetime",
    r"of old": "earlier, previous",
    r"stands?(?! for)|stood": "exist, be, remain, be listed",
    r"ones": "repeat the noun",
    r"anew|afresh": "again",
    r"alone": "only",
    r"rather(?! than)": "instead",
    r"(?:come|go|goes|sent|read|written|travel|travels) together": "in one batch, concurrently",
}
"""Each phrase, and what to write instead."""

ALLOWED: dict[tuple[str, str], str] = {}
"""File and phrase as found, in lower case: why it stays. An entry that nothing needs fails the check."""

VERB_LIST = """
Abort Accept Account Acknowledge Acquire Adapt Add Admit Adopt Advance Agree Align Allocate Allow Announce
Answer Append Apply Arm Arrange Ask Assemble Assert Assign Associate Attach Attempt Await Back Balance Become
Begin Bind Block Bound Break Bring Broadcast Buffer Build Bump Cache Calculate Call Cancel Carry Catch Change
Charge Check Choose Claim Clamp Classify Clean Clear Close Collect Combine Commit Compact Compare Compile
Complete Compose Compute Concatenate Conclude Configure Confirm Connect Consider Construct Consume Contact
Continue Convert Coordinate Copy Correct Count Cover Create Cut Deal Decide Declare Decode Decrease Decrement
Deduce Defer Define Delay Delete Deliver Demand Deny Depart Derive Descend Describe Detect Determine Disable
Discard Disconnect Discover Dispatch Display Distribute Divide Do Drain Draw Drive Drop Dump Ease Elect Embed
Emit Empty Enable Encode Encrypt End Enforce Enlarge Enqueue Ensure Enter Erase Escape Estimate Evaluate Evict
Examine Exceed Exchange Exclude Execute Exhaust Exit Expand Expect Expire Explain Export Expose Extend Extract
Fail Fall Fan Feed Fence Fetch Fill Filter Find Finish Fit Flag Flush Follow Forget Fork Form Format Forward
Free Freeze Gather Generate Get Give Go Gossip Grant Group Grow Guard Guess Halve Hand Handle Hash Have Heal
Hedge Hold Identify Ignore Import Include Increase Increment Infer Inform Initialize Insert Install Interpret
Interrupt Intersect Introduce Invalidate Invoke Isolate Iterate Join Judge Keep Kill Lead Learn Leave Lend Let
Lift Limit Link List Listen Load Locate Lock Log Look Lower Make Map Mark Match Measure Merge Migrate Modify
Monitor Move Name Narrow Negotiate Nest Normalize Notify Number Observe Obtain Offer Omit Open Order Overwrite
Pace Pack Pair Park Parse Partition Pass Pause Peek Perform Permit Persist Pick Pickle Pin Ping Place Plan
Point Poll Pop Postpone Prefer Prepare Prepend Present Preserve Prevent Print Probe Process Produce Promise
Promote Propagate Propose Protect Prove Provide Prune Publish Pull Pump Purge Push Put Quarantine Query Queue
Quit Quote Raise Rank Rate Reach React Read Rebalance Rebuild Recalculate Receive Recheck Reclaim Recognise
Recognize Recompute Reconcile Reconnect Record Recover Recreate Redirect Redraw Reduce Refer Refill Refine
Refresh Refuse Refute Register Reject Relay Release Reload Rely Remember Remove Rename Render Renew Renumber
Reopen Repair Repeat Replace Replay Reply Report Represent Request Require Reschedule Resend Reserve Reset
Resize Resolve Respond Restart Restore Restrict Resume Retain Retire Retry Return Reuse Reverse Revert Revoke
Rewrite Ring Rise Roll Rotate Round Route Run Sample Save Scan Schedule Score Scrub Seal Search See Seed
Select Send Separate Serialize Serve Set Settle Share Shift Shorten Show Shrink Shuffle Shut Sign Signal
Simulate Size Skip Sleep Slice Snapshot Sort Spawn Spill Split Spread Stage Start Steer Stop Store Stream
Strip Submit Subscribe Substitute Subtract Sum Supersede Supply Surrender Suspect Suspend Swap Sweep Switch
Sync Synchronize Take Terminate Test Throttle Tick Time Tolerate Touch Track Transfer Transform Translate
Trigger Trim Truncate Try Turn Unblock Undo Unlock Unpack Unregister Unwrap Update Upgrade Use Validate Verify
Visit Vote Wait Wake Walk Warn Watch Weigh Widen Wind Withdraw Withhold Work Wrap Write Yield Zip
"""
VERBS = frozenset(VERB_LIST.split())
"""A verb that is missing may be added; a word that is none may not."""

PHRASE = re.compile(r"\b(?:" + "|".join(PHRASES).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
CODE_SPAN = re.compile(r"``.+?``|`[^`\n]+`", re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PROTO_COMMENT = re.compile(r"(?:^[ \t]*//.*\n|[ \t]//.*\n)+", re.MULTILINE)
IS_PROPERTY = {"property", "cached_property", "setter"}


class Text(NamedTuple):
    line: int
    content: str


# --- what is checked ---


def part_of(file: Path) -> str:
    """Return the folder of a file of code, or the name of a page."""
    path = file.relative_to(ROOT)
    return str(path) if file.suffix == ".md" else str(path.parent)


@cache
def parts() -> dict[str, tuple[Path, ...]]:
    """Return the files of each folder and page that is checked."""
    files = [
        *ROOT.glob("*.py"),
        *(file for folder in PRODUCT for file in (ROOT / folder).rglob("*.py")),
        *(ROOT / "proto").glob("*.py"),
        *(ROOT / "proto").rglob("*.proto"),
        *(ROOT / page for page in ("CHANGELOG.md", "CONTRIBUTING.md", "README.md")),
        *(ROOT / "docs").glob("*.md"),
    ]
    found: dict[str, tuple[Path, ...]] = {}
    for file in sorted(files):
        found[part_of(file)] = (*found.get(part_of(file), ()), file)
    return found


def code_parts() -> list[str]:
    return [part for part, files in parts().items() if any(file.suffix == ".py" for file in files)]


# --- phrases ---


def texts(file: Path) -> Iterator[Text]:
    content = file.read_text()
    if file.suffix == ".md":
        yield Text(1, FENCED.sub(lambda block: "\n" * block[0].count("\n"), content))
    elif file.suffix == ".proto":
        for comment in PROTO_COMMENT.finditer(content):
            yield Text(content.count("\n", 0, comment.start()) + 1, comment[0].replace("//", "  "))
    else:
        yield from literals(content)
        yield from comments(content)


def literals(source: str) -> Iterator[Text]:
    """Yield docstrings, messages, and the constant pieces of formatted messages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(node.lineno, node.value)


def comments(source: str) -> Iterator[Text]:
    """Yield each comment, with those on the lines below it."""
    begun: Text | None = None
    lines = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if begun is not None and token.start[0] == begun.line + lines:
                begun, lines = Text(begun.line, f"{begun.content}\n{token.string[1:]}"), lines + 1
                continue
            if begun is not None:
                yield begun
            begun, lines = Text(token.start[0], token.string[1:]), 1
    if begun is not None:
        yield begun


def phrases_in(text: Text) -> Iterator[tuple[int, str]]:
    """Yield each phrase in lower case with its line, also where a line break divides it."""
    plain = CODE_SPAN.sub(lambda span: re.sub(r"[^\n]", "`", span[0]), text.content)
    for found in PHRASE.finditer(plain):
        yield text.line + plain.count("\n", 0, found.start()), " ".join(found[0].lower().split())


@cache
def all_phrases(part: str) -> tuple[tuple[str, int, str], ...]:
    return tuple(
        (str(file.relative_to(ROOT)), line, phrase)
        for file in parts()[part]
        for text in texts(file)
        for line, phrase in phrases_in(text)
    )


@pytest.mark.parametrize("part", parts())
def test_text_is_free_of_phrases_that_have_a_plain_word(part: str) -> None:
    faults = [
        f"{file}:{line}: {phrase}"
        for file, line, phrase in all_phrases(part)
        if (file, phrase) not in ALLOWED
    ]
    assert faults == []


def test_every_exception_is_needed() -> None:
    used = {(file, phrase) for part in parts() for file, _, phrase in all_phrases(part)}
    assert sorted(ALLOWED.keys() - used) == []


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (".py", '"""The node is told."""\n', [(1, "told")]),
        (".py", "x = 1  # goes\n# on until it ends\n", [(1, "goes on")]),
        (".py", 'raise ValueError(f"nobody answers {x}")\n', [(1, "nobody")]),
        (".py", 'EVENT = "told"\nx = told\n"""Call ``told``."""\n', []),
        (".proto", "// Sent to\n// whoever asks.\nmessage Told {}\n", [(2, "whoever")]),
        (".md", "A `told` b.\n\n```\ntold\n```\n\nIt lets\ngo of it.\n", [(7, "lets go of")]),
    ],
)
def test_phrases_are_found_where_people_read_and_not_in_code(
    tmp_path: Path, suffix: str, content: str, expected: list[tuple[int, str]]
) -> None:
    file = tmp_path / f"file{suffix}"
    file.write_text(content)
    assert [found for text in texts(file) for found in phrases_in(text)] == expected


# --- docstrings ---


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return True for what is read like a field, whose docstring may be a noun phrase."""
    names = {
        node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        for node in function.decorator_list
    }
    return bool(names & IS_PROPERTY)


def first_words(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first word of the docstring of each function and method, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.lineno, re.split(r"[\s,.:;]", docstring, maxsplit=1)[0]


@pytest.mark.parametrize("part", code_parts())
def test_docstrings_of_functions_begin_with_a_verb(part: str) -> None:
    faults = [
        f"{file.relative_to(ROOT)}:{line}: {word}"
        for file in parts()[part]
        if file.suffix == ".py"
        for line, word in first_words(file.read_text())
        if word not in VERBS
    ]
    assert faults == []


def test_a_docstring_without_a_verb_is_found() -> None:
    source = (
        'def f():\n    """What is kept."""\n'
        "class C:\n"
        '    """A class."""\n'
        '    @property\n    def p(self):\n        """The size."""\n'
        '    async def m(self):\n        """Return it."""\n'
    )
    assert list(first_words(source)) == [(1, "What"), (8, "Return")]
