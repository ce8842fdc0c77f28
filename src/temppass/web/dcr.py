"""
`/o/client/…`: dynamic client registration and access tokens, in every form that clients in the wild send, what is left
of a token, and where a standard client finds all of it.

Source: contract §3.2-3.3, RFC 7591 §3, RFC 6749 §4.4, RFC 7662 §2, RFC 8414 §3, design decision 8.11.
"""

import json
from typing import Any, NoReturn

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire
from temppass.core import oauth
from temppass.core import refusal as r
from temppass.core.refusal import InvalidRequest
from temppass.core.world import SCOPE_RESET, SCOPE_V2
from temppass.service import Service
from temppass.web.host import base_url
from temppass.web.openapi import (
    FORM_TYPE,
    JSON_TYPE,
    NAME,
    READING,
    STRING,
    GuardedRoute,
    Operation,
    body_of,
    object_of,
)
from temppass.web.problems import INTROSPECTION_SURFACE, JSON, NO_STORE, REGISTRATION_SURFACE
from temppass.web.request import Headers, form_pairs, read_body, single

_REGISTER_PATH, _TOKEN_PATH, _INTROSPECT_PATH = "/o/client/register", "/o/client/token", "/o/client/introspect"
JWKS_PATH, METADATA_PATH = "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"
#: only for the client itself: the host in it is what the one who asks says it is
_KEPT_BY_ONE = {"Cache-Control": "private, max-age=300"}
#: how a client proves itself: by parameters in the body (RFC 6749 §2.3.1)
_AUTHENTICATION = ("client_secret_post",)

_STATEMENT = body_of(
    object_of(["software_statement"], software_statement=NAME, redirect_uri=STRING),
    JSON_TYPE,
    FORM_TYPE,
    required=True,
)
_CREDENTIALS = body_of(
    object_of(client_id=NAME, client_secret=NAME, grant_type={"const": oauth.GRANT_TYPE}, scope=STRING),
    FORM_TYPE,
    JSON_TYPE,
    required=False,
)
_REGISTER = Operation(
    "register",
    "Exchange a software statement for client credentials.",
    201,
    wire.RegistrationAnswer,
    (),
    (InvalidRequest, r.InvalidRedirect, r.InvalidStatement, r.UnapprovedStatement),
    tuple(NO_STORE),
    _STATEMENT,
    plain=(*READING, 429),
)
_TOKEN = Operation(
    "token",
    "Exchange client credentials, in the query, a form or a JSON body, for an access token.",
    201,
    wire.TokenAnswer,
    ("client_id", "client_secret", "grant_type", "scope"),
    (InvalidRequest, r.UnsupportedGrant, r.InvalidClient, r.UnauthorizedClient),
    tuple(NO_STORE),
    _CREDENTIALS,
    plain=READING,
)
_INTROSPECT = Operation(
    "introspect",
    "Tell an application what one of its own access tokens opens now, of anything else that it is not active "
    "(RFC 7662).",
    200,
    wire.Introspection,
    (),
    (InvalidRequest, r.InvalidClient),
    tuple(NO_STORE),
    body_of(
        object_of(
            ["client_id", "client_secret", "token"],
            client_id=NAME,
            client_secret=NAME,
            token=NAME,
            token_type_hint=STRING,
        ),
        FORM_TYPE,
        JSON_TYPE,
        required=True,
    ),
    plain=READING,
)
_METADATA = Operation(
    "metadata",
    "Tell standard clients where the endpoints are and what they take (RFC 8414).",
    200,
    wire.ServerMetadata,
    (),
    (InvalidRequest,),
    tuple(_KEPT_BY_ONE),
    faults=(),
)


class Registrar:
    def __init__(self, service: Service) -> None:
        self._credentials = service.credentials

    def routes(self) -> list[GuardedRoute]:
        return [
            GuardedRoute(REGISTRATION_SURFACE, _REGISTER_PATH, self.register, ["POST"], _REGISTER),
            GuardedRoute(REGISTRATION_SURFACE, _TOKEN_PATH, self.token, ["POST"], _TOKEN),
            GuardedRoute(INTROSPECTION_SURFACE, _INTROSPECT_PATH, self.introspect, ["POST"], _INTROSPECT),
            GuardedRoute(REGISTRATION_SURFACE, METADATA_PATH, self.metadata, ["GET"], _METADATA),
        ]

    async def register(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        fields = _fields(headers.get(b"content-type") or "", await read_body(request, headers))
        asked = oauth.read_registration(fields)
        made = await self._credentials.register(request.scope["environment"], asked)
        return _created(
            wire.RegistrationAnswer(
                made.client_id,
                made.client_secret,
                made.issued_at // 1000,
                0,
                made.redirect_uris,
                (oauth.GRANT_TYPE,),
                made.scopes,
            )
        )

    async def token(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        body = await read_body(request, headers)
        _refuse_basic(headers)
        fields = single(form_pairs(request.scope["query_string"]))
        for name, value in _fields(headers.get(b"content-type") or "", body).items():
            if fields.setdefault(name, value) != value:
                raise InvalidRequest(f"{name[:64]} has one value in the query and another in the body.")
        issued = await self._credentials.issue_token(request.scope["environment"], oauth.read_token_request(fields))
        return _created(
            wire.TokenAnswer(
                issued.id,
                issued.access_token,
                issued.issued_at,
                issued.lifetime_ms // 1000,
                "bearer",
                " ".join(issued.scopes),
            )
        )

    async def introspect(self, request: Request) -> Response:
        """Take parameters in the body alone: a token in a URL would be in logs (RFC 7662 §2.1, §4)."""
        headers = Headers(request.scope["headers"])
        body = await read_body(request, headers)
        _refuse_basic(headers)
        asked = oauth.read_introspection(_fields(headers.get(b"content-type") or "", body))
        told = await self._credentials.introspect(request.scope["environment"], asked)
        return Response(wire.encode(_introspection(told)), 200, NO_STORE, JSON)

    async def metadata(self, request: Request) -> Response:
        base = base_url(request.scope)
        told = wire.ServerMetadata(
            issuer=base,
            token_endpoint=base + _TOKEN_PATH,
            registration_endpoint=base + _REGISTER_PATH,
            introspection_endpoint=base + _INTROSPECT_PATH,
            jwks_uri=base + JWKS_PATH,
            scopes_supported=(SCOPE_V2, SCOPE_RESET),
            response_types_supported=(),
            grant_types_supported=(oauth.GRANT_TYPE,),
            token_endpoint_auth_methods_supported=_AUTHENTICATION,
            introspection_endpoint_auth_methods_supported=_AUTHENTICATION,
        )
        return Response(wire.encode(told), 200, _KEPT_BY_ONE, JSON)


def _introspection(told: oauth.Introspected | None) -> wire.Introspection:
    if told is None:
        return wire.Introspection(active=False)
    registered = {name: told.claims.get(name, UNSET) for name in ("exp", "iat", "nbf", "sub", "aud", "iss", "jti")}
    return wire.Introspection(True, " ".join(told.scopes), told.client_id, "bearer", **registered)


def _refuse_basic(headers: Headers) -> None:
    """Refuses: InvalidRequest."""
    if (headers.get(b"authorization") or "").lower().startswith("basic"):
        raise InvalidRequest("Send client_id and client_secret as parameters, not as HTTP Basic.")


def _created(answer: wire.RegistrationAnswer | wire.TokenAnswer) -> Response:
    return Response(wire.encode(answer), 201, NO_STORE, JSON)


def _fields(content_type: str, body: bytes) -> dict[str, Any]:
    """Read a JSON object or a form, each name once. Refuses: InvalidRequest."""
    if not body.strip():
        return {}
    media_type = content_type.partition(";")[0].strip().lower()
    is_json = body.lstrip()[:1] == b"{" if not media_type else media_type == JSON_TYPE
    if not is_json:
        if media_type not in {"", FORM_TYPE}:
            raise InvalidRequest(f"Send {JSON_TYPE} or {FORM_TYPE}.")
        return single(form_pairs(body))
    try:
        fields = json.loads(body, object_pairs_hook=single, parse_constant=_no_constant)
        json.dumps(fields, ensure_ascii=False).encode()  # raises for a lone surrogate, which is no text
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON (RFC 8259 §6)
