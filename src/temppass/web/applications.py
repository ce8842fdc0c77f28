"""
What applications are given, over HTTP: who may speak, with which clients, and a new statement.

Source: docs/reference.md (control).
"""

import re

from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control
from temppass.core import refusal as r
from temppass.core.act import reason_of
from temppass.core.model import Registered
from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest
from temppass.service import Service
from temppass.service.applications import Asked, NewStatement, Present
from temppass.web.desk import IN, LIMITED, call_of, decode, environment_of, ok, operation, read, route
from temppass.web.openapi import GuardedRoute
from temppass.web.request import attempt, form_pairs, single

LIMIT_MAX = 500

#: a place in a list of clients: moment and id of the one before
_AFTER = re.compile(r"([0-9]{1,15})\.([0-9a-f-]{1,64})")

_APPLICATIONS = operation(
    "applications",
    "List the applications that speak for a channel of the operator's: scopes, domains, clients, whether revoked.",
    wire_control.ApplicationsShape,
    Role.VIEWER,
)
_CLIENTS = operation(
    "clients",
    "List the clients of an application that may ask for tokens, the last to register first.",
    wire_control.ClientsShape,
    Role.VIEWER,
    refusals=(*LIMITED, r.NotThere),
    parameters=("limit", "after"),
)
_MINT = operation(
    "mint_statement",
    "Mint a software statement. It is in the answer, and never shown again; older ones stay good.",
    wire_control.StatementMinted,
    Role.ADMIN,
    status=201,
    refusals=(*LIMITED, r.NotThere, r.KeyReused, r.AnsweredOnce, r.TooManyIssued),
    body=wire_control.StatementBody,
    parameters=("Idempotency-Key",),
)


class ApplicationDoors:
    def __init__(self, service: Service) -> None:
        self._applications = service.applications

    def routes(self) -> list[GuardedRoute]:
        return [
            route(f"{IN}/applications", self.applications, "GET", _APPLICATIONS),
            route(f"{IN}/applications/{{application:id}}/clients", self.clients, "GET", _CLIENTS),
            route(f"{IN}/applications/{{application:id}}/statements", self.mint, "POST", _MINT),
        ]

    async def applications(self, request: Request) -> Response:
        found = await self._applications.all(call_of(request, environment_of(request)))
        return ok(wire_control.ApplicationsShape([_shape(each) for each in found]))

    async def clients(self, request: Request) -> Response:
        asked = attempt(_asked, request.scope["query_string"])
        call = call_of(request, environment_of(request))
        page = await self._applications.clients(call, request.path_params["application"], asked)
        return ok(
            wire_control.ClientsShape(
                [wire_control.ClientShape(each.id, wire_control.moment(each.at)) for each in page.clients],
                f"{page.next.at}.{page.next.id}" if page.next is not None else None,
            )
        )

    async def mint(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        minted = await self._applications.mint(call, request.path_params["application"], attempt(_new, raw))
        return ok(wire_control.StatementMinted(minted.id, minted.statement, None), 201)


def _asked(query: bytes) -> Asked:
    """Refuses: InvalidRequest."""
    given = single(form_pairs(query))
    if unknown := given.keys() - {"limit", "after"}:
        raise InvalidRequest(f"This call knows no {min(unknown)[:64]!r}.")
    limit, after = given.get("limit", f"{Asked().limit}"), given.get("after")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(f"{LIMIT_MAX}") and 0 < int(limit) <= LIMIT_MAX):
        raise InvalidRequest(f"limit is 1 to {LIMIT_MAX}.")
    if after is None:
        return Asked(int(limit))
    found = _AFTER.fullmatch(after)
    if found is None:
        raise InvalidRequest("after is what `next` of an answer said.")
    return Asked(int(limit), Registered(found[2], int(found[1])))


def _new(raw: bytes) -> NewStatement:
    """Read what a statement is to be; no body is an empty one. Refuses: InvalidRequest."""
    return NewStatement(None, reason_of(decode(wire_control.StatementBody, raw or b"{}").reason))


def _shape(present: Present) -> wire_control.ApplicationShape:
    application, revoked_at = present.application, present.revoked_at
    return wire_control.ApplicationShape(
        application.id,
        application.name,
        application.channels,
        application.scopes,
        application.domains,
        present.clients,
        wire_control.moment(revoked_at) if revoked_at is not None else None,
    )
