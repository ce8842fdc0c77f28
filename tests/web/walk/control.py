"""
The doors of the control API: every operation, and all that it refuses.
"""

import json
from typing import Any

from tests.web.walk.doors import operations
from tests.web.walk.explaining import explain
from tests.web.walk.walker import JSON, Headers, Walker

CONTROL = "/control/v1"


def control(walker: Walker) -> None:
    double = walker.double
    roles = {
        role: {"Authorization": f"Bearer {double.operator(role, role)}"}
        for role in ("viewer", "support", "operator", "admin")
    }
    roles["admin of qa"] = {"Authorization": f"Bearer {double.operator('qa', 'admin', ['qa'])}"}
    strangers(walker, roles["admin"])
    operators(walker, roles)
    schedules(walker, roles)
    counters(walker, roles)
    explain(walker, roles)
    catalogues(walker, roles)


def strangers(walker: Walker, admin: Headers) -> None:
    """Who may do nothing, on every operation there is."""
    ended = {"Authorization": f"Bearer {walker.double.operator('ended', 'admin')}"}
    walker.ask("an operator ends", f"DELETE {CONTROL}/operators/ended", admin)
    document = walker.ask("/openapi.json, for control", "GET /openapi.json").json
    for operation in operations(document):
        if operation.is_control:
            asked = f"{operation.method} {operation.target()}"
            walker.ask(f"{asked}: no token", asked)
            walker.ask(f"{asked}: an ended token", asked, ended)
            walker.ask(f"{asked}: no host", asked, {"Host": "a b"})


#: what makes no operator
_WRONG: dict[str, Any] = {
    "nothing": "",
    "no object": "[]",
    "unknown member": {"name": "x", "role": "viewer", "channel": "ACME1"},
    "no role": {"name": "x"},
    "no such role": {"name": "x", "role": "boss"},
    "taken": {"name": "anna", "role": "viewer"},
    "e-mail": {"name": "anna@acme.example", "role": "viewer"},
    "an admin of a channel": {"name": "x", "role": "admin", "channels": ["ACME1"]},
    "no moment": {"name": "x", "role": "viewer", "ends_at": "tomorrow"},
    "no zone": {"name": "x", "role": "viewer", "ends_at": "2026-02-01T12:00:00"},
    "the past": {"name": "x", "role": "viewer", "ends_at": "2025-01-01T00:00:00Z"},
    "no environment": {"name": "x", "role": "viewer", "environments": ["\u00dc"]},
}


def catalogues(walker: Walker, roles: dict[str, Headers]) -> None:
    inside, admin = f"{CONTROL}/environments/release-production/catalogue", roles["admin"]
    before = walker.ask("catalogue: in JSON", f"GET {inside}", admin)
    toml = walker.ask("catalogue: in TOML", f"GET {inside}", admin | {"Accept": "application/toml"}).body
    for role, headers in roles.items():
        walker.ask(f"catalogue: {role}", f"GET {inside}", headers)
        walker.ask(f"catalogue: planned by {role}", f"POST {inside}/plan", JSON | headers, "{}")
        walker.ask(f"catalogue: applied by {role}", f"PUT {inside}", JSON | headers, "{}")
    kind = {"Content-Type": "application/toml"}
    walker.ask(
        "catalogue: planned in TOML", f"POST {inside}/plan", kind | admin, toml.replace('ttl = "30m"', 'ttl = "1h"')
    )
    for name, body in (("none", ""), ("a list", "[]"), ("wrong", '{"channel":[{"id":"X"}],"chanel":[]}')):
        walker.ask(f"catalogue: planned, {name}", f"POST {inside}/plan", JSON | admin, body)
        walker.ask(f"catalogue: applied, {name}", f"PUT {inside}", JSON | admin | {"If-Match": '"1"'}, body)
    walker.ask("catalogue: planned in wrong TOML", f"POST {inside}/plan", kind | admin, "channel = ")
    for which in ("1", '"99"', '"1", "2"', "*"):
        walker.ask(f"catalogue: applied over {which}", f"PUT {inside}", JSON | admin | {"If-Match": which}, "{}")
    new = f"{CONTROL}/environments/spring/catalogue"
    walker.ask("catalogue: of none", f"GET {new}", admin)
    first = {"If-Match": '"0"', "Idempotency-Key": "c1"} | admin
    for name in ("first", "again"):
        walker.ask(f"catalogue: applied {name}", f"PUT {new}?description=free%20spring", JSON | first, before.body)
    walker.ask("catalogue: applied otherwise", f"PUT {new}", JSON | first, "{}")
    walker.ask("catalogue: applied without a change", f"PUT {new}", JSON | admin | {"If-Match": '"1"'}, before.body)
    walker.ask("catalogue: a parameter of nobody", f"PUT {new}?reason=x", JSON | admin | {"If-Match": '"1"'}, "{}")
    for method, path in (("POST", f"{inside}/plan"), ("PUT", inside)):
        walker.ask(f"catalogue: {method} too long", f"{method} {path}", JSON | admin | {"Content-Length": "65537"})


def counters(walker: Walker, roles: dict[str, Headers]) -> None:
    path, admin = f"{CONTROL}/environments/release-production/counters", roles["admin"]
    for role, headers in roles.items():
        walker.ask(f"counters: {role}", f"GET {path}", headers)
    for query in (
        "?since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z&step=1d",
        "?since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z",
        "?since=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00Z",
        "?since=yesterday",
        "?step=90s",
        "?step=0s",
        "?step=often",
        "?channel=ACME1&pass=Basic",
        "?channel=ACME1&channel=ACME2",
        "?mvpd=Basic",
    ):
        walker.ask(f"counters: {query}", f"GET {path}{query}", admin)
    walker.ask("counters of no environment", f"GET {CONTROL}/environments/nowhere/counters", admin)


def schedules(walker: Walker, roles: dict[str, Headers]) -> None:
    inside = f"{CONTROL}/environments/release-production/schedules"

    def pause(name: str, headers: Headers, body: str, path: str = f"{inside}/ACME2/Daily") -> None:
        walker.ask(f"a schedule: {name}", f"POST {path}", JSON | headers, body)

    for role, headers in roles.items():
        walker.ask(f"schedules: {role}", f"GET {inside}", headers)
        pause(f"paused by {role}", headers, '{"paused":true}')
        walker.ask(f"schedules: paused by {role}", f"GET {inside}", headers)
        pause(f"resumed by {role}", headers, '{"paused":false}')
    admin = roles["admin"]
    for body in ("", "{}", '{"paused":"yes"}', '{"paused":true,"for":"1h"}'):
        pause(f"set to {body!r}", admin, body)
    pause("of nothing", admin, '{"paused":true}', f"{inside}/ACME1/Basic")
    pause("of no environment", admin, '{"paused":true}', f"{CONTROL}/environments/nowhere/schedules/ACME2/Daily")
    walker.ask("schedules of no environment", f"GET {CONTROL}/environments/nowhere/schedules", admin)
    walker.ask("a schedule: too long", f"POST {inside}/ACME2/Daily", JSON | admin | {"Content-Length": "65537"})
    once = {"Idempotency-Key": "s1"} | admin
    for name, body in (("once", '{"paused":true}'), ("again", '{"paused":true}'), ("otherwise", '{"paused":false}')):
        pause(f"with a key, {name}", once, body)
    pause("without a key", admin, '{"paused":true}')


def operators(walker: Walker, roles: dict[str, Headers]) -> None:
    admin, path = roles["admin"], f"{CONTROL}/operators"

    def create(name: str, headers: Headers, body: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        walker.ask(f"create an operator: {name}", f"POST {path}", JSON | headers, text)

    for role, headers in roles.items():
        walker.ask(f"whoami: {role}", f"GET {CONTROL}/whoami", headers)
        walker.ask(f"operators: {role}", f"GET {path}", headers)
        walker.ask(f"revoke nobody: {role}", f"DELETE {path}/nobody", headers)
        create(f"by {role}", headers, {"name": f"by-{role}".replace(" ", "-"), "role": "viewer"})
    anna = {"name": "anna", "role": "support", "environments": ["qa"], "channels": ["ACME1"]}
    create("all said", admin, anna | {"ends_at": "2026-02-01T12:00:00.250+01:00"})
    for name, body in _WRONG.items():
        create(name, admin, body)
    walker.ask("create an operator: too long", f"POST {path}", JSON | admin | {"Content-Length": "65537"})
    once = {"Idempotency-Key": "k1"} | admin
    bob, carl = ({"name": name, "role": "viewer"} for name in ("bob", "carl"))
    for name, body in (("once", bob), ("again", bob), ("otherwise", carl)):
        create(name, once, body)
    create("a key that is too long", {"Idempotency-Key": "k" * 256} | admin, carl)
    for name in ("once", "again"):
        walker.ask(f"revoke bob {name}", f"DELETE {path}/bob", once)
    walker.ask("a page of another origin", f"GET {CONTROL}/whoami", {"Origin": "https://acme.example"} | admin)
    for target in (f"{CONTROL}/nothing", f"{CONTROL}/operators/"):
        walker.ask(f"nothing at {target}", f"GET {target}", admin)
