"""Charts: what they draw, that they can be read without them and without colour, and whose numbers they show."""

import asyncio
import re
from xml.etree import ElementTree as ET

import httpx2
import pytest
from tests.web.browser import Browser, words
from tests.web.conftest import T0

from temppass.core.operator import Role
from temppass.service.counters import MINUTE_MS, Point
from temppass.testing import Double
from temppass.web.console.charts import HEIGHT, SPANS, WIDTH, Chart, Sums, charts, sums

DURATION = "temporary_access_duration_limit_exceeded"
MOMENTS = [0, 1, 2, 3]


def drawn(counts: dict[str, list[int]]) -> list[Chart]:
    return charts([Point(at, "C", "P", {word: n[at] for word, n in counts.items()}) for at in MOMENTS], MOMENTS)


def heights(chart: Chart) -> list[tuple[float, float]]:
    """Answer where each bar begins and how high it is."""
    return [(float(x), float(h)) for x, h in re.findall(r"M([\d.]+) 100v-([\d.]+)", chart.bars)]


# --- pure


def test_a_bar_is_as_high_as_its_number_and_stands_at_its_step() -> None:
    step = WIDTH / len(MOMENTS)
    assert heights(drawn({"permit": [2, 0, 4, 1]})[0]) == [(0, HEIGHT / 2), (2 * step, HEIGHT), (3 * step, HEIGHT / 4)]


def test_a_small_number_beside_a_large_one_is_seen() -> None:
    assert heights(drawn({"permit": [1, 0, 1_000_000, 0]})[0])[0] == (0, 1)


def test_permits_come_first_then_denials_by_reason_on_one_scale() -> None:
    told = [
        (each.title, each.total, each.top)
        for each in drawn({"b_c": [1, 1, 0, 0], "permit": [0, 0, 0, 3], "a": [8, 0, 0, 0]})
    ]
    expected = [("Permits", 3, 3), ("Denied: a", 8, 8), ("Denied: b c", 2, 8), ("New trials", 0, 1), ("Resets", 0, 1)]
    assert told == expected


def test_points_of_one_step_are_added_whatever_their_integration() -> None:
    points = [Point(0, "C", "P", {"permit": 2}), Point(0, "D", "P", {"permit": 3}), Point(9, "C", "P", {"permit": 9})]
    assert charts(points, [0])[0].values == (5,)


def test_sums_are_by_integration() -> None:
    points = [Point(0, "C", "P", {"permit": 2, "trial": 1}), Point(1, "C", "P", {"reset": 4, "a": 1, "b": 2})]
    assert sums(points) == {("C", "P"): Sums(2, 3, 1, 4)}


# --- the page


def seated(double: Double, role: str = "viewer", name: str = "anna", *channels: str) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator(name, role, (), channels))
    return browser


def counted(
    double: Double, at: int, *words_: str, channel_id: str = "ACME1", pass_id: str = "TempPassBasic30m"
) -> None:
    counters = double.application.service.counters
    counters.add("release-production", channel_id, pass_id, at, words_)
    asyncio.run(counters.flush())


def tables(page: httpx2.Response) -> dict[str, list[tuple[str, int]]]:
    """Answer the table behind each chart."""
    return {
        title: [
            (at, int(n)) for at, n in re.findall(r'<th scope="row">(.*?)</th><td class="number">(\d+)</td>', figure)
        ]
        for title, figure in re.findall(r"<figcaption><strong>(.*?)</strong>(.*?)</figure>", page.text, re.DOTALL)
    }


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("hour", [("2026-01-01 10:00", 2)]),
        ("day", [("2026-01-01 05:00", 1), ("2026-01-01 10:00", 2)]),
        ("weeks", [("2025-12-20 08:00", 1), ("2026-01-01 04:00", 1), ("2026-01-01 08:00", 2)]),
    ],
)
def test_the_table_behind_a_chart_has_what_was_counted(
    double: Double, span: str, expected: list[tuple[str, int]]
) -> None:
    for minutes in (0, 0, 5 * 60, 12 * 24 * 60):
        counted(double, T0 - minutes * MINUTE_MS, "permit")
    assert tables(seated(double).get(f"counters?span={span}"))["Permits"] == expected


@pytest.mark.parametrize("span", SPANS)
def test_a_chart_is_a_picture_with_title_and_description(double: Double, span: str) -> None:
    counted(double, T0, "permit", "permit", DURATION)
    page = seated(double).get(f"counters?span={span}")
    pictures = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page.text, re.DOTALL)]
    told = [(each.get("role"), each.find("title").text, each.find("desc").text.split(" from")[0]) for each in pictures]  # type: ignore[union-attr]
    assert told == [
        ("img", "Permits", "2"),
        ("img", f"Denied: {DURATION.replace('_', ' ')}", "1"),
        ("img", "New trials", "0"),
        ("img", "Resets", "0"),
    ]
    names = [name for each in pictures for name in each.get("aria-labelledby", "").split()]
    assert sorted(names) == sorted(part.get("id", "") for each in pictures for part in each if part.get("id"))


def test_no_picture_has_a_style_that_the_policy_forbids(double: Double) -> None:
    counted(double, T0, "permit", DURATION)
    page = seated(double).get("counters").text
    assert (re.findall(r"\sstyle=|<style|\son\w+=", page), "<svg" in page) == ([], True)


def test_one_integration_is_shown_by_itself(double: Double) -> None:
    counted(double, T0, "permit")
    counted(double, T0, "permit", "permit", channel_id="ACME2")
    browser = seated(double)
    asked = [
        "counters",
        "counters?channel=ACME2",
        "counters?channel=ACME1&pass=TempPassBasic30m",
        "counters?pass=Daily",
    ]
    totals = [sum(n for _, n in tables(browser.get(path))["Permits"]) for path in asked]
    assert totals == [3, 2, 1, 0]


def test_an_operator_of_channels_sees_the_numbers_of_these_alone(double: Double) -> None:
    counted(double, T0, "permit")
    counted(double, T0, "permit", "permit", channel_id="ACME2")
    page = seated(double, "operator", "two", "ACME2").get("counters")
    assert (tables(page)["Permits"], "ACME1" in page.text) == ([("2026-01-01 10:00", 2)], False)


@pytest.mark.parametrize("role", Role)
def test_every_role_may_look(double: Double, role: Role) -> None:
    assert seated(double, role).get("counters?span=weeks").status_code == 200


@pytest.mark.parametrize("asked", ["span=year", "span=%3Cscript%3Ex", "span=hour&span=day"])
def test_what_cannot_be_shown_is_said(double: Double, asked: str) -> None:
    answer = seated(double).get(f"counters?{asked}")
    assert (answer.status_code, "<script>x" in answer.text) == (400, False)


def test_script_in_what_was_counted_stays_text(double: Double) -> None:
    counted(double, T0, "<script>x</script>", channel_id="<script>x</script>", pass_id="\"'><img src=x onerror=1>")
    page = seated(double).get("counters?channel=%3Cscript%3Ex%3C/script%3E")
    assert ("<script>x" in page.text or "<img src=x" in page.text, "<script>x" in words(page)) == (False, True)
