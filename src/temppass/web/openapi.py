"""
`/openapi.json`: every route, described by OpenAPI 3.1.

Paths, methods and sentences are those of the routes, shapes those of wire.py, error codes those of problems.py, so that
none of them can drift. ENDPOINTS says the rest, one row an endpoint, by the name of its function. An endpoint's first
path is its own; the others are aliases, and deprecated. Examples name what `temppass serve --demo` offers.

Source: OpenAPI Specification 3.1.0; contract §3, §5, §6; design §6.
"""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from starlette.routing import Route

from temppass import wire
from temppass.core import refusal as r
from temppass.core.model import DenyCode
from temppass.core.oauth import GRANT_TYPE
from temppass.core.world import SCOPE_RESET, SCOPE_V2
from temppass.web import problems
from temppass.web.problems import CODES, EXECUTION_TIME, FAULTS, PLAIN, Row

Json = dict[str, Any]

_JSON, _FORM, _TEXT = "application/json", "application/x-www-form-urlencoded", "text/plain"
_STRING: Json = {"type": "string"}
_NAME: Json = {"type": "string", "minLength": 1}
_INTEGER: Json = {"type": "integer", "minimum": 0}
_GONE = HTTPStatus.GONE.value


class Parameter(NamedTuple):
    place: str
    meaning: str
    schema: Json = _STRING
    required: bool = False
    example: str | None = None


PARAMETERS = {
    "service_provider": Parameter("path", "The channel (requestor id).", required=True, example="REF"),
    "mvpd": Parameter("path", "The pass.", required=True, example="TempPassREF"),
    "code": Parameter("path", "An authentication code, in either case.", required=True, example="K7Q2MXA"),
    "error": Parameter("path", "An enhanced error code.", {"enum": [*CODES]}, required=True),
    "rest": Parameter("path", "`reset` or `reset/generic`.", required=True, example="reset"),
    "AP-Device-Identifier": Parameter(
        "header", "`fingerprint`, a space, and the base64 of the device id.", {"type": "string", "maxLength": 1400},
        required=True, example="fingerprint dHZib3gtNGYxOWMyYTA=",
    ),
    "AP-TempPass-Identity": Parameter(
        "header", "The base64 of a JSON object with the hashed user key. A promotional pass needs it.",
        example="eyJlbWFpbCI6ImY3ZWU1ZWM3MzEyMTY1MTQ4YjY5ZmNjYTFkMjkwNzViMTRiOGFlZjBiNTA0OGEzMzJiMThiODhkMDkwNjlmYjcifQ==",
    ),
    "X-Device-Info": Parameter("header", "The base64 of a JSON object about the device; anything else is ignored."),
    "X-Forwarded-For": Parameter("header", "Accepted, not used."),
    "AP-Visitor-Identifier": Parameter("header", "Accepted, not used."),
    "redirectUrl": Parameter("query", "Accepted, not used: there is no operator to come back from."),
    "requestor_id": Parameter("query", "The channel.", _NAME, required=True, example="REF"),
    "mvpd_id": Parameter("query", "The pass.", _NAME, required=True, example="TempPassREF"),
    "device_id": Parameter("query", "The decoded device id. `all`, empty or absent: **every device**; the latter two "
        "are 400 beside a parameter that is not listed here."),
    "key": Parameter("query", "The user key, hashed or raw. `all`, empty or absent: **every user key**; the latter "
        "two are 400 beside a parameter that is not listed here."),
    "environment": Parameter("query", "staging or production, in either case; must agree with the host."),
    "appId": Parameter("query", "Only ledgers that were recorded with this application."),
    "deviceUser": Parameter("query", "Only ledgers that were recorded with this user of the device."),
    "client_id": Parameter("query", "Here or in the body.", _NAME),
    "client_secret": Parameter("query", "Here or in the body.", _NAME),
    "grant_type": Parameter("query", f"`{GRANT_TYPE}`, here or in the body."),
    "scope": Parameter("query", "Those of the application's scopes that the token needs, spaced; else it has all."),
}  # fmt: skip

HEADERS = {
    "Allow": "The methods that the path takes.",
    "Cache-Control": "Whether and how long the answer may be kept.",
    "Link": "The successor of a retired path (RFC 8288).",
    "Location": "Where the user agent goes next.",
    "Pragma": "`no-cache`.",
    "Retry-After": "Seconds to wait before the next try.",
    "TempPass-Matched": "How many ledgers were removed, where that is known without a scan.",
    "TempPass-Titles": "Of a promotional pass: titles watched, percent-encoded, between commas; at most 4,096 bytes.",
    "TempPass-Trial": "Where the trial stands: `state` (new, running, over, used_up), `started_at` and `expires_at` in "
    "milliseconds; of a promotional pass also `used` and `resources_max`.",
    "TempPass-Reset-Id": "The id of the reset in the audit trail.",
    "Vary": "Which header of the request the answer depends on.",
    "WWW-Authenticate": "`Bearer` (RFC 6750 §3).",
}
#: of the headers above, those that an answer which lists them may lack
_OPTIONAL = {"TempPass-Matched", "TempPass-Titles", "TempPass-Trial"}
_BY_STATUS = {401: ("WWW-Authenticate",), 405: ("Allow",), 410: ("Link",), 429: ("Retry-After",), 503: ("Retry-After",)}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(required: Sequence[str] = (), **properties: Json) -> Json:
    return {"type": "object", "properties": properties} | ({"required": [*required]} if required else {})


def _body(schema: Json, *media_types: str, required: bool) -> Json:
    return {"content": {media_type: {"schema": schema} for media_type in media_types}, "required": required}


_TITLES = _body(_ref("schemas", wire.AuthorizeBody.__name__), _JSON, required=True)
_SESSION = _body(_object(mvpd=_STRING, domainName=_STRING, domain=_STRING, redirectUrl=_STRING), _FORM, required=False)
_STATEMENT = _body(
    _object(["software_statement"], software_statement=_NAME, redirect_uri=_STRING), _JSON, _FORM, required=True
)
_CREDENTIALS = _body(
    _object(client_id=_NAME, client_secret=_NAME, grant_type={"const": GRANT_TYPE}, scope=_STRING),
    _FORM,
    _JSON,
    required=False,
)


class Surface(NamedTuple):
    """How a family of endpoints says no: in which Struct, under which property, in which words, with which headers."""

    struct: type[Struct]
    word: str
    table: dict[type[r.Refusal], Row]
    faults: dict[int, str]
    headers: tuple[str, ...] = ()


_V2 = Surface(wire.Error, "code", problems.V2, dict.fromkeys(FAULTS, "internal_server_error"))
_RESET = Surface(wire.PlainError, "error", problems.RESET, FAULTS)
_OAUTH = Surface(wire.OAuthError, "error", problems.REGISTRATION, FAULTS, ("Cache-Control", "Pragma"))
_OWN = Surface(wire.PlainError, "error", {}, FAULTS)


class Endpoint(NamedTuple):
    """What a route does not say itself. `answer` is a Struct, a JSON schema, a media type, or None for no body."""

    tag: str
    surface: Surface
    status: int
    answer: type[Struct] | Json | str | None = None
    parameters: tuple[str, ...] = ()
    refusals: tuple[type[r.Refusal], ...] = ()
    headers: tuple[str, ...] = ()
    body: Json | None = None
    scope: str | None = None
    #: whether the state of a trial can be the whole answer (contract §6.1)
    spent: bool = False
    #: another media type of the answer, which `Accept` may choose
    also: str | None = None
    #: what it or its path answers out of problems.PLAIN
    plain: tuple[int, ...] = (405,)
    faults: tuple[int, ...] = (500, 503)


_TOKEN = (r.InvalidToken, r.RevokedApplication, r.MissingScope, r.UnknownChannel, r.UnassignedChannel)
_PASS = (r.UnknownPass, r.InactiveIntegration)
_DEVICE = ("AP-Device-Identifier", "X-Device-Info", "X-Forwarded-For", "AP-Visitor-Identifier")
_VIEWER = (*_DEVICE, "AP-TempPass-Identity")
_TRIAL = ("TempPass-Trial", "TempPass-Titles")
_READING = (405, 408, 413)


def _v2(answer: type[Struct], parameters: tuple[str, ...], *refusals: type[r.Refusal], **more: Any) -> Endpoint:
    return Endpoint("REST v2", _V2, 200, answer, parameters, (*_TOKEN, *refusals), scope=SCOPE_V2, **more)


def _decision() -> Endpoint:
    refusals = (r.InvalidDeviceIdentifier, r.InvalidResources, *_PASS, r.TooManyResources)
    return _v2(wire.Decisions, _VIEWER, *refusals, body=_TITLES, plain=_READING)


def _opening(parameters: tuple[str, ...], plain: tuple[int, ...], *refusals: type[r.Refusal]) -> Endpoint:
    refusals = (*refusals, *_PASS, r.InvalidRedirect)
    return _v2(wire.SessionAnswer, parameters, *refusals, body=_SESSION, plain=plain)


def _reset(*parameters: str) -> Endpoint:
    query = ("requestor_id", "mvpd_id", *parameters, "environment")
    headers = ("TempPass-Reset-Id", "TempPass-Matched")
    return Endpoint("Reset", _RESET, 204, None, query, tuple(problems.RESET), headers, scope=SCOPE_RESET)


def _oauth(answer: type[Struct], body: Json, parameters: tuple[str, ...], *refusals: type[r.Refusal]) -> Endpoint:
    return Endpoint("Registration", _OAUTH, 201, answer, parameters, refusals, _OAUTH.headers, body, plain=_READING)


_FRONT = _object(["name", "what", "links"], name={"const": "temppass"}, what=_STRING, links={"type": "object"})


def _own(
    answer: Json | str, *, plain: tuple[int, ...] = (400, 405), faults: tuple[int, ...] = (), **more: Any
) -> Endpoint:
    return Endpoint("Service", _OWN, 200, answer, plain=plain, faults=faults, **more)


ENDPOINTS = {
    "authorize": _decision(),
    "preauthorize": _decision(),
    "profile": _v2(wire.Profiles, _VIEWER, r.InvalidDeviceIdentifier, *_PASS, spent=True, headers=_TRIAL),
    "profile_of_code": _v2(
        wire.Profiles, ("AP-TempPass-Identity",), r.InvalidCode, r.UnknownSession, *_PASS, spent=True, headers=_TRIAL
    ),
    "profiles": _v2(wire.Profiles, _DEVICE, r.InvalidDeviceIdentifier),
    "configuration": _v2(wire.Configuration, ("X-Device-Info",)),
    "create_session": _opening(_DEVICE, (*_READING, 429), r.InvalidDeviceIdentifier),
    "resume_session": _opening((), _READING, r.InvalidCode, r.UnknownSession),
    "session": _v2(wire.SessionState, (), r.InvalidCode, r.UnknownSession),
    "authenticate": Endpoint(
        "REST v2", _V2, 302, None, (),
        (r.UnknownChannel, r.InvalidCode, r.UnknownSession, *_PASS, r.InvalidRedirect), ("Location", "Cache-Control"),
    ),
    "logout_of_all": _v2(wire.Logouts, (*_DEVICE, "redirectUrl"), r.InvalidDeviceIdentifier),
    "logout": _v2(wire.Logouts, (*_DEVICE, "redirectUrl"), r.InvalidDeviceIdentifier, *_PASS),
    "reset_device": _reset("device_id", "appId", "deviceUser"),
    "reset_generic": _reset("key"),
    "retired": Endpoint("Reset", _RESET, _GONE, plain=(400, 405, _GONE), faults=()),
    "register": _oauth(
        wire.RegistrationAnswer, _STATEMENT, (),
        r.InvalidRequest, r.InvalidRedirect, r.InvalidStatement, r.UnapprovedStatement,
    ),
    "token": _oauth(
        wire.TokenAnswer, _CREDENTIALS, ("client_id", "client_secret", "grant_type", "scope"),
        r.InvalidRequest, r.UnsupportedGrant, r.InvalidClient, r.UnauthorizedClient,
    ),
    "healthz": _own(_object(["status"], status={"const": "ok"})),
    "readyz": _own(_object(["status"], status={"const": "ready"}), faults=(500, 503)),
    "metrics": _own(_TEXT),
    "jwks": _own(
        _object(["keys"], keys={"type": "array", "items": {"type": "object"}}),
        headers=("Cache-Control",), faults=(500, 503),
    ),
    "openapi": _own({"type": "object"}),
    "front": _own(_FRONT, headers=("Vary",), also="text/html"),
    "help": _own(_TEXT, plain=(400, 404, 405)),
}  # fmt: skip


def document(routes: Iterable[Route]) -> bytes:
    """Describe `routes`; the name of each is a key of ENDPOINTS."""
    from importlib import metadata  # noqa: PLC0415 - start-up does without its 8 ms

    return wire.encode({
        "openapi": "3.1.0",
        "info": {
            "title": "temppass",
            "version": metadata.version("temppass"),
            "summary": "Temporary passes for TV and streaming apps, wire-compatible with Adobe Pass Temp Pass.",
            "description": "The `Host` header chooses the environment. Every path also answers `OPTIONS` (204 with "
            "`Allow`) and, where it answers `GET`, `HEAD`; a path that is not listed answers 404 with a PlainError. "
            "A request without one valid `Host`, or with a `#` in its target, is 400 `invalid_request` at every path, "
            "with a PlainError, under `/o/` with an OAuthError.",
        },
        "servers": [{"url": "/"}],
        "paths": _paths(routes),
        "components": {
            "schemas": _schemas(),
            "parameters": {name: _parameter(name, *row) for name, row in PARAMETERS.items()},
            "headers": {
                name: {"description": meaning, "required": name not in _OPTIONAL, "schema": _STRING}
                for name, meaning in HEADERS.items()
            },
            "responses": {name: _no(wire.PlainError, "error", [name], status) for status, name in PLAIN.items()},
            "securitySchemes": {
                "accessToken": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": f"A token of `/o/client/token`. `{SCOPE_V2}` opens REST v2, `{SCOPE_RESET}` resets.",
                }
            },
        },
    })  # fmt: skip


def _paths(routes: Iterable[Route]) -> Json:
    paths: dict[str, Json] = {}
    described: set[str] = set()
    for route in routes:
        endpoint = ENDPOINTS[route.name]
        alias = route.name in described or endpoint.status == _GONE
        described.add(route.name)
        operation = ({"deprecated": True} if alias else {"operationId": route.name}) | _operation(endpoint, route)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(route.path_format, {})[method.lower()] = operation
    return paths


def _operation(endpoint: Endpoint, route: Route) -> Json:
    parameters = [*re.findall(r"{(\w+)}", route.path_format), *endpoint.parameters]
    operation = {
        "tags": [endpoint.tag],
        "summary": (route.endpoint.__doc__ or "").strip(),
        "parameters": [_ref("parameters", name) for name in parameters],
        "responses": {str(status): answer for status, answer in sorted(_answers(endpoint).items())},
        "security": [{"accessToken": [endpoint.scope]}] if endpoint.scope else [],
    }
    return operation | ({"requestBody": endpoint.body} if endpoint.body else {})


def _answers(endpoint: Endpoint) -> dict[int, Json]:
    surface = endpoint.surface
    rows = [surface.table[refusal] for refusal in endpoint.refusals]
    rows += [Row(status, surface.faults[status]) for status in endpoint.faults]
    rows += [Row(CODES[code].status, code.value) for code in DenyCode if endpoint.spent]
    words: dict[int, set[str]] = {}
    for row in rows:
        words.setdefault(row.status, set()).add(row.code)
    return {
        endpoint.status: _answer(endpoint.status, endpoint.answer, endpoint.headers, endpoint.also),
        **{
            status: _no(
                surface.struct,
                surface.word,
                words[status],
                status,
                surface.headers + (endpoint.headers if endpoint.spent and status == HTTPStatus.FORBIDDEN else ()),
            )
            for status in words
        },
        **{status: _ref("responses", PLAIN[status]) for status in endpoint.plain},
    }


def _answer(
    status: int, answer: type[Struct] | Json | str | None, headers: tuple[str, ...], also: str | None = None
) -> Json:
    described: Json = {"description": HTTPStatus(status).phrase}
    match answer:
        case str():
            described["content"] = {answer: {"schema": _STRING}}
        case dict():
            described["content"] = {_JSON: {"schema": answer}}
        case type():
            described["content"] = {_JSON: {"schema": _ref("schemas", answer.__name__)}}
    if also is not None:
        described["content"][also] = {"schema": _STRING}
    return described | ({"headers": {name: _ref("headers", name) for name in headers}} if headers else {})


def _no(struct: type[Struct], word: str, codes: Iterable[str], status: int, headers: tuple[str, ...] = ()) -> Json:
    codes = sorted(codes)
    meaning = "\n\n".join(f"`{code}`: {CODES[code].message}" if code in CODES else f"`{code}`" for code in codes)
    answer = _answer(status, _narrowed(struct, word, codes), headers + _BY_STATUS.get(status, ()))
    return answer | {"description": meaning}


def _narrowed(struct: type[Struct], word: str, codes: Iterable[str]) -> Json:
    return {"allOf": [_ref("schemas", struct.__name__), {"properties": {word: {"enum": sorted(codes)}}}]}


def _parameter(name: str, place: str, meaning: str, schema: Json, required: bool, example: str | None) -> Json:  # noqa: FBT001
    described = {"name": name, "in": place, "description": meaning, "required": required, "schema": schema}
    return described | ({"example": example} if example is not None else {})


def _schemas() -> Json:
    """Answer the schemas of all that wire.py encodes, and what its types cannot say."""
    structs = [each for each in vars(wire).values() if isinstance(each, type) and each.__module__ == wire.__name__]
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")

    def attribute(value: Json) -> Json:
        return {"allOf": [_ref("schemas", "Attribute"), {"properties": {"value": value}}]}

    titles = {"type": "array", "items": _NAME}
    sharper: dict[str, dict[str, Json]] = {
        "AuthorizeBody": {"resources": {**titles, "minItems": 1, "examples": [["ACME-LIVE"]]}},
        "Error": {
            "action": {"enum": sorted({code.action for code in CODES.values()})},
            "status": {"enum": sorted({code.status for code in CODES.values()})},
            "code": {"enum": sorted(CODES)},
        },
        "TokenAnswer": {"token_type": {"const": "bearer"}},
        "DecisionShape": {
            "source": {"const": "temppass"},
            "error": _narrowed(wire.Error, "code", [*(code.value for code in DenyCode), EXECUTION_TIME]),
        },
        "ProfileShape": {
            "type": {"const": "temporary"},
            "attributes": _object(
                ["expiration_date", "userID"],
                expiration_date=attribute(_INTEGER),
                userID=attribute({"type": "string", "pattern": "^temppass_[0-9a-f]{40}$"}),
                remaining_resources=attribute(_INTEGER),
                used_assets=attribute(titles),
            ),
        },
        "SessionAnswer": {"actionName": {"enum": ["authorize", "resume", "retry"]}},
        "LogoutAction": {"actionName": {"const": "complete"}},
    }
    for name, properties in sharper.items():
        schemas[name]["properties"] |= properties
    return schemas
