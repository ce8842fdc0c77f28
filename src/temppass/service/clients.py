"""
Clears away clients that nobody has any more: those that ask for no token for a long time, those that never did, and
those of statements, applications and epochs that count no more. In chunks with pauses, so that decisions do not notice.

A client goes only while the environment has the version by which it was judged: somebody may mint meanwhile, and what
came from a statement that is not known here yet would look as if it came from none.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from temppass.core.keys import CLOCK_MS
from temppass.core.model import GRAIN_MS
from temppass.core.world import World
from temppass.service.context import Context
from temppass.service.statements import brood_of
from temppass.store import Brood, Fading, Outdated

DAY_MS = 86_400_000
#: how often all clients are looked at, if nothing was revoked meanwhile
EVERY_MS = DAY_MS
#: how long a client is kept that never asks for a token
UNUSED_KEPT_MS = DAY_MS
#: clients that one chunk looks at
CHUNK = 100
#: the pause after a chunk is as long again for so many that went, for each is taken out of three trees: 1,000 a second
#: are looked at, or 300 go
REMOVED = 50


class ClientSweeper:
    """`removed` counts the clients that are gone, by reason: ended, unused, idle."""

    def __init__(self, context: Context, pause_s: float) -> None:
        self._context = context
        self._pause_s = pause_s
        #: when the last sweep of an environment began, and what counted then
        self._done: dict[str, tuple[int, frozenset[_Source]]] = {}
        #: sweeps under way or broken off: when they began, and the last client that was looked at
        self._reached: dict[str, tuple[int, str]] = {}
        self.removed = Counter(dict.fromkeys(("ended", "unused", "idle"), 0))

    async def sweep(self) -> None:
        """
        Look at all clients of every environment once a day, and sooner where something was revoked or has ended.

        Raises StoreUnavailable; the next call goes on there.
        """
        for environment in await self._context.store.environments():
            world, now = await self._context.worlds.load(environment), self._context.clock()
            began_at, counted = self._done.get(environment, (now - EVERY_MS, frozenset()))
            is_due = now >= began_at + EVERY_MS or not counted <= _sources(_broods(world, now))
            if is_due or environment in self._reached:
                await self._sweep(environment)

    async def _sweep(self, environment: str) -> None:
        context = self._context
        began_at, reached = self._reached.get(environment, (context.clock(), ""))
        last: str | None = reached
        while last is not None:
            self._reached[environment] = (began_at, last)
            world, now = await context.worlds.known(environment), context.clock()
            broods = _broods(world, now)
            idle_before = now - context.policy.client_idle_ms - GRAIN_MS
            fading = Fading(broods, now - UNUSED_KEPT_MS, idle_before, now)
            removed = 0
            try:
                faded = await context.store.sweep_clients(environment, world.version, fading, last, CHUNK)
            except Outdated:
                await context.worlds.load(environment)
            else:
                removed = faded.ended + faded.unused + faded.idle
                self.removed.update(ended=faded.ended, unused=faded.unused, idle=faded.idle)
                if not last:  # what ends from here on is looked for once more
                    self._done[environment] = (began_at, _sources(broods))
                last = faded.last
            await asyncio.sleep(self._pause_s * (1 + removed / REMOVED))
        del self._reached[environment]


#: application, epoch and statement of a client
_Source = tuple[str, int, str]


def _broods(world: World, now: int) -> tuple[Brood, ...]:
    """Answer the clients of an environment that may ask for tokens, by every clock."""
    return tuple(brood_of(world, application_id, now - CLOCK_MS) for application_id in world.catalogue.applications)


def _sources(broods: tuple[Brood, ...]) -> frozenset[_Source]:
    return frozenset((each.application_id, each.epoch, id_) for each in broods for id_ in each.statement_ids)
