"""The failure detector: which member to probe next, and when a member becomes suspect, down, or alive again.

Rules (SWIM; the last one after Lifeguard, Dadgar et al., DSN-W 2018):
- a failed exchange does not suffice for a suspicion: other members are asked to probe the member as well, and any
  message from the member itself prevents the suspicion;
- once a member is suspect, only a record newer than the suspicion proves that it is alive (see ``suspicion``); so a
  suspect that sends a message here is sent the suspicion, and answers it with such a record;
- a member whose heartbeat is overdue is probed out of turn, which shortens the longest times until a dead member is
  first probed; an overdue heartbeat is no reason for a suspicion;
- a member that left is never suspected;
- when a suspicion is refuted through other members, its accuser probes the member again soon, since it could not reach
  it;
- some of the members that learn of a suspicion probe the accused next, out of turn, so that it learns of the suspicion
  on another path. Their expected number is ``indirect_probes`` in a cluster of any size;
- a node that was itself paused ignores its failed probes and extends its timers, because it may have missed answers
  while it was paused;
- every member is probed once per shuffled round (SWIM, section 4.3), which bounds the time until a given member is
  probed. A member may be probed out of turn; at least every second probe follows the round.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from ..identity import Identity
from .directives import Directive, MemberDown, MemberSuspected, MemberUp, ProbeVia
from .dissemination import Pushes
from .member_list import Liveness, MembershipList
from .record import MemberRecord, Suspicion
from .settings import GossipSettings
from .suspicion import Suspicions, newest_possible, suspicion_timeout_s


class ProbeSchedule:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._round: deque[Identity] = deque()
        self._first: deque[Identity] = deque()
        self._out_of_turn = False

    def probe_next(self, identity: Identity) -> None:
        """Queue the member to be probed next, out of turn."""
        if identity not in self._first:
            self._first.append(identity)

    def next(self, candidates: Sequence[Identity]) -> Identity | None:
        """Return which of ``candidates`` to probe next; one that appeared during a round waits for the next round."""
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
"""A node counts as paused if it was not called for this number of heartbeat intervals."""
NEVER = float("-inf")


class FailureDetector:
    def __init__(
        self,
        members: MembershipList,
        schedule: ProbeSchedule,
        pushes: Pushes,
        settings: GossipSettings,
        rng: random.Random,
        now: float,
    ) -> None:
        self.suspicions = Suspicions()
        self._members = members
        self._schedule = schedule
        self._pushes = pushes
        self._settings = settings
        self._rng = rng
        self._active_at = now
        self._paused_until = now
        self._probing_since: dict[Identity, float] = {}
        self._contact_at: dict[Identity, float] = {}
        self._informed_at: dict[Identity, float] = {}

    # --- probes ---

    def exchange_failed(self, identity: Identity, now: float) -> list[Directive]:
        """Ask other members to probe the member, unless it is down already or this node was paused."""
        member = self._members.get(identity)
        if member is None or not member.in_doubt_or_alive or self._was_paused(now):
            return []
        self._probing_since[identity] = now
        helpers = self._pushes.choose_alive(self._settings.indirect_probes, but={identity})
        if not helpers:
            return self.probe_failed(identity, now)
        return [ProbeVia(identity, member.record.address, helpers)]

    def probe_failed(self, identity: Identity, now: float) -> list[Directive]:
        """Suspect a member that no helper reached, unless a message from it arrived meanwhile."""
        since = self._probing_since.pop(identity, NEVER)
        member = self._members.get(identity)
        if member is None or not member.alive or self._was_paused(now):
            return []
        if self._contact_at.get(identity, NEVER) > since:
            return []
        bound = newest_possible(member, self._members.size(), self._settings.heartbeat_interval_s, now)
        suspicion = Suspicion(identity, bound, accuser=self._members.me.identity)
        push = self._pushes.announce(suspicions=(suspicion,), also_to=(identity,))
        return [*self._suspect(suspicion, now), *push]

    def probe_succeeded(self, identity: Identity) -> None:
        """Record that another member reached it: the path from here is broken, and the member is alive."""
        self._probing_since.pop(identity, None)

    def note_message(self, identity: Identity, now: float) -> list[Directive]:
        """Record a message from the member. If it is suspect, send it the suspicion, at most once per interval."""
        self.note_contact(identity, now)
        suspicion = self.suspicions.get(identity)
        informed_recently = now - self._informed_at.get(identity, NEVER) < self._settings.heartbeat_interval_s
        if suspicion is None or informed_recently:
            return []
        self._informed_at[identity] = now
        return list(self._pushes.send([identity], suspicions=(suspicion,)))

    def note_contact(self, identity: Identity, now: float) -> None:
        if self._members.get(identity) is not None:
            self._contact_at[identity] = now

    # --- suspicions of others ---

    def receive(self, suspicion: Suspicion, now: float) -> tuple[list[Directive], bool]:
        """Accept a suspicion of another member; return the directives, and whether to relay it.

        The caller has already answered suspicions of this node, and those that are refuted by a record held here.
        """
        member = self._members.get(suspicion.accused)
        if member is None or member.left:
            return [], False
        if self.suspicions.get(suspicion.accused) is not None:
            return [], self.suspicions.raise_version(suspicion) and member.liveness is Liveness.SUSPECT
        self._maybe_probe_next(suspicion.accused)
        return self._suspect(suspicion, now), True

    def _suspect(self, suspicion: Suspicion, now: float) -> list[Directive]:
        timeout_s = suspicion_timeout_s(self._settings, self._members.size())
        self.suspicions.start(suspicion, now + timeout_s)
        self._members.set_liveness(suspicion.accused, Liveness.SUSPECT, now)
        return [MemberSuspected(suspicion.accused, suspicion.accuser)]

    def probe_overdue(self, now: float) -> None:
        """Probe the member with the most overdue heartbeat next, with the same probability as a new suspect."""
        overdue = [m for m in self._members.others() if m.alive and m.overdue(now)]
        if overdue:
            self._maybe_probe_next(min(overdue, key=lambda member: member.heartbeat_at).identity)

    def _maybe_probe_next(self, identity: Identity) -> None:
        if self._rng.random() * self._members.size() < self._settings.indirect_probes:
            self._schedule.probe_next(identity)

    # --- verdicts ---

    def expire(self, now: float) -> list[Directive]:
        """Mark the suspects down whose time to refute has expired."""
        expired = self.suspicions.expire(now)
        for identity in expired:
            self._members.set_liveness(identity, Liveness.DOWN, now)
        return [MemberDown(identity) for identity in expired]

    def clear(self, record: MemberRecord, now: float) -> list[Directive]:
        """End the suspicion of the member if this record refutes it."""
        refuted = self.suspicions.refute(record)
        if refuted is None:
            return []
        if refuted.accuser == self._members.me.identity:
            self._schedule.probe_next(record.identity)
        member = self._members.get(record.identity)
        assert member is not None, "the record was merged before"
        self._members.set_liveness(record.identity, Liveness.ALIVE, now)
        return [MemberUp(record, previous=member.liveness)]

    # --- this node itself ---

    def note_activity(self, now: float) -> None:
        """Record that this node runs. Call this before any other method: a long time since the last call is a pause."""
        away_s = now - self._active_at
        if away_s > PAUSED_INTERVALS * self._settings.heartbeat_interval_s:
            self._paused_until = now + self._settings.heartbeat_interval_s
            self.suspicions.postpone(self._paused_until - self._active_at)
        self._active_at = now

    def forget(self, identity: Identity) -> None:
        self.suspicions.drop(identity)
        for times in (self._probing_since, self._contact_at, self._informed_at):
            times.pop(identity, None)

    def _was_paused(self, now: float) -> bool:
        return now < self._paused_until
