"""
What operators say to a service and hear of it: the conversations by script, the faces against the real service.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest

from temppass import (
    AccessDenied,
    AsyncControl,
    Client,
    Control,
    CredentialsRefused,
    InvalidTarget,
    MemoryVault,
    NotPermitted,
    Only,
    RequestRefused,
    ServerFault,
    Target,
    TempPassError,
    Throttled,
    Unreachable,
    Unreadable,
    Viewer,
    Wanted,
    place_at,
)
from temppass.client import applications, control, keys, setup
from temppass.client.answers import (
    Act,
    Approval,
    CatalogueChange,
    CatalogueShown,
    Due,
    Example,
    Explained,
    Explanation,
    Fired,
    Help,
    LedgerState,
    NewOperator,
    Operator,
    Planned,
    Point,
    Receipt,
    Schedule,
)
from temppass.client.applications import Application, NewStatement, Registration, Statement
from temppass.client.control import PAGE_ACTS_MAX
from temppass.client.exchange import TRIES_MAX, Answer, Effect, Flow, Lost, Send, Wait
from temppass.client.keys import KeysRotated, MintAnew, SigningKey
from temppass.testing import Double, serving

TOKEN = "tpo_hush-hush"
SEAT = control.seat(place_at("https://pass.example"), TOKEN)
PASS = ("REF", "P")
DEMO = ("REF", "flexibleTempPass")
EMAIL = "viewer@example.net"
#: SHA-256 of EMAIL
HASHED = "6505054d62861944b4cee5193e7466f592e9deeeb2467d1a6ff021843d0babb2"
DIGEST = "0123456789abcdef" * 2
MOMENT, AT = "2026-01-01T10:00:00.123Z", 1_767_261_600_123
DONE = {"id": "act-1", "matched": 2, "undo_until": MOMENT}


def answer(status: int, document: Any = None, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(document).encode() if document is not None else b"<html>")


def problem(status: int, code: str, detail: str = "It is so.", **headers: str) -> Answer:
    return answer(status, {"title": "No", "status": status, "code": code, "detail": detail}, **headers)


class Played:
    """Plays a flow: answers each request from the script, and keeps what was sent and waited for."""

    def __init__(self, *script: Answer | Lost) -> None:
        self.script = list(script)
        self.sent: list[Send] = []
        self.waits: list[float] = []

    def play(self, conversation: Flow[Any]) -> Any:
        came: Answer | Lost | None = None
        while True:
            try:
                came = self._do(conversation.send(came))
            except StopIteration as end:
                return end.value

    def _do(self, effect: Effect) -> Answer | Lost | None:
        match effect:
            case Send():
                self.sent.append(effect)
                return self.script.pop(0)
            case Wait(seconds):
                self.waits.append(seconds)
                return None
        raise AssertionError(effect)

    @property
    def said(self) -> list[tuple[str, Any]]:
        """Answer what was sent: method and path, and the body."""
        path = "https://pass.example/control/v1"
        return [(f"{each.method} {each.url.removeprefix(path)}", _read(each)) for each in self.sent]


def _read(sent: Send) -> Any:
    is_json = sent.headers.get("Content-Type") == "application/json"
    return json.loads(sent.body) if is_json else sent.body.decode() or None


IN = "/environments/release-production"
EVERYBODY = {"channel": "REF", "pass": "P", "everybody": "both"}
ONLY, NARROWED = Only(over=True, started_before=AT, app_id="tv-app"), {
    "over": True, "started_before": MOMENT, "app_id": "tv-app",
}  # fmt: skip
CALLS: dict[str, tuple[Callable[[], Flow[Any]], str, Any]] = {
    "whoami": (lambda: control.whoami(SEAT), "GET /whoami", None),
    "operators": (lambda: control.operators(SEAT), "GET /operators", None),
    "create_operator": (
        lambda: control.create_operator(SEAT, "anna", "support", (), ["REF"], AT, once="1"),
        "POST /operators",
        {"name": "anna", "role": "support", "environments": [], "channels": ["REF"], "ends_at": MOMENT},
    ),
    "revoke_operator": (lambda: control.revoke_operator(SEAT, "a.b", once="1"), "DELETE /operators/a.b", None),
    "explain": (
        lambda: control.explain(SEAT, Target("tv", EMAIL), requestor="REF", mvpd="P", title="FILM"),
        f"POST {IN}/explain",
        {"device": "tv", "email": EMAIL, "channel": "REF", "pass": "P", "title": "FILM"},
    ),
    "reset": (
        lambda: control.reset(SEAT, "REF", "P", Target("tv", EMAIL), reason="asked", once="1"),
        f"POST {IN}/resets",
        {"channel": "REF", "pass": "P", "device": "tv", "key": HASHED, "reason": "asked"},
    ),
    "reset of a list": (
        lambda: control.reset(SEAT, "REF", "P", [DIGEST], reason=None, once="1"),
        f"POST {IN}/resets",
        {"channel": "REF", "pass": "P", "subjects": [DIGEST]},
    ),
    "plan": (
        lambda: control.plan(SEAT, "REF", "P", "both", Only(), None, once="1"),
        f"POST {IN}/plans",
        EVERYBODY,
    ),
    "plan of a part": (
        lambda: control.plan(SEAT, "REF", "P", "both", ONLY, 0.5, once="1"),
        f"POST {IN}/plans",
        {**EVERYBODY, "only": NARROWED, "share": 0.5},
    ),
    "reset_everybody": (
        lambda: control.reset_everybody(SEAT, "REF", "P", "both", ONLY, "plan-1", "asked", once="1"),
        f"POST {IN}/resets",
        {**EVERYBODY, "only": NARROWED, "plan": "plan-1", "reason": "asked"},
    ),
    "approvals": (lambda: control.approvals(SEAT), f"GET {IN}/approvals", None),
    "approve": (
        lambda: control.decide(SEAT, "ask-1", approve=True, once="1"),
        f"POST {IN}/approvals/ask-1",
        {"approve": True},
    ),
    "decline": (
        lambda: control.decide(SEAT, "ask-1", approve=False, once="1"),
        f"POST {IN}/approvals/ask-1",
        {"approve": False},
    ),
    "applications": (lambda: applications.applications(SEAT), f"GET {IN}/applications", None),
    "clients": (lambda: applications.clients(SEAT, "a/b"), f"GET {IN}/applications/a%2Fb/clients?limit=500", None),
    "clients after others": (
        lambda: applications.clients(SEAT, "ops", "1.c"),
        f"GET {IN}/applications/ops/clients?limit=500&after=1.c",
        None,
    ),
    "mint_statement": (
        lambda: applications.mint_statement(SEAT, "ops", None, "ticket 7", once="1"),
        f"POST {IN}/applications/ops/statements",
        {"reason": "ticket 7"},
    ),
    "mint_statement with an end": (
        lambda: applications.mint_statement(SEAT, "ops", AT, None, once="1"),
        f"POST {IN}/applications/ops/statements",
        {"ends_at": MOMENT},
    ),
    "clients of a statement": (
        lambda: applications.clients(SEAT, "ops", "1.c", "older"),
        f"GET {IN}/applications/ops/clients?limit=500&after=1.c&statement=older",
        None,
    ),
    "statements": (lambda: applications.statements(SEAT, "ops"), f"GET {IN}/applications/ops/statements", None),
    "revoke_statement": (
        lambda: applications.revoke_statement(SEAT, "a/b", once="1"),
        f"DELETE {IN}/statements/a%2Fb",
        None,
    ),
    "revoke_statements": (
        lambda: applications.revoke_statements(SEAT, "ops", older=False, once="1"),
        f"DELETE {IN}/applications/ops/statements",
        None,
    ),
    "revoke_statements of before": (
        lambda: applications.revoke_statements(SEAT, "ops", older=True, once="1"),
        f"DELETE {IN}/applications/ops/statements/older",
        None,
    ),
    "revoke_client": (lambda: applications.revoke_client(SEAT, "c", once="1"), f"DELETE {IN}/clients/c", None),
    "keys": (lambda: keys.keys(SEAT), f"GET {IN}/keys", None),
    "rotate_keys": (
        lambda: keys.rotate_keys(SEAT, None, compromised=False, once="1"),
        f"POST {IN}/keys/rotate",
        {"compromised": False},
    ),
    "rotate_keys that are compromised": (
        lambda: keys.rotate_keys(SEAT, "ticket 7", compromised=True, once="1"),
        f"POST {IN}/keys/rotate",
        {"compromised": True, "reason": "ticket 7"},
    ),
    "schedules": (lambda: setup.schedules(SEAT), f"GET {IN}/schedules", None),
    "pause": (
        lambda: setup.set_schedule(SEAT, "REF", "P", paused=True, once="1"),
        f"POST {IN}/schedules/REF/P",
        {"paused": True},
    ),
    "resume": (
        lambda: setup.set_schedule(SEAT, "REF", "P", paused=False, once="1"),
        f"POST {IN}/schedules/REF/P",
        {"paused": False},
    ),
    "counters": (
        lambda: setup.counters(SEAT, "REF", None, AT, None, "1h"),
        f"GET {IN}/counters?channel=REF&since=2026-01-01T10%3A00%3A00.123Z&step=1h",
        None,
    ),
    "counters of everything": (
        lambda: setup.counters(SEAT, None, None, None, None, None),
        f"GET {IN}/counters",
        None,
    ),
    "catalogue": (lambda: setup.catalogue(SEAT), f"GET {IN}/catalogue", None),
    "plan_catalogue": (lambda: setup.plan_catalogue(SEAT, "x = 1"), f"POST {IN}/catalogue/plan", "x = 1"),
    "apply_catalogue": (
        lambda: setup.apply_catalogue(SEAT, "x = 1", 7, "for the final", once="1"),
        f"PUT {IN}/catalogue?description=for+the+final",
        "x = 1",
    ),
    "grant": (
        lambda: control.grant(SEAT, "REF", "P", Target(subject=DIGEST), 30, None, None, once="1"),
        f"POST {IN}/grants",
        {"channel": "REF", "pass": "P", "subject": DIGEST, "minutes": 30},
    ),
    "undo": (
        lambda: control.undo(SEAT, "act/1", "oops", replace=True, once="1"),
        f"POST {IN}/resets/act%2F1/undo",
        {"reason": "oops", "replace": True},
    ),
    "acts": (
        lambda: control.acts(SEAT, Wanted(AT, None, "operator:anna", "reset", "REF", "P", Target(key=HASHED)), 7),
        f"POST {IN}/acts/search",
        {
            "since": MOMENT, "actors": ["operator:anna"], "kinds": ["reset"], "channels": ["REF"], "pass": "P",
            "key": HASHED, "limit": 100, "after": 7,
        },
    ),
    "acts of a digest": (
        lambda: control.acts(SEAT, Wanted(target=Target(subject=DIGEST))),
        f"POST {IN}/acts/search",
        {"subjects": [DIGEST], "limit": 100},
    ),
    "act": (lambda: control.act(SEAT, "act-1"), f"GET {IN}/acts/act-1", None),
}  # fmt: skip
#: those that change something, which are named
WRITES = {
    "create_operator", "revoke_operator", "reset", "reset of a list", "plan", "plan of a part", "reset_everybody",
    "approve", "decline", "pause", "resume", "apply_catalogue", "grant", "undo", "mint_statement", "rotate_keys",
    "mint_statement with an end", "revoke_statement", "revoke_statements", "revoke_statements of before",
    "revoke_client",
    "rotate_keys that are compromised",
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_call_says_who_asks_what_and_its_own_name_where_it_changes_something(call: str) -> None:
    ask, line, body = CALLS[call]
    played = Played(problem(400, "invalid_request"))
    with pytest.raises(RequestRefused):
        played.play(ask())
    (sent,) = played.sent
    assert played.said == [(line, body)]
    assert (sent.headers["Authorization"], sent.headers.get("Idempotency-Key")) == (
        f"Bearer {TOKEN}", "1" if call in WRITES else None
    )  # fmt: skip


def test_every_call_of_an_operator_is_in_the_table() -> None:
    public = {name for name, _ in inspect.getmembers(Control, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close", "play"} == {call.partition(" ")[0] for call in CALLS}


def test_both_faces_have_the_same_methods() -> None:
    faces = [
        {
            name: (tuple(inspect.signature(method).parameters.values()))
            for name, method in inspect.getmembers(face, inspect.isfunction)
            if not name.startswith("_")
        }
        for face in (Control, AsyncControl)
    ]
    assert faces[0] == faces[1]


# --- what came


OPERATOR = {"name": "anna", "role": "support", "environments": [], "channels": ["REF"], "ends_at": MOMENT,
            "created_at": MOMENT, "revoked": False}  # fmt: skip
RECORD = {"id": "act-1", "sequence": 4, "at": MOMENT, "kind": "reset", "actor": {"kind": "operator", "name": "anna"},
          "reason": None, "channel": "REF", "pass": "P", "matched": 1, "subjects": [DIGEST]}  # fmt: skip
ACT = Act("act-1", AT, "reset", "operator:anna", 4, "", "REF", "P", 1, {"subjects": [DIGEST]})
STATEMENTS = [
    {"id": "older", "minted_at": None, "minted_by": None, "ends_at": None, "used_on": None, "clients": 0},
    {"id": "1", "minted_at": MOMENT, "minted_by": {"kind": "operator", "name": "anna"}, "ends_at": MOMENT,
     "used_on": "2026-01-31", "clients": 7},
]  # fmt: skip
APPLICATION = {"id": "ops", "name": "Ops", "channels": None, "scopes": ["s"], "domains": ["d"], "clients": 3,
               "revoked_at": MOMENT}  # fmt: skip
EXPLANATION = {
    "channel": "REF", "pass": "P", "because": "The time is over.", "next": {"authorized": False, "code": "over"},
    "subjects": [{"kind": "device", "subject": DIGEST, "state": "over", "started_at": MOMENT, "expires_at": MOMENT,
                  "titles": ["A"], "titles_max": 2, "bonus": 0}],
    "joined": {"state": "over", "started_at": MOMENT, "expires_at": MOMENT, "titles": ["A"], "titles_max": 2},
    "helps": [{"act": "reset", "subjects": [DIGEST], "minutes": 0, "titles": 0}],
    "acts": [RECORD], "warnings": ["Odd."],
}  # fmt: skip
EXPLAINED = Explanation(
    "The time is over.", False, "over", "REF", "P", (LedgerState("device", DIGEST, "over", AT, AT, ("A",), 2),),
    LedgerState("", "", "over", AT, AT, ("A",), 2), (Help("reset", (DIGEST,)),), (ACT,), ("Odd.",),
)  # fmt: skip

PLANNED = {"id": "plan-1", "running": 12_345, "over": 678, "exact": False, "ends_at": MOMENT,
           "examples": [{"kind": "device", "subject": "9f2c0a1b", "started_at": MOMENT, "titles": 2}]}  # fmt: skip
WAITING = {"id": "ask-1", **EVERYBODY, "only": {"over": True, "started_before": MOMENT, "app_id": DIGEST},
           "running": 3, "over": 4, "exact": True, "asked_by": "bob", "asked_at": MOMENT, "reason": "the final",
           "ends_at": MOMENT}  # fmt: skip
SCHEDULE = {"channel": "REF", "pass": "P", "cron": "0 0 * * *", "timezone": "Europe/Paris", "paused_at": None,
            "next": [{"at": MOMENT, "local": "2026-01-01 11:00", "effect": "twice"}],
            "last": [{"id": "act-1", "at": MOMENT, "due_at": MOMENT}]}  # fmt: skip
KEY = {"kid": "k", "kind": "RSA", "alg": "RS256", "state": "next", "made_at": MOMENT, "signs_from": MOMENT,
       "until": None}  # fmt: skip
POINT = {"at": MOMENT, "channel": "REF", "pass": "P", "counts": {"permit": 5}}
CHANGE = {"id": "act-1", "version": 8, "differences": ["+ pass P"]}


@pytest.mark.parametrize(
    ("call", "status", "document", "value"),
    [
        ("whoami", 200, OPERATOR, Operator("anna", "support", (), ("REF",), AT, AT, is_revoked=False)),
        ("operators", 200, {"operators": [OPERATOR]}, [Operator("anna", "support", (), ("REF",), AT, AT, False)]),
        ("create_operator", 201, {"id": "1", "token": "tpo_x", "ends_at": MOMENT}, NewOperator("1", "tpo_x", AT)),
        ("revoke_operator", 200, {"id": "act-1"}, Receipt("act-1")),
        ("reset", 201, DONE, Receipt("act-1", 2, AT)),
        ("reset", 202, {"approval": "ask-1"}, Receipt("", approval="ask-1")),
        (
            "plan", 201, PLANNED,
            Planned("plan-1", 12_345, 678, False, (Example("device", "9f2c0a1b", AT, 2),), AT),
        ),
        ("reset_everybody", 201, {**DONE, "matched": None}, Receipt("act-1", None, AT)),
        ("reset_everybody", 202, {"approval": "ask-1"}, Receipt("", approval="ask-1")),
        (
            "approvals", 200, {"approvals": [WAITING, {**WAITING, "only": {}, "reason": None}]},
            [
                Approval("ask-1", "REF", "P", "both", only, 3, 4, True, "bob", AT, AT, reason)
                for only, reason in ((Only(True, AT, DIGEST), "the final"), (Only(), ""))
            ],
        ),
        ("approve", 201, DONE, Receipt("act-1", 2, AT)),
        ("decline", 200, {"id": "act-1", "matched": None, "undo_until": None}, Receipt("act-1")),
        (
            "schedules", 200, {"schedules": [SCHEDULE, {**SCHEDULE, "paused_at": MOMENT, "next": [], "last": []}]},
            [
                Schedule("REF", "P", "0 0 * * *", "Europe/Paris", 0, (Due(AT, "2026-01-01 11:00", "twice"),),
                         (Fired("act-1", AT, AT),)),
                Schedule("REF", "P", "0 0 * * *", "Europe/Paris", AT, (), ()),
            ],
        ),
        ("pause", 200, {"id": "act-1"}, Receipt("act-1")),
        ("counters", 200, {"step": "1h", "points": [POINT]}, [Point(AT, "REF", "P", {"permit": 5})]),
        ("plan_catalogue", 200, {**CHANGE, "id": None}, CatalogueChange(8, ("+ pass P",))),
        ("apply_catalogue", 200, CHANGE, CatalogueChange(8, ("+ pass P",), "act-1")),
        ("grant", 201, DONE, Receipt("act-1", 2, AT)),
        ("undo", 201, DONE, Receipt("act-1", 2, AT)),
        ("explain", 200, EXPLANATION, Explained("The time is over.", (EXPLAINED,), ("Odd.",))),
        ("explain", 200, {"because": "None.", "explanations": [], "warnings": []}, Explained("None.", (), ())),
        (
            "explain", 200, {"because": "", "explanations": [EXPLANATION] * 2, "warnings": []},
            Explained("", (EXPLAINED, EXPLAINED), ()),
        ),
        ("acts", 200, {"records": [RECORD], "next": 4}, ([ACT], 4, 0)),
        ("acts", 200, {"records": [], "next": None, "kept_since": MOMENT}, ([], None, AT)),
        ("applications", 200, {"applications": [APPLICATION]},
         [Application("ops", "Ops", None, ("s",), ("d",), 3, AT)]),
        ("clients", 200, {"clients": [{"id": "c", "registered_at": MOMENT}], "next": "1.c"},
         ([Registration("c", AT)], "1.c")),
        ("clients", 200, {"clients": [], "next": None}, ([], "")),
        ("clients of a statement", 200,
         {"clients": [{"id": "c", "registered_at": MOMENT, "statement": "1", "used_on": "2026-01-31"}], "next": None},
         ([Registration("c", AT, "1", "2026-01-31")], "")),
        ("statements", 200, {"statements": STATEMENTS},
         [Statement("older"), Statement("1", AT, "operator:anna", AT, "2026-01-31", 7)]),
        ("revoke_statement", 200, {"id": "act-1"}, Receipt("act-1")),
        ("revoke_statements", 200, {"id": "act-1"}, Receipt("act-1")),
        ("revoke_client", 200, {"id": "act-1"}, Receipt("act-1")),
        ("mint_statement", 201, {"id": "1", "statement": "e.y.J", "ends_at": None}, NewStatement("1", "e.y.J")),
        ("keys", 200, {"keys": [KEY, {**KEY, "made_at": None, "signs_from": None, "until": MOMENT}]},
         [SigningKey("k", "RSA", "RS256", "next", AT, AT), SigningKey("k", "RSA", "RS256", "next", until=AT)]),
        ("rotate_keys", 201, {"id": "act-1", "kids": ["k", "l"], "signs_from": MOMENT, "mint_anew": []},
         KeysRotated("act-1", ("k", "l"), AT)),
        ("rotate_keys that are compromised", 201, {"id": "act-1", "kids": ["k", "l"], "signs_from": MOMENT,
          "mint_anew": [{"application": "ops", "id": "s"}, {"application": "ops", "id": None}]},
         KeysRotated("act-1", ("k", "l"), AT, (MintAnew("ops", "s"), MintAnew("ops")))),
        ("act", 200, RECORD, ACT),
    ],
)  # fmt: skip
def test_an_answer_is_a_value(call: str, status: int, document: Any, value: Any) -> None:
    assert Played(answer(status, document)).play(CALLS[call][0]()) == value


def test_a_catalogue_is_its_text_and_its_version() -> None:
    told = Answer(200, {"etag": '"7"'}, "# für\n".encode())
    assert Played(told).play(setup.catalogue(SEAT)) == CatalogueShown("# für\n", 7)


def test_a_catalogue_replaces_the_version_that_was_seen() -> None:
    played = Played(answer(200, CHANGE))
    played.play(CALLS["apply_catalogue"][0]())
    assert (played.sent[0].headers["If-Match"], played.sent[0].headers["Content-Type"]) == ('"7"', "application/toml")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("document", [None, [], {}, {"records": "x"}, {"id": 5, "name": None}])
def test_what_cannot_be_read_is_told_as_such(call: str, document: Any) -> None:
    with pytest.raises(Unreadable):
        Played(answer(200, document)).play(CALLS[call][0]())


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (problem(401, "unknown_operator"), AccessDenied, "unknown_operator"),
        (problem(403, "role_missing"), NotPermitted, "role_missing"),
        (problem(409, "new_trial"), RequestRefused, "new_trial"),
        (problem(422, "idempotency_key_reused"), RequestRefused, "idempotency_key_reused"),
        (problem(500, "server_error"), ServerFault, "server_error"),
        (answer(502), ServerFault, ""),
    ],
)
def test_a_problem_is_one_error_with_its_code_and_never_asked_again(
    said: Answer, kind: type[TempPassError], code: str
) -> None:
    played = Played(said)
    with pytest.raises(TempPassError) as caught:
        played.play(CALLS["reset"][0]())
    assert (caught.type, caught.value.code, len(played.sent)) == (kind, code, 1)


def test_an_error_says_what_the_service_says_and_what_to_do_but_no_token() -> None:
    with pytest.raises(RequestRefused) as caught:
        Played(problem(409, "new_trial", f"Begun since; {TOKEN}.")).play(CALLS["undo"][0]())
    assert (str(caught.value), "--replace" in caught.value.hint) == ("Begun since; (secret).", True)


def test_a_statement_is_not_in_what_stands_for_it() -> None:
    assert "e.y.J" not in repr(NewStatement("1", "e.y.J"))


# --- what is sent again


CUT = Lost("cut", sent=True)
REFUSED = Lost("nobody listens", sent=False)


@pytest.mark.parametrize(
    ("script", "least"),
    [
        ([CUT], [1]),
        ([CUT, REFUSED, CUT], [1, 2, 4]),
        ([problem(503, "temporarily_unavailable", **{"retry-after": "3"})], [3]),
        ([answer(429), answer(503), CUT], [1, 2, 4]),
    ],
)
def test_what_may_not_have_arrived_is_sent_again_under_the_same_name(
    script: list[Answer | Lost], least: list[float]
) -> None:
    played = Played(*script, answer(201, DONE))
    done = played.play(CALLS["reset"][0]())
    assert (done, {str(sent) for sent in played.sent}) == (Receipt("act-1", 2, AT), {str(played.sent[0])})
    assert [low <= wait <= 1.25 * low for low, wait in zip(least, played.waits, strict=True)] == [True] * len(least)


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ([REFUSED], Unreachable, "nothing was sent"),
        ([CUT] * TRIES_MAX, Unreachable, "may have been applied"),
        ([CUT, *[REFUSED] * (TRIES_MAX - 1)], Unreachable, "may have been applied"),
        ([answer(429)] * TRIES_MAX, Throttled, "still answers 429"),
        ([CUT, *[answer(429)] * (TRIES_MAX - 1)], Throttled, "may have been applied"),
        ([problem(503, "temporarily_unavailable")] * TRIES_MAX, ServerFault, "It is so."),
        ([answer(503, **{"retry-after": "31"})], ServerFault, "503"),
    ],
)
def test_nobody_is_asked_for_ever(script: list[Answer | Lost], kind: type[TempPassError], words: str) -> None:
    played = Played(*script)
    with pytest.raises(TempPassError) as caught:
        played.play(CALLS["reset"][0]())
    assert (caught.type, words in str(caught.value), played.script) == (kind, True, [])


def test_what_is_no_reset_is_undone_as_a_grant() -> None:
    played = Played(problem(404, "not_found"), answer(201, DONE))
    played.play(CALLS["undo"][0]())
    assert [line for line, _ in played.said] == [f"POST {IN}/{kind}/act%2F1/undo" for kind in ("resets", "grants")]


# --- what is never sent


@pytest.mark.parametrize(
    "ask",
    [
        lambda: control.seat(SEAT.place, ""),
        lambda: control.seat(SEAT.place, "tpo_a\nb"),
        lambda: control.seat(SEAT.place, TOKEN, "Not/One"),
        *(
            lambda target=target: Played().play(control.reset(SEAT, *PASS, target, reason=None, once="1"))
            for target in (
                Target(), Target(""), Target(" "), Target(key=""), Target("tv", EMAIL, HASHED), Target("x" * 1025),
                Target("tv", subject=DIGEST), Target(subject="all"), Target("\udcff"), Target(key="\udcff"), [], DIGEST,
                [DIGEST] * 1001,
            )
        ),
        lambda: Played().play(control.reset(SEAT, "", "P", Target("tv"), reason=None, once="1")),
        lambda: Played().play(control.grant(SEAT, *PASS, Target("tv"), None, None, None, once="1")),
        *(
            lambda everybody=everybody, only=only: Played().play(
                control.plan(SEAT, *PASS, everybody, only, None, once="1")
            )
            for everybody, only in (("", Only()), ("all", Only()), ("both", Only(app_id="")))
        ),
        lambda: Played().play(control.reset_everybody(SEAT, *PASS, "both", Only(), "", None, once="1")),
        lambda: Played().play(control.decide(SEAT, "", approve=True, once="1")),
        lambda: Played().play(applications.revoke_statement(SEAT, "", once="1")),
        lambda: Played().play(applications.revoke_client(SEAT, "..", once="1")),
        lambda: Played().play(applications.clients(SEAT, "ops", "", "")),
        lambda: Played().play(setup.set_schedule(SEAT, "REF", "", paused=True, once="1")),
        lambda: Played().play(setup.apply_catalogue(SEAT, "\n", 7, None, once="1")),
        lambda: Played().play(control.undo(SEAT, "", None, replace=False, once="1")),
        lambda: Played().play(control.undo(SEAT, "..", None, replace=False, once="1")),
        lambda: Played().play(control.acts(SEAT, Wanted(target=Target("")))),
        lambda: Played().play(control.acts(SEAT, Wanted(since=2**62))),
        lambda: Played().play(control.create_operator(SEAT, "anna", "viewer", "REF", (), None, once="1")),
    ],
)  # fmt: skip
def test_what_names_nobody_or_everybody_by_mistake_is_never_sent(ask: Callable[[], Any]) -> None:
    with pytest.raises(InvalidTarget):
        ask()


# --- the real service


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with serving((resources.files("temppass") / "demo.toml").read_text("utf-8")) as listening:
        yield listening


@pytest.fixture(scope="module")
def root(double: Double) -> str:
    return double.operator("root", "admin")


def test_an_operator_is_created_and_revoked_by_another(double: Double, root: str) -> None:
    with Control(double.url, root) as desk:
        made = desk.create_operator("anna", "support", channels=["REF"])
        with Control(double.url, made.token) as hers:
            told = hers.whoami()
            assert (told.name, told.role, told.channels, told.ends_at) == ("anna", "support", ("REF",), made.ends_at)
            desk.revoke_operator("anna")
            with pytest.raises(AccessDenied) as caught:
                hers.whoami()
        assert (caught.value.code, [each.name for each in desk.operators() if each.is_revoked]) == (
            "ended_operator", ["anna"]
        )  # fmt: skip


def test_a_token_is_told_once_also_to_who_repeats_the_call(double: Double, root: str) -> None:
    with Control(double.url, root) as desk:
        desk.create_operator("bob", "viewer", once="mine")
        with pytest.raises(RequestRefused) as caught:
            desk.create_operator("bob", "viewer", once="mine")
    assert (caught.value.code, "revoke the operator" in caught.value.hint) == ("answered_once", True)


def test_the_same_from_an_event_loop(double: Double, root: str) -> None:
    async def work() -> str:
        async with AsyncControl(double.url, root) as desk:
            made = await desk.create_operator("carol", "viewer")
            await desk.revoke_operator("carol")
            return made.act_id and (await desk.whoami()).name

    assert asyncio.run(work()) == "root"


def test_a_viewer_is_explained_in_every_pass_and_in_one(double: Double, root: str) -> None:
    viewer = Viewer("tv", EMAIL)
    with Client(place_at(double.url), double.mint("demo"), vault=MemoryVault()) as client:
        client.authorize(*DEMO, viewer, ["A", "B"])
    with Control(double.url, root) as desk:
        everywhere = desk.explain(Target("tv", EMAIL))
        here = desk.explain(Target("tv", EMAIL), requestor=DEMO[0], mvpd=DEMO[1], title="C")
        nobody = desk.explain(Target("another"))
    (found,) = here.explanations
    assert (found.mvpd, found.authorized, found.code) == (DEMO[1], False, "temporary_access_resources_limit_exceeded")
    assert [(each.kind, each.state, each.titles, each.titles_max) for each in found.subjects] == [
        (kind, "used_up", ("A", "B"), 2) for kind in ("device", "key")
    ]
    assert (here.because, [each.mvpd for each in everywhere.explanations]) == (found.because, [DEMO[1]])
    assert (nobody.explanations, nobody.because != "") == ((), True)


def test_acts_are_gone_through_page_by_page(double: Double, root: str) -> None:
    with Client(place_at(double.url), double.mint("demo"), vault=MemoryVault()) as client:
        done = []
        for _ in range(PAGE_ACTS_MAX + 1):
            double.clock.advance(1)
            done.append(client.reset_device(*DEMO, "tv").reset_id)
    resets = Wanted(actor="application:demo", kind="reset", requestor=DEMO[0], mvpd=DEMO[1], target=Target("tv"))

    async def work() -> list[str]:
        async with AsyncControl(double.url, root) as desk:
            return [each.id async for each in desk.acts(resets)]

    with Control(double.url, root) as desk:
        found = list(desk.acts(resets))
        (digest,) = found[0].more["subjects"]
        by_digest = [each.id for each in desk.acts(Wanted(target=Target(subject=digest)))]
        one = desk.act(done[0])
    assert [each.id for each in found] == asyncio.run(work()) == by_digest == done[::-1]
    assert (one, one.actor, one.requestor, one.mvpd) == (found[-1], "application:demo", *DEMO)


def test_everybody_is_reset_by_a_plan_and_comes_back_by_an_undo(double: Double, root: str) -> None:
    with Client(place_at(double.url), double.mint("demo"), vault=MemoryVault()) as client:
        viewer = Viewer("crowd-1", EMAIL)
        client.authorize(*DEMO, viewer, ["A", "B"])
        with Control(double.url, root) as desk:
            narrow = Only(over=True)
            nobody = desk.plan(*DEMO, "both", only=narrow)
            planned = desk.plan(*DEMO, "both")
            with pytest.raises(RequestRefused) as another:
                desk.reset_everybody(*DEMO, "both", plan=planned.id, only=narrow)
            done = desk.reset_everybody(*DEMO, "both", plan=planned.id, reason="the final")
            with pytest.raises(RequestRefused) as twice:
                desk.reset_everybody(*DEMO, "both", plan=planned.id)
            permitted = client.authorize(*DEMO, Viewer("crowd-2", EMAIL), ["C"])
            undone = desk.undo(done.id)
            act = desk.act(undone.id)
        denied = client.authorize(*DEMO, viewer, ["D"])
    assert (nobody.over, planned.running >= 2, planned.is_exact) == (0, True, True)
    assert (another.value.code, twice.value.code) == ("invalid_request", "plan_outdated")
    assert [type(each[0]).__name__ for each in (permitted, denied)] == ["Permit", "Deny"]
    assert (done.matched, done.undo_until > 0, act.kind, act.matched) == (None, True, "undo", None)


TWO_PERSONS = """
[[programmer]]
id = "acme"

[[channel]]
id = "REF"
programmer = "acme"
timezone = "Europe/Paris"

[[pass]]
id = "Two"
kind = "basic"
ttl = "30m"
resets = "0 4 * * *"
approvals = 2
channels = ["REF"]
"""


def test_two_persons_reset_everybody_and_the_catalogue_is_theirs_alone(double: Double) -> None:
    place = ("REF", "Two")
    ann, ben = (double.operator(name, "operator", ["two"]) for name in ("ann", "ben"))
    double.apply(TWO_PERSONS, "two")
    with Control(double.url, ann, "two") as anns, Control(double.url, ben, "two") as bens:
        asked = anns.reset_everybody(*place, "devices", plan=anns.plan(*place, "devices").id, reason="the final")
        (waiting,) = bens.approvals()
        with pytest.raises(NotPermitted) as own:
            anns.approve(asked.approval)
        done = bens.approve(asked.approval)
        left = bens.approvals()
        anns.pause(*place)
        (paused,) = anns.schedules()
        anns.resume(*place)
        (going,) = anns.schedules()
        with pytest.raises(NotPermitted) as changed:
            anns.apply_catalogue(anns.catalogue().toml, version=anns.catalogue().version)
    assert (waiting.id, waiting.asked_by, waiting.reason, left) == (asked.approval, "ann", "the final", [])
    assert (own.value.code, changed.value.code, done.id != "") == ("own_approval", "role_missing", True)
    assert (paused.paused_at > 0, going.paused_at, going.timezone, len(going.next)) == (True, 0, "Europe/Paris", 5)


def test_an_admin_plans_and_applies_the_catalogue_that_was_looked_at(double: Double, root: str) -> None:
    double.apply(TWO_PERSONS, "three")
    with Control(double.url, root, "three") as desk:
        shown = desk.catalogue()
        other = shown.toml.replace('"30m"', '"45m"')
        planned = desk.plan_catalogue(other)
        applied = desk.apply_catalogue(other, version=shown.version, description="longer")
        with pytest.raises(RequestRefused) as moved:
            desk.apply_catalogue(other, version=shown.version)
    assert (planned.differences, planned.act_id, applied.act_id != "") == (applied.differences, "", True)
    assert (applied.version, moved.value.code) == (shown.version + 1, "version_moved")


def test_nothing_of_an_operator_shows_the_token(double: Double) -> None:
    faces: list[Control | AsyncControl] = [Control(double.url, TOKEN), AsyncControl(double.url, TOKEN)]
    shown = [*map(repr, faces), repr(SEAT), str(SEAT), repr(NewOperator("act-1", TOKEN, 0))]
    for face in faces:
        closed = face.close()
        if closed is not None:
            asyncio.run(closed)
    assert [text for text in shown if TOKEN in text] == []


def test_keys_are_rotated_and_listed(double: Double, root: str) -> None:
    with Control(double.url, root) as desk:
        done = desk.rotate_keys(reason="each quarter")
        with pytest.raises(RequestRefused) as refused:
            desk.rotate_keys()
        desk.rotate_keys(compromised=True)
        found, act = desk.keys(), desk.act(done.id)

    async def work() -> list[SigningKey]:
        async with AsyncControl(double.url, root) as desk:
            return await desk.keys()

    assert (refused.value.code, [each.state for each in found], asyncio.run(work())) == (
        "already_so", ["signing", "signing"], found
    )  # fmt: skip
    assert (act.kind, act.reason, act.more) == (
        "keys.rotate", "each quarter", {"kids": [*done.kids], "compromised": False, "ended": []}
    )  # fmt: skip


def test_an_application_is_given_a_statement_and_its_clients_are_gone_through(
    double: Double, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "PAGE_CLIENTS_MAX", 2)
    with Control(double.url, root) as desk:
        before = {each.id: each.clients for each in desk.applications()}["demo"]
        minted = desk.mint_statement("demo", reason="ticket 7")
        for _ in range(3):
            with Client(place_at(double.url), minted.statement, vault=MemoryVault()) as client:
                client.configuration(DEMO[0])
        found = list(desk.clients("demo"))
        act = desk.act(minted.id)

    async def work() -> list[Registration]:
        async with AsyncControl(double.url, root) as desk:
            return [each async for each in desk.clients("demo")]

    assert (len(found), len({each.id for each in found}), asyncio.run(work())) == (before + 3, before + 3, found)
    assert (act.kind, act.reason, act.more["application"]) == ("statement.mint", "ticket 7", "demo")


def test_statements_are_listed_and_end_one_by_one(double: Double, root: str) -> None:
    """Then all of them; and one client of another."""

    def register(minted: NewStatement) -> None:
        with Client(place_at(double.url), minted.statement, vault=MemoryVault()) as client:
            client.register()

    with Control(double.url, root) as desk:
        desk.revoke_statements("demo")
        ends_at = double.clock() + 86_400_000
        one, other = desk.mint_statement("demo", ends_at=ends_at), desk.mint_statement("demo")
        for minted in (one, other, other):
            register(minted)
        told = [(each.id, each.minted_by, each.ends_at, each.clients) for each in desk.statements("demo")]
        (last, _) = found = list(desk.clients("demo", statement=other.id))
        desk.revoke_client(last.id)
        desk.revoke_statement(one.id)
        with pytest.raises(CredentialsRefused):
            register(one)
        left = [(each.id, each.clients) for each in desk.statements("demo")]
        desk.revoke_statements("demo", older=True)
        desk.revoke_statements("demo")
        assert (desk.statements("demo"), list(desk.clients("demo"))) == ([], [])
    listed = [(one.id, "operator:root", ends_at, 1), (other.id, "operator:root", 0, 2)]
    assert (sorted(told), {each.statement for each in found}, left) == (sorted(listed), {other.id}, [(other.id, 1)])
