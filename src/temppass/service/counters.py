"""
What happened, by the minute and integration, from all processes: each adds up what it sees, and brings it to the store
every few seconds, so that a decision pays for one addition.

Source: docs/design.md (counters).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from temppass.core.model import Count
from temppass.core.operator import Operator, Role
from temppass.core.refusal import InvalidRequest, Refusal
from temppass.service.context import Context, given
from temppass.service.desk import Call, Desk

MINUTE_MS = 60_000
#: how long counts are kept, in minutes
KEPT_MINUTES = 14 * 24 * 60
#: rows that wait while the store is away; more are not counted
WAITING_MAX = 20_000
#: counts that one flush or one sweep carries
CHUNK = 1_000
POINTS_MAX = 1_500
DAY_MINUTES = 1_440
#: environments whose last day is remembered
DAYS_MAX = 64
#: the words that are no code of a denial
PERMIT, TRIAL, RESET = "permit", "trial", "reset"


class Asked(Struct, frozen=True):
    """Which counts: of which channel and pass, None for all; moments in Unix milliseconds; the step in minutes."""

    channel_id: str | None = None
    pass_id: str | None = None
    #: an hour ago where None
    since: int | None = None
    #: now where None
    until: int | None = None
    step_minutes: int = 1


class Point(Struct, frozen=True):
    """What happened from `at` on, for one step, in one integration: how often, by word."""

    at: int
    channel_id: str
    pass_id: str
    counts: dict[str, int]


class Counters:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk
        self._waiting: Counter[tuple[str, int, str, str, str]] = Counter()
        #: what the last 24 hours brought, by environment, and in which minute that was looked at
        self._days: dict[str, tuple[int | None, list[Point]]] = {}

    def add(self, environment: str, channel_id: str, pass_id: str, now: int, words: Iterable[str]) -> None:
        """Count each of `words` once. Costs nobody a wait."""
        waiting, minute = self._waiting, now // MINUTE_MS
        for word in words:
            waiting[environment, minute, channel_id, pass_id, word] += 1

    async def flush(self) -> None:
        """
        Bring to the store what waits. Raises StoreUnavailable, and what waits is brought the next time, but for the
        oldest of it where it has become too much.
        """
        for key in sorted(self._waiting, key=lambda key: key[1])[: max(0, len(self._waiting) - WAITING_MAX)]:
            del self._waiting[key]
        while self._waiting:
            some = [*self._waiting.items()][:CHUNK]
            await self._context.store.count([Count(*key, n) for key, n in some])
            for key, n in some:  # what was added meanwhile stays
                self._waiting[key] -= n
                if not self._waiting[key]:
                    del self._waiting[key]

    async def sweep(self, now: int) -> None:
        """Forget what is older than two weeks."""
        while await self._context.store.forget_counts(now // MINUTE_MS - KEPT_MINUTES, CHUNK) == CHUNK:
            pass

    async def counts(self, call: Call, asked: Asked | Refusal) -> list[Point]:
        """
        Answer the counts that are asked for, in the order of their moments; a step and an integration of which nothing
        is counted have no point. What the last seconds brought may be missing.

        Refuses: as Desk.look; InvalidRequest.
        """
        who = await self._desk.check(call, Role.VIEWER)
        ask = given(asked)
        until = who.now if ask.until is None else ask.until
        since = until - 60 * MINUTE_MS if ask.since is None else ask.since
        step_ms = ask.step_minutes * MINUTE_MS
        if since >= until:
            raise InvalidRequest("since lies before until.")
        if (until - since) / step_ms > POINTS_MAX:
            raise InvalidRequest(f"At most {POINTS_MAX} steps at once; choose a longer step, or less time.")
        minutes = since // MINUTE_MS, -(-until // MINUTE_MS)
        rows = await self._context.store.counts(who.world.name, *minutes, ask.step_minutes)
        wanted = [
            row for row in rows if (ask.channel_id in {None, row.channel_id}) and (ask.pass_id in {None, row.pass_id})
        ]
        return seen(who.operator, _points(wanted, step_ms))

    async def day(self, call: Call) -> list[Point]:
        """
        Answer what was counted in the last 24 hours, as it was at most a minute ago: whoever looks within one minute
        has the store add it up once. Refuses: as Desk.look.
        """
        who = await self._desk.check(call, Role.VIEWER)
        name, minute = who.world.name, who.now // MINUTE_MS
        asked_at, points = self._days.get(name, (None, []))
        if asked_at != minute:
            rows = await self._context.store.counts(name, minute - DAY_MINUTES + 1, minute + 1, DAY_MINUTES)
            points = _points(rows, DAY_MINUTES * MINUTE_MS)
            if name not in self._days and len(self._days) >= DAYS_MAX:
                del self._days[next(iter(self._days))]
            self._days[name] = (minute, points)
        return seen(who.operator, points)

    async def latest(self, environment: str) -> list[Point]:
        """Answer what was counted in the present minute and in the one before, of every channel."""
        minute = self._context.clock() // MINUTE_MS
        return _points(await self._context.store.counts(environment, minute - 1, minute + 1), MINUTE_MS)


def seen(operator: Operator, points: Iterable[Point]) -> list[Point]:
    """Answer those of the channels that an operator sees."""
    return [point for point in points if operator.sees(point.channel_id)]


def _points(rows: Iterable[Count], step_ms: int) -> list[Point]:
    points: dict[tuple[int, str, str], Counter[str]] = {}
    for row in rows:
        at = row.minute * MINUTE_MS // step_ms * step_ms
        points.setdefault((at, row.channel_id, row.pass_id), Counter())[row.what] += row.n
    return [Point(*place, dict(sorted(counts.items()))) for place, counts in sorted(points.items())]
