"""
Resets, grants and undo through the control API, with trials and resets on the vendor's wire between them.
"""

import json
from typing import Any

from tests.web.walk.walker import AUTHORIZE, JSON, PAIR, RESET, VIEWER, Headers, Walker, device, identity

INSIDE = "/control/v1/environments/release-production"
BASIC: dict[str, Any] = {"channel": "ACME1", "pass": "Basic"}
PROMO: dict[str, Any] = {"channel": "ACME1", "pass": "Promo"}
DESK: dict[str, Any] = {"device": "desk"}
#: who is named wrongly, in a reset and in a grant
NOBODY: dict[str, dict[str, Any]] = {
    "nobody": {},
    "an empty device": {"device": ""},
    "an empty key": {"device": "tv", "key": ""},
    "no device": {"device": None},
    "a device of many bytes": {"device": "d" * 1025},
    "a header that is none": {"device": "fingerprint ***"},
    "a key of many bytes": {"key": "k" * 1025},
    "email and key": {"email": "anna@acme.example", "key": VIEWER},
    "a digest that is none": {"subject": "xyz"},
    "misspelt": {"devices": "tv"},
    "no channel": {"device": "tv", "channel": "NOPE"},
    "no pass": {"device": "tv", "pass": "NOPE"},
    "a pass that is disabled": {"device": "tv", "pass": "Disabled"},
    "an address in the reason": {"device": "tv", "reason": "anna@acme.example called"},
    "a long reason": {"device": "tv", "reason": "x" * 501},
}
WRONG_GIFTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "titles of a basic pass": {"titles": 1},
    "less than nothing": {"minutes": -1},
    "too many minutes": {"minutes": 9_000_000_000},
    "half a minute": {"minutes": 0.5},
}


class Desk:
    """Acts and watches; `roles` are the headers of an operator of each role."""

    def __init__(self, walker: Walker, roles: dict[str, Headers]) -> None:
        self.walker = walker
        self.roles = roles
        self.support, self.operator = roles["support"], roles["operator"]
        self.two = {"Authorization": f"Bearer {walker.double.operator('two', 'operator', channels=['ACME2'])}"}
        self.wire = walker.bearer("ops", "to be set right")

    def act(self, name: str, what: str, headers: Headers, **body: Any) -> Any:
        return self.walker.ask(name, f"POST {INSIDE}/{what}", JSON | headers, json.dumps(body)).json

    def undo(self, name: str, act_id: str, headers: Headers, what: str = "resets", **body: Any) -> Any:
        return self.act(f"undo: {name}", f"{what}/{act_id}/undo", headers, **body)

    def watch(self, name: str, pass_id: str = "Basic", title: str = "R1") -> None:
        headers = self.wire | identity(VIEWER)
        self.walker.titles(f"set right: {name}", f"{AUTHORIZE}/{pass_id}", headers, title, tv=device(b"desk"))

    def wire_reset(self, name: str, query: str) -> str:
        """Answer the id of a reset of the vendor's wire."""
        self.walker.ask(f"set right: {name}", f"DELETE {RESET}{PAIR}{query}", self.wire)
        head = self.walker.exchanges[-1].received.decode().lower()
        return head.partition("temppass-reset-id: ")[2].partition("\r\n")[0]


def corrections(desk: Desk) -> None:
    by_role(desk)
    wrong(desk)
    grants(desk)
    lists(desk)
    once(desk)
    both_subjects(desk)
    of_the_wire(desk)


def by_role(desk: Desk) -> None:
    desk.watch("a viewer watches")
    for role, headers in desk.roles.items():
        desk.act(f"grant by {role}", "grants", headers, **BASIC, **DESK, minutes=5)
        desk.act(f"reset by {role}", "resets", headers, **BASIC, **DESK, reason="ticket 1")
        desk.undo(f"nothing, by {role}", "none", headers)
        desk.undo(f"no grant, by {role}", "none", headers, "grants")
    desk.watch("a viewer watches anew")
    desk.act("reset: on another channel", "resets", desk.two, **BASIC, **DESK)
    desk.act("grant: on another channel", "grants", desk.two, **BASIC, **DESK, minutes=5)


def wrong(desk: Desk) -> None:
    for name, body in NOBODY.items():
        desk.act(f"reset: {name}", "resets", desk.operator, **BASIC | body)
        desk.act(f"grant: {name}", "grants", desk.operator, **BASIC | {"minutes": 5} | body)
    for name, body in WRONG_GIFTS.items():
        desk.act(f"grant: {name}", "grants", desk.support, **BASIC, **DESK, **body)
    for what in ("resets", "grants", "resets/none/undo", "grants/none/undo"):
        path = f"POST {INSIDE}/{what}"
        desk.walker.ask(f"{what}: no JSON", path, JSON | desk.operator, "{")
        desk.walker.ask(f"{what}: too long", path, JSON | desk.operator | {"Content-Length": "65537"})
    desk.act("reset: everybody", "resets", desk.operator, **BASIC, everybody="devices")
    desk.act("reset: a viewer and everybody", "resets", desk.operator, **BASIC, **DESK, everybody="devices")
    desk.act("reset: a plan of one viewer", "resets", desk.operator, **BASIC, **DESK, plan="p")


def grants(desk: Desk) -> None:
    done = desk.act("grant: ten minutes", "grants", desk.support, **BASIC, **DESK, minutes=10, reason="line was down")
    desk.undo("a grant as a reset", done["id"], desk.support)
    desk.undo("a grant of another channel", done["id"], desk.two, "grants")
    desk.undo("a grant, not replacing", done["id"], desk.support, "grants", replaces=True)
    desk.undo("a grant", done["id"], desk.support, "grants")
    desk.undo("a grant, again", done["id"], desk.support, "grants")


def lists(desk: Desk) -> None:
    one, two = "0" * 32, "1" * 32
    desk.act("reset: an empty list", "resets", desk.operator, **BASIC, subjects=[])
    desk.act("reset: a list by support", "resets", desk.support, **BASIC, subjects=[one])
    listed = desk.act("reset: a list", "resets", desk.operator, **BASIC, subjects=[one, two, one])
    desk.undo("what matched nothing", listed["id"], desk.operator)


def once(desk: Desk) -> None:
    """A call that is made again; with another body it is refused."""
    for what, more in (("resets", {}), ("grants", {"minutes": 5})):
        headers = {"Idempotency-Key": f"once {what}"} | desk.operator
        for name, body in (("once", DESK), ("again", DESK), ("otherwise", {"device": "x"})):
            desk.watch(f"before {what} {name}")
            done = desk.act(f"{what}: with a key, {name}", what, headers, **BASIC, **body, **more)
        done = desk.act(f"{what}: an act to undo", what, desk.operator, **BASIC, **DESK, **more)
        for name, reason in (("once", "mistaken"), ("again", "mistaken"), ("otherwise", "mistaken again")):
            desk.undo(f"of {what}, with a key, {name}", done["id"], headers, what, reason=reason)


def both_subjects(desk: Desk) -> None:
    """Device and user key, and titles."""
    for title in ("R1", "R2", "R3"):
        desk.watch(f"the title {title}", "Promo", title)
    known = {"device": device(b"desk")["AP-Device-Identifier"], "email": "viewer@example.net"}
    desk.act("grant: a title", "grants", desk.support, **PROMO, **known, titles=1)
    desk.watch("a title that was granted", "Promo", "R3")
    desk.act("grant: too many titles", "grants", desk.support, **PROMO, **known, titles=1_000)
    both = desk.act("reset: device and e-mail", "resets", desk.support, **PROMO, **known)
    desk.watch("a new trial", "Promo", "R9")
    desk.undo("where a trial has begun since", both["id"], desk.support)
    desk.undo("the new trial may go", both["id"], desk.support, replace=True, reason="ticket 2")
    desk.watch("what was watched before", "Promo", "R3")


def of_the_wire(desk: Desk) -> None:
    queries = {"a device is reset": "&device_id=desk", "all devices are": "", "all devices are, again": ""}
    single, first, second = [desk.wire_reset(name, query) for name, query in queries.items()]
    desk.undo("everybody, by support", second, desk.support)
    desk.undo("everybody of another channel", second, desk.two)
    desk.undo("one viewer below a later reset", single, desk.support)
    desk.undo("the first of two", first, desk.operator)
    acts = {"the second": second, "the first": first, "one viewer": single, "the first, again": first}
    for name, act_id in acts.items():
        desk.undo(name, act_id, desk.operator)
    desk.watch("a trial that came back")
    desk.undo("a narrowed one", desk.wire_reset("devices of one user are reset", "&deviceUser=x"), desk.operator)
