"""The protocols whose traces are kept in this folder; each function plays one on a simulated cluster.

The docstring of a function is the head of its trace: a title, the situation, and what to look at.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from covey.node.messages.control import Accept, Prepare, PushRecord
from covey.node.messages.data import DataBatch, Scan
from covey.node.messages.membership import GossipAck, GossipDelta, GossipSyn, Hello, Ping, ProbeRequest
from covey.node.messages.tombstones import Confirm, Purge
from covey.ring.epoch import EpochRecord
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.describe import PROPOSER
from tests.simulator.network import Message, MessageFilter, Transfer
from tests.simulator.scenario import carrying, distribute, merges, pulls, renumbered
from tests.simulator.transcript import Shown, Transcript
from tests.simulator.virtual_time import run

WIDTH = 100
SEED = 1
SETTINGS = {"tokens_per_weight": 2, "repair_interval": 0}
"""Few token ranges keep a handoff short. Anti-entropy is off, so that only the protocol shown repairs replicas."""
SETTLE_S = 0.01
"""Virtual time within which messages under way arrive."""
NOTATION = (
    'Each line: virtual time in milliseconds, who, what. "a -> b" is a request that arrives at b, and',
    '"b --> a" its reply; "-x" and "--x" do not arrive.',
)
NOTATION_OF = {
    r"\bv1\b": "Versions of data are v1 < v2 < ...",
    r"\bballot \d": '"ballot 1.n1" is n1\'s ballot of round 1.',
    r"\bfloor v": '"floor v2" is the timestamp of version v2.',
    r"\[n\d@": '"[n4@1 joining]" is n4\'s member record: its first version in this trace, and its status.',
    r"\.\.[0-9a-f]{4}\]": '"(213e..6625]" is a range of tokens, by the first 4 of 16 hexadecimal digits.',
}
"""What is explained only in traces whose lines match the pattern."""

Play = Callable[[Shown], Awaitable[str]]


@dataclass(frozen=True)
class Protocol:
    """One trace: the name of its file, what it shows, and how it is made."""

    name: str
    shown: Shown
    play: Play

    def text(self) -> str:
        """Return the content of the file: the head, the rule by which lines were chosen, and the lines."""
        lines = run(self._lines())
        return f"{self._head(lines)}\n\n{lines}"

    async def _lines(self) -> str:
        return await self.play(self.shown)

    def _head(self, lines: str) -> str:
        notation = [text for pattern, text in NOTATION_OF.items() if re.search(pattern, lines)]
        paragraphs = inspect.cleandoc(self.play.__doc__ or "").split("\n\n")
        head: list[str] = []
        for paragraph in (*paragraphs, str(self.shown)):
            head += ["", *textwrap.wrap(" ".join(paragraph.split()), WIDTH, break_on_hyphens=False)]
        return "\n".join(f"# {line}".rstrip() for line in [*head[1:], "", *NOTATION, *notation])


PROTOCOLS: list[Protocol] = []


def protocol(shown: Shown) -> Callable[[Play], Play]:
    """Add a function to ``PROTOCOLS``; its name is the name of the file."""

    def add(play: Play) -> Play:
        PROTOCOLS.append(Protocol(play.__name__.replace("_", "-"), shown, play))
        return play

    return add


# --- operations ---


def key_without(cluster: SimulatedCluster, *coordinators: str) -> bytes:
    """The first of k1, k2, ... of which these are no replicas, so that all of their messages can be seen."""
    keys = (b"k%d" % number for number in range(1, 1000))
    return next(key for key in keys if not set(coordinators) & set(replicas_of(cluster, key)))


def replicas_of(cluster: SimulatedCluster, key: bytes) -> list[str]:
    ring = Ring(cluster.record().owners)
    return sorted(owner.name for owner in ring.preference_list(token_of(key)))


@protocol(Shown((DataBatch,), fsyncs=True))
async def write_fast_path(shown: Shown) -> str:
    """A write on the fast path

    Four nodes, N = 3, W = R = 2. A client asks n1 to write. n1 is no replica of the key, so it only coordinates:
    it draws a version and sends the write to all three replicas at once.

    Look at: (1) A replica answers only after an fsync that covers the write. (2) The client is answered at the
    second acknowledgement, which is W, before the third one has arrived. (3) The third replica stores the write as
    well.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(4)
        key = key_without(cluster, "n1")
        transcript = Transcript(cluster, shown)
        await transcript.put("n1", key, b"hello")
        await asyncio.sleep(SETTLE_S)
        transcript.copies(key, *replicas_of(cluster, key))
        return transcript.text()


@protocol(Shown((DataBatch,), events=("epoch.adopted",)))
async def write_slow_path(shown: Shown) -> str:
    """A write that falls back to the slow path because its epoch has passed

    Four nodes, N = 3, W = R = 2. The replicas have adopted record 2. n1, which coordinates, has not heard of it.
    (Record 2 moves nothing; it differs from record 1 in its number.)

    Look at: (1) Under epoch 1 nothing is stored: each replica refuses the batch and returns its newer record. (2)
    n1 adopts that record, and only then repeats the write under epoch 2. (3) The write keeps its version, so that a
    replica which had stored it would store nothing new. (4) Acknowledgements are counted from zero in each epoch.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(4)
        key = key_without(cluster, "n1")
        cluster.network.lose(carrying(GossipSyn, GossipDelta, PushRecord))
        await distribute(cluster, renumbered(cluster.record()), *replicas_of(cluster, key))
        transcript = Transcript(cluster, shown)
        await transcript.put("n1", key, b"hello")
        await asyncio.sleep(SETTLE_S)
        transcript.copies(key, *replicas_of(cluster, key))
        return transcript.text()


@protocol(Shown((DataBatch,)))
async def read_write_back(shown: Shown) -> str:
    """A read with write-back

    Five nodes, N = 3, W = R = 2. One of the key's three replicas is down. An earlier write of "new" reached only
    one replica, and its client got no acknowledgement. Now a client reads the key through n1, which is no replica
    of it.

    Look at: (1) One replica is asked for the value, another one for the version only. (2) They differ, so the read
    falls back to the slow path, which asks both for the value. (3) The newer version is stored on the replica that
    lacks it before the client is answered. Without this write-back, a later read of that replica and the third one
    would return "old" again.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(5)
        key = key_without(cluster, "n1", "n2")
        first, second, third = replicas_of(cluster, key)
        await cluster.put("n2", key, b"old")
        await asyncio.sleep(SETTLE_S)
        cluster.network.lose(merges(source={"n2"}, target={second, third}))
        await asyncio.gather(cluster.put("n2", key, b"new", timeout_s=0.3), return_exceptions=True)
        down = cluster.nodes[third].identity
        await cluster.nodes[third].crash()
        await cluster.until(lambda: cluster.nodes["n1"].running.members.is_down(down), "noticed")
        transcript = Transcript(cluster, shown)
        transcript.copies(key, first, second, third)
        await transcript.get("n1", key)
        transcript.copies(key, first, second, third)
        return transcript.text()


@protocol(Shown((DataBatch,), events=("hint.stored", "hint.replayed", "member.down", "member.up")))
async def hinted_handoff(shown: Shown) -> str:
    """Hinted handoff

    Four nodes, N = 3, W = R = 2. One replica of the key is down when the key is written through n1. The two other
    replicas acknowledge the write, and n1 keeps a hint for the third: the entry, its version, and the identity of
    the replica that missed it.

    Look at: (1) The hint does not count towards W. (2) Once gossip finds the replica up again, n1 sends it the hint
    as an ordinary write, under the current epoch and with the original version; a replica that holds a newer
    version keeps it.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(4)
        key = key_without(cluster, "n1")
        *others, missing = replicas_of(cluster, key)
        transcript = Transcript(cluster, shown)
        transcript.note(f"{missing}'s process is killed")
        await cluster.nodes[missing].crash()
        await transcript.until(lambda: transcript.count("member.down") == 3)
        await transcript.put("n1", key, b"hello")
        await asyncio.sleep(SETTLE_S)
        transcript.copies(key, *others, missing)
        transcript.note(f"{missing} starts again")
        cluster.nodes[missing].restart()
        await transcript.until(lambda: transcript.count("hint.replayed") == 1)
        transcript.copies(key, *others, missing)
        return transcript.text()


# --- the ring changes ---

AGREEMENT_EVENTS = ("epoch.proposed", "epoch.adopted")
HANDOFF_EVENTS = ("handoff.started", "handoff.finished", "node.serving", "cleanup.finished")


@protocol(Shown((Hello, Prepare, Accept, PushRecord, Scan), events=(*AGREEMENT_EVENTS, *HANDOFF_EVENTS)))
async def join(shown: Shown) -> str:
    """A node joins: begin, pull, finish

    n4 joins a cluster of three owners, N = 3, W = R = 2. n1, the live owner with the lowest identity, is the
    steward. The keys k1 to k6 exist.

    Look at: (1) Begin: record 2 names the owners and the successors. A majority of the owners of record 1 chooses
    it; n1 is one of them, and its own vote crosses no network. (2) Pull: under epoch 2, n4 asks for each range that
    it gains. Meanwhile every operation needs its quorum among the owners and among the successors. (3) Finish: n1
    proposes record 3, whose owners are the successors, once n4 has all of its ranges on disk, which n4 reports by
    gossip. (4) Clean up: after handoff_grace, each owner deletes the copies that it is no longer a replica of.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(3)
        for number in range(1, 7):
            await cluster.put("n1", b"k%d" % number, b"v")
        transcript = Transcript(cluster, shown)
        transcript.note("n4 starts, with n1 as its seed")
        cluster.add("n4", ["n1:1"])
        await transcript.until(lambda: transcript.count("cleanup.finished") == 4)
        return transcript.text()


@protocol(Shown((DataBatch,)))
async def write_during_change(shown: Shown) -> str:
    """Two writes while the ring changes: a quorum in both live rings

    n5 joins four owners, N = 3, W = R = 2, and is pulling its ranges. During the change the key has two
    preference lists, which the first line names. n1, which coordinates, is in neither.

    Look at: (1) A write goes to every replica in either list. (2) It is acknowledged once W replicas of each list
    have stored it; one that is in both lists counts in both. (3) For the second write, two replicas do not receive
    it. The two others are W of the old list and one short of W of the new list, so the client is not answered. (4)
    After rpc_timeout (2 s) without those two replies, n1 repeats the write with its version on the slow path. Now
    all four receive it, and the client is answered.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(4)
        cluster.network.hold(pulls())
        cluster.add("n5", ["n1:1"])
        await cluster.until(lambda: all(cluster.epoch(name) == 2 for name in cluster.nodes), "begun")
        key, old, new = moving_key(cluster, "n1")
        transcript = Transcript(cluster, shown)
        transcript.note(
            f"{key.decode()}: {' '.join(old)} among the owners, {' '.join(new)} among the successors"
        )
        await transcript.put("n1", key, b"one")
        await asyncio.sleep(SETTLE_S)
        unreachable = {next(name for name in old if name in new), "n5"}
        transcript.note(f"{' and '.join(sorted(unreachable))} receive nothing")
        lost = cluster.network.lose(merges(target=unreachable))
        write = asyncio.ensure_future(transcript.put("n1", key, b"two"))
        await transcript.until(lambda: transcript.count("(lost)") == 2)
        transcript.note("they receive again")
        lost()
        await write
        return transcript.text()


def moving_key(cluster: SimulatedCluster, coordinator: str) -> tuple[bytes, list[str], list[str]]:
    """The first key in whose lists the joiner takes the place of an owner, and neither list has ``coordinator``."""
    for number in range(1, 1000):
        key = b"k%d" % number
        old, new = (
            sorted(owner.name for owner in Ring(ring).preference_list(token_of(key)))
            for ring in cluster.record().live_rings
        )
        if old != new and coordinator not in {*old, *new}:
            return key, old, new
    raise AssertionError("no key moves")


@protocol(
    Shown(
        (Prepare, Accept, PushRecord),
        events=(*AGREEMENT_EVENTS, "handoff.started", "member.down"),
    )
)
async def aborted_change(shown: Shown) -> str:
    """A change that is aborted

    n4 joins three owners and dies before it has pulled anything. The change cannot finish, since n4 lacks the
    data of its ranges. It must not last either: while it does, one of the two live rings has a dead member.

    Look at: (1) The steward proposes the abort when n4 has been down for a quarter of handoff_timeout (here 20 s).
    (2) Record 3 is record 1 under a new number: the same owners, no successors. Writes that were acknowledged
    during the change are on a write quorum of these owners as well, so nothing is lost.
    """
    async with SimulatedCluster(SEED, **SETTINGS, handoff_timeout=20.0) as cluster:
        await cluster.form(3)
        cluster.network.hold(pulls())
        transcript = Transcript(cluster, shown)
        transcript.note("n4 starts; what it asks for in order to pull does not arrive")
        n4 = cluster.add("n4", ["n1:1"])
        await transcript.until(lambda: transcript.count("handoff.started") == 1)
        transcript.note("n4's process is killed")
        await n4.crash()
        await transcript.until(lambda: transcript.count("epoch.adopted epoch=3") == 3)
        return transcript.text()


@protocol(Shown((Prepare, Accept, PushRecord), events=("epoch.adopted",)))
async def paxos_duel(shown: Shown) -> str:
    """A Paxos duel: two proposers, one record

    Three owners. n1 and n2 propose different records to follow record 1. Messages are delayed so that each of
    them gets a majority of promises, and neither gets its record accepted at first. What a node sends to itself
    crosses no network; notes say what it does.

    Look at: (1) Ballots are ordered by round, then by proposer: 1.n1 < 1.n2 < 2.n1. (2) An acceptor that has
    promised a ballot refuses every lower one. (3) In its second round, n1 learns of what n2 has accepted under a
    higher ballot than its own first one; it must then propose that record in place of its own. (4) n2, refused in
    its turn, learns that the record is decided. There is one record 2, whichever proposer completed it.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(3)
        base, network = cluster.record(), cluster.network
        transcript = Transcript(cluster, shown)
        unheard = network.lose(of_round(1, Prepare, "n2", "n1"))
        accepts = {name: network.hold(of_round(1, Accept, name)) for name in ("n1", "n2")}
        duel = [asyncio.ensure_future(propose(cluster, "n1", base))]
        await cluster.until(lambda: bool(accepts["n1"].held), "n1 has a majority of promises")
        transcript.note("n1 has accepted its own record under ballot 1.n1; its Accepts are delayed")
        duel.append(asyncio.ensure_future(propose(cluster, "n2", base)))
        await cluster.until(lambda: bool(accepts["n2"].held), "n2 has a majority of promises")
        transcript.note("n2 has accepted its own record under ballot 1.n2; its Accepts are delayed")
        unheard()
        network.lose(of_round(2, Prepare, "n1", "n3"))
        accepts["n1"].release()
        await transcript.until(lambda: transcript.count("n1 log        epoch.adopted") == 1)
        transcript.note("the delayed Accepts of n2 arrive")
        accepts["n2"].release()
        await asyncio.gather(*duel)
        assert len({cluster.record(name) for name in cluster.nodes}) == 1
        return transcript.text()


async def propose(cluster: SimulatedCluster, proposer: str, base: EpochRecord) -> None:
    record = replace(base, number=base.number + 1, settings={**base.settings, PROPOSER: proposer})
    await cluster.nodes[proposer].running._agreement.propose(base, record)


def of_round(number: int, kind: type[Prepare] | type[Accept], source: str, target: str = "") -> MessageFilter:
    def concerned(message: Message) -> bool:
        body = message.request.body
        return (
            isinstance(body, kind)
            and body.ballot.round == number
            and message.source == source
            and target in ("", message.target)
        )

    return concerned


# --- membership ---


def concerns(name: str) -> Callable[[Transfer], bool]:
    """Select messages to or from a node, and those that suspect it or ask for an indirect probe of it."""

    def concerned(transfer: Transfer) -> bool:
        body = transfer.request.body if transfer.reply is None else transfer.reply.body
        suspicions = body.suspicions if isinstance(body, GossipSyn | GossipAck | GossipDelta) else ()
        return (
            name in (transfer.source, transfer.target)
            or isinstance(transfer.request.body, ProbeRequest)
            or any(suspicion.accused.name == name for suspicion in suspicions)
        )

    return concerned


@protocol(
    Shown(
        (GossipSyn, GossipDelta, ProbeRequest, Ping),
        events=("member.suspected", "member.cleared", "member.down", "self.accused"),
        when=concerns("n4"),
        condition="that go to n4, come from it, ask to probe it or suspect it",
    )
)
async def suspicion_and_refutation(shown: Shown) -> str:
    """A gossip exchange, then a suspicion and its refutation

    Four nodes. Each node sends a digest to one other node per heartbeat: for each member, the version of the
    record that it holds (n4@7 is the seventh version of n4's record in this trace). The other node
    answers with the records that it holds in a newer version and with those that it wants, and gets these in a
    GossipDelta. Later n4's process stops, as by SIGSTOP, and continues.

    Look at: (1) A node that gets no answer from n4 asks other members to probe it. (2) Only when these fail too
    does it suspect n4, and sends the suspicion to others at once. (3) A suspicion names a version of n4's record,
    here n4@9, beyond all that n4 can have sent before it stopped; so a record of n4 that is still on its way does
    not refute it. n4, once it receives the suspicion, refutes it with a record of a higher version. Had it not done
    so within suspicion_rounds heartbeats, the others would have declared it down.
    """
    async with SimulatedCluster(SEED, **SETTINGS) as cluster:
        await cluster.form(4)
        transcript = Transcript(cluster, shown)
        await asyncio.sleep(1.0)
        n4 = cluster.nodes["n4"]
        transcript.note("n4's process stops; its kernel still receives what is sent to it")
        n4.process.pause()
        await transcript.until(lambda: transcript.count("member.suspected") == 3)
        await asyncio.sleep(SETTLE_S)
        transcript.note("n4's process continues")
        n4.process.resume()
        await transcript.until(lambda: transcript.count("member.cleared") == 3)
        return transcript.text()


# --- tombstones ---


@protocol(
    Shown(
        (Confirm, Purge, Prepare, Accept, PushRecord),
        events=(*AGREEMENT_EVENTS, "tombstones.confirmed", "tombstones.purged"),
    )
)
async def tombstone(shown: Shown) -> str:
    """The life of a tombstone: confirm, floor, purge

    Three nodes, N = 3. A key is written and deleted. A delete writes a tombstone, which is an entry like any
    other. It may be removed only when no older value can come back.

    Look at: (1) Confirm: after tombstone_age (here 10 s), the first owner in the key's preference list asks the
    other replicas whether they hold the tombstone on disk. If one does not answer, nothing of what follows happens.
    (2) Floor: n3 reports by gossip that it waits for a floor, and the steward n1 proposes a record whose floor is
    the tombstone's timestamp. From then on replicas refuse clients' writes at or below the floor. (3) Purge: under
    this later epoch, each replica deletes exactly this tombstone.
    """
    async with SimulatedCluster(SEED, **SETTINGS, tombstone_age=10.0) as cluster:
        await cluster.form(3)
        key = b"k1"
        transcript = Transcript(cluster, shown)
        await transcript.put("n1", key, b"v")
        await transcript.delete("n1", key)
        await asyncio.sleep(SETTLE_S)
        transcript.copies(key, *cluster.nodes)
        await transcript.until(lambda: transcript.count("tombstones.purged") == 1)
        transcript.copies(key, *cluster.nodes)
        return transcript.text()
