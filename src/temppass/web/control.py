"""
The control API: what operators do, over HTTP. The environment stands in the path, whatever the host; CORS never covers
it.

Source: docs/reference.md (control), docs/design.md; RFC 9110 §13.1.1 (If-Match).
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire, wire_control
from temppass.core import refusal as r
from temppass.core.catalogue import Catalogue
from temppass.core.catalogue_file import CatalogueError, document_of, duration_ms, duration_text, parse, read_document
from temppass.core.operator import Operator, Role
from temppass.core.refusal import InvalidRequest
from temppass.core.world import HOUSE
from temppass.service import Service
from temppass.service.counters import MINUTE_MS, Asked
from temppass.service.explain import Explanation, Question
from temppass.service.operators import NewOperator
from temppass.service.schedules import Schedule
from temppass.web.desk import (
    CALLER,
    IN,
    LIMITED,
    call_of,
    counters_shape,
    decode,
    environment_of,
    moment_of,
    ok,
    operation,
    read,
    route,
)
from temppass.web.explain import explanation_shape, explanations_shape, question_of
from temppass.web.openapi import JSON_TYPE, READING, STRING, GuardedRoute, Operation, ref
from temppass.web.problems import CONTROL_HEADERS, JSON
from temppass.web.request import Headers, attempt, form_pairs, single

TOML_TYPE = "application/toml"
_VERSION = re.compile(r'"([0-9]{1,15})"')
_tables = msgspec.json.Decoder(dict[str, Any]).decode

_WHOAMI = operation("whoami", "Say whose token this is.", wire_control.OperatorShape, Role.VIEWER, refusals=CALLER)
_OPERATORS = operation("operators", "List the operators, by name.", wire_control.Operators, Role.ADMIN)
_CREATE_OPERATOR = operation(
    "create_operator",
    "Create an operator. Their token is in the answer, and never shown again.",
    wire_control.OperatorCreated,
    Role.ADMIN,
    status=201,
    refusals=(*LIMITED, r.KeyReused, r.AnsweredOnce),
    body=wire_control.OperatorBody,
    parameters=("Idempotency-Key",),
)
_REVOKE_OPERATOR = operation(
    "revoke_operator",
    "End an operator's token, on every server at once.",
    wire_control.Receipt,
    Role.ADMIN,
    refusals=(*LIMITED, r.NotThere),
    parameters=("Idempotency-Key",),
)


_SCHEDULES = operation(
    "schedules",
    "List recurring resets: the next five moments, the last three resets, and whether each is paused.",
    wire_control.SchedulesShape,
    Role.VIEWER,
)
_SET_SCHEDULE = operation(
    "set_schedule",
    "Pause a recurring reset, or let it go on; what fell due while it was paused is skipped.",
    wire_control.Receipt,
    Role.OPERATOR,
    refusals=(*LIMITED, r.NotThere, r.AlreadySo, r.KeyReused),
    body=wire_control.ScheduleBody,
    parameters=("Idempotency-Key",),
)
_COUNTERS = operation(
    "counters",
    "Tell how often what happened, step by step, in each integration: permits, denials by code, new trials, resets.",
    wire_control.CountersShape,
    Role.VIEWER,
    parameters=("of_channel", "of_pass", "since", "until", "step"),
)
_EXPLAIN = operation(
    "explain",
    "Say why a viewer may watch or may not, and what would help: of one pass where `channel` and `pass` are given, "
    "else wherever the viewer has a trial, or had one.",
    {"anyOf": [ref("schemas", "Explanation"), ref("schemas", "Explanations")]},
    Role.VIEWER,
    refusals=(*LIMITED, r.InvalidIdentity, r.InvalidDeviceIdentifier),
    body=wire_control.ExplainBody,
)
#: the tables of a catalogue file
_TABLES = {"type": "object", "description": "The tables of a catalogue file: programmer, channel, pass, application."}
_CATALOGUE_BODY = {"content": {JSON_TYPE: {"schema": _TABLES}, TOML_TYPE: {"schema": STRING}}, "required": True}
_CATALOGUE = Operation(
    "catalogue",
    "Show the catalogue that holds; `ETag` is its version. In TOML where `Accept` names application/toml.",
    200,
    _TABLES,
    refusals=tuple(each for each in LIMITED if each is not r.RoleMissing),
    headers=(*CONTROL_HEADERS, "ETag", "Vary"),
    role=Role.VIEWER,
    also=(TOML_TYPE,),
)
_PLAN_CATALOGUE = Operation(
    "plan_catalogue",
    "Tell what applying a catalogue would change; change nothing.",
    200,
    wire_control.CataloguePlan,
    refusals=LIMITED,
    headers=tuple(CONTROL_HEADERS),
    body=_CATALOGUE_BODY,
    plain=READING,
    role=Role.ADMIN,
)
_APPLY_CATALOGUE = Operation(
    "apply_catalogue",
    "Make a catalogue hold, as a whole, in place of the version that `If-Match` names; 0 is none.",
    200,
    wire_control.CatalogueApplied,
    ("If-Match", "description", "Idempotency-Key"),
    (*LIMITED, r.VersionMissing, r.VersionMoved, r.KeyReused),
    (*CONTROL_HEADERS, "ETag"),
    body=_CATALOGUE_BODY,
    plain=READING,
    role=Role.ADMIN,
)


class Control:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[GuardedRoute]:
        return [
            route("/whoami", self.whoami, "GET", _WHOAMI),
            route("/operators", self.operators, "GET", _OPERATORS),
            route("/operators", self.create_operator, "POST", _CREATE_OPERATOR),
            route("/operators/{name:id}", self.revoke_operator, "DELETE", _REVOKE_OPERATOR),
            route(f"{IN}/catalogue", self.catalogue, "GET", _CATALOGUE),
            route(f"{IN}/catalogue/plan", self.plan_catalogue, "POST", _PLAN_CATALOGUE),
            route(f"{IN}/catalogue", self.apply_catalogue, "PUT", _APPLY_CATALOGUE),
            route(f"{IN}/counters", self.counters, "GET", _COUNTERS),
            route(f"{IN}/explain", self.explain, "POST", _EXPLAIN),
            route(f"{IN}/schedules", self.schedules, "GET", _SCHEDULES),
            route(f"{IN}/schedules/{{channel:id}}/{{pass:id}}", self.set_schedule, "POST", _SET_SCHEDULE),
        ]

    # --- operators

    async def whoami(self, request: Request) -> Response:
        return ok(_shape(await self._service.operators.whoami(call_of(request, HOUSE))))

    async def operators(self, request: Request) -> Response:
        found = await self._service.operators.all(call_of(request, HOUSE))
        return ok(wire_control.Operators([_shape(each) for each in found]))

    async def create_operator(self, request: Request) -> Response:
        raw, call = await read(request, HOUSE)
        created = await self._service.operators.create(call, attempt(_new_operator, raw))
        answer = wire_control.OperatorCreated(created.id, created.token, wire_control.moment(created.ends_at))
        return ok(answer, 201)

    async def revoke_operator(self, request: Request) -> Response:
        call = call_of(request, HOUSE, b"")
        revoked = await self._service.operators.revoke(call, request.path_params["name"])
        return ok(wire_control.Receipt(revoked.id))

    # --- why

    async def explain(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        found = await self._service.explainer.explain(call, attempt(_question, raw))
        return ok(explanation_shape(found) if isinstance(found, Explanation) else explanations_shape(found))

    # --- schedules

    async def schedules(self, request: Request) -> Response:
        found = await self._service.schedules.all(call_of(request, environment_of(request)))
        return ok(wire_control.SchedulesShape([_schedule(each) for each in found]))

    async def set_schedule(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        body = attempt(decode, wire_control.ScheduleBody, raw)
        paused = body if isinstance(body, r.Refusal) else body.paused
        where = request.path_params["channel"], request.path_params["pass"]
        done = await self._service.schedules.set(call, *where, paused)
        return ok(wire_control.Receipt(done.id))

    # --- the catalogue

    async def catalogue(self, request: Request) -> Response:
        catalogue, version = await self._service.catalogues.shown(call_of(request, environment_of(request)))
        headers = {**CONTROL_HEADERS, "ETag": f'"{version}"', "Vary": "Accept"}
        if TOML_TYPE in request.headers.get("accept", ""):
            return Response(toml_of(catalogue), 200, headers, TOML_TYPE)
        return Response(wire.encode(_tables_of(catalogue)), 200, headers, JSON)

    async def plan_catalogue(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        planned = await self._service.catalogues.planned(call, attempt(_catalogue, request, raw))
        return ok(wire_control.CataloguePlan(planned.version, planned.differences))

    async def apply_catalogue(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        done = await self._service.catalogues.apply_over(
            call, attempt(_catalogue, request, raw), attempt(_description, request), attempt(_if_match, request)
        )
        answer = wire_control.CatalogueApplied(done.id, done.version, done.differences)
        return Response(wire.encode(answer), 200, {**CONTROL_HEADERS, "ETag": f'"{done.version}"'}, JSON)

    # --- counters

    async def counters(self, request: Request) -> Response:
        asked = attempt(_asked_counters, request.scope["query_string"])
        found = await self._service.counters.counts(call_of(request, environment_of(request)), asked)
        step = duration_text(asked.step_minutes * MINUTE_MS) if not isinstance(asked, r.Refusal) else ""
        return ok(counters_shape(step, found))


# --- reading: what cannot be read is handed on as its refusal, which is due only after the operator's


def _catalogue(request: Request, raw: bytes) -> Catalogue:
    """Read a catalogue in TOML, or its tables in JSON. Refuses: InvalidRequest, with every problem found."""
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == TOML_TYPE:
            return parse(raw.decode(), "catalogue")
        return read_document(_tables(raw), "catalogue")
    except UnicodeDecodeError:
        raise InvalidRequest("Send the catalogue as UTF-8.") from None
    except (CatalogueError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{error}") from None


def _description(request: Request) -> str:
    """Refuses: InvalidRequest."""
    given = single(form_pairs(request.scope["query_string"]))
    if unknown := given.keys() - {"description"}:
        raise InvalidRequest(f"This call knows no {min(unknown)[:64]!r}.")
    return str(given.get("description", ""))


def _if_match(request: Request) -> int:
    """Answer the version that is to be replaced (RFC 9110 §13.1.1). Refuses: VersionMissing, InvalidRequest."""
    value = Headers(request.scope["headers"]).get(b"if-match")
    if value is None:
        raise r.VersionMissing('Send If-Match: "<version>", the ETag of the catalogue that is to be replaced.')
    found = _VERSION.fullmatch(value.strip())
    if found is None:
        raise InvalidRequest('If-Match is one version, e.g. "7".')
    return int(found[1])


def _asked_counters(query: bytes) -> Asked:
    """Refuses: InvalidRequest."""
    given = single(form_pairs(query))
    if unknown := given.keys() - {"channel", "pass", "since", "until", "step"}:
        raise InvalidRequest(f"This call knows no {min(unknown)[:64]!r}.")
    try:
        step_ms = duration_ms(given.get("step", "1m"))
    except ValueError as error:
        raise InvalidRequest(f"step: {error}.") from None
    if step_ms % MINUTE_MS or not step_ms:
        raise InvalidRequest("A step is whole minutes, at least one.")
    since, until = (moment_of(given[name], name) if name in given else None for name in ("since", "until"))
    return Asked(given.get("channel"), given.get("pass"), since, until, step_ms // MINUTE_MS)


def _new_operator(raw: bytes) -> NewOperator:
    """Refuses: InvalidRequest."""
    body = decode(wire_control.OperatorBody, raw)
    ends_at = moment_of(body.ends_at, "ends_at") if body.ends_at is not UNSET else None
    return NewOperator(body.name, body.role, body.environments, body.channels, ends_at)


def _question(raw: bytes) -> Question:
    """Refuses: InvalidRequest."""
    return question_of(decode(wire_control.ExplainBody, raw))


# --- answering


def toml_of(catalogue: Catalogue) -> str:
    """Write a catalogue as its file."""
    import tomli_w  # noqa: PLC0415 - few ask for it

    return tomli_w.dumps(_tables_of(catalogue))


def _tables_of(catalogue: Catalogue) -> dict[str, list[dict[str, Any]]]:
    return {kind: entries for kind, entries in document_of(catalogue).items() if entries}


def _schedule(schedule: Schedule) -> wire_control.ScheduleShape:
    moment = wire_control.moment
    return wire_control.ScheduleShape(
        schedule.channel_id,
        schedule.pass_id,
        schedule.cron,
        schedule.timezone,
        moment(schedule.paused_at) if schedule.paused_at is not None else None,
        [
            wire_control.DueShape(moment(due.at), due.wall.isoformat(" ", "minutes"), due.effect)
            for due in schedule.ahead
        ],
        [wire_control.FiredShape(each.id, moment(each.at), moment(each.due_at)) for each in schedule.back],
    )


def _shape(operator: Operator) -> wire_control.OperatorShape:
    return wire_control.OperatorShape(
        operator.name,
        operator.role,
        operator.environments,
        operator.channels,
        wire_control.moment(operator.ends_at),
        wire_control.moment(operator.created_at),
        operator.revoked,
    )
