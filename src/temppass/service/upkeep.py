"""
What the service does by itself: recurring resets that nobody asks about, signing keys that begin and end, places in
the chain for what was recorded, and clearing away what no answer can depend on any more, in small chunks with pauses,
so that decisions do not notice.

A ledger below every floor that an undo could put back does not count and never will again: it goes. A ledger whose
trial is over goes only where the pass declares a retention, because the viewer is new to the pass again from then on.
Kept documents go when their time is over, and records of acts, oldest first, as long after as was chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from temppass.core import reset
from temppass.core.model import SubjectKind
from temppass.core.world import World
from temppass.service.clients import ClientSweeper
from temppass.service.context import Context, keys_of
from temppass.service.counters import Counters
from temppass.service.history import PAGE, History
from temppass.service.register import SAY_S, Register
from temppass.service.registrations import Registrations
from temppass.service.signing import Signing
from temppass.service.statements import unlisting
from temppass.service.uses import Uses
from temppass.service.worlds import Plan
from temppass.store import IntegrationKey, Stale, Store

#: how often recurring resets that nobody asks about are fired, and dead rows swept, in seconds
TICK_S = 30.0
#: how often records get their place in the chain, in seconds
SEAL_S = 1.0
#: how often what was counted is brought to the store, in seconds
COUNT_S = 5.0
#: ledgers that one chunk looks at, and the pause after each, in seconds: at most 5,000 a second
CHUNK = 500
PAUSE_S = 0.1
#: ledgers that expire one by one are looked for this often
RETENTION_EVERY_MS = 3_600_000
#: as are records that are old enough to be forgotten
FORGET_EVERY_MS = 3_600_000


class Upkeep:
    def __init__(
        self,
        context: Context,
        history: History,
        counters: Counters,
        register: Register,
        signing: Signing,
        uses: Uses,
        registrations: Registrations,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._context = context
        self._history = history
        self._signing = signing
        self._counters = counters
        self._register = register
        self._uses = uses
        self.registrations = registrations
        self._pause_s = pause_s
        self._forgot_at: int | None = None
        self.sweeper = Sweeper(context.store, pause_s)
        self.clients = ClientSweeper(context, pause_s)

    def rhythms(self) -> list[tuple[float, Callable[[], Awaitable[None]]]]:
        """Answer what is to be done again and again, each with its pause in seconds."""
        return [
            (TICK_S, self.tick),
            (SEAL_S, self.seal),
            (COUNT_S, self.count),
            (SAY_S, self._register.say),
            (TICK_S, self.clients.sweep),  # apart, because it takes as long as there are clients
            (COUNT_S, self.registrations.look),
            (COUNT_S, self.registrations.recount),
        ]

    async def tick(self) -> None:
        """Fire the recurring resets that are due and that nobody has asked about, keep the keys, sweep what is dead."""
        context = self._context
        now = context.clock()
        retention_ms: dict[IntegrationKey, int] = {}
        for environment in await context.store.environments():
            world = await context.worlds.load(environment)
            retention_ms |= world.retention_ms()
            for channel_id, pass_id in world.recurring():

                def prepare(world: World, channel_id: str = channel_id, pass_id: str = pass_id) -> Plan[None]:
                    offer = world.offer(world.channel(channel_id), pass_id)
                    return keys_of(world, offer), lambda found: (None, reset.fire(found, offer, now))

                await context.worlds.ask(environment, prepare)
            await self._signing.keep(environment)
            if world.unlisted:
                await context.worlds.ask(environment, unlisting)
        await self.sweeper.sweep(now, retention_ms)
        await self._counters.sweep(now)
        await self._register.forget(now)
        await self._forget(now)

    async def _forget(self, now: int) -> None:
        """Forget records that are old enough, a page at a time."""
        if self._forgot_at is not None and now < self._forgot_at + FORGET_EVERY_MS:
            return
        for environment in await self._context.store.environments():
            forgot = PAGE
            while forgot == PAGE:
                forgot = await self._history.forget(environment, now - self._context.policy.audit_ms)
                await asyncio.sleep(self._pause_s)
        self._forgot_at = now

    async def seal(self) -> None:
        """Give what was recorded its place in the chain."""
        await self._history.seal()

    async def count(self) -> None:
        """Bring to the store what was counted, and what was used."""
        await self._counters.flush()
        await self._uses.flush()


_Swept = tuple[IntegrationKey, SubjectKind]


class Sweeper:
    """`removed` counts the ledgers that are gone."""

    def __init__(self, store: Store, pause_s: float = PAUSE_S) -> None:
        self._store = store
        self._pause_s = pause_s
        #: the floor of the last sweep, and when it looked for what expired
        self._done: dict[_Swept, tuple[int, int]] = {}
        #: sweeps under way or broken off: their floor, and the last digest looked at
        self._reached: dict[_Swept, tuple[int, bytes]] = {}
        self.removed = 0

    async def sweep(self, now: int, retention_ms: Mapping[IntegrationKey, int]) -> None:
        """
        Sweep everything that is due, once through an integration's ledgers for each floor that became final.

        `retention_ms` has those whose pass declares one. Raises StoreUnavailable; the next call goes on there.
        """
        await self._sweep_kept(now)
        for integration, standing in await self._store.integrations():
            retained_ms = retention_ms.get(integration)
            for kind in SubjectKind:
                final = reset.restorable_floor(standing.floors, kind, standing.raises, now)
                stale = Stale(final, None if retained_ms is None else now - retained_ms)
                if self._is_due((integration, kind), stale, now):
                    await self._sweep_ledgers(integration, kind, stale)
                    self._done[integration, kind] = (final, 0 if retained_ms is None else now)

    async def _sweep_kept(self, now: int) -> None:
        swept = CHUNK
        while swept == CHUNK:
            swept = await self._store.sweep(now, now - reset.UNDO_KEPT_MS, CHUNK)
            await asyncio.sleep(self._pause_s)

    def _is_due(self, swept: _Swept, stale: Stale, now: int) -> bool:
        # at first also where no floor ever rose: what single resets removed leaves empty rows below every floor
        generation, at = self._done.get(swept, (-1, 0))
        return stale.generation_min > generation or (
            stale.expired_before is not None and now >= at + RETENTION_EVERY_MS
        )

    async def _sweep_ledgers(self, integration: IntegrationKey, kind: SubjectKind, stale: Stale) -> None:
        """Begin where an outage broke off the sweep for the same floor, or it would look again at all that is fresh."""
        floor, reached = self._reached.get((integration, kind), (0, b""))
        last: bytes | None = reached if floor == stale.generation_min else b""
        while last is not None:
            self._reached[integration, kind] = (stale.generation_min, last)
            removed, last = await self._store.sweep_ledgers(integration, kind, stale, last, CHUNK)
            self.removed += removed
            await asyncio.sleep(self._pause_s)
        del self._reached[integration, kind]
