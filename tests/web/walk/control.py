"""
The doors of the control API: every operation, and all that it refuses.
"""

import json
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace
from tests.web.walk.corrections import Desk, corrections
from tests.web.walk.doors import operations
from tests.web.walk.explaining import explain
from tests.web.walk.guards import guards
from tests.web.walk.plans import plans
from tests.web.walk.recording import Json
from tests.web.walk.walker import CATALOGUE, FORM, GENERIC, JSON, PAIR, RESET, Headers, Walker, credentials

from temppass.core.model import Changes, Ended, EndedKind
from temppass.core.world import rewritten
from temppass.service.statements import ENDED_MAX, LISTED_MAX
from temppass.store import Keys
from temppass.testing import Double

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
    acts(walker, roles)
    desk = Desk(walker, roles)
    corrections(desk)
    guards(walker, roles)
    plans(desk)
    applications(walker, roles)
    keys(walker, roles)


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


def applications(walker: Walker, roles: dict[str, Headers]) -> None:
    inside, double, admin = f"{CONTROL}/environments/spring/applications", walker.double, roles["admin"]

    def mint(name: str, headers: Headers, body: str = "", application: str = "player") -> Any:
        return walker.ask(f"a statement: {name}", f"POST {inside}/{application}/statements", JSON | headers, body)

    for role, headers in roles.items():
        walker.ask(f"applications: {role}", f"GET {inside}", headers)
        walker.ask(f"clients: {role}", f"GET {inside}/player/clients", headers)
        mint(f"minted by {role}", headers, '{"reason":"ticket 3"}')
    once, spring = {"Idempotency-Key": "m1"} | admin, {"Host": "spring.localhost"}
    double.clock.advance(1)  # or the order of two statements is random
    minted = mint("minted once", once).json
    statement = minted["statement"]
    mint("minted again", once)
    mint("minted otherwise", once, "{}")
    for number in range(3):
        double.clock.advance(1)
        register = json.dumps({"software_statement": statement})
        walker.ask(f"a client of spring, {number}", "POST /o/client/register", JSON | spring, register)
    first = walker.ask("clients: the first two", f"GET {inside}/player/clients?limit=2", admin).json["next"]
    walker.ask("clients: the third", f"GET {inside}/player/clients?limit=2&after={first}", admin)
    for query in ("limit=0", "limit=501", "limit=many", "after=nobody", "after=1.2&after=1.2", "offset=1"):
        walker.ask(f"clients: {query}", f"GET {inside}/player/clients?{query}", admin)
    for body in (
        "[]",
        '{"ends_at":"tomorrow"}',
        '{"ends_at":"2025-01-01T00:00:00Z"}',
        '{"reason":"anna@acme.example"}',
    ):
        mint(f"minted with {body}", admin, body)
    mint("minted with an end", admin, '{"ends_at":"2027-01-01T00:00:00Z","reason":"ticket 4"}')
    mint("too long", admin | {"Content-Length": "65537"})
    mint("of nobody", admin, application="nobody")
    for _ in range(LISTED_MAX):
        double.mint("nothing", "spring")
    mint("one too many", admin, application="nothing")
    walker.ask("clients of nobody", f"GET {inside}/nobody/clients", admin)
    two = {"Authorization": f"Bearer {double.operator('of-acme2', 'viewer', ['spring'], ['ACME2'])}"}
    walker.ask("applications: of a channel", f"GET {inside}", two)
    walker.ask("clients: of another channel", f"GET {inside}/player/clients", two)
    endings(walker, roles, minted)
    walker.ask("applications: one was revoked", f"GET {inside}", admin)
    walker.ask("applications: of no environment", f"GET {CONTROL}/environments/nowhere/applications", admin)


def keys(walker: Walker, roles: dict[str, Headers]) -> None:
    inside, admin = f"{CONTROL}/environments/acme/keys", roles["admin"]

    def rotate(name: str, headers: Headers, body: str = "") -> None:
        walker.ask(f"keys: {name}", f"POST {inside}/rotate", JSON | headers, body)

    def look(name: str, headers: Headers = admin) -> None:
        walker.ask(f"keys: {name}", f"GET {inside}", headers)

    for role, headers in roles.items():
        look(role, headers)
        rotate(f"rotated by {role}", headers, '{"reason":"ticket 3"}')
    look("the next ones wait")
    once = {"Idempotency-Key": "k1"} | admin
    rotate("compromised", once, '{"compromised":true}')
    rotate("compromised, again", once, '{"compromised":true}')
    rotate("compromised, otherwise", once, '{"compromised":false}')
    look("they are new")
    rotate("without a body", admin)
    rotate("while others wait", admin)
    for body in ("[]", '{"at":1}', '{"compromised":1}', '{"reason":"anna@acme.example"}'):
        rotate(f"rotated with {body}", admin, body)
    rotate("too long", admin | {"Content-Length": "65537"})
    nowhere = f"{CONTROL}/environments/nowhere/keys"
    walker.ask("keys: of no environment", f"GET {nowhere}", admin)
    walker.ask("keys: of no environment, rotated", f"POST {nowhere}/rotate", JSON | admin)


def endings(walker: Walker, roles: dict[str, Headers], minted: Json) -> None:
    """Statements, listed and ended: one, those of before as one, all; and clients, of which one ends alone."""
    spring, admin = f"{CONTROL}/environments/spring", roles["admin"]
    inside, jti = f"{spring}/applications/player", minted["id"]
    register = json.dumps({"software_statement": minted["statement"]})
    for role, headers in roles.items():
        walker.ask(f"statements: {role}", f"GET {inside}/statements", headers)
    walker.ask("statements of nobody", f"GET {spring}/applications/nobody/statements", admin)
    walker.double.clock.advance(1)
    found = walker.ask("a client to end", "POST /o/client/register", JSON | {"Host": "spring.localhost"}, register).json
    made, form = found["client_id"], urlencode({"grant_type": "client_credentials"} | credentials(found))
    for query in (f"statement={jti}", f"statement={jti}&limit=1", "statement=older", "statement=x", "statement="):
        walker.ask(f"clients: of {query.replace(jti, 'one')}", f"GET {inside}/clients?{query}", admin)
    ending, others = f"DELETE {spring}/clients/{made}", {role: roles[role] for role in roles if role != "admin"}
    once = {"Idempotency-Key": "e1"} | admin
    for role, headers in {**others, "once": once, "again": once, "gone": admin}.items():
        walker.ask(f"a client ends: {role}", ending, headers)
    walker.ask("a client ends: with a query", f"{ending}?of=x", admin)
    walker.ask("a client that has ended", "POST /o/client/token", FORM | {"Host": "spring.localhost"}, form)
    once = {"Idempotency-Key": "e2"} | admin
    for role, headers in {**others, "once": once, "again": once, "gone": admin}.items():
        walker.ask(f"a statement ends: {role}", f"DELETE {spring}/statements/{jti}", headers)
    for id_ in ("older", "nothing", "", "x?of=x"):
        walker.ask(f"a statement ends: {id_!r}", f"DELETE {spring}/statements/{id_}", admin)
    walker.ask("a statement that has ended", "POST /o/client/register", JSON | {"Host": "spring.localhost"}, register)
    for which in ("/older", ""):
        walker.ask(f"statements{which} end: with a query", f"DELETE {inside}/statements{which}?statement={jti}", admin)
        for role, headers in {**others, "admin": admin}.items():
            walker.ask(f"statements{which} end: {role}", f"DELETE {inside}/statements{which}", headers)
        nobody = f"DELETE {spring}/applications/nobody/statements{which}"
        walker.ask(f"statements{which} end: of nobody", nobody, admin)
        if which:
            walker.ask("statements/older end: again", f"DELETE {inside}/statements/older", admin)
    walker.ask("statements: all have ended", f"GET {inside}/statements", admin)
    last = json.dumps({"software_statement": walker.double.mint("player", "spring")})
    made = walker.ask("one client more", "POST /o/client/register", JSON | {"Host": "spring.localhost"}, last).json
    walker.double._run(remember_many(walker.double))
    walker.ask("a client ends: one too many", f"DELETE {spring}/clients/{made['client_id']}", admin)


async def remember_many(double: Double) -> None:
    """Let as many clients have ended as are remembered."""
    world = await double.application.service.world("spring")
    until = double.clock.now + 60_000
    gone = tuple(Ended(EndedKind.CLIENT, f"{number}", until=until) for number in range(ENDED_MAX))
    new = rewritten(replace(world.record, version=world.version + 1))
    await double.application.store.transact(
        Keys("spring", world.version), lambda _found: (None, Changes(environment=new, ended=gone))
    )


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


#: what finds no act, and why
_NO_SEARCH = (
    "[]", "{", '{"actor":"operator:anna"}', '{"since":"yesterday"}', '{"until":"2026-01-01"}', '{"limit":0}',
    '{"limit":501}', '{"after":0}', '{"subjects":["00"]}', '{"device":""}', '{"email":""}', '{"key":7}',
    '{"device":"fingerprint %"}', '{"kinds":["\\u0000"]}',
)  # fmt: skip


def on_record(walker: Walker) -> Headers:
    """Do something in an environment of its own. Answer the headers of who sees no more than one of its channels."""
    double, began = walker.double, walker.double.clock.now
    for number, minutes in enumerate((30, 40, 50)):
        double.clock.now = began + number
        double.apply(CATALOGUE.replace('ttl = "30m"', f'ttl = "{minutes}m"'), "acts")
    ops = walker.bearer("ops", "to be on record", "acts")
    for number, target in enumerate((f"{RESET}{PAIR}&device_id=tv", f"{RESET}{PAIR}", f"{GENERIC}{PAIR}&key=k"), 10):
        double.clock.now = began + number
        walker.ask(f"to be on record: {target}", f"DELETE {target}", ops)
    return {"Authorization": f"Bearer {double.operator('acme2', 'viewer', ['acts'], ['ACME2'])}"}


def acts(walker: Walker, roles: dict[str, Headers]) -> None:
    inside, limited = f"{CONTROL}/environments/acts", on_record(walker)
    admin = roles["admin"]

    def search(name: str, headers: Headers, body: str, path: str = f"{inside}/acts/search") -> Any:
        return walker.ask(f"acts: {name}", f"POST {path}", JSON | headers, body)

    for role, headers in roles.items():
        search(f"by {role}", headers, "{}")
        search(f"of the house, by {role}", headers, '{"kinds":["nothing"]}', f"{CONTROL}/acts/search")
        walker.ask(f"an act of the house, by {role}", f"GET {CONTROL}/acts/nothing", headers)
    for body in (
        "", '{"limit":2}', '{"limit":2,"after":5}', '{"kinds":["reset","reset.everybody"]}', '{"pass":"Basic"}',
        '{"actors":["application:ops"],"channels":["ACME1"]}', '{"device":"tv"}', '{"key":"k","device":"tv"}',
        '{"email":"nobody@acme.example"}', '{"since":"2025-01-01T00:00:00Z","until":"2025-01-02T00:00:00Z"}',
    ):  # fmt: skip
        search(f"for {body}", admin, body)
    for body in _NO_SEARCH:
        search(f"wrong: {body}", admin, body)
    newest = search("the newest of the house", admin, '{"limit":1}', f"{CONTROL}/acts/search").json["records"][0]["id"]
    walker.ask("an act of the house", f"GET {CONTROL}/acts/{newest}", admin)
    search("wrong, of the house", admin, "[]", f"{CONTROL}/acts/search")
    for media_type in ("text/csv", "application/jsonl", "text/html, text/csv;q=0.9", "*/*"):
        search(f"as {media_type}", {"Accept": media_type} | admin, '{"limit":1}')
    search("as a file that nobody may take", {"Accept": "text/csv"} | limited, '{"channels":["ACME1"]}')
    search("of other channels", limited, "{}")
    search("of no environment", admin, "{}", f"{CONTROL}/environments/nowhere/acts/search")
    ids = [found["id"] for found in search("for their ids", admin, '{"channels":["ACME1"]}').json["records"]]
    for path in (f"{inside}/acts/search", f"{CONTROL}/acts/search"):
        walker.ask(f"acts: too long at {path}", f"POST {path}", JSON | admin | {"Content-Length": "65537"})
    for name, id_ in (("one key", ids[0]), ("every device", ids[1]), ("one device", ids[2]), ("none", "nothing")):
        walker.ask(f"an act: {name}", f"GET {inside}/acts/{id_}", admin)
    walker.ask("an act of another channel", f"GET {inside}/acts/{ids[0]}", limited)
    walker.ask("an act of an environment that is not one's", f"GET {inside}/acts/{ids[0]}", roles["admin of qa"])
    events(walker, f"{inside}/events", roles)


def events(walker: Walker, path: str, roles: dict[str, Headers]) -> None:
    admin = roles["admin"]
    for name, headers in (("all", admin), ("those since the fifth", {"Last-Event-ID": "5"} | admin)):
        walker.ask(f"events: {name}", f"GET {path}", {"Last-Event-ID": "0"} | headers)
    walker.ask("events: the head", f"HEAD {path}", admin)
    walker.ask("events: no number", f"GET {path}", {"Last-Event-ID": "last"} | admin)
    walker.ask("events: of another environment", f"GET {path}", roles["admin of qa"])


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
