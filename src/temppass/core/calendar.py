"""
Cron on the wall clock of a time zone: when an expression comes due, whatever the clocks do. It knows moments only
(Unix milliseconds), neither passes nor resets.

Source: contract §4.7 (recurring resets).
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim


@lru_cache(maxsize=1024)
def next_due(cron: str, timezone: str, after: int) -> int:
    """Answer the first due moment later than `after`."""
    zone = ZoneInfo(timezone)
    # a day early, so that no change of the clocks can hide a moment
    for wall in CronSim(cron, _wall(after, zone) - timedelta(days=1)):
        due_at = _moment(wall, zone)
        if due_at > after:
            return due_at
    raise AssertionError("a checked cron expression always comes due")


class Effect(StrEnum):
    """What a change of the clocks does to a moment."""

    #: its time on the wall is skipped that day; it counts at the end of the gap
    SKIPPED = "skipped"
    #: its time comes twice that day; the first one counts
    TWICE = "twice"


class Due(NamedTuple):
    """A moment that is due. `wall` is what the expression says, on the clock of its zone, which `effect` may move."""

    at: int
    wall: datetime
    effect: Effect | None = None


def upcoming(cron: str, timezone: str, after: int, count: int) -> list[Due]:
    """Answer the next `count` due moments later than `after`, each once."""
    zone = ZoneInfo(timezone)
    found: list[Due] = []
    for wall in CronSim(cron, _wall(after, zone) - timedelta(days=1)):
        at = _moment(wall, zone)
        if at > max(after, found[-1].at if found else after):
            found.append(Due(at, wall, _effect(wall, zone)))
        if len(found) == count:
            break
    return found


def _effect(wall: datetime, zone: ZoneInfo) -> Effect | None:
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) != wall:
        return Effect.SKIPPED
    return Effect.TWICE if first != second else None


def latest_due(cron: str, timezone: str, after: int, now: int) -> int | None:
    """Answer the last due moment in (after, now], if any."""
    zone = ZoneInfo(timezone)
    for wall in CronSim(cron, _wall(now, zone) + timedelta(hours=3), reverse=True):
        due_at = _moment(wall, zone)
        if due_at <= now:
            return due_at if due_at > after else None
    return None


def _wall(at: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, zone).replace(tzinfo=None)


def _moment(wall: datetime, zone: ZoneInfo) -> int:
    """
    Place a wall-clock time on the time line, so that each fires once when the clocks change: the first of two equal
    times counts, and a time that is skipped counts at the end of the gap.
    """
    utc = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) != wall:
        # skipped: PEP 495 reads it with the offset from before the gap, which is a moment after the gap's end
        offset = utc.astimezone(zone).utcoffset()
        while (utc - timedelta(minutes=1)).astimezone(zone).utcoffset() == offset:
            utc -= timedelta(minutes=1)
    return int(utc.timestamp() * 1000)
