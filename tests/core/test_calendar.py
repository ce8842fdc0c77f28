"""
Cron on the wall clock comes due once, whatever the clocks do.
"""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temppass.core.calendar import latest_due, next_due


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
