"""
Cron on the wall clock comes due once, whatever the clocks do.
"""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temppass.core.calendar import latest_due, next_due, upcoming


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("0 0 * * *", "UTC", "2026-01-01T10:00Z", "2026-01-02T00:00Z"),
        ("0 0 * * *", "UTC", "2026-01-01T23:59:59.999Z", "2026-01-02T00:00Z"),
        ("0 0 * * *", "UTC", "2026-01-02T00:00Z", "2026-01-03T00:00Z"),
        ("0 0 * * *", NEW_YORK, "2026-01-01T10:00Z", "2026-01-02T05:00Z"),
        ("0 0 * * *", "Asia/Kathmandu", "2026-01-01T10:00Z", "2026-01-01T18:15Z"),
        # the clocks go forward: 02:00 EST is 03:00 EDT, and 02:30 is never
        ("30 1 8 3 *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T01:30-05:00"),
        ("30 2 8 3 *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T03:00-04:00"),
        ("0 2 8 3 *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T03:00-04:00"),
        ("30 2 * * *", NEW_YORK, "2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"),
        ("30 3 8 3 *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T03:30-04:00"),
        # the clocks go back: 01:30 comes twice, and the first counts
        ("30 1 1 11 *", NEW_YORK, "2026-11-01T00:00-04:00", "2026-11-01T01:30-04:00"),
        ("30 1 * * *", NEW_YORK, "2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"),
        ("0 2 1 11 *", NEW_YORK, "2026-11-01T00:00-04:00", "2026-11-01T02:00-05:00"),
        # half an hour, and a whole day that never was
        ("15 2 4 10 *", "Australia/Lord_Howe", "2026-10-04T00:00+10:30", "2026-10-04T02:30+11:00"),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00"),
    ],
)
def test_when_a_reset_comes_due(cron: str, zone: str, after: str, due: str) -> None:
    """The first moment after, and just then the latest one."""
    after_ms, due_ms = moment(after), moment(due)
    told = next_due(cron, zone, after_ms), *(latest_due(cron, zone, after_ms, due_ms + ms) for ms in (-1, 0, 1))
    assert told == (due_ms, None, due_ms, due_ms)


_zones = st.sampled_from(["UTC", NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"])
_crons = st.sampled_from(["0 0 * * *", "30 1 * * *", "30 2 * * *", "*/15 * * * *", "0 3 * * SUN"])


@given(_crons, _zones, st.sampled_from([moment("2026-03-07T12:00Z"), moment("2026-10-24T12:00Z")]))
@settings(max_examples=25, deadline=None)
def test_each_wall_clock_time_fires_once(cron: str, zone: str, start: int) -> None:
    """Stepping from one due moment to the next meets no wall-clock time twice, and none is due in between."""
    due = [next_due(cron, zone, start)]
    for _ in range(12):
        due.append(next_due(cron, zone, due[-1]))
    walls = [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).replace(tzinfo=None) for at in due]
    latest = [latest_due(cron, zone, earlier, later - 1) for earlier, later in pairwise(due)]
    assert (sorted(set(walls)), set(latest)) == (walls, {None})


def told(cron: str, zone: str, after: str, count: int) -> list[tuple[str, str, str | None]]:
    start = int(datetime.fromisoformat(after).timestamp() * 1000)
    return [
        (datetime.fromtimestamp(due.at / 1000, UTC).isoformat(" ", "minutes"), f"{due.wall:%H:%M}", due.effect)
        for due in upcoming(cron, zone, start, count)
    ]


def test_a_time_that_is_skipped_counts_at_the_end_of_the_gap_and_says_so() -> None:
    """New York, 8 March 2026: after 01:59 comes 03:00."""
    assert told("30 2 * * *", "America/New_York", "2026-03-07T12:00+00:00", 2) == [
        ("2026-03-08 07:00+00:00", "02:30", "skipped"),
        ("2026-03-09 06:30+00:00", "02:30", None),
    ]


def test_a_time_that_comes_twice_counts_the_first_time_and_says_so() -> None:
    """New York, 1 November 2026: 01:00 to 01:59 come twice."""
    assert told("30 1 * * *", "America/New_York", "2026-10-31T12:00+00:00", 2) == [
        ("2026-11-01 05:30+00:00", "01:30", "twice"),
        ("2026-11-02 06:30+00:00", "01:30", None),
    ]


def test_two_times_that_are_skipped_together_are_one_moment() -> None:
    assert [at for at, _, _ in told("15,45 2 * * *", "America/New_York", "2026-03-07T12:00+00:00", 2)] == [
        "2026-03-08 07:00+00:00",
        "2026-03-09 06:15+00:00",
    ]


@given(st.integers(min_value=1_500_000_000_000, max_value=1_900_000_000_000))
@settings(max_examples=25, deadline=None)
def test_what_is_told_ahead_is_what_becomes_due(after: int) -> None:
    moments, last = [], after
    for _ in range(3):
        last = next_due("*/30 1,2 * * 0", "Europe/Berlin", last)
        moments.append(last)
    assert [due.at for due in upcoming("*/30 1,2 * * 0", "Europe/Berlin", after, 3)] == moments
