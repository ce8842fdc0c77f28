"""The page of recurring resets: when each comes, what came, and its pause."""

import httpx2
import pytest
from tests.web.browser import HERE, Browser, forms, words

from temppass.testing import Double, build

CONTROL = "/control/v1/environments/release-production"
#: 2026-03-07T12:00:00Z, the day before the clocks of New York go forward
MARCH = 1_772_884_800_000
#: 2026-10-31T12:00:00Z, the day before they go back
OCTOBER = 1_793_448_000_000
CATALOGUE = """
programmer = [{ id = "acme" }]
channel = [
  { id = "ACME1", programmer = "acme" },
  { id = "ACME2", programmer = "acme", timezone = "America/New_York" },
]

[[pass]]
id = "Daily"
kind = "basic"
ttl = "10m"
resets = "30 2 * * *"
channels = ["ACME1", "ACME2"]

[[pass]]
id = "Hourly"
kind = "basic"
ttl = "10m"
resets = "30 1 * * *"
channels = ["ACME2"]
"""


def _signed_in(double: Double, role: str, channels: list[str] | None = None) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator("anna", role, channels=channels or []))
    return browser


@pytest.fixture
def double() -> Double:
    return build(CATALOGUE, now=MARCH)


@pytest.fixture
def anna(double: Double) -> Browser:
    return _signed_in(double, "operator")


def _section(page: httpx2.Response, heading: str) -> str:
    (section,) = [each for each in page.text.split("<section")[1:] if heading in each]
    return section.partition("</section>")[0]


def _rows(section: str) -> list[str]:
    return [words(httpx2.Response(200, text=each.partition("</tr>")[0])) for each in section.split("<tr>")[1:]]


def _pause(browser: Browser, paused: str = "1", **fields: str) -> httpx2.Response:
    return browser.send(browser.get("schedules"), "/schedules", {"paused": paused, **fields}, of="2")


def _paused(browser: Browser) -> list[str | None]:
    return [each["paused_at"] for each in browser.get(f"{CONTROL}/schedules").json()["schedules"]]


def test_a_schedule_tells_its_next_five_moments(anna: Browser) -> None:
    """In UTC and on the clocks of the channel, which skip a time in spring."""
    assert _rows(_section(anna.get("schedules"), "Daily on ACME2"))[1:] == [
        "2026-03-08 07:00:00 UTC 2026-03-08 02:30 the clocks skip this time that day: it counts when they have",
        *(f"2026-03-{day:02} 06:30:00 UTC 2026-03-{day:02} 02:30 no effect" for day in range(9, 13)),
    ]


def test_a_time_that_comes_twice_says_so() -> None:
    anna = _signed_in(build(CATALOGUE, now=OCTOBER), "viewer")
    assert _rows(_section(anna.get("schedules"), "Hourly on ACME2"))[1] == (
        "2026-11-01 05:30:00 UTC 2026-11-01 01:30 this time comes twice that day: the first one counts"
    )


def test_a_limited_operator_sees_the_schedules_of_their_channels(double: Double) -> None:
    page = _signed_in(double, "viewer", ["ACME1"]).get("schedules")
    assert [heading in page.text for heading in ("Daily on ACME1", "Daily on ACME2")] == [True, False]


def test_a_schedule_is_paused_and_goes_on(anna: Browser) -> None:
    """With its reason on record; the page afterwards says which act that was."""
    pages = [_pause(anna, reason="ticket 7")]
    paused = [_paused(anna)]
    pages.append(_pause(anna, "0"))
    paused.append(_paused(anna))
    acts = [anna.get(f"{CONTROL}/acts/{page.url.query.decode().removeprefix('done=')}").json() for page in pages]
    told = [(each["kind"], each["channel"], each["pass"], each["reason"]) for each in acts]
    assert (told, paused, [each["id"] in page.text for each, page in zip(acts, pages, strict=True)]) == (
        [("schedule.pause", "ACME2", "Daily", "ticket 7"), ("schedule.resume", "ACME2", "Daily", None)],
        [[None, "2026-03-07T12:00:00.000Z", None], [None] * 3],
        [True, True],
    )


def test_a_paused_schedule_says_since_when(anna: Browser) -> None:
    section = _section(_pause(anna), "Daily on ACME2")
    assert ("paused since" in section, "Let this schedule go on" in section) == (True, True)


def test_what_was_paused_already_is_said_in_place(anna: Browser) -> None:
    before = anna.get("schedules")
    _pause(anna)
    page = anna.send(before, "/schedules", {"paused": "1", "reason": "once more"}, of="2")
    assert (page.status_code, "The schedule is paused already." in words(page), 'value="once more"' in page.text) == (
        409,
        True,
        True,
    )


def test_the_form_that_is_sent_twice_pauses_once(anna: Browser) -> None:
    before = anna.get("schedules")
    pages = [anna.send(before, "/schedules", {"paused": "1"}, of="2") for _ in range(2)]
    assert [page.url for page in pages] == [pages[0].url] * 2


def test_the_last_resets_are_told(double: Double) -> None:
    """One that was due is done at the latest when somebody pauses it."""
    double.clock.advance(86_400_000)
    anna = _signed_in(double, "operator")
    _pause(anna)
    double._run(double.application.service.history.seal_all("release-production"))
    rows = _rows(_section(anna.get("schedules"), "Daily on ACME2"))
    assert [row.rpartition(" ")[0] for row in rows[7:]] == ["2026-03-08 07:00:00 UTC 2026-03-08 12:00:00 UTC"]


@pytest.mark.parametrize(
    ("role", "channels", "seen", "status"),
    [
        ("viewer", [], 0, 403),
        ("support", [], 0, 403),
        ("operator", [], 3, 200),
        ("operator", ["ACME1"], 1, 403),
        ("admin", [], 3, 200),
    ],
)
def test_who_may_not_pause_has_no_form_and_is_refused(
    double: Double, role: str, channels: list[str], seen: int, status: int
) -> None:
    anna = _signed_in(double, role, channels)
    page = anna.get("schedules")
    token = forms(page)[0].fields["form_token"]
    fields = {"form_token": token, "channel": "ACME2", "pass": "Daily", "paused": "1"}
    answer = anna.client.post(f"{HERE}/schedules", data=fields)
    assert (len([each for each in forms(page) if each.action.endswith("/schedules")]), answer.status_code) == (
        seen,
        status,
    )


def test_script_stays_text(anna: Browser) -> None:
    script = '"><img src=x onerror=1>'
    page = _pause(anna, channel=script, reason=script)
    assert (page.status_code, script in page.text) == (404, False)
