"""
How many registrations an application may make, in a minute and in all, so that whoever has stolen a statement fills no
disk and keeps no other application out.

No row is counted up. Every few seconds each process counts by an index who registered in the last minute, in all
processes, and adds what it admits itself until it counts anew. So one process keeps to the bounds. Of several, each
admits at most what was left when it counted last: N processes that begin at one moment admit N times the minute's
bound at most, and afterwards nobody before that minute has passed. All of an application's clients are counted once an
hour, page by page, and those who came since are added.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from temppass.core.catalogue import Application
from temppass.core.refusal import TooManyRegistrations
from temppass.core.world import HOUSE, World
from temppass.service.context import Context
from temppass.service.statements import brood_of
from temppass.store import Arrivals, Brood

MINUTE_MS = 60_000
#: how often all clients of an application are counted
COUNT_EVERY_MS = 3_600_000
#: a process that could not look for so long counts all of them anew
LOOK_EVERY_MAX_MS = 300_000
#: clients that one page of the count has
PAGE = 10_000
#: more arrivals than a bound can have in the minutes that one look goes back
ARRIVALS_MAX = 500_000
#: from which share of a bound on somebody should know
NEAR = 0.8


class Share(NamedTuple):
    """How much of its bounds an application uses, 1 for all, as this process knows."""

    environment: str
    application_id: str
    minute: float
    clients: float


class Near(NamedTuple):
    """A bound of an application that is nearly reached, by its name in the catalogue; `used` is 1 where it is."""

    environment: str
    application_id: str
    bound: str
    used: float


class _Known:
    """What a process knows of one application in one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.looked_at: int | None = None
        #: how many had registered in the minute before that, in all processes, and before that since the first look
        self.minute = self.settled = 0
        #: all clients but those two, and when they were counted
        self.base = 0
        self.counted_at: int | None = None
        #: statements that any of all these came from
        self.counted: frozenset[str] = frozenset()
        #: admitted here since the last look, by number: when; of those, which are under way; how many others are older
        self.own: dict[int, int] = {}
        self.under_way: set[int] = set()
        self.past = 0
        self._numbers = itertools.count()
        #: bounds of which it was said that they are near
        self.told: set[str] = set()

    def used(self, now: int) -> tuple[int, int]:
        """Answer how many registered in the last minute, and how many clients there are."""
        over = [*itertools.takewhile(lambda place: self.own[place] <= now - MINUTE_MS, self.own)]
        for place in over:
            del self.own[place]
        self.past += len(over)
        is_fresh = self.looked_at is not None and now < self.looked_at + MINUTE_MS
        minute = len(self.own) + (self.minute if is_fresh else 0)
        return minute, self.base + self.settled + self.minute + self.past + len(self.own)

    def admit(self, application: Application, now: int) -> int:
        """Answer the number of one more. Refuses: TooManyRegistrations."""
        minute, clients = self.used(now)
        if minute >= application.registrations_per_minute:
            raise TooManyRegistrations(
                f"{application.id!r} registers over {application.registrations_per_minute} clients a minute; "
                "wait and try again."
            )
        if clients >= application.clients_max:
            raise TooManyRegistrations(
                f"{application.id!r} has {application.clients_max} clients, as many as it may; try again later."
            )
        place = next(self._numbers)
        self.own[place] = now
        self.under_way.add(place)
        return place


class Registrations:
    def __init__(self, context: Context, pause_s: float, warn: Callable[[Near], None]) -> None:
        self._context = context
        self._pause_s = pause_s
        self._warn = warn
        self._known: dict[tuple[str, str], _Known] = {}

    @contextlib.contextmanager
    def turn(self, now: int) -> Iterator[Callable[[World, Application], None]]:
        """
        Answer what takes the place of one registration, once, however often that is planned. It is given back where
        nobody registers after all. What is answered refuses: TooManyRegistrations.
        """
        taken: list[tuple[_Known, int]] = []

        def take(world: World, application: Application) -> None:
            if not taken:
                known = self.known(world, application)
                taken.append((known, known.admit(application, now)))

        try:
            yield take
        except BaseException:
            for known, place in taken:
                known.own.pop(place, None)
            raise
        finally:
            for known, place in taken:
                known.under_way.discard(place)

    def known(self, world: World, application: Application) -> _Known:
        """Answer what is known of an application; what was known of an epoch that has passed is forgotten."""
        key, epoch = (world.name, application.id), world.epoch(application.id)
        known = self._known.get(key)
        if known is None or known.epoch != epoch:
            known = self._known[key] = _Known(epoch)
        return known

    async def look(self) -> None:
        """Count who registered in the last minute, in all processes. Raises StoreUnavailable."""
        for world in await self._worlds():
            seen = [(each, self.known(world, each)) for each in world.catalogue.applications.values()]
            if seen:
                await self._look(world, seen)
        self._tell()

    async def _look(self, world: World, seen: list[tuple[Application, _Known]]) -> None:
        now = self._context.clock()
        since = now - MINUTE_MS
        #: what is committed by now, and so among what is counted
        done = [([n for n in known.own if n not in known.under_way], known.past) for _, known in seen]
        asked = []
        for application, known in seen:
            before = since if known.looked_at is None else known.looked_at - MINUTE_MS
            asked += [Arrivals(application.id, known.epoch, at) for at in (since, before)]
        counts = await self._context.store.count_arrivals(world.name, asked, ARRIVALS_MAX)
        for (application, known), (places, past), minute, both in zip(
            seen, done, counts[::2], counts[1::2], strict=True
        ):
            for place in places:
                if known.own.pop(place, None) is None:
                    known.past -= 1  # it has become older than a minute meanwhile
            known.past -= past
            known.settled += max(0, both - minute)
            known.minute = minute
            known.counted |= {*brood_of(world, application.id, now).statement_ids}
            if known.looked_at is not None and now > known.looked_at + LOOK_EVERY_MAX_MS:
                known.counted_at = None
            known.looked_at = now

    async def recount(self) -> None:
        """
        Count all clients of those applications of which that is long ago, or of which something was revoked since.

        Raises StoreUnavailable; the next call begins anew with that application.
        """
        for world in await self._worlds():
            for application in world.catalogue.applications.values():
                known, brood = self.known(world, application), brood_of(world, application.id, self._context.clock())
                if known.looked_at is not None and self._is_due(known, brood):
                    await self._recount(world.name, known, brood)

    def _is_due(self, known: _Known, brood: Brood) -> bool:
        is_old = known.counted_at is None or self._context.clock() >= known.counted_at + COUNT_EVERY_MS
        return is_old or not known.counted.issubset(brood.statement_ids)

    async def _recount(self, environment: str, known: _Known, brood: Brood) -> None:
        assert known.looked_at is not None
        until, settled, found = known.looked_at - MINUTE_MS, known.settled, 0
        counted_at = self._context.clock()
        for statement_id in brood.statement_ids:
            one, last = Brood(brood.application_id, brood.epoch, (statement_id,)), None
            while True:
                count, last = await self._context.store.count_page(environment, one, until, last, PAGE)
                found += count
                if last is None:
                    break
                await asyncio.sleep(self._pause_s)
        known.base, known.counted_at, known.counted = found - settled, counted_at, frozenset(brood.statement_ids)

    def shares(self) -> Iterator[Share]:
        """Answer how much of its bounds each application of the known worlds uses."""
        now = self._context.clock()
        for (environment, application_id), known in self._known.items():
            world = self._context.worlds.last(environment)
            application = world.catalogue.applications.get(application_id) if world is not None else None
            if application is not None:
                minute, clients = known.used(now)
                yield Share(
                    environment,
                    application_id,
                    minute / application.registrations_per_minute,
                    clients / application.clients_max,
                )

    def _tell(self) -> None:
        """Say once that a bound is near, until it is not any more."""
        for share in self.shares():
            told = self._known[share.environment, share.application_id].told
            for bound, used in (("registrations_per_minute", share.minute), ("clients_max", share.clients)):
                if used < NEAR:
                    told.discard(bound)
                elif bound not in told:
                    told.add(bound)
                    self._warn(Near(share.environment, share.application_id, bound, used))

    async def _worlds(self) -> list[World]:
        context = self._context
        worlds = [await context.worlds.known(name) for name in await context.store.environments() if name != HOUSE]
        present = {(world.name, application_id) for world in worlds for application_id in world.catalogue.applications}
        self._known = {key: known for key, known in self._known.items() if key in present}
        return worlds
