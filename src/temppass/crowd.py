"""
Who may stay when too many come: all connections of one process, and which of them go to make room.

It knows since when each waits for its peer, and nothing of what is said there.
"""

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from uvicorn.server import ServerState

#: this part of them more is let in, to be told that there is no room; and where fewer wait, nobody looks again at once
_PART = 100
_LOOK_AGAIN_S = 0.1
#: ends of connections at one turn of the event loop: a millisecond's work
_ENDS_A_TURN = 50


class Guest(Protocol):
    """A connection."""

    def waits_since(self) -> float | None:
        """Answer since when its peer owes it something, by the loop's clock; None where it owes its peer an answer."""

    def drop(self) -> None:
        """End it now, without a word."""


class Crowd(ServerState):
    """What uvicorn knows of its connections, and the handshakes, of which it knows nothing."""

    def __init__(self, connections_max: int) -> None:
        super().__init__()
        self.connections_max = connections_max
        self.handshakes: set[Guest] = set()
        #: how many made room, since somebody asked last
        self.dropped = 0
        #: who waited at the last look, and since when, the longest last; who began to wait after it has waited less
        self._waiting: list[tuple[float, Guest]] = []
        self._look_after = 0.0
        self._ends: deque[Callable[[], None]] = deque()

    def admit(self, now: float) -> bool:
        """
        Make room for one more connection, where one is needed; False where everybody is being answered.

        Who waits for the longest goes. A look at 10,000 takes milliseconds, and serves until all that it saw are gone.
        """
        while (count := self._count()) >= self.connections_max:
            guest = self._longest(now)
            if guest is None:
                return False
            guest.drop()
            self.dropped += 1
        if self._waiting and count < self.connections_max - self._part():
            self._waiting = []  # the rush is over
        return True

    def _longest(self, now: float) -> Guest | None:
        if not self._waiting and now >= self._look_after:
            guests = [*cast("set[Guest]", self.connections), *self.handshakes]
            waiting = [(since, guest) for guest in guests if (since := guest.waits_since()) is not None]
            waiting.sort(key=lambda pair: -pair[0])
            if len(waiting) < self._part():
                self._look_after = now + _LOOK_AGAIN_S
            self._waiting = waiting
        while self._waiting:
            since, guest = self._waiting.pop()
            if guest.waits_since() == since and (guest in self.connections or guest in self.handshakes):
                return guest
        return None

    def in_turn(self, loop: AbstractEventLoop, end: Callable[[], None]) -> None:
        """Call `end` soon: thousands that came together end together, and who is being answered goes in between."""
        self._ends.append(end)
        if len(self._ends) == 1:
            loop.call_soon(self._take_turns, loop)

    def _take_turns(self, loop: AbstractEventLoop) -> None:
        for _ in range(min(_ENDS_A_TURN, len(self._ends))):
            self._ends.popleft()()
        if self._ends:
            loop.call_soon(self._take_turns, loop)

    def overflows(self) -> bool:
        """Tell whether there is not even room for a refusal."""
        return self._count() > self.connections_max + self._part()

    def _count(self) -> int:
        return len(self.connections) + len(self.handshakes)

    def _part(self) -> int:
        return max(1, self.connections_max // _PART)
