"""
`/o/client/…`: dynamic client registration and access tokens, in every form that clients in the wild send.

Source: contract §3.2-3.3, RFC 7591 §3, RFC 6749 §4.4, design decision 8.11.
"""

import json
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import Response

from temppass import wire
from temppass.core import oauth
from temppass.core import refusal as r
from temppass.core.refusal import InvalidRequest
from temppass.service import Service
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
from temppass.web.problems import JSON, NO_STORE, REGISTRATION_SURFACE
from temppass.web.request import Headers, form_pairs, read_body, single

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
    plain=READING,
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


class Registrar:
    def __init__(self, service: Service) -> None:
        self._credentials = service.credentials

    def routes(self) -> list[GuardedRoute]:
        return [
            GuardedRoute(REGISTRATION_SURFACE, "/o/client/register", self.register, ["POST"], _REGISTER),
            GuardedRoute(REGISTRATION_SURFACE, "/o/client/token", self.token, ["POST"], _TOKEN),
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
        if (headers.get(b"authorization") or "").lower().startswith("basic"):
            raise InvalidRequest("Send client_id and client_secret as parameters, not as HTTP Basic.")
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
