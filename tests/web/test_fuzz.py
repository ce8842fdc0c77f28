"""
Bytes from strangers, on every route: whatever comes, the answer is one that the document describes and never a fault,
and what is refused, or only asks, has changed nothing. The ASGI application is driven directly, because a client
library would clean what it sends.
"""

import asyncio
import base64
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from temppass.testing import build
from temppass.web.openapi import document

HOST = (b"host", b"double.test:8080")


class Asked(NamedTuple):
    """A request as a server hands it to the application; `path` is percent-encoded, `body` comes in pieces."""

    method: str
    path: str
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = (HOST,)
    body: tuple[bytes, ...] = (b"",)
    #: whether the client goes away before the body has ended
    broken_off: bool = False


class Answered(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    #: the endpoint that was asked, "" where no route has the path
    endpoint: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


DOUBLE = build((resources.files("temppass") / "demo.toml").read_text("utf-8"), now=1_767_261_600_000)
ROUTES = DOUBLE.app.routes


async def ask(asked: Asked) -> Answered:
    pieces = [
        {"type": "http.request", "body": piece, "more_body": asked.broken_off or number < len(asked.body)}
        for number, piece in enumerate(asked.body, start=1)
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)  # what streams has begun before its client goes away
        return pieces.pop(0) if pieces else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": asked.method,
        "path": unquote(asked.path), "raw_path": asked.path.encode(), "root_path": "", "query_string": asked.query,
        "headers": [*asked.headers], "client": ("192.0.2.1", 50_000), "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    await DOUBLE.app(scope, receive, send)
    start, *parts = sent
    body = b"".join(part.get("body", b"") for part in parts)
    return Answered(start["status"], dict(start["headers"]), body, endpoint_of(scope))


def endpoint_of(scope: dict[str, Any]) -> str:
    """Answer the name of the route of a request, else of one at its path; "" for none, also where no host is named."""
    matches = [(route.matches(scope)[0].value, route.name) for route in ROUTES if "environment" in scope]
    return max(matches, key=lambda match: match[0])[1] if any(value for value, _ in matches) else ""


# --- what is known here: an application with a token, a device, a user, a session


async def prepare(statement: str) -> tuple[bytes, bytes, bytes]:
    """Answer the form of a token request, a token, and the code of a session."""
    register = json.dumps({"software_statement": statement}).encode()
    made = (await ask(Asked("POST", "/o/client/register", body=(register,)))).json
    form = urlencode([(name, made[name]) for name in ("client_id", "client_secret")]) + "&grant_type=client_credentials"
    token = (await ask(Asked("POST", "/o/client/token", form.encode()))).json["access_token"].encode()
    headers = [HOST, (b"authorization", b"Bearer " + token), (b"ap-device-identifier", DEVICE)]
    code = (await ask(Asked("POST", "/api/v2/REF/sessions", b"", headers))).json["code"]
    return form.encode(), token, code.encode()


STATEMENT = DOUBLE.mint("demo").encode()
DEVICE = b"fingerprint " + base64.b64encode(b"tvbox-4f19c2a0")
IDENTITY = base64.b64encode(b'{"email":"viewer@example.net"}')
CREDENTIALS, TOKEN, CODE = asyncio.run(prepare(STATEMENT.decode()))

OPERATOR = b"Bearer " + DOUBLE.operator("root", "admin").encode()

# --- what is right

SEGMENTS = {
    "service_provider": [b"REF"],
    "mvpd": [b"TempPassREF", b"flexibleTempPass"],
    "code": [CODE],
    "error": [b"invalid_integration"],
    "name": [b"nobody"],
    "act": [b"nothing"],
    "approval": [b"nothing"],
    "application": [b"demo"],
    "statement": [b"nothing"],
    "client": [b"nothing"],
    "environment": [b"release-production"],
    "channel": [b"REF"],
    "pass": [b"TempPassREF"],
    "rest": [b"reset", b"reset/generic"],
}
TRIAL = b"requestor_id=REF&mvpd_id=flexibleTempPass"
QUERIES = {
    "reset_device": [TRIAL, TRIAL + b"&device_id=tvbox-4f19c2a0", TRIAL + b"&appId=player", TRIAL + b"&device_id=%FF"],
    "reset_generic": [TRIAL, TRIAL + b"&key=viewer@example.net"],
    "token": [b"", CREDENTIALS],
    "clients": [b"", b"limit=1", b"limit=2&after=1767261600000.00", b"statement=older"],
}
TITLES = [b'{"resources":["R1"]}', b'{"resources":["R2","R3"]}']
SESSIONS = [b"", b"mvpd=TempPassREF", b"domainName=acme.example&redirectUrl=https://acme.example/back"]
CATALOGUE = b'{"programmer":[{"id":"acme"}],"channel":[{"id":"REF","programmer":"acme"}]}'
BODIES = {
    "authorize": TITLES,
    "preauthorize": TITLES,
    "create_session": SESSIONS,
    "resume_session": SESSIONS,
    "register": [b'{"software_statement":"%s"}' % STATEMENT, b"software_statement=" + STATEMENT],
    "token": [CREDENTIALS],
    "introspect": [CREDENTIALS + b"&token=" + TOKEN],
    "plan_catalogue": [CATALOGUE],
    "apply_catalogue": [CATALOGUE],
    "rotate_keys": [b"", b'{"reason":"ticket 3"}'],
    "mint_statement": [b"", b'{"reason":"ticket 3"}', b'{"ends_at":"2099-01-01T00:00:00Z"}'],
    "set_schedule": [b'{"paused":true}'],
    "explain": [
        b'{"device":"vbox-4f19c2a0","email":"anna@acme.example","title":"ACME-LIVE"}',
        b'{"key":"k","channel":"REF","pass":"flexibleTempPass"}',
    ],
    "reset": [
        b'{"channel":"REF","pass":"TempPassREF","device":"tvbox-4f19c2a0","reason":"ticket 1"}',
        b'{"channel":"REF","pass":"flexibleTempPass","subjects":["00112233445566778899aabbccddeeff"]}',
        b'{"channel":"REF","pass":"TempPassREF","everybody":"devices","only":{"over":true},"plan":"p"}',
    ],
    "plan": [
        b'{"channel":"REF","pass":"TempPassREF","everybody":"devices","share":0.5}',
        b'{"channel":"REF","pass":"flexibleTempPass","everybody":"both","only":{"over":true,"app_id":"player"}}',
        b'{"channel":"REF","pass":"TempPassREF","everybody":"keys","only":{"started_before":"2026-01-01T00:00:00Z"}}',
    ],
    "decide": [b'{"approve":true}', b'{"approve":false}'],
    "grant": [b'{"channel":"REF","pass":"flexibleTempPass","email":"viewer@example.net","minutes":5,"titles":1}'],
    "undo_reset": [b"", b'{"reason":"ticket 2","replace":true}'],
    "undo_grant": [b"", b'{"reason":"ticket 2"}'],
    "create_operator": [b'{"name":"anna","role":"support","channels":["REF"],"ends_at":"2099-01-01T00:00:00Z"}'],
}
BODIES["search_acts"] = BODIES["search_house_acts"] = [
    b"{}",
    b'{"since":"2026-01-01T00:00:00Z","until":"2099-01-01T00:00:00Z","pass":"TempPassREF","limit":2,"after":3}',
    b'{"actors":["operator:anna"],"kinds":["reset"],"channels":["REF"]}',
    b'{"device":"tvbox-4f19c2a0","email":"viewer@example.net","subjects":["00112233445566778899aabbccddeeff"]}',
]
HEADERS = {
    b"authorization": b"Bearer " + TOKEN,
    b"ap-device-identifier": DEVICE,
    b"ap-temppass-identity": IDENTITY,
    b"x-device-info": base64.b64encode(b'{"applicationId":"player","osName":"Linux"}'),
    HOST[0]: HOST[1],
    b"origin": b"https://acme.example",
}

# --- what is wrong

NAMES = [
    *(b"requestor_id mvpd_id device_id key environment appId deviceUser mvpd domainName redirectUrl email".split()),
    *(b"software_statement redirect_uri client_id client_secret grant_type resources applicationId osName".split()),
    b"token",
]
VALUES = [
    *(b"REF flexibleTempPass all production staging client_credentials R1 https://acme.example/back %zz %ff".split()),
    *(b"https://[ https://acme.example:99999/ //acme.example https://acme.example\\@evil.example".split()),
    STATEMENT,
]
#: JSON values that have been too much for somebody: what no type expects, what no UTF-8 can say, what no stack holds
NASTY = [
    *(rb'null true -0 0.1 [] {} [[]] "" NaN -Infinity 1e999 "\ud800" "\udc80\ud800" "\u0000" {"a":1,"a":1} "'.split()),
    *(b'"\xff"', b'"\xed\xa0\x80"', b"9" * 5000, b'"' + b"x" * 3000 + b'"', "\u2028".encode()),
    *(b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"[" * 30_000),
]
raw_values = st.one_of(st.sampled_from(NASTY), st.text(max_size=12).map(lambda text: json.dumps(text).encode()))


def raw_object(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % field for field in fields) + b"}"


json_bodies = st.recursive(
    raw_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: b"[" + b",".join(values) + b"]"),
        st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=6).map(raw_object),
    ),
    max_leaves=8,
)
forms = st.lists(
    st.builds(
        lambda name, value, encode: name + b"=" + (quote_from_bytes(value).encode() if encode else value),
        st.sampled_from(NAMES),
        st.one_of(st.sampled_from(VALUES), st.binary(max_size=24)),
        st.booleans(),
    ),
    max_size=5,
).map(b"&".join)
queries = st.one_of(forms, forms.map(lambda form: TRIAL + b"&" + form), st.binary(max_size=40))
bodies = st.one_of(queries, json_bodies, st.just(b" " * 70_000))
base64s = st.one_of(st.binary(max_size=1100), json_bodies).map(base64.b64encode)
anything = st.binary(max_size=24)
WRONG_HEADERS = {
    b"authorization": st.one_of(
        anything, anything.map(lambda raw: b"Bearer " + raw), st.sampled_from([b"Basic Og==", b"Bearer " + STATEMENT])
    ),
    b"ap-device-identifier": st.one_of(anything, base64s.map(lambda raw: b"fingerprint " + raw)),
    b"ap-temppass-identity": st.one_of(anything, base64s),
    b"x-device-info": st.one_of(anything, base64s),
    b"host": st.one_of(
        anything, st.sampled_from([b"[", b"[::1]:80", b"h" * 300, b"mgmt.auth.adobe.com", b"no.localhost"])
    ),
    b"origin": st.one_of(anything, st.sampled_from([b"https://[", b"https://acme.example\r\n", b"null"])),
    b"content-type": st.one_of(
        anything, st.sampled_from([b"application/json", b"application/x-www-form-urlencoded", b"text/plain"])
    ),
    b"content-length": st.one_of(anything, st.sampled_from([b"70000", b"\xb2", b"9" * 5000, b"-1"])),
}


@st.composite
def asked_of(draw: st.DrawFn, route: Route) -> Asked:
    """Answer a request that is right but for up to three of its parts."""
    wrong = draw(st.sets(st.sampled_from(["method", "path", "query", "body", *WRONG_HEADERS]), max_size=3))

    def either(part: str, right: list[Any], otherwise: st.SearchStrategy[Any]) -> Any:
        return draw(otherwise if part in wrong else st.sampled_from(right))

    segments = {
        name: either("path", SEGMENTS[name], st.sampled_from(SEGMENTS[name]) | anything)
        for name in route.param_convertors
    }
    right = HEADERS | ({b"authorization": OPERATOR} if route.path.startswith("/control/") else {})
    headers = [(name, value) for name, value in right.items() if name not in wrong]
    for name in sorted(WRONG_HEADERS.keys() & wrong):
        headers += [(name, value) for value in draw(st.lists(WRONG_HEADERS[name], max_size=2))]
    body = either("body", BODIES.get(route.name, [b""]), bodies)
    cut = draw(st.sampled_from([0, len(body) // 2]))
    return Asked(
        either("method", sorted(route.methods or ()), st.sampled_from(["OPTIONS", "PUT", "TRACE", "get", ""])),
        route.path_format.format_map({name: quote_from_bytes(value, safe="") for name, value in segments.items()}),
        either("query", QUERIES.get(route.name, [b""]), queries),
        headers,
        (body[:cut], body[cut:]) if cut else (body,),
    )


# --- what an answer may be

#: by endpoint and status, as it stands in the document
DESCRIBED: dict[str, dict[str, str]] = {}
PATHS = json.loads(document(ROUTES))["paths"]
for each in ROUTES:
    for method in (each.methods or set()) - {"HEAD"}:
        answers = PATHS[each.path_format][method.lower()]["responses"]
        DESCRIBED[each.name] = {status: json.dumps(answer) for status, answer in answers.items()}


def remembered() -> dict[str, Any]:
    """Answer all that the store holds."""
    return {name: copy.copy(value) for name, value in vars(DOUBLE.application.store).items()}


def complaints(asked: Asked, before: dict[str, Any], answered: Answered, after: dict[str, Any]) -> list[str]:
    """Answer what is wrong with an answer."""
    status, headers, body, endpoint = answered
    media_type = headers.get(b"content-type", b"").partition(b";")[0]
    wrong = []
    if status >= 500:
        wrong.append("a fault")
    if before != after and (status >= 400 or asked.method not in {"POST", "DELETE"}):
        wrong.append("something changed")
    if any(byte in value for value in headers.values() for byte in b"\r\n\0"):
        wrong.append("a header that is two")
    if b"content-length" in headers and int(headers[b"content-length"]) != len(body):
        wrong.append("a wrong length")
    if status in {204, 302} or endpoint in {"metrics", "help"} or media_type == b"text/event-stream":
        return wrong
    if media_type not in {b"application/json", b"application/problem+json"}:
        return [*wrong, "no JSON"]
    fields = json.loads(body)
    if status >= 400 and endpoint and fields.get("code", fields.get("error")) not in DESCRIBED[endpoint][str(status)]:
        wrong.append("not described")
    return wrong


@pytest.fixture(scope="module")
def complaints_about() -> Iterator[Callable[[Asked], list[str]]]:
    with asyncio.Runner() as runner:

        def of(asked: Asked) -> list[str]:
            before = remembered()
            return complaints(asked, before, runner.run(ask(asked)), remembered())

        yield of


bounded = settings(
    max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize(
    "route", [pytest.param(route, id=f"{min(route.methods or ())} {route.path}") for route in ROUTES]
)
@pytest.mark.broad
@bounded
@given(data=st.data())
def test_whatever_comes_has_an_answer(
    route: Route, data: st.DataObject, complaints_about: Callable[[Asked], list[str]]
) -> None:
    assert complaints_about(data.draw(asked_of(route))) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v2/REF/decisions/authorize/TempPassREF", b"%s"),
        ("/api/v2/REF/decisions/authorize/TempPassREF", b'{"resources":%s}'),
        ("/api/v2/REF/decisions/authorize/flexibleTempPass", b'{"resources":[%s]}'),
        ("/api/v2/REF/decisions/preauthorize/TempPassREF", b'{"resources":["R1",%s]}'),
        ("/o/client/register", b"%s"),
        ("/o/client/register", b'{"software_statement":%s}'),
        ("/o/client/register", b'{"software_statement":"@STATEMENT@","redirect_uri":%s}'),
        ("/o/client/token", b"%s"),
        ("/o/client/token", b'{"client_id":%s,"client_secret":"x","grant_type":"client_credentials"}'),
        ("/o/client/token", b'{"client_id":"x","client_secret":%s,"grant_type":"client_credentials"}'),
        ("/o/client/token", b'{"client_id":"x","client_secret":"x","grant_type":%s}'),
        ("/o/client/introspect", b"%s"),
        ("/o/client/introspect", b'{"client_id":%s,"client_secret":"x","token":"x"}'),
        ("/o/client/introspect", b'{"client_id":"x","client_secret":"x","token":%s}'),
        ("/o/client/introspect", b'{"client_id":"x","client_secret":"x","token":"x","token_type_hint":%s}'),
    ],
)
def test_no_value_in_a_body_is_too_much(path: str, body: bytes, complaints_about: Callable[[Asked], list[str]]) -> None:
    body = body.replace(b"@STATEMENT@", STATEMENT)
    asked = [Asked("POST", path, b"", [*HEADERS.items()], (body.replace(b"%s", value),)) for value in NASTY]
    assert [each for each in asked if complaints_about(each)] == []


@pytest.mark.parametrize("header", [b"ap-temppass-identity", b"x-device-info"])
@pytest.mark.parametrize("field", [b'{"email":%s}', b'{"applicationId":%s}', b'{"osName":%s}', b"%s"])
def test_no_value_in_a_header_is_too_much(
    header: bytes, field: bytes, complaints_about: Callable[[Asked], list[str]]
) -> None:
    asked = [
        Asked(
            method, path, b"", [*(HEADERS | {header: base64.b64encode(field.replace(b"%s", value))}).items()], (body,)
        )
        for method, path, body in (
            ("POST", "/api/v2/REF/decisions/authorize/flexibleTempPass", TITLES[0]),
            ("GET", "/api/v2/REF/profiles/flexibleTempPass", b""),
            ("POST", "/api/v2/REF/sessions", b""),
            ("GET", "/api/v2/REF/configuration", b""),
        )
        for value in NASTY
    ]
    assert [each for each in asked if complaints_about(each)] == []


@bounded
@given(path=st.binary(max_size=60).map(quote_from_bytes), method=st.text(max_size=8), query=st.binary(max_size=20))
def test_whatever_path_is_asked_has_an_answer(
    path: str, method: str, query: bytes, complaints_about: Callable[[Asked], list[str]]
) -> None:
    assert complaints_about(Asked(method, f"/{path}", query)) == []


@pytest.mark.parametrize("route", [pytest.param(route, id=route.path) for route in ROUTES if route.name in BODIES])
def test_a_body_that_breaks_off_changes_nothing(route: Route) -> None:
    path = route.path_format.format_map({name: values[0].decode() for name, values in SEGMENTS.items()})
    before = remembered()
    for body in BODIES[route.name]:
        asyncio.run(ask(Asked("POST", path, b"", [*HEADERS.items()], (body, b""), broken_off=True)))
    assert remembered() == before


@pytest.mark.parametrize("name", ["client_id", "client_secret"])
def test_no_store_is_asked_for_what_no_database_takes(name: str) -> None:
    """PostgreSQL has no NUL in its texts, and would fail the whole batch."""
    body = CREDENTIALS.replace(f"{name}=".encode(), f"{name}=%00".encode())
    answered = asyncio.run(ask(Asked("POST", "/o/client/token", body=(body,))))
    assert (answered.status, answered.json["error"]) == (400, "invalid_request")
