"""
What a catalogue can ask of a reset: who may reset everybody over the vendor's wire, and how that has to be said; and a
reason of what operators do. A table of declaration and call, and that nothing happens where a call is refused.
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from temppass.testing import Double, build, serving

T0 = 1_767_261_600_000
CATALOGUE = """
programmer = [{ id = "acme" }]
channel = [
  { id = "OPEN", programmer = "acme" },
  { id = "SAID", programmer = "acme", reset_all = "explicit" },
]
pass = [
  { id = "Free", kind = "basic", ttl = "30m", channels = ["OPEN", "SAID"] },
  { id = "Reasoned", kind = "basic", ttl = "30m", channels = ["OPEN", "SAID"], reason_required = true },
  { id = "Approved", kind = "basic", ttl = "30m", channels = ["OPEN", "SAID"], approvals = 2 },
]
application = [
  { id = "ops", channels = "all", scopes = ["api:client:v2", "temporary:passes:owner"] },
  { id = "single", channels = "all", scopes = ["temporary:passes:owner"], reset_all = false },
  { id = "narrow", channels = ["OPEN"], scopes = ["temporary:passes:owner"], reset_all = false },
]
"""
RESET, CONTROL = "/reset-tempass/v3/reset", "/control/v1/environments/release-production"
#: everybody because nobody is named, everybody by name, and one viewer
UNNAMED = (
    "?", "?device_id=", "?device_id", "?appId=tv", "?deviceUser=anna&device_id=",
    "/generic?", "/generic?key=", "/generic?key", "/generic?appId=tv",
)  # fmt: skip
NAMED = ("?device_id=all", "?device_id=all&appId=tv", "?device_id=all&deviceUser=anna", "/generic?key=all")
ONE = ("?device_id=tv", "?device_id=tv&appId=tv", "?device_id=ALL", "/generic?key=anna")
DONE, UNSAID, FORBIDDEN = (204, None), (400, "invalid_request"), (403, "insufficient_scope")
#: who resets what: how calls are answered that are UNNAMED, NAMED and of ONE
TABLE = {
    ("ops", "OPEN", "Free"): (DONE, DONE, DONE),
    ("ops", "OPEN", "Reasoned"): (FORBIDDEN, FORBIDDEN, DONE),
    ("ops", "OPEN", "Approved"): (FORBIDDEN, FORBIDDEN, DONE),
    ("ops", "SAID", "Free"): (UNSAID, DONE, DONE),
    ("ops", "SAID", "Reasoned"): (UNSAID, FORBIDDEN, DONE),
    ("ops", "SAID", "Approved"): (UNSAID, FORBIDDEN, DONE),
    ("single", "OPEN", "Free"): (FORBIDDEN, FORBIDDEN, DONE),
    ("single", "OPEN", "Reasoned"): (FORBIDDEN, FORBIDDEN, DONE),
    ("single", "SAID", "Free"): (UNSAID, FORBIDDEN, DONE),
}


class Desk:
    """Calls a double: as an application over the vendor's wire, or as an operator."""

    def __init__(self, double: Double, client: httpx2.Client) -> None:
        self.double = double
        self.client = client
        self.headers: dict[str, dict[str, str]] = {}

    def of(self, application: str) -> dict[str, str]:
        """Answer the headers of an application."""
        if application not in self.headers:
            statement = {"software_statement": self.double.mint(application)}
            made = self.client.post("/o/client/register", json=statement).json()
            form = {"grant_type": "client_credentials", **{key: made[key] for key in ("client_id", "client_secret")}}
            token = self.client.post("/o/client/token", data=form).json()["access_token"]
            self.headers[application] = {"Authorization": f"Bearer {token}"}
        return self.headers[application]

    def reset(self, application: str, channel: str, pass_id: str, call: str) -> tuple[int, str | None]:
        """Answer status and error of a call of the wire; `call` is how the path ends, and what names a target."""
        path, _, target = call.partition("?")
        query = f"requestor_id={channel}&mvpd_id={pass_id}" + (f"&{target}" if target else "")
        answer = self.client.delete(f"{RESET}{path}?{query}", headers=self.of(application))
        return answer.status_code, answer.json()["error"] if answer.content else None

    def message(self, application: str, channel: str, pass_id: str, call: str) -> str:
        query = f"requestor_id={channel}&mvpd_id={pass_id}{call}"
        return str(self.client.delete(f"{RESET}?{query}", headers=self.of(application)).json()["message"])

    def ends_at(self, pass_id: str) -> object:
        """Answer when the trial of the device `tv` ends; one that is new begins now."""
        headers = self.of("ops") | {"AP-Device-Identifier": f"fingerprint {base64.b64encode(b'tv').decode()}"}
        path = f"/api/v2/OPEN/decisions/authorize/{pass_id}"
        return self.client.post(path, json={"resources": ["R"]}, headers=headers).json()["decisions"][0]["notAfter"]

    def acts(self) -> list[str]:
        headers = {"Authorization": f"Bearer {self.double.operator('viewer', 'viewer')}"}
        found = self.client.post(f"{CONTROL}/acts/search", json={}, headers=headers).json()["records"]
        return [each["kind"] for each in found if each["kind"] not in {"catalogue.apply", "statement.mint"}]


@pytest.fixture(scope="module")
def desk() -> Desk:
    double = build(CATALOGUE, now=T0, TEMPPASS_SECRET="s" * 32)
    return Desk(double, TestClient(double.app, base_url="http://double.test"))


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.process)])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """The same on every store."""
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: "memory:",
        "sqlite": lambda: f"sqlite:///{tmp_path}/store.db",
        "postgres": lambda: request.getfixturevalue("postgres"),
    }
    with (
        serving(store=urls[request.param](), now=T0, TEMPPASS_SECRET="s" * 32) as double,
        httpx2.Client(base_url=double.url) as client,
    ):
        double.apply(CATALOGUE)
        yield Desk(double, client)


# --- over the vendor's wire


@pytest.mark.parametrize("row", TABLE)
def test_who_may_reset_everybody_and_how_that_is_said_is_as_declared(desk: Desk, row: tuple[str, str, str]) -> None:
    answers = [{call: desk.reset(*row, call) for call in calls} for calls in (UNNAMED, NAMED, ONE)]
    assert answers == [
        dict.fromkeys(calls, wants) for calls, wants in zip((UNNAMED, NAMED, ONE), TABLE[row], strict=True)
    ]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("narrow", "NOPE", "NOPE", ""), "There is no channel"),
        (("narrow", "SAID", "NOPE", ""), "is not assigned to channel"),
        (("single", "SAID", "NOPE", ""), "send device_id=all"),
        (("single", "SAID", "NOPE", "&device_id=all"), "one viewer at a time"),
        (("ops", "SAID", "NOPE", "&device_id=all"), "There is no pass"),
        (("ops", "SAID", "Reasoned", "&device_id=all"), "takes a reason,"),
        (("ops", "SAID", "Approved", "&device_id=all"), "takes a second person,"),
        (("ops", "SAID", "Reasoned", "&device_id=all&device_id=all"), "only once"),
    ],
)
def test_what_a_catalogue_asks_of_a_reset_is_checked_in_an_order(
    desk: Desk, call: tuple[str, str, str, str], told: str
) -> None:
    """After the channel, each where it is known: of channel and application before the pass, of the pass behind it."""
    assert told in desk.message(*call)


def test_a_reset_that_is_refused_changes_nothing_and_is_no_act(stored: Desk) -> None:
    before = [stored.ends_at(pass_id) for pass_id in ("Free", "Reasoned", "Approved")]
    stored.double.clock.advance(1)
    refused = [
        stored.reset(*row, call)
        for row, wants in TABLE.items()
        for calls, want in zip((UNNAMED, NAMED), wants, strict=False)
        if want is not DONE
        for call in calls
    ]
    stands = [stored.ends_at(pass_id) for pass_id in ("Free", "Reasoned", "Approved")]
    assert ({*refused}, stands, stored.acts()) == ({UNSAID, FORBIDDEN}, before, [])


def declaring(guards: str) -> str:
    """Answer the catalogue with these keys of the pass `Free`."""
    return CATALOGUE.replace('ttl = "30m"', 'ttl = "2d"').replace(
        'channels = ["OPEN", "SAID"] }', f'channels = ["OPEN", "SAID"]{guards} }}', 1
    )


def test_what_a_catalogue_asks_holds_for_the_very_next_reset_and_until_it_is_taken_out(stored: Desk) -> None:
    answers = []
    for guards in ("", ", approvals = 2", ", reason_required = true", ""):
        stored.double.apply(declaring(guards))
        answers.append(stored.reset("ops", "OPEN", "Free", "?device_id=all"))
    assert answers == [DONE, FORBIDDEN, FORBIDDEN, DONE]


def test_recurring_resets_go_on_whatever_a_catalogue_asks(stored: Desk) -> None:
    stored.double.apply(declaring(', resets = "0 0 * * *", reason_required = true, approvals = 2'))
    before = stored.ends_at("Free")
    stored.double.clock.advance(24 * 3_600_000)
    stored.headers.clear()  # its token has ended
    assert (stored.ends_at("Free") == before, stored.acts()) == (False, ["reset.recurring"])


# --- a reason


def test_an_act_on_a_viewer_needs_a_reason_where_the_pass_asks_for_one(stored: Desk) -> None:
    headers = {"Authorization": f"Bearer {stored.double.operator('anna', 'operator')}"}
    named = {"channel": "OPEN", "pass": "Reasoned"}

    def act(path: str, **body: Any) -> Any:
        stored.double.clock.advance(1)
        answer = stored.client.post(f"{CONTROL}/{path}", json=body, headers=headers)
        return answer.json() | {"answered": answer.status_code}

    def with_a_reason(path: str, **body: Any) -> Any:
        """Ask without a reason, with one of nothing, with one of white space, and with one; answer the last."""
        for reason in ({}, {"reason": ""}, {"reason": " \t"}):
            refused = act(path, **body, **reason)
            told.append((refused["answered"], refused["code"], "reason" in refused["detail"]))
        done = act(path, **body, reason="ticket 1")
        told.append(done["answered"])
        return done

    told: list[object] = []
    before = stored.ends_at("Reasoned")
    granted = with_a_reason("grants", **named, device="tv", minutes=5)
    with_a_reason(f"grants/{granted['id']}/undo")
    listed = with_a_reason("resets", **named, subjects=["0" * 32])
    reset = with_a_reason("resets", **named, device="tv")
    with_a_reason(f"resets/{reset['id']}/undo")
    told.append((stored.ends_at("Reasoned") == before, listed["matched"], stored.acts()))
    refused = [(400, "reason_required", True)] * 3
    assert told == [
        *([*refused, 201] * 5), (True, 0, ["undo", "reset", "reset", "undo", "grant"]),
    ]  # fmt: skip


def test_an_act_needs_no_reason_elsewhere(desk: Desk) -> None:
    headers = {"Authorization": f"Bearer {desk.double.operator('ben', 'support')}"}
    body = {"channel": "OPEN", "pass": "Approved", "device": "tv"}
    assert desk.client.post(f"{CONTROL}/resets", json=body, headers=headers).status_code == 201
