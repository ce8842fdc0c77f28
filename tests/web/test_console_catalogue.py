"""The page of the catalogue: what holds, what another one would change, and the change."""

import httpx2
import pytest
from tests.web.browser import HERE, Browser, forms, words
from tests.web.conftest import T0

from temppass.core.catalogue_file import parse
from temppass.testing import Double, build
from temppass.web.console.catalogue import lasting
from temppass.web.control import toml_of

CONTROL = "/control/v1/environments/release-production"
SCRIPT = '<script>x</script>"><img src=x onerror=1>'
CATALOGUE = """
[[programmer]]
id = "acme"
name = "Acme Media"

[[channel]]
id = "ACME1"
programmer = "acme"
name = "Acme One"
domains = ["acme.example", "localhost"]
reset_all = "explicit"

[[channel]]
id = "ACME2"
programmer = "acme"
timezone = "America/New_York"

[[pass]]
id = "Basic"
kind = "basic"
name = "Free half hour"
ttl = "30m"
resets = "0 0 * * *"
retention = "30d"
reason_required = true
approvals = 2
channels = ["ACME1", { id = "ACME2", enabled = false }]

[[pass]]
id = "Promo"
kind = "promotional"
ttl = "1d1h1s"
resources_max = 1
identity_key = "email"
resources_per_call_max = 2
channels = ["ACME1"]

[[pass]]
id = "NoTtl"
kind = "basic"
allow_invalid = true
channels = []

[[application]]
id = "ops"
name = "Support desk"
channels = "all"
scopes = ["temporary:passes:owner", "api:client:v2"]

[[application]]
id = "player"
channels = ["ACME1"]
scopes = []
domains = ["acme.example"]
reset_all = false
"""


@pytest.fixture
def double() -> Double:
    return build(CATALOGUE, now=T0)


@pytest.fixture
def root(double: Double) -> Browser:
    return _signed_in(double, "root", "admin")


def _signed_in(double: Double, name: str, role: str, channels: list[str] | None = None) -> Browser:
    browser = Browser(double)
    browser.sign_in(double.operator(name, role, channels=channels or []))
    return browser


def _plan(browser: Browser, toml: str) -> httpx2.Response:
    return browser.send(browser.get("catalogue"), "/catalogue/plan", {"toml": toml})


def _apply(browser: Browser, plan: httpx2.Response, **fields: str) -> httpx2.Response:
    return browser.send(plan, "/catalogue", fields)


def _holds(browser: Browser) -> str:
    return browser.get(f"{CONTROL}/catalogue").text


def _version(browser: Browser) -> str:
    return browser.get(f"{CONTROL}/catalogue").headers["etag"]


def _table(page: httpx2.Response, name: str) -> list[str]:
    table = page.text.partition(f'aria-label="{name}"')[2].partition("</table>")[0]
    return [words(httpx2.Response(200, text=each)) for each in table.split("<tr>")[2:]]


def _lines(page: httpx2.Response, heading: str) -> list[str]:
    listed = page.text.partition(f"{heading}</h2>")[2].partition("</ul>")[0]
    return [words(httpx2.Response(200, text=each)) for each in listed.split("<li>")[1:]]


def _renamed(name: str) -> str:
    return CATALOGUE.replace("Acme Media", name)


def test_what_holds_is_shown_in_tables_with_limits_in_words(root: Browser) -> None:
    page = root.get("catalogue")
    assert [_table(page, name) for name in ("Passes", "Channels", "Programmers", "Applications")] == [
        [
            (
                "Basic Free half hour basic 30 minutes from the first title on by device alone 5 titles in one call "
                "everybody is new again at 0 0 * * * forgotten 30 days after its end asks for a reason "
                "a reset of everybody takes 2 people ACME1, ACME2 (disabled)"
            ),
            (
                "Promo Promo promotional 1 day 1 hour 1 second from the first title on 1 title in a trial "
                "by device and by user key, email 2 titles in one call ACME1"
            ),
            "NoTtl NoTtl basic by device alone 5 titles in one call not fully configured: nobody is permitted none",
        ],
        [
            "ACME1 Acme One acme acme.example, localhost UTC where it is said",
            "ACME2 ACME2 acme none America/New_York also where nobody is named",
        ],
        ["acme Acme Media"],
        [
            (
                "ops Support desk all temporary:passes:owner, api:client:v2 none also everybody 3,000 a minute, "
                "5,000,000 at most"
            ),
            "player player ACME1 none acme.example one viewer at a time 3,000 a minute, 5,000,000 at most",
        ],
    ]


@pytest.mark.parametrize(
    ("ms", "said"), [(1_000, "1 second"), (5_400_000, "1 hour 30 minutes"), (28 * 86_400_000, "28 days"), (0, "")]
)
def test_lengths_of_time_are_words(ms: int, said: str) -> None:
    assert lasting(ms) == said


@pytest.mark.parametrize("role", ["viewer", "support", "operator", "admin"])
def test_everybody_reads_it_as_a_file(double: Double, role: str) -> None:
    page = _signed_in(double, "anna", role).get("catalogue")
    shown = httpx2.Response(200, text=page.text.partition("<pre ")[2].partition("</pre>")[0])
    assert " ".join(toml_of(parse(CATALOGUE, "catalogue")).split()) in words(shown)


def test_what_would_change_is_told_before_anything_does(root: Browser) -> None:
    """What of it is grave stands above the rest."""
    before = _holds(root)
    changed = CATALOGUE.replace('ttl = "30m"', 'ttl = "1h"').replace("approvals = 2", "").replace('"api:client:v2"', "")
    page = _plan(root, changed)
    assert (_lines(page, "What of it is grave"), _lines(page, "What would change"), _holds(root) == before) == (
        ["Pass Basic: one person alone can reset everybody.", "Application ops loses api:client:v2."],
        [
            "~ pass Basic: approvals: 2 -> (none)",
            "~ pass Basic: ttl: 30m -> 1h",
            "~ application ops: scopes: ['temporary:passes:owner', 'api:client:v2'] -> ['temporary:passes:owner']",
        ],
        True,
    )


def test_what_is_planned_is_applied_with_its_description_and_reason(root: Browser) -> None:
    page = _apply(root, _plan(root, _renamed("Other")), description="new name", reason="ticket 7")
    id_ = page.url.query.decode().removeprefix("done=")
    act = root.get(f"{CONTROL}/acts/{id_}").json()
    assert ([act[name] for name in ("kind", "description", "reason", "differences")], "Other" in _holds(root)) == (
        ["catalogue.apply", "new name", "ticket 7", ["~ programmer acme: name: Acme Media -> Other"]],
        True,
    )


def test_the_last_applies_are_told_with_who_and_why(double: Double, root: Browser) -> None:
    double.clock.advance(60_000)
    page = _apply(root, _plan(root, _renamed("Other")), description="new name", reason="ticket 7")
    link = f'<a href="{HERE}/acts/{page.url.query.decode().removeprefix("done=")}">'
    assert (_table(page, "History"), page.text.count(link)) == (
        [
            "2026-01-01 10:01:00 UTC 2 operator:root new name ticket 7 1",
            "2026-01-01 10:00:00 UTC 1 shell:test test none 8",
        ],
        2,
    )


def test_an_operator_who_is_limited_is_told_that_there_is_more(double: Double) -> None:
    page = _signed_in(double, "anna", "viewer", ["ACME1"]).get("catalogue")
    assert "What was applied is not told to operators who are limited to channels." in words(page)


def test_what_was_planned_before_another_apply_is_planned_anew(double: Double, root: Browser) -> None:
    """What moved is told in place, and what would change now; then it can be applied."""
    plan = _plan(root, _renamed("Mine"))
    double.apply(_renamed("Theirs"))
    moved = _apply(root, plan, description="my name")
    held = "Theirs" in _holds(root)
    typed = [each.fields.get("description") for each in forms(moved) if each.action.endswith("/catalogue")]
    applied = _apply(root, moved)
    told = words(moved)
    assert (moved.status_code, held, typed, applied.status_code, "Mine" in _holds(root)) == (
        412,
        True,
        ["my name"],
        200,
        True,
    )
    sentences = [
        "Since version 1 was planned for, this was applied: version 2, 2026-01-01 10:00:00 UTC ,",
        "shell:test : test ~ programmer acme: name: Acme Media -> Theirs",
        "What would change ~ programmer acme: name: Theirs -> Mine",
    ]
    assert [sentence in told for sentence in sentences] == [True] * 3


def test_a_version_that_moved_without_the_catalogue_says_so(double: Double, root: Browser) -> None:
    plan = _plan(root, _renamed("Mine"))
    double.mint("ops")
    moved = _apply(root, plan)
    assert (moved.status_code, "The catalogue is as it was" in words(moved)) == (412, True)


def test_the_form_that_is_sent_twice_applies_once(root: Browser) -> None:
    plan = _plan(root, _renamed("Other"))
    pages = [_apply(root, plan) for _ in range(2)]
    assert ([page.status_code for page in pages], pages[0].url, _version(root)) == ([200, 200], pages[1].url, '"2"')


def test_a_plan_without_changes_has_nothing_to_apply(root: Browser) -> None:
    page = _plan(root, CATALOGUE)
    assert ([each.action for each in forms(page)][1:], "Nothing would change" in words(page)) == (
        [f"{HERE}/catalogue/plan"],
        True,
    )


def test_every_problem_of_a_catalogue_is_told_where_it_was_typed(root: Browser) -> None:
    typed = CATALOGUE.replace('programmer = "acme"', 'programmer = "none"').replace('"30m"', '"soon"')
    page = _plan(root, typed)
    (kept,) = [each.fields["toml"] for each in forms(page) if "toml" in each.fields]
    told = words(page)
    problems = [each in told for each in ("channel ACME1: programmer", "channel ACME2: programmer", "pass Basic: ttl")]
    assert (page.status_code, problems, kept.strip(), _version(root)) == (400, [True] * 3, typed.strip(), '"1"')


@pytest.mark.parametrize("fields", [{"description": "for anna@acme.example"}, {"reason": "for anna@acme.example"}])
def test_a_description_that_names_somebody_is_refused_in_place(root: Browser, fields: dict[str, str]) -> None:
    page = _apply(root, _plan(root, _renamed("Other")), **fields)
    assert (page.status_code, _lines(page, "What would change"), _version(root)) == (
        400,
        ["~ programmer acme: name: Acme Media -> Other"],
        '"1"',
    )


@pytest.mark.parametrize("version", ["", "-1", "9" * 16, "x"])
def test_a_change_that_was_not_planned_is_none(root: Browser, version: str) -> None:
    assert (_apply(root, _plan(root, _renamed("Other")), version=version).status_code, _version(root)) == (400, '"1"')


def test_a_catalogue_that_is_too_large_for_a_form_names_the_command(root: Browser) -> None:
    page = _plan(root, CATALOGUE + "#" * 65_536)
    assert (page.status_code, "temppass catalogue apply catalogue.toml" in words(page), _version(root)) == (
        413,
        True,
        '"1"',
    )


def test_one_that_holds_and_is_too_large_has_no_form(double: Double, root: Browser) -> None:
    more = "".join(f'[[programmer]]\nid = "p{n}"\nname = "{"é" * 200}"\n' for n in range(80))
    double.apply(CATALOGUE + more)
    page = root.get("catalogue")
    assert (len(forms(page)), "temppass catalogue apply catalogue.toml" in words(page)) == (1, True)


def test_where_nothing_was_applied_the_first_catalogue_makes_the_environment() -> None:
    root = _signed_in(build(now=T0), "root", "admin")
    told = "Nothing was applied here yet" in words(root.get("catalogue"))
    _apply(root, _plan(root, CATALOGUE))
    assert (told, _version(root)) == (True, '"1"')


@pytest.mark.parametrize(("role", "seen", "status"), [("viewer", 0, 403), ("operator", 0, 403), ("admin", 1, 200)])
def test_who_may_not_change_it_has_no_form_and_is_refused(double: Double, role: str, seen: int, status: int) -> None:
    anna = _signed_in(double, "anna", role)
    page = anna.get("catalogue")
    form = {"form_token": forms(page)[0].fields["form_token"], "toml": CATALOGUE, "version": "1"}
    answers = [anna.client.post(f"{HERE}/{where}", data=form).status_code for where in ("catalogue/plan", "catalogue")]
    assert (len([each for each in forms(page) if "/catalogue" in each.action]), answers) == (seen, [status] * 2)


@pytest.mark.parametrize(
    "changed",
    [
        CATALOGUE.replace('"Acme Media"', f"'''{SCRIPT}'''"),
        CATALOGUE.replace('"Acme One"', f"'''{SCRIPT}'''"),
        CATALOGUE.replace('"Free half hour"', f"'''{SCRIPT}'''"),
        CATALOGUE.replace('"email"', f"'''{SCRIPT}'''"),
        CATALOGUE.replace('"Support desk"', f"'''{SCRIPT}'''"),
        CATALOGUE.replace('"temporary:passes:owner"', "'<script>x</script>'"),
    ],
)
def test_script_in_a_catalogue_stays_text(root: Browser, changed: str) -> None:
    """On the plan, once it holds, and in what is said of it afterwards; in its description too."""
    plan = _plan(root, changed)
    pages = [plan, _apply(root, plan, description=SCRIPT, reason=SCRIPT)]
    pages.append(_plan(root, CATALOGUE))
    told = [each in page.text for each in ("<script>x", "<img src=x") for page in pages]
    assert (told, "<script>x</script>" in words(pages[1])) == ([False] * 6, True)


def test_script_in_what_is_wrong_stays_text(root: Browser) -> None:
    page = _plan(root, f"""{SCRIPT} = '''{SCRIPT}'''""")
    other = _plan(root, f"[[channel]]\nid = '''{SCRIPT}'''\nprogrammer = '''{SCRIPT}'''")
    assert [(each.status_code, "<script>x" in each.text, "<img src=x" in each.text) for each in (page, other)] == [
        (400, False, False)
    ] * 2
