"""
How each surface says no: one table a surface, from refusal to HTTP status and wire code, and its shape of body.

Source: contract §3.2-3.3 (registration and token), §5.3 (reset), §6.1 and §7.1 (REST v2).
"""

import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

import structlog
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from temppass import wire, wire_control
from temppass.core import refusal as r
from temppass.core.model import DenyCode
from temppass.store import StoreUnavailable
from temppass.web.host import base_url

Endpoint = Callable[[Request], Awaitable[Response]]

JSON = "application/json;charset=UTF-8"
PROBLEM = "application/problem+json"
#: of every answer of the control API: it is about people
CONTROL_HEADERS = {"Cache-Control": "no-store"}
RETRY_AFTER = {"Retry-After": "1"}
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
#: every 401 (RFC 6750 §3)
CHALLENGE = {"WWW-Authenticate": "Bearer"}
#: what the paths without a vendor's shape call a status (RFC 9110 §15)
PLAIN = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    410: "gone",
    413: "content_too_large",
    429: "too_many_requests",
}
#: what faults are called outside REST v2 (RFC 6749 §4.1.2.1)
FAULTS = {500: "server_error", 503: "temporarily_unavailable"}
#: an item-level code for a store that is away (contract §7.1)
EXECUTION_TIME = "maximum_execution_time_exceeded"

_log = structlog.get_logger("temppass.web")


class Row(NamedTuple):
    status: int
    code: str


class Code(NamedTuple):
    """An enhanced error code: its status, what an application should do, and a sentence for people."""

    status: int
    action: str
    message: str


#: every code of contract §7.1 that this server can answer
CODES = {
    "invalid_parameter_service_provider": Code(400, "none", "Unknown or missing service provider."),
    "invalid_parameter_mvpd": Code(400, "none", "Unknown or missing mvpd."),
    "invalid_parameter_code": Code(400, "none", "The authentication code is malformed."),
    "invalid_parameter_resources": Code(400, "none", "The body does not hold a list of resources."),
    "invalid_parameter_redirect_url": Code(400, "none", "The redirect URL cannot be used."),
    "invalid_header_device_identifier": Code(400, "none", "The device identifier is missing or unusable."),
    DenyCode.IDENTITY.value: Code(400, "none", "The identity of a promotional pass is missing or unusable."),
    "invalid_integration": Code(400, "none", "The channel does not offer this mvpd."),
    "invalid_authentication_session": Code(400, "none", "The authentication session is unknown or has expired."),
    "internal_server_error": Code(500, "none", "Something went wrong here; the trace finds it in the log."),
    "too_many_resources": Code(403, "configuration", "Too many resources in one call."),
    DenyCode.CONFIGURATION.value: Code(500, "configuration", "The pass is not fully configured."),
    "invalid_access_token_service_provider": Code(
        401, "application-registration", "The application is not assigned to this service provider."
    ),
    "invalid_access_token_client_application": Code(
        401, "application-registration", "The access token is missing or not good any more."
    ),
    DenyCode.DURATION.value: Code(403, "authentication", "The free viewing time is used up."),
    DenyCode.RESOURCES.value: Code(403, "authentication", "The free titles are used up."),
    EXECUTION_TIME: Code(403, "retry", "No decision was possible in time."),
}

V2: dict[type[r.Refusal], Row] = {
    r.InvalidToken: Row(401, "invalid_access_token_client_application"),
    r.RevokedApplication: Row(401, "invalid_access_token_client_application"),
    r.MissingScope: Row(401, "invalid_access_token_client_application"),
    r.UnknownChannel: Row(400, "invalid_parameter_service_provider"),
    r.UnassignedChannel: Row(401, "invalid_access_token_service_provider"),
    r.InvalidDeviceIdentifier: Row(400, "invalid_header_device_identifier"),
    r.InvalidResources: Row(400, "invalid_parameter_resources"),
    r.UnknownPass: Row(400, "invalid_parameter_mvpd"),
    r.InactiveIntegration: Row(400, "invalid_integration"),
    r.TooManyResources: Row(403, "too_many_resources"),
    r.InvalidCode: Row(400, "invalid_parameter_code"),
    r.UnknownSession: Row(400, "invalid_authentication_session"),
    r.InvalidRedirect: Row(400, "invalid_parameter_redirect_url"),
}

RESET: dict[type[r.Refusal], Row] = {
    r.InvalidToken: Row(401, "access_denied"),
    r.RevokedApplication: Row(403, "invalid_client"),
    r.MissingScope: Row(403, "insufficient_scope"),
    r.InvalidRequest: Row(400, "invalid_request"),
    r.InvalidIdentity: Row(400, "invalid_request"),
    r.UnknownChannel: Row(400, "invalid_request"),
    r.UnassignedChannel: Row(403, "insufficient_scope"),
    r.EverybodyGuarded: Row(403, "insufficient_scope"),
    r.UnknownPass: Row(400, "invalid_request"),
    r.InactiveIntegration: Row(400, "invalid_request"),
}

REGISTRATION: dict[type[r.Refusal], Row] = {
    r.InvalidRequest: Row(400, "invalid_request"),
    r.InvalidRedirect: Row(400, "invalid_redirect_uri"),
    r.InvalidStatement: Row(400, "invalid_software_statement"),
    r.UnapprovedStatement: Row(400, "unapproved_software_statement"),
    r.UnsupportedGrant: Row(400, "unsupported_grant_type"),
    r.InvalidClient: Row(400, "invalid_client"),
    r.UnauthorizedClient: Row(400, "unauthorized_client"),
}


#: introspection tells a client that is none by 401, which token and registration may not (RFC 7662 §2.3)
INTROSPECTION: dict[type[r.Refusal], Row] = {
    r.InvalidRequest: Row(400, "invalid_request"),
    r.InvalidClient: Row(401, "invalid_client"),
}


CONTROL: dict[type[r.Refusal], Row] = {
    r.UnknownOperator: Row(401, "unknown_operator"),
    r.EndedOperator: Row(401, "ended_operator"),
    r.RoleMissing: Row(403, "role_missing"),
    r.OutsideLimits: Row(403, "outside_limits"),
    r.InvalidRequest: Row(400, "invalid_request"),
    r.InvalidDeviceIdentifier: Row(400, "invalid_request"),
    r.InvalidIdentity: Row(400, "invalid_request"),
    r.ReasonRequired: Row(400, "reason_required"),
    r.NotThere: Row(404, "not_found"),
    r.UnknownApplication: Row(404, "not_found"),
    r.KeyReused: Row(422, "idempotency_key_reused"),
    r.AnsweredOnce: Row(409, "answered_once"),
    r.AlreadySo: Row(409, "already_so"),
    r.TooManyIssued: Row(409, "too_many_issued"),
    r.VersionMoved: Row(412, "version_moved"),
    r.VersionMissing: Row(428, "version_missing"),
    r.UnknownChannel: Row(400, "invalid_request"),
    r.UnknownPass: Row(400, "invalid_request"),
    r.InactiveIntegration: Row(400, "invalid_request"),
    r.NothingToUndo: Row(409, "nothing_to_undo"),
    r.LaterReset: Row(409, "later_reset"),
    r.NewTrial: Row(409, "new_trial"),
    r.NothingToGrant: Row(409, "nothing_to_grant"),
    r.PlanRequired: Row(409, "plan_required"),
    r.PlanOutdated: Row(409, "plan_outdated"),
    r.OwnApproval: Row(403, "own_approval"),
}

#: what has no code on any surface: the vendor's 429 is no enhanced error but a page (contract §6.1, §9)
THROTTLED: dict[type[r.Refusal], Row] = {
    r.TooManySessions: Row(429, PLAIN[429]),
    r.TooManyRegistrations: Row(429, PLAIN[429]),
}


class Surface(NamedTuple):
    """A family of endpoints that says no in one way: in a `struct` whose property `word` is the code."""

    tag: str
    table: dict[type[r.Refusal], Row]
    refuse: Callable[[Request, Row, str], Response]
    fault: Callable[[Request, int, str], Response]
    struct: type[Struct]
    word: str
    #: what it calls a fault, by status
    faults: dict[int, str]
    #: of each no
    headers: tuple[str, ...] = ()
    #: what is said without a refusal, e.g. that a body is too large, where that is in its own words too
    plain: Callable[[int, str, str, dict[str, str] | None], Response] | None = None
    media_type: str = "application/json"


class SurfaceRoute(Route):
    """A route whose refusals and faults are answered in the words of its surface."""

    def __init__(self, surface: Surface, path: str, endpoint: Endpoint, methods: list[str], name: str) -> None:
        super().__init__(path, endpoint, methods=methods, name=name)
        self.endpoint: Endpoint
        self.surface = surface


def answer(surface: Surface, request: Request, error: Exception) -> Response:
    """Turn what an endpoint raised into an answer; what is not foreseen is a bug, and a bug shows no traceback."""
    match error:
        case r.Refusal():
            if type(error) in THROTTLED:
                return plain(*THROTTLED[type(error)], error.detail, RETRY_AFTER)
            row = surface.table.get(type(error))
            if row is not None:
                return surface.refuse(request, row, error.detail)
        case HTTPException():
            say = surface.plain or plain
            return say(error.status_code, PLAIN[error.status_code], error.detail, dict(error.headers or {}))
        case StoreUnavailable():
            _log.warning("store unavailable", reason=str(error))
            return surface.fault(request, 503, str(uuid.uuid4()))
        case ClientDisconnect():
            return Response(status_code=400)  # nobody reads it
    trace = str(uuid.uuid4())
    _log.error("bug", trace=trace, path=request.scope["path"], exc_info=error)
    return surface.fault(request, 500, trace)


def enhanced_error(request: Request, code: str, *, trace: str | None = None, detail: str | None = None) -> wire.Error:
    """Answer the enhanced error object of a code; `detail` replaces the code's own sentence."""
    status, action, message = CODES[code]
    return wire.Error(action, status, code, detail or message, help_url(request, code), trace or str(uuid.uuid4()))


def help_url(request: Request, code: str) -> str:
    """Answer this server's page on a code (contract §6.1: the value is free)."""
    return f"{base_url(request.scope)}/help/{code}"


def plain(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Answer the shape of the reset API, which the paths without a vendor's shape use too."""
    return Response(wire.encode(wire.PlainError(error, message, status)), status, headers, JSON)


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Answer a problem of the control API (RFC 9457): its type is the status, its code says more."""
    body = wire_control.Problem(HTTPStatus(status).phrase, status, code, detail)
    return Response(wire.encode(body), status, {**CONTROL_HEADERS, **(headers or {})}, PROBLEM)


def _refuse_control(_request: Request, row: Row, detail: str) -> Response:
    return problem(row.status, row.code, detail, CHALLENGE if row.status == 401 else None)  # noqa: PLR2004 - as below


def _fault_control(_request: Request, status: int, trace: str) -> Response:
    headers = RETRY_AFTER if status == 503 else None  # noqa: PLR2004 - RFC 9110 §15.6.4
    return problem(status, FAULTS[status], f"Something went wrong here; trace {trace}.", headers)


def _refuse_v2(request: Request, row: Row, detail: str) -> Response:
    challenge = CHALLENGE if row.status == 401 else None  # noqa: PLR2004 - RFC 9110 §15.5.2
    return Response(wire.encode(enhanced_error(request, row.code, detail=detail)), row.status, challenge, JSON)


def _fault_v2(request: Request, status: int, trace: str) -> Response:
    body = wire.encode(enhanced_error(request, "internal_server_error", trace=trace))
    return Response(body, status, RETRY_AFTER if status == 503 else None, JSON)  # noqa: PLR2004 - RFC 9110 §15.6.4


def _refuse_reset(_request: Request, row: Row, detail: str) -> Response:
    challenge = CHALLENGE if row.status == 401 else None  # noqa: PLR2004 - RFC 9110 §15.5.2
    return plain(row.status, row.code, detail, challenge)


def _fault_reset(_request: Request, status: int, trace: str) -> Response:
    headers = RETRY_AFTER if status == 503 else None  # noqa: PLR2004 - RFC 9110 §15.6.4
    return plain(status, FAULTS[status], f"Something went wrong here; trace {trace}.", headers)


def _refuse_oauth(_request: Request, row: Row, detail: str) -> Response:
    challenge = CHALLENGE if row.status == 401 else {}  # noqa: PLR2004 - RFC 9110 §15.5.2
    return Response(wire.encode(wire.OAuthError(row.code, detail)), row.status, {**NO_STORE, **challenge}, JSON)


def _fault_oauth(_request: Request, status: int, trace: str) -> Response:
    more = RETRY_AFTER if status == 503 else {}  # noqa: PLR2004 - RFC 9110 §15.6.4
    description = f"Something went wrong here; trace {trace}."
    return Response(wire.encode(wire.OAuthError(FAULTS[status], description)), status, {**NO_STORE, **more}, JSON)


V2_SURFACE = Surface(
    "REST v2", V2, _refuse_v2, _fault_v2, wire.Error, "code", dict.fromkeys(FAULTS, "internal_server_error")
)
RESET_SURFACE = Surface("Reset", RESET, _refuse_reset, _fault_reset, wire.PlainError, "error", FAULTS)
REGISTRATION_SURFACE = Surface(
    "Registration", REGISTRATION, _refuse_oauth, _fault_oauth, wire.OAuthError, "error", FAULTS, tuple(NO_STORE)
)
INTROSPECTION_SURFACE = Surface(
    "Introspection", INTROSPECTION, _refuse_oauth, _fault_oauth, wire.OAuthError, "error", FAULTS, tuple(NO_STORE)
)
#: our own routes beside the vendor's, e.g. the key set, and requests that belong to no route
OWN_SURFACE = Surface(
    "Service", {r.InvalidRequest: Row(400, PLAIN[400])}, _refuse_reset, _fault_reset, wire.PlainError, "error", FAULTS
)
CONTROL_SURFACE = Surface(
    "Control",
    CONTROL,
    _refuse_control,
    _fault_control,
    wire_control.Problem,
    "code",
    FAULTS,
    tuple(CONTROL_HEADERS),
    problem,
    PROBLEM,
)
