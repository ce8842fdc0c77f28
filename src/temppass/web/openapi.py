"""
What a route says of itself, and `/openapi.json`: every route, described by OpenAPI 3.1.

Each route is made with its operation, and does not come to be where that cannot be described. Shapes are those of
wire.py, error codes those of problems.py, so that none of them can drift. An operation's first path is its own; the
others are aliases, and deprecated. Examples name what `temppass serve --demo` offers.

Source: OpenAPI Specification 3.1.0; contract §3, §5, §6; design §6.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from temppass import wire, wire_control, wire_corrections
from temppass.core import refusal as r
from temppass.core.model import DenyCode
from temppass.core.oauth import GRANT_TYPE
from temppass.core.operator import Role
from temppass.core.world import SCOPE_RESET, SCOPE_V2
from temppass.web.problems import CODES, EXECUTION_TIME, OWN_SURFACE, PLAIN, Endpoint, Row, Surface, SurfaceRoute

Json = dict[str, Any]

JSON_TYPE, FORM_TYPE, TEXT_TYPE = "application/json", "application/x-www-form-urlencoded", "text/plain"
STRING: Json = {"type": "string"}
NAME: Json = {"type": "string", "minLength": 1}
MOMENT: Json = {"type": "string", "format": "date-time"}
_INTEGER: Json = {"type": "integer", "minimum": 0}
GONE = HTTPStatus.GONE.value
#: what an operation that reads a body answers out of problems.PLAIN
READING = (405, 408, 413)


class Parameter(NamedTuple):
    place: str
    meaning: str
    schema: Json = STRING
    required: bool = False
    example: str | None = None
    #: where another parameter has the name that is this one's in the wire
    name: str | None = None


PARAMETERS = {
    "service_provider": Parameter("path", "The channel (requestor id).", required=True, example="REF"),
    "mvpd": Parameter("path", "The pass.", required=True, example="TempPassREF"),
    "path.environment": Parameter(
        "path", "The environment.", required=True, example="release-production", name="environment"
    ),
    "channel": Parameter("path", "The channel.", required=True, example="REF"),
    "pass": Parameter("path", "The pass.", required=True, example="TempPassREF"),
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
    "requestor_id": Parameter("query", "The channel.", NAME, required=True, example="REF"),
    "mvpd_id": Parameter("query", "The pass.", NAME, required=True, example="TempPassREF"),
    "device_id": Parameter("query", "The decoded device id. `all`, empty or absent: **every device**; the latter two "
        "are 400 beside a parameter that is not listed here."),
    "key": Parameter("query", "The user key, hashed or raw. `all`, empty or absent: **every user key**; the latter "
        "two are 400 beside a parameter that is not listed here."),
    "environment": Parameter("query", "staging or production, in either case; must agree with the host."),
    "appId": Parameter("query", "Only ledgers that were recorded with this application."),
    "deviceUser": Parameter("query", "Only ledgers that were recorded with this user of the device."),
    "name": Parameter("path", "The operator.", required=True, example="anna"),
    "application": Parameter("path", "The application.", required=True, example="demo"),
    "limit": Parameter("query", "How many at most; else 100.", {"type": "integer", "minimum": 1, "maximum": 500}),
    "after": Parameter("query", "Where the page before ended: its `next`."),
    "of_statement": Parameter("query", "Only those of the statement of this id, or `older`.", NAME, name="statement"),
    "statement": Parameter(
        "path", "The id of a statement, its `jti`.", required=True, example="2f1c7a52-6f1e-4b8e-9d3a-0c5b7e2a9f10",
    ),
    "client": Parameter(
        "path", "The id of a client.", required=True, example="2f1c7a52-6f1e-4b8e-9d3a-0c5b7e2a9f10",
    ),
    "approval": Parameter(
        "path", "The act by which a second person was asked for.", required=True,
        example="2f1c7a52-6f1e-4b8e-9d3a-0c5b7e2a9f10",
    ),
    "act": Parameter("path", "The id of an act.", required=True, example="2f1c7a52-6f1e-4b8e-9d3a-0c5b7e2a9f10"),
    "Accept": Parameter(
        "header", "`text/csv` or `application/jsonl`: all that fits, the oldest first, not by `limit` and `after`.",
    ),
    "Last-Event-ID": Parameter(
        "header", "The sequence of the last act that was heard; without it, what is done from now on.",
        {"type": "string", "pattern": "^[0-9]{1,18}$"},
    ),
    "Idempotency-Key": Parameter(
        "header", "What the caller calls this one act by: for 24 hours the same call again is answered as before.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    "of_channel": Parameter("query", "Only this channel.", NAME, name="channel"),
    "of_pass": Parameter("query", "Only this pass.", NAME, name="pass"),
    "since": Parameter("query", "A moment (RFC 3339), which is included; else an hour before `until`.", MOMENT),
    "until": Parameter("query", "A moment (RFC 3339), which is not included; else now.", MOMENT),
    "step": Parameter("query", "How much one point tells: whole minutes, as `5m` or `1h`; else `1m`.",
        {"type": "string", "pattern": "^([0-9]{1,9}[smhd])+$"}, example="5m"),
    "If-Match": Parameter(
        "header", "The version that is to be replaced, as `ETag` has it; without it 428, where it has moved 412.",
        {"type": "string", "pattern": '^"[0-9]{1,15}"$'}, example='"1"',
    ),
    "description": Parameter("query", "Why, for the record."),
    "client_id": Parameter("query", "Here or in the body.", NAME),
    "client_secret": Parameter("query", "Here or in the body.", NAME),
    "grant_type": Parameter("query", f"`{GRANT_TYPE}`, here or in the body."),
    "scope": Parameter("query", "Those of the application's scopes that the token needs, spaced; else it has all."),
}  # fmt: skip

HEADERS = {
    "Allow": "The methods that the path takes.",
    "Cache-Control": "Whether and how long the answer may be kept.",
    "ETag": "The version of the catalogue.",
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


def ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _named(kind: str, name: str, table: Mapping[str, Any]) -> Json:
    """Raises KeyError."""
    if name not in table:
        raise KeyError(name)
    return ref(kind, name)


def object_of(required: Sequence[str] = (), **properties: Json) -> Json:
    return {"type": "object", "properties": properties} | ({"required": [*required]} if required else {})


def body_of(schema: Json, *media_types: str, required: bool) -> Json:
    return {"content": {media_type: {"schema": schema} for media_type in media_types}, "required": required}


class Operation(NamedTuple):
    """
    What a route is called, also where it is counted, what it does in a sentence, and what it asks for and answers.
    `answer` is a Struct, a JSON schema, a media type, or None for no body.
    """

    name: str
    description: str
    status: int
    answer: type[Struct] | Json | str | None = None
    parameters: tuple[str, ...] = ()
    refusals: tuple[type[r.Refusal], ...] = ()
    headers: tuple[str, ...] = ()
    body: Json | None = None
    scope: str | None = None
    #: of the control API: the least role that may
    role: Role | None = None
    #: whether the state of a trial can be the whole answer (contract §6.1)
    spent: bool = False
    #: what it may answer else that is no refusal: statuses, each with its shape
    others: tuple[tuple[int, type[Struct]], ...] = ()
    #: other media types of the answer, which `Accept` may choose
    also: tuple[str, ...] = ()
    #: what it or its path answers out of problems.PLAIN
    plain: tuple[int, ...] = (405,)
    faults: tuple[int, ...] = (500, 503)


class GuardedRoute(SurfaceRoute):
    """
    A route whose refusals and faults are answered in the words of its surface, and which describes itself.

    Raises ValueError where name or description is missing, or names something that no table has.
    """

    def __init__(
        self, surface: Surface, path: str, endpoint: Endpoint, methods: list[str], operation: Operation
    ) -> None:
        if not (operation.name and operation.description):
            raise ValueError(f"{path} needs a name and a description")
        super().__init__(surface, path, endpoint, methods, operation.name)
        self.operation = operation
        try:
            self.described = _described(surface, operation, self.path_format)
        except KeyError as missing:
            raise ValueError(f"{path} names {missing}, which no table of openapi.py or problems.py has") from None


def document(routes: Iterable[GuardedRoute]) -> bytes:
    """Describe `routes`."""
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
            "parameters": {name: _parameter(name, row) for name, row in PARAMETERS.items()},
            "headers": {
                name: {"description": meaning, "required": name not in _OPTIONAL, "schema": STRING}
                for name, meaning in HEADERS.items()
            },
            "responses": {name: _no(OWN_SURFACE, [name], status) for status, name in PLAIN.items()},
            "securitySchemes": {
                "accessToken": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": f"A token of `/o/client/token`. `{SCOPE_V2}` opens REST v2, `{SCOPE_RESET}` resets.",
                },
                "operatorToken": {
                    "type": "http", "scheme": "bearer",
                    "description": "A token that `temppass operator create` printed; beside each operation stands "
                    "the least role that may use it.",
                },
            },
        },
    })  # fmt: skip


def _paths(routes: Iterable[GuardedRoute]) -> Json:
    paths: dict[str, Json] = {}
    described: set[str] = set()
    for route in routes:
        alias = route.name in described or route.operation.status == GONE
        described.add(route.name)
        operation = ({"deprecated": True} if alias else {"operationId": route.name}) | route.described
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(route.path_format, {})[method.lower()] = operation
    return paths


def _described(surface: Surface, operation: Operation, path: str) -> Json:
    """Raises KeyError for what no table has."""
    placed = (f"path.{name}" if f"path.{name}" in PARAMETERS else name for name in re.findall(r"{(\w+)}", path))
    parameters = [*placed, *operation.parameters]
    described = {
        "tags": [surface.tag],
        "summary": operation.description,
        "parameters": [_named("parameters", name, PARAMETERS) for name in parameters],
        "responses": {str(status): answer for status, answer in sorted(_answers(surface, operation).items())},
        "security": _security(operation),
    }
    return described | ({"requestBody": operation.body} if operation.body else {})


def _security(operation: Operation) -> list[Json]:
    if operation.role is not None:
        return [{"operatorToken": [operation.role.value]}]
    return [{"accessToken": [operation.scope]}] if operation.scope else []


def _answers(surface: Surface, operation: Operation) -> dict[int, Json]:
    rows = [surface.table[refusal] for refusal in operation.refusals]
    rows += [Row(status, surface.faults[status]) for status in operation.faults]
    rows += [Row(CODES[code].status, code.value) for code in DenyCode if operation.spent]
    if surface.plain is not None:
        rows += [Row(status, PLAIN[status]) for status in operation.plain]
    words: dict[int, set[str]] = {}
    for row in rows:
        words.setdefault(row.status, set()).add(row.code)
    return {
        operation.status: _answer(operation.status, operation.answer, operation.headers, operation.also),
        **{status: _answer(status, answer, operation.headers) for status, answer in operation.others},
        **{
            status: _no(
                surface,
                words[status],
                status,
                surface.headers + (operation.headers if operation.spent and status == HTTPStatus.FORBIDDEN else ()),
            )
            for status in words
        },
        **{status: ref("responses", PLAIN[status]) for status in operation.plain if surface.plain is None},
    }


def _answer(
    status: int,
    answer: type[Struct] | Json | str | None,
    headers: tuple[str, ...],
    also: tuple[str, ...] = (),
    *,
    media_type: str = JSON_TYPE,
) -> Json:
    described: Json = {"description": HTTPStatus(status).phrase}
    match answer:
        case str():
            described["content"] = {answer: {"schema": STRING}}
        case dict():
            described["content"] = {media_type: {"schema": answer}}
        case type():
            described["content"] = {JSON_TYPE: {"schema": ref("schemas", answer.__name__)}}
    for other in also:
        described["content"][other] = {"schema": STRING}
    return described | ({"headers": {name: _named("headers", name, HEADERS) for name in headers}} if headers else {})


def _no(surface: Surface, codes: Iterable[str], status: int, headers: tuple[str, ...] = ()) -> Json:
    codes = sorted(codes)
    meaning = "\n\n".join(f"`{code}`: {CODES[code].message}" if code in CODES else f"`{code}`" for code in codes)
    schema = _narrowed(surface.struct, surface.word, codes)
    answer = _answer(status, schema, headers + _BY_STATUS.get(status, ()), media_type=surface.media_type)
    return answer | {"description": meaning}


def _narrowed(struct: type[Struct], word: str, codes: Iterable[str]) -> Json:
    return {"allOf": [ref("schemas", struct.__name__), {"properties": {word: {"enum": sorted(codes)}}}]}


def _parameter(name: str, row: Parameter) -> Json:
    described = {
        "name": row.name or name,
        "in": row.place,
        "description": row.meaning,
        "required": row.required,
        "schema": row.schema,
    }
    return described | ({"example": row.example} if row.example is not None else {})


def _schemas() -> Json:
    """Answer the schemas of all that the modules of shapes encode, and what its types cannot say."""
    structs = [
        each
        for module in (wire, wire_control, wire_corrections)
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    ]
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")

    def attribute(value: Json) -> Json:
        return {"allOf": [ref("schemas", "Attribute"), {"properties": {"value": value}}]}

    titles = {"type": "array", "items": NAME}
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
            "attributes": object_of(
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
