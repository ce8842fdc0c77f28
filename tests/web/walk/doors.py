"""
The doors that a walk goes past without looking at a trial: our own pages, registration and tokens, every operation
and all that it refuses, other origins, heads, other environments, changes of the catalogue, a store that is away.
"""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.web.walk.recording import Exchange, Json
from tests.web.walk.walker import (
    AUTHORIZE,
    CATALOGUE,
    FORM,
    GENERIC,
    HOUR,
    JSON,
    MINUTE,
    PAIR,
    PREAUTHORIZE,
    RESET,
    SECRET,
    T0,
    TV,
    V2,
    Headers,
    Walker,
    credentials,
    device,
)

from temppass.testing import serving

TITLES = '{"resources":["R1"]}'


def own(walker: Walker) -> Json:
    """Answer the description of every route, as the server gives it."""
    for path in ("/healthz", "/readyz", "/.well-known/jwks.json"):
        walker.ask(path, f"GET {path}")
    for media_type in ("application/json", "text/html", "*/*"):
        walker.ask(f"the front page as {media_type}", "GET /", {"Accept": media_type})
    document: Json = walker.ask("/openapi.json", "GET /openapi.json").json
    for code in (*document["components"]["parameters"]["error"]["schema"]["enum"], "no_such_code", ""):
        walker.ask(f"help on {code or 'nothing'}", f"GET /help/{code}")
    for target in ("/nothing/here", "/api/v2/", "/api/v2/../healthz", "//healthz", "/o/client/scopes", "/healthz/"):
        walker.ask(f"nothing at {target}", f"GET {target}")
    return document


def registration(walker: Walker) -> None:
    statement = walker.double.mint("ops")
    good = {"software_statement": statement}

    def register(name: str, body: str, headers: Headers = JSON) -> Json:
        made: Json = walker.ask(f"register: {name}", "POST /o/client/register", headers, body).json
        return made

    def registered(name: str, **fields: Any) -> Json:
        return register(name, json.dumps(good | fields))

    register("a form", urlencode(good), FORM)
    register("no type", json.dumps(good), {})
    registered("what nobody reads", grant_types=["client_credentials"], token_endpoint_auth_method="client_secret_post")
    registered("a redirect below a domain", redirect_uri="https://play.acme.example/cb")
    for uri in ("http://acme.example", "https://evil.example", "acme.example", "https://acme.example/#there"):
        registered(f"a redirect to {uri}", redirect_uri=uri)
    for name, wrong in (("none", None), ("a number", 7), ("empty", ""), ("no token", "x.y.z"), ("cut", statement[:-9])):
        registered(f"a statement that is {name}", software_statement=wrong)
    registered("a redirect that is a number", redirect_uri=7)
    for body in ("", "{", "[]", "null", '{"software_statement":NaN}', '{"software_statement":"\\ud800"}', "{}"):
        register(f"the body {body!r}", body)
    register("a name twice", f'{{"software_statement":"{statement}","software_statement":"{statement}"}}')
    register("a form with a name twice", urlencode([*good.items()] * 2), FORM)
    register("a form that is no UTF-8", "software_statement=%FF", FORM)
    register("a type of text", json.dumps(good), {"Content-Type": "text/plain"})
    register("in the query alone", "", FORM)
    foreign = walker.double.mint("ops", "acme")
    registered("a statement of another environment", software_statement=foreign)
    walker.ask("register: a query", f"POST /o/client/register?{urlencode(good)}")
    walker.ask("register: too long", "POST /o/client/register", {**JSON, "Content-Length": "65537"})
    walker.double.apply(
        '[[application]]\nid = "few"\nchannels = "all"\nscopes = []\nregistrations_per_minute = 1', "narrow"
    )
    good = {"software_statement": walker.double.mint("few", "narrow")}
    for number in range(2):
        register(f"one a minute, {number}", json.dumps(good), {**JSON, "Host": "narrow.localhost"})


def tokens(walker: Walker) -> None:
    made = walker.ask(
        "a client of its own",
        "POST /o/client/register",
        JSON,
        json.dumps({"software_statement": walker.double.mint("ops")}),
    ).json
    good = credentials(made) | {"grant_type": "client_credentials"}
    path = "POST /o/client/token"

    def ask(name: str, body: str | None, headers: Headers = FORM, query: str = "") -> None:
        walker.ask(f"token: {name}", f"{path}{query}", headers, body)

    ask("the query alone", None, {}, f"?{urlencode(good)}")
    ask("the query with a type of JSON", "", JSON, f"?{urlencode(good)}")
    ask("a JSON body", json.dumps(good), JSON)
    ask("a form with a charset", urlencode(good), {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"})
    ask("the same in both", urlencode(good), FORM, f"?{urlencode(good)}")
    ask("different in both", urlencode(good), FORM, "?client_id=another")
    for scope in ("api:client:v2", "api:client:v2 temporary:passes:owner", "openid", "api:client:v2 openid", ""):
        ask(f"the scope {scope!r}", urlencode(good | {"scope": scope}))
    for missing in good:
        ask(f"no {missing}", urlencode({name: value for name, value in good.items() if name != missing}))
    ask("a name twice", urlencode([*good.items(), ("grant_type", "client_credentials")]))
    for grant in ("authorization_code", "refresh_token"):
        ask(f"the grant {grant}", urlencode(good | {"grant_type": grant}))
    ask("an unknown client", urlencode(good | {"client_id": "nobody"}))
    ask("a wrong secret", urlencode(good | {"client_secret": "wrong"}))
    ask("a secret that is no ASCII", urlencode(good | {"client_secret": "é"}))
    ask("a number", json.dumps(good | {"client_id": 7}), JSON)
    ask("HTTP Basic", urlencode(good), {**FORM, "Authorization": "Basic YTpi"})
    ask("a body that is no JSON", "{", JSON)
    ask("a type of text", urlencode(good), {"Content-Type": "text/plain"})
    ask("too long", None, {**FORM, "Content-Length": "65537"})
    nothing = json.dumps({"software_statement": walker.double.mint("nothing")})
    made = walker.ask("an application without scopes registers", "POST /o/client/register", JSON, nothing).json
    ask("an application without scopes", urlencode(good | credentials(made)))


def introspection(walker: Walker) -> None:
    """What standard clients ask for beside tokens (RFC 7662, RFC 8414)."""
    token = walker.bearer("player", "to ask about its token")["Authorization"].removeprefix("Bearer ")
    statement = walker.double.mint("player")
    register = json.dumps({"software_statement": statement})
    made = walker.ask("a client that asks about tokens", "POST /o/client/register", JSON, register).json
    good = credentials(made) | {"token": token}
    path = "POST /o/client/introspect"

    def ask(name: str, body: str | None, headers: Headers = FORM, query: str = "") -> None:
        walker.ask(f"introspect: {name}", f"{path}{query}", headers, body)

    ask("a form", urlencode(good))
    ask("a JSON body", json.dumps(good), JSON)
    ask("no type", urlencode(good), {})
    ask("a hint", urlencode(good | {"token_type_hint": "refresh_token"}))
    ask("in the query alone", None, {}, f"?{urlencode(good)}")
    ask("another in the query", urlencode(good), FORM, "?token=another")
    for missing in good:
        ask(f"no {missing}", urlencode({name: value for name, value in good.items() if name != missing}))
        ask(f"{missing} twice", urlencode([*good.items(), (missing, "another")]))
        ask(f"{missing} that is a number", json.dumps(good | {missing: 7}), JSON)
    ask("an unknown client", urlencode(good | {"client_id": "nobody"}))
    ask("a wrong secret", urlencode(good | {"client_secret": "wrong"}))
    ask("HTTP Basic", urlencode(good), {**FORM, "Authorization": "Basic YTpi"})
    ask("its token in the head too", urlencode(good), {**FORM, "Authorization": f"Bearer {token}"})
    other = walker.bearer("ops", "for others to ask about")["Authorization"].removeprefix("Bearer ")
    for name, wrong in (("another's", other), ("a statement", statement), ("no token", "x.y.z"), ("text", "é")):
        ask(f"what is {name}", urlencode(good | {"token": wrong}))
    ask("a token that is too long", urlencode(good | {"token": "x" * 24_577}))
    ask("a body that is no JSON", "{", JSON)
    ask("a type of text", urlencode(good), {"Content-Type": "text/plain"})
    ask("too long", None, {**FORM, "Content-Length": "65537"})
    ask("another environment", urlencode(good), {**FORM, "Host": "acme.localhost"})
    ask("no environment", urlencode(good), {**FORM, "Host": "nowhere.localhost"})
    for method in ("GET", "DELETE"):
        walker.ask(f"introspect: {method}", f"{method} /o/client/introspect")
    for host in ("acme.localhost:8080", "nowhere.localhost", "sp.auth-staging.adobe.com"):
        walker.ask(f"metadata of {host}", "GET /.well-known/oauth-authorization-server", {"Host": host})
    walker.double.clock.advance(6 * HOUR)
    ask("an expired token", urlencode(good))
    walker.double.revoke("player")
    ask("a revoked application", urlencode(good))


class Operation(NamedTuple):
    """One method of one path, as /openapi.json describes it."""

    path: str
    method: str
    described: Json

    @property
    def is_alias(self) -> bool:
        return "operationId" not in self.described

    @property
    def is_guarded(self) -> bool:
        return any("accessToken" in each for each in self.described["security"])

    @property
    def is_control(self) -> bool:
        """Who operates the service has other tokens, and a walk of their own (control.py)."""
        return self.path.startswith("/control/")

    @property
    def is_reset(self) -> bool:
        return self.path in {RESET, GENERIC}

    @property
    def body(self) -> str | None:
        if "requestBody" not in self.described:
            return None
        return TITLES if "AuthorizeBody" in json.dumps(self.described["requestBody"]) else ""

    def takes(self, name: str) -> bool:
        return any(reference["$ref"].endswith(f"/{name}") for reference in self.described["parameters"])

    def target(self, channel: str = "ACME1", pass_id: str = "Basic", code: str = "AAAAAAA") -> str:
        """Fill in the path, and the query of a reset."""
        named = {"service_provider": channel, "mvpd": pass_id, "code": code}
        named |= {"environment": "release-production", "channel": "ACME2", "pass": "Daily", "application": "ops"}
        named |= {"error": "invalid_integration", "rest": "reset"}
        named |= {"name": "nobody", "act": "nothing", "approval": "nothing", "statement": "nothing", "client": "nobody"}
        target = self.path.format(**named)
        return target + f"?requestor_id={channel}&mvpd_id={pass_id}&device_id=d&key=k" * self.is_reset


def operations(document: Json) -> list[Operation]:
    """Answer every operation, in the order in which the server tries them."""
    paths = document["paths"].items()
    return [Operation(path, method.upper(), told) for path, methods in paths for method, told in methods.items()]


class Known(NamedTuple):
    """What a request to any operation may carry: headers with a token, or what looks like one, and a session's code."""

    ops: Headers
    player: Headers
    resetter: Headers
    ended: Headers
    statement: Headers
    code: str

    def good(self, operation: Operation) -> Headers:
        return TV | self.ops if operation.is_guarded else {}

    def two(self, operation: Operation) -> tuple[Headers, Headers]:
        """Answer those of an application with the scope but one channel, and of one without the scope."""
        return (self.resetter, self.player) if operation.is_reset else (self.player, self.resetter)


def wrong(operation: Operation, known: Known) -> Iterator[tuple[str, Headers, str]]:
    """Answer what else can be asked of an operation, each with its headers and target."""
    good, target = known.good(operation), operation.target(code=known.code)
    if operation.is_guarded:
        one_channel, scopeless = known.two(operation)
        yield "no token", TV, target
        yield "a statement for a token", TV | known.statement, target
        yield "a revoked application", TV | known.ended, target
        yield "without the scope", TV | scopeless, target
        yield "a channel that is not assigned", TV | one_channel, operation.target("ACME2", code=known.code)
    if operation.takes("service_provider") or operation.is_reset:
        for channel in ("NOPE", ""):
            yield f"the channel {channel!r}", good, operation.target(channel, code=known.code)
    if operation.takes("mvpd") or operation.is_reset:
        for pass_id in ("NOPE", "", "Disabled", "Daily"):
            yield f"the pass {pass_id!r}", good, operation.target(pass_id=pass_id, code=known.code)
    if operation.takes("code"):
        for code in ("AAAAAAA", "short", ""):
            yield f"the code {code!r}", good, operation.target(code=code)
    if operation.takes("AP-Device-Identifier"):
        yield "no device", known.ops, target
    yield "a host that is none", good | {"Host": "a b"}, target
    if operation.body is not None:
        yield "too long", good | {"Content-Length": "65537"}, target


def every_operation(walker: Walker, document: Json, ops: Headers) -> None:
    """Every method of every path goes well once; then whatever can be wrong before the trial is looked at."""
    ended = walker.bearer("ended")
    walker.double.revoke("ended")
    statement = {"Authorization": f"Bearer {walker.double.mint('ops')}"}
    begun = walker.ask("a session to walk with", f"POST {V2}/sessions", ops | TV | FORM, "domainName=acme.example")
    code, chosen = begun.json["code"], "mvpd=Basic&redirectUrl=https%3A%2F%2Facme.example%2Fback"
    walker.ask("its pass is chosen", f"POST {V2}/sessions/{code}", ops | TV | FORM, chosen)
    known = Known(ops, walker.bearer("player"), walker.bearer("resetter"), ended, statement, code)
    described = [
        operation
        for operation in operations(document)
        if not operation.path.startswith("/o/client/") and not operation.is_control
    ]
    for operation in described:
        path, method, _ = operation
        good, target = known.good(operation), operation.target(code=code)
        walker.ask(f"{method} {path}", f"{method} {target}", good, operation.body)
        if method == "GET":
            walker.ask(f"HEAD {path}", f"HEAD {target}", good)
        for name, headers, other in [] if operation.is_alias else wrong(operation, known):
            body = None if "Content-Length" in headers else operation.body
            walker.ask(f"{method} {path}: {name}", f"{method} {other}", headers, body)
    for path, target in {operation.path: operation.target() for operation in operations(document)}.items():
        walker.ask(f"OPTIONS {path}", f"OPTIONS {target}")
        walker.ask(f"TRACE {path}", f"TRACE {target}")


def origins(walker: Walker, ops: Headers) -> None:
    """Cross-origin requests (contract §6.10)."""
    for origin in ("https://acme.example", "http://localhost:3000", "https://evil.example", "null"):
        walker.ask(
            f"CORS: a preflight from {origin}",
            f"OPTIONS {AUTHORIZE}/Basic",
            {"Origin": origin, "Access-Control-Request-Method": "POST"},
        )
        walker.ask(f"CORS: a page of {origin}", f"GET {V2}/profiles", ops | TV | {"Origin": origin})
        walker.ask(f"CORS: a refusal to {origin}", f"GET {V2}/profiles", {"Origin": origin})
        walker.ask(f"CORS: nothing for {origin}", "GET /nothing", {"Origin": origin})


def heads(walker: Walker, ops: Headers) -> None:
    """What only a socket carries."""
    profile, token = f"GET {V2}/profiles/Basic", f"Authorization: {ops['Authorization']}"
    tv = f"AP-Device-Identifier: {TV['AP-Device-Identifier']}"

    def head(name: str, *lines: str, body: str = "", answers: int = 1) -> None:
        walker.raw(f"head: {name}", "\r\n".join([*lines, "", body]), answers)

    def good(host: str) -> tuple[str, ...]:
        return (f"{profile} HTTP/1.1", *([f"Host: {host}"] if host else []), token, tv)

    head("no host", *good(""))
    head("no host on HTTP/1.0", profile + " HTTP/1.0", token, tv)
    head("two hosts", *good("double.test"), "Host: acme.localhost")
    head("one host twice", *good("double.test"), "Host: double.test")
    for host in (
        "a b",
        "double.test/",
        "user@double.test",
        "double.test:port",
        "[::1]:8080",
        "\tacme.localhost\t",
        "é",
    ):
        head(f"the host {host!r}", *good(host))
    head("an absolute target", f"GET http://acme.localhost{V2}/profiles/Basic HTTP/1.1", "Host: double.test", token, tv)
    head("a fragment", f"GET {V2}/profiles/Basic#x HTTP/1.1", "Host: double.test", token, tv)
    head("a fragment alone", "GET /healthz# HTTP/1.1", "Host: double.test")
    head("a target that is a star", "OPTIONS * HTTP/1.1", "Host: double.test")
    head("a token twice", *good("double.test"), token)
    head("a hundred and one headers", *good("double.test"), *[f"X-{number}: 1" for number in range(98)])
    head("one header a hundred and one times", *good("double.test"), *["X-Same: 1"] * 98)
    head("too large", *good("double.test"), f"X-Large: {'x' * 33_000}")
    head("a request line that is none", "nonsense")
    head("a method of nobody", "BREW /healthz HTTP/1.1", "Host: double.test")
    head("a path that is no UTF-8", "GET /healthz/%FF HTTP/1.1", "Host: double.test")
    head(
        "an upgrade",
        "GET /healthz HTTP/1.1",
        "Host: double.test",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
    )
    head("to be closed", "GET /healthz HTTP/1.1", "Host: double.test", "Connection: close")
    health = "GET /healthz HTTP/1.1\r\nHost: double.test\r\n\r\n"
    walker.raw("head: three in one write", health * 3, 3)
    asked = (f"POST {PREAUTHORIZE}/Basic HTTP/1.1", "Host: double.test", token, tv)
    head(
        "a body in chunks",
        *asked,
        "Transfer-Encoding: chunked",
        body=f"8\r\n{TITLES[:8]}\r\nc\r\n{TITLES[8:]}\r\n0\r\n\r\n",
    )
    head("a body that waits to be asked for", *asked, "Content-Length: 20", "Expect: 100-continue", body=TITLES)
    head("a length that is none", *asked, "Content-Length: x", body=TITLES)
    head("two lengths", *asked, "Content-Length: 20", "Content-Length: 21", body=TITLES)


def environments(walker: Walker, ops: Headers) -> None:
    acme, nowhere = walker.bearer("ops", "elsewhere", "acme"), {"Host": "nowhere.localhost"}
    walker.titles("environment: a title", f"{AUTHORIZE}/Basic", acme, "R1")
    walker.titles("environment: a token of another", f"{AUTHORIZE}/Basic", ops | {"Host": "acme.localhost"}, "R1")
    walker.ask(
        "environment: a reset with a token of another", f"DELETE {RESET}{PAIR}", ops | {"Host": "acme.localhost"}
    )
    walker.ask("environment: keys", "GET /.well-known/jwks.json", {"Host": "acme.localhost:8080"})
    walker.ask("environment: keys of none", "GET /.well-known/jwks.json", nowhere)
    walker.titles("environment: a title in none", f"{AUTHORIZE}/Basic", ops | nowhere, "R1")
    walker.ask("environment: authenticate in none", "GET /api/v2/authenticate/ACME1/AAAAAAA", nowhere)
    statement = json.dumps({"software_statement": walker.double.mint("ops")})
    walker.ask("environment: register in none", "POST /o/client/register", JSON | nowhere, statement)
    form = "grant_type=client_credentials&client_id=a&client_secret=b"
    walker.ask("environment: a token in none", "POST /o/client/token", FORM | nowhere, form)
    for host in ("sp.auth-staging.adobe.com", "SP-Prequal.auth.adobe.com:443", "acme.localhost.", "a.acme.localhost"):
        walker.ask(f"environment: of {host}", f"GET {V2}/configuration", acme | {"Host": host})


def changes(walker: Walker) -> None:
    """What an application was given ends with its time, with the application, and with a revocation."""
    walker.double.clock.advance(MINUTE)
    ops = walker.bearer("ops", "before the changes")
    double, statement = walker.double, json.dumps({"software_statement": walker.double.mint("ops")})

    def look(name: str) -> None:
        walker.titles(f"change: a title when {name}", f"{AUTHORIZE}/Basic", ops, "R1", tv=device(b"change"))
        walker.ask(f"change: a reset when {name}", f"DELETE {RESET}{PAIR}&device_id=change", ops)
        walker.ask(f"change: a registration when {name}", "POST /o/client/register", JSON, statement)

    look("nothing has changed")
    for name, old, new in (
        ("a channel is taken", 'channels = "all", scopes', 'channels = ["ACME2"], scopes'),
        ("the scopes are taken", 'scopes = ["temporary:passes:owner", "api:client:v2"]', "scopes = []"),
        ("the application is gone", 'id = "ops"', 'id = "gone"'),
        ("the channel is gone", '"ACME1"', '"ACME9"'),
    ):
        double.apply(CATALOGUE.replace(old, new))
        look(name)
    double.apply(CATALOGUE)
    look("the application has come back")
    ops = walker.bearer("ops", "after the changes")
    double.clock.advance(6 * HOUR)
    look("the token has expired")
    made = walker.ask(
        "change: a client before the end",
        "POST /o/client/register",
        JSON,
        json.dumps({"software_statement": double.mint("ops")}),
    ).json
    double.revoke("ops")
    look("the application is revoked")
    form = urlencode(credentials(made) | {"grant_type": "client_credentials"})
    walker.ask("change: a token for a client of a revoked application", "POST /o/client/token", FORM, form)
    ops = walker.bearer("ops", "after the revocation")
    look("a new statement was minted")


def away(document: Json) -> list[Exchange]:
    """What needs the database, where it does not answer. Each answer takes its time, so all are asked for at once."""
    bodies = {
        "register": '{"software_statement":"x.y.z"}',
        "token": '{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}',
        "introspect": '{"token":"x.y.z","client_id":"a","client_secret":"b"}',
    }
    headers = TV | JSON | {"Authorization": "Bearer x.y.z", "Origin": "https://acme.example"}

    def ask(operation: Operation) -> list[Exchange]:
        path, method, told = operation
        walker = Walker(double, [])
        body = bodies.get(told["operationId"], operation.body)
        walker.ask(f"away: {method} {path}", f"{method} {operation.target()}", headers, body)
        return walker.exchanges

    needing = [operation for operation in operations(document) if "503" in operation.described["responses"]]
    asked = [operation for operation in needing if not operation.is_alias]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        store = f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/none"
        with serving(store=store, now=T0, TEMPPASS_SECRET=SECRET) as double, ThreadPoolExecutor(len(asked)) as pool:
            return [exchange for exchanges in pool.map(ask, asked) for exchange in exchanges]
