"""The first page of an environment: what is counted, what was done last, and where else one may go."""

import asyncio
import re
from collections.abc import Callable

import pytest
from tests.web.browser import HERE, Browser
from tests.web.conftest import CATALOGUE, DEVICE

from temppass.core.operator import Role
from temppass.testing import Double
from temppass.web.console.home import ACTS

CONTROL = "/control/v1/environments/release-production"


def seated(double: Double, role: str = "support", name: str = "anna", *channels: str) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator(name, role, (), channels))
    return browser


def counted(double: Double, *words: str, pass_id: str = "TempPassBasic30m", channel_id: str = "ACME1") -> None:
    counters = double.application.service.counters
    counters.add("release-production", channel_id, pass_id, double.clock(), words)
    asyncio.run(counters.flush())


def rows(browser: Browser) -> dict[str, list[int]]:
    """Answer the numbers of each integration: permits, denials, new trials, resets of two minutes, and of a day."""
    found = re.findall(r'<tr data-channel="(.*?)" data-pass="(.*?)">(.*?)</tr>', browser.get(HERE).text, re.DOTALL)
    return {
        f"{channel} {pass_}": [int(n) for n in re.findall(r'<td class="number"[^>]*>(\d+)</td>', cells)]
        for channel, pass_, cells in found
    }


def test_what_happened_is_counted_now_and_over_a_day(double: Double, watch: Callable[..., bool]) -> None:
    """A permit that begins a trial, one that goes on with it, a denial after its end, and a reset."""
    watch()
    watch()
    double.clock.advance(1_800_000)
    assert not watch()
    token = double.operator("robot", "support")
    body = {"channel": "ACME1", "pass": "TempPassBasic30m", "device": DEVICE.decode()}
    Browser(double).client.post(f"{CONTROL}/resets", json=body, headers={"Authorization": f"Bearer {token}"})
    asyncio.run(double.application.service.counters.flush())
    assert rows(seated(double))["ACME1 TempPassBasic30m"] == [0, 1, 0, 1, 2, 1, 1, 1]


def test_what_is_older_than_a_day_does_not_count(double: Double) -> None:
    counted(double, "permit")
    double.clock.advance(86_400_000)
    assert rows(seated(double))["ACME1 TempPassBasic30m"] == [0] * 8


def test_every_integration_is_there_and_only_those_of_ones_channels(double: Double) -> None:
    counted(double, "permit")
    all_, some = rows(seated(double)), rows(seated(double, "operator", "two", "ACME2"))
    assert ({each.split()[0] for each in all_}, [*some]) == (
        {"ACME1", "ACME2"},
        ["ACME2 Daily", "ACME2 TempPassBasic30m"],
    )


@pytest.mark.parametrize("role", Role)
def test_every_role_has_a_first_page(double: Double, role: Role) -> None:
    assert seated(double, role).get(HERE).status_code == 200


def test_the_last_acts_are_there_the_newest_first(double: Double) -> None:
    for number in range(ACTS + 2):
        double.apply(CATALOGUE.replace('ttl = "30m"', f'ttl = "{number + 31}m"'))
        double.clock.advance(1)
    page = seated(double).get(HERE)
    shown = [f"2026-01-01T10:00:00.{number:03}Z" for number in reversed(range(2, ACTS + 2))]
    assert (
        page.text.count("data-act="),
        re.findall(r'<tr data-act="[^"]*">\s*<td><time datetime="(.*?)"', page.text),
    ) == (
        ACTS,
        shown,
    )


def test_other_environments_that_one_may_open_are_linked(double: Double) -> None:
    double.apply(CATALOGUE, "qa")
    named = double.operator("named", "support", ["release-production", "qa2"])
    browser = Browser(double)
    browser.sign_in(named)
    told = [each.get(HERE).text.partition("Other environments")[2] for each in (seated(double), browser)]
    links = [re.findall(r'href="/console/in/([a-z0-9-]+)">', text) for text in told]
    assert links == [["qa"], ["qa2"]]


def test_the_page_is_live_where_script_is(double: Double) -> None:
    page = seated(double).get(HERE)
    assert f'data-events="{CONTROL}/events" hidden' in page.text


def test_the_stream_of_the_page_takes_its_session(double: Double) -> None:
    assert seated(double).client.head(f"{CONTROL}/events").status_code == 200


def test_script_in_the_names_of_integrations_stays_text(double: Double) -> None:
    counted(double, "<script>x", channel_id="<script>x</script>", pass_id="\"'><img src=x>")
    page = seated(double).get(HERE)
    assert ("<script>x" in page.text or "<img src=x" in page.text, "&lt;script&gt;x" in page.text) == (False, True)
