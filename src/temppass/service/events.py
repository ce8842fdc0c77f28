"""
What is done, told to those who listen as it happens.

However many listen, one look at the store a second and environment serves them all, and one at the counters every five;
nobody looks where nobody listens. A listener has no queue: it has read up to a sequence, goes on from there at its own
pace, and where it is far behind it reads pages of its own. So one that is slow, or dead, costs nobody anything.

Source: docs/design.md (acts are told as they happen).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import NamedTuple

from temppass.core.operator import Role
from temppass.core.refusal import Refusal
from temppass.core.world import HOUSE
from temppass.service.acts import PAGE, Entry, entry_of, visible
from temppass.service.context import Context, given
from temppass.service.counters import Counters, Point, seen
from temppass.service.desk import Call, Desk, admit
from temppass.service.history import History
from temppass.store import StoreUnavailable

#: how often the store is looked at while somebody listens, in seconds
LOOK_S = 1.0
#: every so many looks what was counted is looked at too: so often it is brought to the store (upkeep.py)
COUNTED_LOOKS = 5
#: of one process
LISTENERS_MAX = 1_000


class TooManyListen(Exception):
    """Nobody else can listen in this process; in a moment perhaps, or in another one."""


class Heard(NamedTuple):
    """
    What one look brought: acts in the order of the chain, perhaps none; and, every few looks, what was counted in the
    present minute and in the one before.
    """

    acts: list[Entry]
    points: list[Point] | None = None


class _Place:
    """
    An environment that somebody listens to: what was sealed up to `seen`, of which `tail` has the last; and the points
    that were told last.
    """

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self.tail: deque[Entry] = deque(maxlen=PAGE)
        self.points: list[Point] | None = None
        self.listeners = 0


class Events:
    def __init__(
        self, context: Context, desk: Desk, history: History, counters: Counters, look_s: float = LOOK_S
    ) -> None:
        self._context = context
        self._desk = desk
        self._history = history
        self._counters = counters
        self._look_s = look_s
        self._places: dict[str, _Place] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looks = 0
        #: is done with the next look: whether there will be another
        self._next: asyncio.Future[bool] | None = None

    @property
    def is_looking(self) -> bool:
        return self._looking is not None

    async def listen(self, call: Call, after: int | Refusal | None) -> AsyncGenerator[Heard]:
        """
        Answer what an operator hears: first what was sealed after a sequence, or from now on, then what comes. It ends
        when the operator may hear no more, and where the store is away.

        Refuses: as Desk.look; what reading refused. Raises TooManyListen, StoreUnavailable.
        """
        await self._desk.check(call, Role.VIEWER)
        asked = given(after)
        head = (await self._history.head(call.environment)).sequence
        # last, so that of many who come at once none waits between this and having a place
        if sum(place.listeners for place in self._places.values()) >= LISTENERS_MAX:
            raise TooManyListen(f"{LISTENERS_MAX} listen here already, and no more can; try again in a moment.")
        return self._follow(call, head, head if asked is None else min(asked, head))

    async def _follow(self, call: Call, head: int, reached: int) -> AsyncGenerator[Heard]:
        place, told = self._enter(call.environment, head), None
        try:
            while True:
                call = await self._desk.held(call)
                house = await self._context.worlds.known(HOUSE)  # which each look has loaded
                operator = admit(house, call, Role.VIEWER, self._context.clock())
                coming = self._next
                page = await self._beyond(call.environment, place, reached)
                reached = page[-1].sequence or reached if page else reached
                points = place.points if place.points is not told else None
                told = place.points
                yield Heard(visible(operator, page), None if points is None else seen(operator, points))
                if len(page) < PAGE and coming is not None and not await asyncio.shield(coming):
                    return
        except (Refusal, StoreUnavailable):
            return
        finally:
            self._leave(call.environment, place)

    async def _beyond(self, environment: str, place: _Place, reached: int) -> list[Entry]:
        if reached >= place.seen:
            return []
        if place.tail and (place.tail[0].sequence or 0) <= reached + 1:
            return [entry for entry in place.tail if (entry.sequence or 0) > reached]
        return [entry_of(sealed) for sealed in await self._context.store.records(environment, reached, PAGE)]

    def _enter(self, environment: str, head: int) -> _Place:
        place = self._places.setdefault(environment, _Place(head))
        place.listeners += 1
        if self._looking is None or self._looking.done():
            self._next = asyncio.get_running_loop().create_future()
            self._looking = asyncio.create_task(self._look_again_and_again())
        return place

    def _leave(self, environment: str, place: _Place) -> None:
        place.listeners -= 1
        if not place.listeners and self._places.get(environment) is place:
            del self._places[environment]
        if not self._places and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_again_and_again(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._look_s)
                await self.look()
        except StoreUnavailable:
            pass  # those who listen come again, from where they were
        finally:
            if self._looking is asyncio.current_task():  # or others listen already, with a task of their own
                self._tell(goes_on=False)

    async def look(self) -> None:
        """Look at what is new wherever somebody listens, and tell them. Raises StoreUnavailable."""
        await self._context.worlds.load(HOUSE)
        self._looks += 1
        for environment, place in tuple(self._places.items()):
            await self._history.seal_all(environment)
            full = True
            while full and (page := await self._context.store.records(environment, place.seen, PAGE)):
                place.tail.extend(map(entry_of, page))
                place.seen, full = page[-1].link.sequence, len(page) == PAGE
            if self._looks % COUNTED_LOOKS == 0:
                place.points = await self._counters.latest(environment)
        self._tell(goes_on=True)

    def _tell(self, *, goes_on: bool) -> None:
        told, self._next = self._next, asyncio.get_running_loop().create_future()
        if told is not None and not told.done():
            told.set_result(goes_on)
