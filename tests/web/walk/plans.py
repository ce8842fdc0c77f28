"""
Resets of everybody: planned and applied, and where a pass wants two persons, asked for and confirmed.
"""

import json
from typing import Any

from tests.web.walk.corrections import BASIC, INSIDE, PROMO, Desk
from tests.web.walk.walker import AUTHORIZE, JSON, MINUTE, VIEWER, Headers, Walker, device, identity

ALL: dict[str, Any] = {**BASIC, "everybody": "devices"}
GUARDED = "/control/v1/environments/guarded"
#: what is no plan
WRONG: dict[str, dict[str, Any]] = {
    "nobody": {"everybody": None},
    "everything": {"everybody": "all"},
    "keys of a basic pass": {"everybody": "keys"},
    "a share beyond all": {"share": 1.5},
    "a moment that is none": {"only": {"started_before": "yesterday"}},
    "an empty application": {"only": {"app_id": ""}},
    "misspelt": {"only": {"overs": True}},
    "no channel": {"channel": "NOPE"},
    "no pass": {"pass": "NOPE"},
    "a pass that is disabled": {"pass": "Disabled"},
}


def plans(desk: Desk) -> None:
    walker, roles = desk.walker, desk.roles
    desk.watch("somebody watches before a plan")
    for role, headers in roles.items():
        desk.act(f"plan by {role}", "plans", headers, **ALL)
        desk.act(f"everybody, by {role}, without a plan", "resets", headers, **ALL)
        walker.ask(f"approvals: {role}", f"GET {INSIDE}/approvals", headers)
        desk.act(f"no approval, by {role}", "approvals/none", headers, approve=True)
    desk.act("plan: on another channel", "plans", desk.two, **ALL)
    for name, body in WRONG.items():
        desk.act(f"plan: {name}", "plans", desk.operator, **ALL | body)
    for what in ("plans", "approvals/none"):
        path = f"POST {INSIDE}/{what}"
        walker.ask(f"{what}: no JSON", path, JSON | desk.operator, "{")
        walker.ask(f"{what}: too long", path, JSON | desk.operator | {"Content-Length": "65537"})
    applied(desk)
    parts(desk)
    two_persons(walker, roles)


def applied(desk: Desk) -> None:
    headers = desk.operator | {"Idempotency-Key": "everybody"}
    for name, body in (("once", ALL), ("again", ALL), ("otherwise", {**ALL, "share": 0.5})):
        desk.act(f"plan: with a key, {name}", "plans", desk.operator | {"Idempotency-Key": "plan"}, **body)
    plan = desk.act("plan: everybody", "plans", desk.operator, **ALL)["id"]
    other = desk.act("plan: keys of a promotional pass", "plans", desk.operator, **PROMO, everybody="keys")["id"]
    desk.act("everybody: by a plan of others", "resets", desk.operator, **ALL, plan=other)
    desk.act("everybody: by no plan", "resets", desk.operator, **ALL, plan="none")
    done = desk.act("everybody: by a plan", "resets", headers, **ALL, plan=plan, reason="ticket 9")
    desk.act("everybody: by a plan, again", "resets", headers, **ALL, plan=plan, reason="ticket 9")
    desk.act("everybody: by a plan, otherwise", "resets", headers, **ALL, plan=plan)
    desk.act("everybody: by a plan that was applied", "resets", desk.operator, **ALL, plan=plan)
    desk.undo("of everybody of a plan", done["id"], desk.operator)
    late = desk.act("plan: one that gets old", "plans", desk.operator, **ALL)["id"]
    desk.walker.double.clock.advance(15 * MINUTE)
    desk.act("everybody: by an old plan", "resets", desk.operator, **ALL, plan=late)


def parts(desk: Desk) -> None:
    for name, only in {
        "over": {"over": True},
        "begun before": {"started_before": "2099-01-01T00:00:00+01:00"},
        "of an application": {"app_id": "player"},
    }.items():
        plan = desk.act(f"plan: {name}", "plans", desk.operator, **ALL, only=only)["id"]
        desk.act(f"everybody that is {name}, planned as a part", "resets", desk.operator, **ALL, plan=plan)
        done = desk.act(f"those {name}", "resets", desk.operator, **ALL, only=only, plan=plan)
        desk.undo(f"of those {name}", done["id"], desk.operator)


def two_persons(walker: Walker, roles: dict[str, Headers]) -> None:
    second = {"Authorization": f"Bearer {walker.double.operator('second', 'operator')}"}

    def act(name: str, what: str, headers: Headers, **body: Any) -> Any:
        return walker.ask(f"two persons: {name}", f"POST {GUARDED}/{what}", JSON | headers, json.dumps(body)).json

    def ask(name: str) -> str:
        wanted = {**PROMO, "everybody": "both"}
        plan = act(f"{name}, planned", "plans", roles["operator"], **wanted)["id"]
        asked = act(f"{name}, asked for", "resets", roles["operator"], **wanted, plan=plan, reason="ticket 8")
        return str(asked.get("approval"))

    first = ask("a reset")
    ask("another of the same pass")
    for name, headers in (("who asked", roles["operator"]), ("another", second)):
        walker.ask(f"two persons: shown to {name}", f"GET {GUARDED}/approvals", headers)
    act("one's own", f"approvals/{first}", roles["operator"], approve=True)
    act("a word for yes", f"approvals/{first}", second, approve="yes")
    once = second | {"Idempotency-Key": "yes"}
    for name in ("confirmed", "confirmed again"):
        act(name, f"approvals/{first}", once, approve=True)
    act("confirmed otherwise", f"approvals/{first}", once, approve=False)
    act("declined too late", f"approvals/{first}", second, approve=False)
    taken_back = ask("one that is taken back")
    act("taken back by who asked", f"approvals/{taken_back}", roles["operator"], approve=False)
    declined = ask("one that is declined")
    ops = walker.bearer("ops", "to watch in between", "guarded")
    for number in range(11):
        tv = device(b"late%d" % number)
        walker.titles(f"two persons: viewer {number} comes", f"{AUTHORIZE}/Promo", ops | identity(VIEWER), "R1", tv=tv)
    act("confirmed, where more came than was said", f"approvals/{declined}", second, approve=True)
    act("declined", f"approvals/{declined}", second, approve=False)
