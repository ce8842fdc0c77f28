"""
What every door of the control API shares: how it describes itself, how a call is read, how it is answered.

Source: RFC 9457 (problems), RFC 6750 (bearer tokens).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire, wire_control, wire_corrections
from temppass.core import refusal as r
from temppass.core.catalogue import is_environment_name
from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest
from temppass.service.corrections import Receipt
from temppass.service.counters import Point
from temppass.service.desk import Call, Once
from temppass.web.openapi import JSON_TYPE, READING, GuardedRoute, Operation, body_of, ref
from temppass.web.problems import CONTROL_HEADERS, CONTROL_SURFACE, JSON, Endpoint
from temppass.web.request import Headers, read_body

S = TypeVar("S", bound=Struct)

#: where everything of an environment is
IN = "/environments/{environment}"
#: what every call of an operator may be refused for
CALLER: tuple[type[r.Refusal], ...] = (r.UnknownOperator, r.EndedOperator, r.InvalidRequest)
LIMITED = (*CALLER, r.RoleMissing, r.OutsideLimits)
#: what a channel or a pass that cannot be is refused for
CHANNEL: tuple[type[r.Refusal], ...] = (r.UnknownChannel, r.UnknownPass, r.InactiveIntegration)
_TOKEN_CHARACTERS_MAX = 256


def operation(
    name: str,
    description: str,
    answer: type[Struct] | dict[str, Any],
    role: Role,
    *,
    status: int = 200,
    refusals: tuple[type[r.Refusal], ...] = LIMITED,
    body: type[Struct] | None = None,
    parameters: tuple[str, ...] = (),
    others: tuple[tuple[int, type[Struct]], ...] = (),
) -> Operation:
    return Operation(
        name,
        description,
        status,
        answer,
        parameters,
        tuple(each for each in refusals if each is not r.RoleMissing or role is not Role.VIEWER),  # there is none below
        tuple(CONTROL_HEADERS),
        body=body_of(ref("schemas", body.__name__), JSON_TYPE, required=True) if body is not None else None,
        plain=READING if body is not None else (405,),
        role=role,
        others=others,
    )


def route(path: str, endpoint: Endpoint, method: str, operation: Operation) -> GuardedRoute:
    """Answer a door; its path is the one below `/control/v1`."""
    return GuardedRoute(CONTROL_SURFACE, f"/control/v1{path}", endpoint, [method], operation)


# --- reading: what cannot be read is handed on as its refusal, which is due only after the operator's


def environment_of(request: Request) -> str:
    """Answer the environment of the path, whether there is one or not. Refuses: InvalidRequest for what is no name."""
    name: str = request.path_params["environment"]
    if not is_environment_name(name):
        raise InvalidRequest(f"{name[:64]!r} is no name of an environment; use a-z, 0-9 and -, at most 64 characters.")
    return name


def call_of(request: Request, environment: str, body: bytes | None = None) -> Call:
    """Answer whose call this is; with a `body`, "" too, one that changes something."""
    headers = Headers(request.scope["headers"])
    token = headers.token
    once = headers.get(b"idempotency-key")
    is_looked_at = token is None and request.method in {"GET", "HEAD"}  # all that a cookie is good for
    return Call(
        environment,
        token if token is not None and len(token) <= _TOKEN_CHARACTERS_MAX else None,
        Once(once, f"{request.method} {request.scope['path']}", request.scope["query_string"] + b"\n" + body)
        if once is not None and body is not None
        else None,
        session_of(request) if is_looked_at else None,
    )


def session_of(request: Request) -> str | None:
    """Answer the session of the console that a browser sends along."""
    return request.cookies.get(_cookie_name(request))


def session_cookie(request: Request, session: str, seconds: int) -> str:
    """Write the cookie that keeps a session for so long, or takes it away."""
    secure = "; Secure" if request.scope["scheme"] == "https" else ""
    return f"{_cookie_name(request)}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _cookie_name(request: Request) -> str:
    # the prefix keeps other hosts of the domain, and pages without TLS, from setting one (RFC 6265bis §4.1.3.2)
    return "__Host-temppass" if request.scope["scheme"] == "https" else "temppass"


async def read(request: Request, environment: str) -> tuple[bytes, Call]:
    """Read the body of a call that changes something."""
    body = await read_body(request, Headers(request.scope["headers"]))
    return body, call_of(request, environment, body)


def decode(shape: type[S], raw: bytes) -> S:
    """Refuses: InvalidRequest."""
    try:
        return _decoder(shape)(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body does not fit: {error}.") from None


_decoders: dict[type[Struct], Callable[[bytes], Any]] = {}


def _decoder(shape: type[S]) -> Callable[[bytes], S]:
    if shape not in _decoders:
        _decoders[shape] = msgspec.json.Decoder(shape).decode
    return _decoders[shape]


def moment_of(text: str, name: str) -> int:
    """Refuses: InvalidRequest."""
    try:
        return wire_control.read_moment(text)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"Write {name} as RFC 3339 has it, e.g. 2026-12-31T20:00:00Z.") from None


# --- answering


def counters_shape(step: str, points: Sequence[Point]) -> wire_control.CountersShape:
    return wire_control.CountersShape(
        step,
        [
            wire_control.PointShape(wire_control.moment(each.at), each.channel_id, each.pass_id, each.counts)
            for each in points
        ],
    )


def ok(answer: Struct, status: int = 200) -> Response:
    return Response(wire.encode(answer), status, CONTROL_HEADERS, JSON)


def done(receipt: Receipt, status: int = 201) -> Response:
    """Answer an act that was done, or is to be confirmed by somebody else."""
    if receipt.approval is not None:
        return ok(wire_corrections.AskedShape(receipt.approval), 202)
    until = wire_control.moment(receipt.undo_until) if receipt.undo_until is not None else None
    return ok(wire_corrections.DoneShape(receipt.id, receipt.matched, until), status)
