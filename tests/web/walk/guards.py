"""
What a catalogue can ask of resets, in an environment that asks for all of it: over the vendor's wire and by operators.
"""

import json
from typing import Any

from tests.web.walk.walker import AUTHORIZE, CATALOGUE, GENERIC, JSON, PAIR, PROMO, RESET, Headers, Walker, device

INSIDE = "/control/v1/environments/guarded"
GUARDED = (
    CATALOGUE.replace('id = "ACME2"', 'id = "ACME2", reset_all = "explicit"')
    .replace('id = "Basic"', 'id = "Basic", reason_required = true')
    .replace('id = "Promo"', 'id = "Promo", approvals = 2')
    .replace('id = "resetter"', 'id = "resetter", reset_all = false')
)
DAILY = "?requestor_id=ACME2&mvpd_id=Daily"


def guards(walker: Walker, roles: dict[str, Headers]) -> None:
    walker.double.apply(GUARDED, "guarded")
    walker.ask("guarded: the catalogue", f"GET {INSIDE}/catalogue", roles["admin"])
    of_the_wire(walker)
    reasons(walker, roles["operator"])


def of_the_wire(walker: Walker) -> None:
    ops, resetter = (walker.bearer(name, "where resets are guarded", "guarded") for name in ("ops", "resetter"))
    for name, headers, call in (
        ("nobody is named", ops, f"{RESET}{DAILY}"),
        ("no key is named", ops, f"{GENERIC}{DAILY}&key="),
        ("everybody is named", ops, f"{RESET}{DAILY}&device_id=all"),
        ("of a pass that takes a reason", ops, f"{RESET}{PAIR}"),
        ("of a pass that takes two", ops, f"{GENERIC}{PROMO}&key=all"),
        ("of one origin", ops, f"{RESET}{PAIR}&device_id=all&deviceUser=x"),
        ("by who may not", resetter, f"{RESET}?requestor_id=ACME1&mvpd_id=NoTtl"),
        ("one device, by who may not more", resetter, f"{RESET}{PAIR}&device_id=tv"),
        ("one key of a pass that takes two", ops, f"{GENERIC}{PROMO}&key=anna"),
    ):
        walker.ask(f"guarded: {name}", f"DELETE {call}", headers)
    walker.titles("guarded: a viewer watches", f"{AUTHORIZE}/Basic", ops, "R1", tv=device(b"tv"))


def reasons(walker: Walker, operator: Headers) -> None:
    def act(name: str, what: str, **body: Any) -> Any:
        return walker.ask(f"guarded: {name}", f"POST {INSIDE}/{what}", JSON | operator, json.dumps(body)).json

    named = {"channel": "ACME1", "pass": "Basic", "device": "tv"}
    for what, more in (("grants", {"minutes": 5}), ("resets", {})):
        act(f"{what} without a reason", what, **named, **more)
        done = act(f"{what} with a reason", what, **named, **more, reason="ticket 1")
        act(f"{what} undone without a reason", f"{what}/{done['id']}/undo")
        act(f"{what} undone with a reason", f"{what}/{done['id']}/undo", reason="mistaken")
