"""News that cannot wait for the next round is pushed to a few members at once, who pass it on once.

What a node says itself (its own news, its own suspicions, its refutation) is always pushed. Passing on what
others said is limited per interval, so that a cluster that starts or falls all at once does not drown in it;
the exchanges bring the rest.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ..identity import Identity
from .directives import Contact, Push
from .exchange import DeltaPacker
from .record import Suspicion
from .settings import GossipSettings
from .view import Member, View

MOST_NEWS_AT_ONCE = 16
"""Records of one message that can be news to pass on."""


class Pushes:
    def __init__(self, view: View, packer: DeltaPacker, settings: GossipSettings, rng: random.Random) -> None:
        self._view = view
        self._packer = packer
        self._settings = settings
        self._rng = rng
        self._relays_left = settings.relays_per_interval

    def next_interval(self) -> None:
        self._relays_left = self._settings.relays_per_interval

    def say(
        self,
        members: Iterable[Member] = (),
        suspicions: tuple[Suspicion, ...] = (),
        also_to: Iterable[Identity] = (),
    ) -> list[Push]:
        """Tell a few members, and certainly those of ``also_to`` that are known."""
        certainly = self._contacts(also_to)
        chosen = self._choose({contact.identity for contact in certainly})
        return self._push((*certainly, *chosen), members, suspicions)

    def relay(
        self, members: Sequence[Member], suspicions: tuple[Suspicion, ...], heard_from: Identity
    ) -> list[Push]:
        """Pass on what ``heard_from`` told, unless this interval has seen enough of that.

        What comes in bulk is no news: this node was catching up, and others know it already.
        """
        if self._relays_left == 0 or len(members) > MOST_NEWS_AT_ONCE:
            return []
        self._relays_left -= 1
        return self._push(self._choose({heard_from}), members, suspicions)

    def tell(
        self,
        listeners: Iterable[Identity],
        members: Iterable[Member] = (),
        suspicions: tuple[Suspicion, ...] = (),
    ) -> list[Push]:
        """Tell these and nobody else."""
        return self._push(self._contacts(listeners), members, suspicions)

    def choose_alive(self, count: int, but: set[Identity]) -> tuple[Contact, ...]:
        """Up to ``count`` members at random that are not in doubt."""
        alive = [member for member in self._view.others() if member.alive and member.identity not in but]
        chosen = self._rng.sample(alive, min(count, len(alive)))
        return tuple(Contact(member.identity, member.record.address) for member in chosen)

    def _choose(self, but: set[Identity]) -> tuple[Contact, ...]:
        return self.choose_alive(self._settings.push_fanout, but)

    def _contacts(self, identities: Iterable[Identity]) -> tuple[Contact, ...]:
        wanted = dict.fromkeys(identities)
        wanted.pop(self._view.me.identity, None)
        known = [member for identity in wanted if (member := self._view.get(identity)) is not None]
        return tuple(Contact(member.identity, member.record.address) for member in known)

    def _push(
        self, targets: tuple[Contact, ...], members: Iterable[Member], suspicions: tuple[Suspicion, ...]
    ) -> list[Push]:
        if not targets:
            return []
        records = self._packer.pack(members, self._view.size())
        if not records and not suspicions:
            return []
        return [Push(targets, records, suspicions[: self._settings.max_suspicions])]
