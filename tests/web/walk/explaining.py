"""
The door of explanations: a viewer who is new, watches, has used up and was reset, in every form that names one.
"""

import json
from typing import Any

from tests.web.walk.walker import (
    AUTHORIZE,
    CATALOGUE,
    GENERIC,
    JSON,
    MINUTE,
    PAIR,
    RESET,
    TV,
    VIEWER,
    Headers,
    Walker,
    identity,
    packed,
)
from tests.web.walk.walker import PROMO as PROMO_PAIR

INSIDE = "/control/v1/environments"
DEVICE = "tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
BASIC, PROMO = ({"channel": "ACME1", "pass": name} for name in ("Basic", "Promo"))
PAIRED = {"device": DEVICE, "key": VIEWER}
#: what names no viewer, or asks for nothing that can be
_WRONG: dict[str, Any] = {
    "nothing": "",
    "nobody": {},
    "an empty device": {"device": ""},
    "an unknown member": {"device": DEVICE, "everybody": "both"},
    "two keys": {"email": "anna@acme.example", "key": VIEWER},
    "a header that holds nothing": {"device": "fingerprint %%%"},
    "a key that is too long": {"key": "k" * 1_025},
    "no text": '{"key":"\\ud800"}',
    "a digest that is none": {"subject": "all"},
    "an empty pass": {"device": DEVICE, "channel": "ACME1", "pass": ""},
    "an empty title": {"device": DEVICE, "title": ""},
    "a key for a pass of devices": {"key": VIEWER} | BASIC,
}


def explain(walker: Walker, roles: dict[str, Headers]) -> None:
    """In an environment of its own, in which no two acts are of one moment: these have no order of their own."""
    walker.double.apply(CATALOGUE, "desk")
    viewer, ops, clock = roles["viewer"], walker.bearer("ops", "for explanations", "desk"), walker.double.clock

    def ask(name: str, body: Any, headers: Headers = viewer, environment: str = "desk") -> Any:
        text = body if isinstance(body, str) else json.dumps(body)
        return walker.ask(f"explain: {name}", f"POST {INSIDE}/{environment}/explain", JSON | headers, text).json

    for name, body in _WRONG.items():
        ask(name, body)
    for role, headers in roles.items():
        ask(f"by {role}", {"device": "never seen"}, headers)
    walker.titles("a basic trial to explain", f"{AUTHORIZE}/Basic", ops, "R1")
    ask("a trial that runs", {"device": TV["AP-Device-Identifier"]} | BASIC)
    clock.advance(40 * MINUTE)
    digest = ask("a trial that is over", {"device": DEVICE} | BASIC)["subjects"][0]["subject"]
    ask("a digest", {"subject": digest} | BASIC)
    walker.ask("a device to explain is reset", f"DELETE {RESET}{PAIR}&device_id={DEVICE}", ops)
    clock.advance(MINUTE)
    ask("a device that was reset", {"device": DEVICE} | BASIC)
    known = identity(VIEWER)
    walker.titles("a promotional trial to explain", f"{AUTHORIZE}/Promo", ops | known, "R1", "R2")
    ask("both of a viewer", PAIRED | PROMO)
    ask("a title that was watched", PAIRED | PROMO | {"title": "R1"})
    ask("an identity", {"device": DEVICE, "key": known["AP-TempPass-Identity"]} | PROMO)
    ask("an identity under another name", {"device": DEVICE, "key": packed({"id": VIEWER})} | PROMO)
    walker.ask("every key to explain is reset", f"DELETE {GENERIC}{PROMO_PAIR}&key=all", ops)
    clock.advance(MINUTE)
    ask("everywhere", PAIRED)
    ask("an e-mail address that looks wrong", {"email": "Viewer@example.net"})
    for channel, pass_id in (("NOPE", "Basic"), ("ACME1", "NOPE"), ("ACME1", "Disabled"), ("ACME1", "NoTtl")):
        ask(f"{pass_id} of {channel}", {"device": DEVICE, "channel": channel, "pass": pass_id})
    ask("no environment", {"device": DEVICE}, environment="nowhere")
    limited = {"Authorization": f"Bearer {walker.double.operator('limited', 'viewer', channels=['ACME2'])}"}
    ask("another channel", {"device": DEVICE} | BASIC, limited)
    ask("everywhere on another channel", {"device": DEVICE}, limited)
    walker.ask("explain: too long", f"POST {INSIDE}/desk/explain", JSON | viewer | {"Content-Length": "65537"})
