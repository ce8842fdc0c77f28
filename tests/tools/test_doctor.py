"""
The doctor against the real service with one link broken each time, and against scripts of what no service of ours does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from temppass.client import exchange
from temppass.client.client import Client
from temppass.client.exchange import Answer, Lost
from temppass.client.flow import Party, ProfileState, Viewer
from temppass.client.place import ENVIRONMENTS, Place, place_at
from temppass.client.vault import FileVault, Held, MemoryVault
from temppass.commands.doctor import doctor
from temppass.failure import Failure
from temppass.testing import Double, serving
from temppass.tools.doctor import LINKS, TITLE, Checkup, State, checkup

NOW = 1_767_261_600_000
CATALOGUE = """
[[programmer]]
id = "acme"
name = "Acme"

[[channel]]
id = "REF"
programmer = "acme"
name = "Reference"

[[channel]]
id = "OTHER"
programmer = "acme"
name = "Other"

[[pass]]
id = "Half"
kind = "basic"
name = "Half an hour"
ttl = "30m"
channels = ["REF", "OTHER"]

[[pass]]
id = "Two"
kind = "promotional"
name = "Two titles"
ttl = "28d"
resources_max = 2
identity_key = "email"
channels = ["REF"]

[[pass]]
id = "Off"
kind = "basic"
name = "Switched off"
ttl = "30m"
channels = [{ id = "REF", enabled = false }]

[[pass]]
id = "Unfinished"
kind = "promotional"
name = "Unfinished"
channels = ["REF"]
allow_invalid = true

[[application]]
id = "ops"
name = "Operations"
channels = ["REF"]
scopes = ["api:client:v2", "temporary:passes:owner"]

[[application]]
id = "viewer"
name = "Decides only"
channels = "all"
scopes = ["api:client:v2"]

[[application]]
id = "resetter"
name = "Resets only"
channels = "all"
scopes = ["temporary:passes:owner"]
"""


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with serving(CATALOGUE) as listening:
        yield listening


class Desk:
    """A terminal of its own for each test, with the statement of one application."""

    def __init__(self, double: Double, folder: Path) -> None:
        self.double = double
        self.folder = folder
        self.statement = folder / "statement.jwt"
        self.holds("ops")

    def holds(self, application: str) -> Desk:
        self.statement.write_text(self.double.mint(application))
        return self

    def keeps(self) -> Desk:
        """Keep credentials and a token, as any other command does."""
        place, vault = place_at(self.double.url), FileVault(self.folder / "temppass")
        with Client(place, self.statement.read_text(), vault=vault) as client:
            client.access_token()
        return self

    def run(self, *arguments: str, url: str | None = None, requestor: str = "REF", mvpd: str = "Half") -> Result:
        folders = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
        environ: dict[str, str | None] = dict.fromkeys(folders, str(self.folder))
        common = ["--statement-file", str(self.statement), "--url", url or self.double.url]
        return CliRunner(env=environ).invoke(doctor, [*common, "--requestor", requestor, "--mvpd", mvpd, *arguments])

    def states(self, **more: Any) -> tuple[int, dict[str, str]]:
        """Answer the exit code and the state of each link."""
        done = self.run("--json", **more)
        code = done.exception.code if isinstance(done.exception, Failure) else done.exit_code
        return code, {link["name"]: link["state"] for link in json.loads(done.stdout)["links"]}

    def failure(self, **more: Any) -> tuple[str, int, str]:
        """Answer the first broken link, the exit code and the hint."""
        done = self.run("--json", **more)
        assert isinstance(done.exception, Failure), done.output
        return json.loads(done.stdout)["broken"], done.exception.code, done.exception.hint


@pytest.fixture
def desk(double: Double, tmp_path: Path) -> Desk:
    return Desk(double, tmp_path)


def up_to(broken: str) -> dict[str, str]:
    """Answer what is shown where all is well before a link, and nothing is tried after it."""
    at = LINKS.index(broken)
    return {
        name: "ok" if index < at else "failed" if index == at else "not tried" for index, name in enumerate(LINKS)
    }  # fmt: skip


ALL_WELL = dict.fromkeys(LINKS, "ok")


def metric(double: Double, endpoint: str) -> int:
    """Answer how many requests an endpoint has answered."""
    lines = httpx2.get(f"{double.url}/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(f'temppass_requests_total{{endpoint="{endpoint}"')]
    return sum(int(float(line.rpartition(" ")[2])) for line in found)


# --- against the real service


def test_a_whole_chain_is_well(desk: Desk) -> None:
    assert desk.states() == (0, ALL_WELL)


@pytest.mark.parametrize("mvpd", ["Half", "Two"])
def test_every_kind_of_pass_is_well(desk: Desk, mvpd: str) -> None:
    assert desk.states(mvpd=mvpd) == (0, ALL_WELL)


@pytest.mark.parametrize(
    ("asked", "broken", "code", "hint"),
    [
        ({"requestor": "NOPE"}, "channel", 1, "check --requestor"),
        ({"requestor": "OTHER"}, "channel", 4, "assign the channel to the application"),
        ({"mvpd": "Nope"}, "pass", 1, "the channel's passes are: Half, Two, Unfinished;"),
        ({"mvpd": "Off"}, "pass", 1, "a disabled integration is not listed"),
        ({"mvpd": "Unfinished"}, "decision", 1, "complete the pass"),
        ({"url": "http://127.0.0.1:1"}, "place", 1, "nothing listens there"),
        ({"url": "http://nowhere.invalid"}, "place", 1, "not known to DNS"),
    ],
)
def test_the_first_broken_link_is_named_with_its_remedy(
    desk: Desk, asked: dict[str, str], broken: str, code: int, hint: str
) -> None:
    found, given, words = desk.failure(**asked)
    assert ((found, given), hint in words, desk.states(**asked)[1]) == ((broken, code), True, up_to(broken))


def test_tls_that_fails_is_named(desk: Desk) -> None:
    broken, code, hint = desk.failure(url=desk.double.url.replace("http:", "https:"))
    assert (broken, code, hint.partition(":")[0]) == ("place", 1, "TLS fails")


def test_a_url_with_a_path_too_much_is_found_out(desk: Desk) -> None:
    broken, code, hint = desk.failure(url=f"{desk.double.url}/api")
    assert (broken, code, "base URL" in hint) == ("place", 1, True)


def test_an_application_that_may_only_reset_is_walked_to_its_resets(desk: Desk) -> None:
    between = dict.fromkeys(("channel", "pass", "decision"), "not tried")
    assert desk.holds("resetter").states() == (0, {**ALL_WELL, "scope": "warning", **between})


def test_a_missing_scope_for_resets_is_a_warning(desk: Desk) -> None:
    assert desk.holds("viewer").states() == (0, {**ALL_WELL, "scope": "warning", "reset": "warning"})


@pytest.mark.parametrize("was_used", [False, True])
def test_a_revoked_statement_is_a_broken_registration(tmp_path: Path, was_used: bool) -> None:  # noqa: FBT001 - a table
    with serving(CATALOGUE) as double:
        desk = Desk(double, tmp_path)
        if was_used:
            desk.keeps()
        double.revoke("ops")
        broken, code, hint = desk.failure()
        assert (broken, code, hint.rpartition(": ")[2]) == ("register", 4, "get a new software statement")
        assert desk.states() == (4, up_to("register"))


def test_a_statement_of_another_environment_is_a_broken_registration(desk: Desk) -> None:
    desk.double.apply(CATALOGUE, "elsewhere")
    desk.statement.write_text(desk.double.mint("ops", "elsewhere"))
    broken, code, hint = desk.failure()
    assert (broken, code, "this place and environment" in hint) == ("register", 4, True)


def test_an_access_token_is_no_statement(desk: Desk) -> None:
    with Client(place_at(desk.double.url), desk.statement.read_text(), vault=MemoryVault()) as client:
        desk.statement.write_text(client.access_token())
    done = desk.run()
    assert isinstance(done.exception, Failure)
    assert (done.exception.code, "it looks like: access token" in str(done.exception)) == (4, True)


def test_a_walk_after_another_command_registers_no_more_and_asks_for_no_token(desk: Desk) -> None:
    desk.keeps()
    before = metric(desk.double, "register"), metric(desk.double, "token")
    done = desk.run()
    after = metric(desk.double, "register"), metric(desk.double, "token")
    # asking whether the place answers is one request of register, and is refused
    assert (done.exit_code, after) == (0, (before[0] + 1, before[1]))


def test_a_scope_that_was_added_meanwhile_is_found_by_a_new_token(tmp_path: Path) -> None:
    with serving(CATALOGUE) as double:
        desk = Desk(double, tmp_path).holds("resetter")
        before = desk.keeps().states()[1]["scope"]
        both = 'scopes = ["api:client:v2", "temporary:passes:owner"]'
        double.apply(CATALOGUE.replace('scopes = ["temporary:passes:owner"]', both))
        assert (before, desk.states()[1]["scope"]) == ("warning", "ok")


def test_nothing_is_reset_and_nothing_consumed(desk: Desk) -> None:
    place, viewer = place_at(desk.double.url), Viewer("tv", "viewer@example.net")
    with Client(place, desk.statement.read_text(), vault=MemoryVault()) as client:
        client.authorize("REF", "Two", viewer, ["A"])
        before = client.profile("REF", "Two", viewer)
        codes = [desk.run("--device", "tv", mvpd="Two").exit_code, desk.run(mvpd="Two").exit_code]
        after = client.profile("REF", "Two", viewer)
    assert isinstance(after, ProfileState)
    assert (codes, after, after.used) == ([0, 0], before, ("A",))


def test_a_device_whose_trial_is_over_is_an_answer(desk: Desk) -> None:
    with Client(place_at(desk.double.url), desk.statement.read_text(), vault=MemoryVault()) as client:
        client.authorize("REF", "Two", Viewer("old", "old@example.net"), ["A", "B"])
    done = desk.run("--device", "old", mvpd="Two")
    assert (done.exit_code, "the trial of this device is over" in done.stdout) == (0, True)


# --- the command


def test_people_get_a_line_for_each_link(desk: Desk) -> None:
    lines = desk.run().stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["LINK", *LINKS]


def test_no_output_holds_a_secret(desk: Desk) -> None:
    desk.keeps()
    outputs = [desk.run(*arguments) for arguments in ([], ["--json"], ["--show-request"], ["--dry-run"])]
    kept = [json.loads(path.read_text()) for path in desk.folder.rglob("*.json")]
    secrets = [desk.statement.read_text(), kept[0]["client_secret"], kept[0]["token"]]
    shown = "".join(done.stdout + done.stderr for done in outputs)
    assert [secret for secret in secrets if secret in shown] == []


def test_the_requests_are_shown_in_order_and_none_is_a_delete(desk: Desk) -> None:
    done = desk.run("--show-request")
    assert [(line.split()[3], line.split()[4].removeprefix(desk.double.url)) for line in done.stdout.splitlines()] == [
        ("GET", "/o/client/register"),
        ("POST", "/o/client/register"),
        ("POST", "/o/client/token"),
        ("GET", "/api/v2/REF/configuration"),
        ("POST", "/api/v2/REF/decisions/preauthorize/Half"),
        ("GET", "/reset-tempass/v3/reset"),
    ]


@pytest.mark.parametrize("option", ["--show-request", "--dry-run"])
def test_showing_sends_nothing(desk: Desk, option: str) -> None:
    done = desk.run(option, url="http://127.0.0.1:1")
    assert (done.exit_code, done.exception) == (0, None)


def test_a_dry_run_names_the_links(desk: Desk) -> None:
    assert f"would check {', '.join(LINKS)} of REF / Half" in desk.run("--dry-run").stderr


@pytest.mark.parametrize(
    ("without", "words"), [("--requestor", "the channel is not named"), ("--mvpd", "the pass is not named"),
                           ("--url", "no service is named"), ("--statement-file", "no software statement is named")]
)  # fmt: skip
def test_a_missing_option_is_wrong_usage(desk: Desk, without: str, words: str) -> None:
    given = {"--url": desk.double.url, "--statement-file": str(desk.statement), "--requestor": "REF", "--mvpd": "Half"}
    environ: dict[str, str | None] = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"), str(desk.folder))
    arguments = [part for name, value in given.items() if name != without for part in (name, value)]
    done = CliRunner(env=environ).invoke(doctor, arguments)
    assert isinstance(done.exception, Failure)
    assert (done.exception.code, words in str(done.exception)) == (2, True)


@pytest.mark.parametrize("device", ["", "fingerprint dHY="])
def test_a_device_that_names_nobody_is_wrong_usage(desk: Desk, device: str) -> None:
    done = desk.run("--device", device)
    assert isinstance(done.exception, Failure)
    assert (done.exception.code, bool(done.exception.hint)) == (2, True)


# --- by script: what no service of ours answers


def token(claims: dict[str, Any], **header: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    return ".".join([*parts, "c2lnbmF0dXJl"])


STATEMENT = token({"sub": "7b", "iss": "auth.adobe.com", "iat": 1767261000}, alg="RS256")
ACCESS = token({"sub": "c1", "exp": 1767283200, "scopes": "api:client:v2,temporary:passes:owner"}, alg="RS256")
KEPT = Held("id", "secret", ACCESS, NOW + 3_600_000)
HERE = place_at("https://pass.example")
CONFIGURED = {
    "requestor": {"id": "REF", "mvpds": [{"id": "Half", "isTempPass": True}, {"id": "RealTV"}, 5, {"id": []}]}
}
ALIVE = Answer(405, {}, b"")


def said(status: int, **fields: Any) -> Answer:
    return Answer(status, {}, json.dumps(fields).encode())


PERMITTED = said(200, decisions=[{"resource": TITLE, "authorized": True}])
USUAL: dict[str, Answer | Lost] = {
    "GET /o/client/register": ALIVE,
    "POST /o/client/register": said(201, client_id="new", client_secret="fresh"),
    "POST /o/client/token": said(201, access_token=ACCESS),
    "GET /api/v2/REF/configuration": said(200, **CONFIGURED),
    "POST /api/v2/REF/decisions/preauthorize/Half": PERMITTED,
    "GET /reset-tempass/v3/reset": ALIVE,
}


def walked(
    changed: dict[str, Answer | Lost],
    *,
    held: Held | None = KEPT,
    statement: str = STATEMENT,
    place: Place = HERE,
    mvpd: str = "Half",
) -> tuple[Checkup, list[str]]:
    """Play a walk against what usually comes, but for what is changed; answer what it found and what it sent."""
    conversation, sent = checkup(Party(place, statement), "REF", mvpd, "nobody"), list[str]()
    came: Any = None
    while True:
        try:
            effect = conversation.send(came)
        except StopIteration as end:
            return end.value, sent
        came = None
        match effect:
            case exchange.Send(method, url):
                path = "/" + url.split("/", 3)[3]
                sent.append(f"{method} {path}")
                came = {**USUAL, **changed}[sent[-1]]
            case exchange.Recall():
                came = held
            case exchange.Remember(new):
                held = new
            case exchange.Tell():
                came = NOW


REGISTER, TOKEN, CONFIGURATION, DECISION, RESET = list(USUAL)[1:]


@pytest.mark.parametrize(
    ("changed", "broken", "remedy"),
    [
        (
            {"GET /o/client/register": Lost("[Errno -3] Temporary failure in name resolution", sent=False)},
            "place",
            "DNS",
        ),
        ({"GET /o/client/register": Lost("[SSL: CERTIFICATE_VERIFY_FAILED] certificate", sent=False)}, "place", "TLS"),
        ({"GET /o/client/register": Lost("timed out", sent=False)}, "place", "firewall"),
        ({"GET /o/client/register": Lost("", sent=True)}, "place", "try again"),
        (
            {"GET /o/client/register": Answer(301, {"location": "https://x.example/y"}, b"")},
            "place",
            "redirects are not",
        ),
        ({"GET /o/client/register": Answer(302, {"location": "http://[\x1b"}, b"")}, "place", "redirects are not"),
        ({"GET /o/client/register": Answer(503, {}, b"")}, "place", "not well"),
        ({REGISTER: Lost("Connection refused", sent=False)}, "register", "nothing listens there"),
        ({REGISTER: Answer(200, {}, b"<html>")}, "register", "something else"),
        ({REGISTER: said(400, error="invalid_software_statement")}, "register", "whole and unchanged"),
        ({REGISTER: said(500)}, "register", "not well"),
        ({TOKEN: said(400, error="unauthorized_client")}, "token", "give the application a scope"),
        ({TOKEN: said(400, error="invalid_request")}, "token", "read what the service says"),
        ({TOKEN: said(400, error="invalid_client")}, "token", "registers anew"),
        (
            {CONFIGURATION: said(401, code="invalid_access_token_client_application")},
            "channel",
            "statement of this env",
        ),
        ({CONFIGURATION: said(401)}, "channel", "of the same environment"),
        ({CONFIGURATION: said(200, mvpds=[])}, "channel", "something else"),
        ({DECISION: said(200, decisions=[])}, "decision", "something else"),
        ({DECISION: said(400, code="invalid_integration")}, "decision", "enable the integration"),
        ({RESET: Lost("Connection refused", sent=False)}, "reset", "nothing listens there"),
        ({RESET: said(401)}, "reset", "same environment"),
        ({RESET: said(404)}, "reset", "--environment"),
        ({RESET: said(502)}, "reset", "not well"),
        ({RESET: said(429)}, "reset", "ask less often"),
    ],
)
def test_each_failure_is_blamed_on_its_link(changed: dict[str, Answer | Lost], broken: str, remedy: str) -> None:
    found, _ = walked(changed, held=None)
    assert found.broken is not None
    assert (found.broken.name, remedy in found.broken.remedy) == (broken, True)
    assert {link.name: link.state for link in found.links} == up_to(broken)


@pytest.mark.parametrize(
    ("changed", "link", "state"),
    [
        ({"GET /o/client/register": said(429)}, "place", State.OK),
        ({"GET /o/client/register": said(200)}, "place", State.OK),
        ({RESET: said(400)}, "reset", State.OK),
        ({RESET: said(403)}, "reset", State.WARNING),
        ({TOKEN: said(201, access_token="opaque")}, "scope", State.WARNING),
        ({DECISION: said(200, decisions=[
            {"resource": TITLE, "error": {"code": "invalid_header_identity_for_temporary_access"}}
        ])}, "decision", State.OK),
    ],
)  # fmt: skip
def test_what_is_odd_and_not_broken_does_not_end_the_walk(
    changed: dict[str, Answer | Lost], link: str, state: State
) -> None:
    found, _ = walked(changed, held=None)
    assert (found.broken, next(one.state for one in found.links if one.name == link)) == (None, state)


def test_what_is_kept_is_used_and_no_delete_is_sent() -> None:
    assert walked({})[1] == ["GET /o/client/register", CONFIGURATION, DECISION, RESET]


def test_a_kept_token_that_is_refused_is_renewed_before_the_channel_is_blamed() -> None:
    found, sent = walked({CONFIGURATION: said(401, code="invalid_access_token_service_provider")})
    assert (found.broken and found.broken.name, sent[1:]) == (
        "channel",
        [CONFIGURATION, TOKEN, CONFIGURATION, REGISTER, TOKEN, CONFIGURATION],
    )


def test_an_operator_is_no_pass() -> None:
    found, _ = walked({}, mvpd="RealTV")
    assert found.broken is not None
    assert (found.broken.found, found.broken.remedy) == (
        "RealTV is an operator and no temporary pass",
        "the channel's passes are: Half",
    )


@pytest.mark.parametrize("form", ["api:client:v2,temporary:passes:owner", "temporary:passes:owner api:client:v2"])
@pytest.mark.parametrize("shape", [str, str.split])
def test_scopes_are_read_in_every_form(form: str, shape: Callable[[str], Any]) -> None:
    value = shape(form.replace(",", " ")) if shape is not str else form
    held = Held("id", "secret", token({"sub": "c", "exp": 1767283200, "scope": value}), NOW + 3_600_000)
    assert walked({}, held=held)[0].broken is None


PREQUAL = ENVIRONMENTS["prequal-staging"]


@pytest.mark.parametrize(
    ("statement", "place", "words"),
    [
        ("a.b.c", HERE, "it is no software statement: the header of the token cannot be read"),
        (ACCESS, HERE, "it is no software statement; it looks like: access token"),
        (token({"sub": "x", "exp": 1767261600}, typ="software-statement+jwt"), HERE, "expired at 2026-01-01T10:00:00Z"),
        (token({"sub": "x", "aud": "release-production"}), PREQUAL, "it is for release-production"),
    ],
)
def test_a_statement_that_cannot_be_right_is_sent_nowhere(statement: str, place: Place, words: str) -> None:
    found, sent = walked({}, statement=statement, place=place)
    assert found.broken is not None
    assert (found.broken.name, words in found.broken.found, sent) == ("statement", True, [])


@pytest.mark.parametrize(
    ("statement", "place", "state"),
    [
        (STATEMENT, HERE, State.OK),
        (STATEMENT, PREQUAL, State.OK),
        (token({"sub": "x", "aud": "prequal-staging"}, typ="software-statement+jwt"), PREQUAL, State.WARNING),
        (token({"sub": "x", "nbf": 1767261661}), HERE, State.WARNING),
        (token({"sub": "x", "nbf": 1767261660}), HERE, State.OK),
        (token({"any": "thing"}), HERE, State.OK),
    ],
)
def test_a_statement_that_may_be_right_is_tried(statement: str, place: Place, state: State) -> None:
    found, _ = walked({}, statement=statement, place=place)
    assert (found.links[0].state, found.broken) == (state, None)


MEMBERS = st.sampled_from(["id", "name", "mvpds", "isTempPass", "displayName"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Half", "RealTV"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=8,
)


@given(JSON, JSON)
def test_any_configuration_ends_in_a_checkup(requestor: Any, mvpds: Any) -> None:
    found = [
        walked({CONFIGURATION: said(200, requestor=answered)})[0].links
        for answered in (requestor, {"mvpds": mvpds}, {"mvpds": [mvpds]})
    ]
    assert [tuple(link.name for link in links) for links in found] == [LINKS] * 3


def test_what_a_stranger_answers_cannot_steer_the_terminal() -> None:
    found, _ = walked({CONFIGURATION: said(400, code="x", message="a\x1b[2Jb")})
    assert found.broken is not None
    assert found.broken.found == "a [2Jb (400 x)"
