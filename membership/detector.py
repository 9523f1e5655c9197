"""Whom to probe next: every candidate once per shuffled round.

A shuffled round (SWIM, section 4.3) bounds the time until a given member is probed, which independent random
choices would not. A member may be put first, out of turn; at least every second probe follows the round.

Failure detection: from a probe without an answer to a member that is down, and back.

Rules (SWIM; the last one after Lifeguard, Dadgar et al., DSN-W 2018):
- a failed exchange alone accuses nobody: others are asked to try, and any sign from the member itself
  counts;
- evidence of life is one thing only, a record newer than the suspicion (see ``suspicion``); so a suspect
  that calls here is told that it is accused, and answers with such a record;
- a member whose heartbeat is overdue is probed out of turn, which shortens the longest waits for the first
  probe of a dead member; by itself an old heartbeat accuses nobody;
- a member that left is never accused;
- an accuser who is proved wrong by what others heard tries the member again soon, for it could not reach
  it;
- some who hear of a suspicion seek a second opinion: their next probe goes to the accused, out of turn.
  That tells it of the suspicion on a fresh path. In expectation ``indirect_probes`` of them do, however
  many there are;
- a node that was itself paused trusts neither its failed probes nor its timers: it may only have missed the
  answers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from ..identity import Identity
from .directives import Directive, MemberDown, MemberSuspected, MemberUp, ProbeVia
from .dissemination import Pushes
from .member_list import Liveness, View
from .record import MemberRecord, Suspicion
from .settings import GossipSettings
from .suspicion import Suspicions, newest_possible, suspicion_timeout_s


class ProbeSchedule:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._round: deque[Identity] = deque()
        self._first: deque[Identity] = deque()
        self._out_of_turn = False

    def put_first(self, identity: Identity) -> None:
        """Probe it next, out of turn."""
        if identity not in self._first:
            self._first.append(identity)

    def next(self, candidates: Sequence[Identity]) -> Identity | None:
        """The next of ``candidates``; one that came to be during a round waits for the next round."""
        eligible = frozenset(candidates)
        first = None if self._out_of_turn else _pop_eligible(self._first, eligible)
        self._out_of_turn = first is not None
        if first is not None or not candidates:
            return first
        in_turn = _pop_eligible(self._round, eligible)
        if in_turn is not None:
            return in_turn
        self._round.extend(self._rng.sample(candidates, len(candidates)))
        return self._round.popleft()


def _pop_eligible(queue: deque[Identity], eligible: frozenset[Identity]) -> Identity | None:
    while queue:
        identity = queue.popleft()
        if identity in eligible:
            return identity
    return None


PAUSED_INTERVALS = 2.0
"""A node ticks every interval; one that did nothing for longer than this was paused."""
NEVER = float("-inf")


class FailureDetector:
    def __init__(
        self,
        view: View,
        schedule: ProbeSchedule,
        pushes: Pushes,
        settings: GossipSettings,
        rng: random.Random,
        now: float,
    ) -> None:
        self.suspicions = Suspicions()
        self._view = view
        self._schedule = schedule
        self._pushes = pushes
        self._settings = settings
        self._rng = rng
        self._awake_at = now
        self._trusts_itself_from = now
        self._probing_since: dict[Identity, float] = {}
        self._heard_at: dict[Identity, float] = {}
        self._told_at: dict[Identity, float] = {}

    # --- probes ---

    def exchange_failed(self, identity: Identity, now: float) -> list[Directive]:
        """Ask others to try, unless the failure means nothing new."""
        member = self._view.get(identity)
        if member is None or not member.in_doubt_or_alive or self._was_paused(now):
            return []
        self._probing_since[identity] = now
        helpers = self._pushes.choose_alive(self._settings.indirect_probes, but={identity})
        if not helpers:
            return self.probe_failed(identity, now)
        return [ProbeVia(identity, member.record.address, helpers)]

    def probe_failed(self, identity: Identity, now: float) -> list[Directive]:
        """Nobody reached it: accuse it, unless it was heard from meanwhile."""
        since = self._probing_since.pop(identity, NEVER)
        member = self._view.get(identity)
        if member is None or not member.alive or self._was_paused(now):
            return []
        if self._heard_at.get(identity, NEVER) > since:
            return []
        bound = newest_possible(member, self._view.size(), self._settings.heartbeat_interval_s, now)
        suspicion = Suspicion(identity, bound, accuser=self._view.me.identity)
        push = self._pushes.say(suspicions=(suspicion,), also_to=(identity,))
        return [*self._suspect(suspicion, now), *push]

    def probe_succeeded(self, identity: Identity) -> None:
        """Another member reached it, so the way there is broken, not the member."""
        self._probing_since.pop(identity, None)

    def heard_from(self, identity: Identity, now: float) -> list[Directive]:
        """It sent or answered a message. If it is accused, tell it, once per interval, so it can refute."""
        self.note_heard(identity, now)
        suspicion = self.suspicions.get(identity)
        told_lately = now - self._told_at.get(identity, NEVER) < self._settings.heartbeat_interval_s
        if suspicion is None or told_lately:
            return []
        self._told_at[identity] = now
        return list(self._pushes.tell([identity], suspicions=(suspicion,)))

    def note_heard(self, identity: Identity, now: float) -> None:
        if self._view.get(identity) is not None:
            self._heard_at[identity] = now

    # --- suspicions of others ---

    def hear(self, suspicion: Suspicion, now: float) -> tuple[list[Directive], bool]:
        """Weigh a suspicion of another member; the events, and whether it is worth passing on.

        The caller has already answered suspicions of this node and those that a record held here refutes.
        """
        member = self._view.get(suspicion.accused)
        if member is None or member.left:
            return [], False
        if self.suspicions.get(suspicion.accused) is not None:
            return [], self.suspicions.harden(suspicion) and member.liveness is Liveness.SUSPECT
        self._look_soon(suspicion.accused)
        return self._suspect(suspicion, now), True

    def _suspect(self, suspicion: Suspicion, now: float) -> list[Directive]:
        timeout_s = suspicion_timeout_s(self._settings, self._view.size())
        self.suspicions.accuse(suspicion, now + timeout_s)
        self._view.judge(suspicion.accused, Liveness.SUSPECT, now)
        return [MemberSuspected(suspicion.accused, suspicion.accuser)]

    def hurry(self, now: float) -> None:
        """Put a member whose heartbeat is overdue first, with the same odds as for a second opinion."""
        overdue = [m for m in self._view.others() if m.alive and m.overdue(now)]
        if overdue:
            self._look_soon(min(overdue, key=lambda member: member.heartbeat_at).identity)

    def _look_soon(self, identity: Identity) -> None:
        if self._rng.random() * self._view.size() < self._settings.indirect_probes:
            self._schedule.put_first(identity)

    # --- verdicts ---

    def expire(self, now: float) -> list[Directive]:
        """Suspects whose time is up are down."""
        expired = self.suspicions.expire(now)
        for identity in expired:
            self._view.judge(identity, Liveness.DOWN, now)
        return [MemberDown(identity) for identity in expired]

    def acquit(self, record: MemberRecord, now: float) -> list[Directive]:
        """A fresher record of the member came: if it refutes the suspicion, the member is alive again."""
        refuted = self.suspicions.refute(record)
        if refuted is None:
            return []
        if refuted.accuser == self._view.me.identity:
            self._schedule.put_first(record.identity)
        member = self._view.get(record.identity)
        assert member is not None, "the record was merged before"
        self._view.judge(record.identity, Liveness.ALIVE, now)
        return [MemberUp(record, previous=member.liveness)]

    # --- this node itself ---

    def awake(self, now: float) -> None:
        """Called before anything else is: any call shows that this node runs, and how long it did not."""
        away_s = now - self._awake_at
        if away_s > PAUSED_INTERVALS * self._settings.heartbeat_interval_s:
            self._trusts_itself_from = now + self._settings.heartbeat_interval_s
            self.suspicions.postpone(self._trusts_itself_from - self._awake_at)
        self._awake_at = now

    def forget(self, identity: Identity) -> None:
        self.suspicions.drop(identity)
        for times in (self._probing_since, self._heard_at, self._told_at):
            times.pop(identity, None)

    def _was_paused(self, now: float) -> bool:
        return now < self._trusts_itself_from
