"""
What applications are given, over HTTP: who may speak, with which statements and clients, a new statement, and the end
of any of it.

Source: docs/reference.md (control).
"""

import re
from collections.abc import Mapping

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control
from temppass.core import refusal as r
from temppass.core.model import NEVER, OLDER, Registered
from temppass.core.operator import Role
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest
from temppass.service import Service
from temppass.service.applications import Asked, NewStatement, Present
from temppass.service.desk import Call
from temppass.service.statements import Shown
from temppass.web.desk import IN, LIMITED, call_of, decode, environment_of, moment_of, ok, operation, read, route
from temppass.web.openapi import GuardedRoute, Operation
from temppass.web.request import attempt, form_pairs, single

LIMIT_MAX = 500
#: what OLDER is called here
OLDER_WORD = "older"

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
    parameters=("limit", "after", "of_statement"),
)
_STATEMENTS = operation(
    "statements",
    "List the statements of an application that were not revoked, the oldest first, with how many clients each has.",
    wire_control.StatementsShape,
    Role.VIEWER,
    refusals=(*LIMITED, r.NotThere),
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


def _ending(name: str, description: str, *others: type[r.Refusal]) -> Operation:
    refusals = (*LIMITED, r.NotThere, *others)
    parameters = ("Idempotency-Key",)
    return operation(name, description, wire_control.Receipt, Role.ADMIN, refusals=refusals, parameters=parameters)


_REVOKE = _ending("revoke_statement", "End a statement, and what came from it, on every server at once.")
_REVOKE_ALL = _ending("revoke_statements", "End all that an application was given so far, on every server at once.")
_REVOKE_OLDER = _ending(
    "revoke_older", "End all that an application was given before statements were listed, as one.", r.AlreadySo
)
_REVOKE_CLIENT = _ending("revoke_client", "End one client, on every server at once.", r.TooManyIssued)


class ApplicationDoors:
    def __init__(self, service: Service) -> None:
        self._applications = service.applications

    def routes(self) -> list[GuardedRoute]:
        one = f"{IN}/applications/{{application:id}}"
        return [
            route(f"{IN}/applications", self.applications, "GET", _APPLICATIONS),
            route(f"{one}/clients", self.clients, "GET", _CLIENTS),
            route(f"{one}/statements", self.statements, "GET", _STATEMENTS),
            route(f"{one}/statements", self.mint, "POST", _MINT),
            route(f"{one}/statements", self.revoke_all, "DELETE", _REVOKE_ALL),
            route(f"{one}/statements/{OLDER_WORD}", self.revoke_older, "DELETE", _REVOKE_OLDER),
            route(f"{IN}/statements/{{statement:id}}", self.revoke, "DELETE", _REVOKE),
            route(f"{IN}/clients/{{client:id}}", self.revoke_client, "DELETE", _REVOKE_CLIENT),
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
                [_client(each) for each in page.clients],
                after_of(page.next) if page.next is not None else None,
            )
        )

    async def statements(self, request: Request) -> Response:
        call = call_of(request, environment_of(request))
        found = await self._applications.statements(call, request.path_params["application"])
        return ok(wire_control.StatementsShape([_statement(each) for each in found]))

    async def mint(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        minted = await self._applications.mint(call, request.path_params["application"], attempt(_new, raw))
        return ok(wire_control.StatementMinted(minted.id, minted.statement, _moment(minted.ends_at)), 201)

    async def revoke(self, request: Request) -> Response:
        done = await self._applications.revoke_statement(_ends(request), request.path_params["statement"])
        return ok(wire_control.Receipt(done.id))

    async def revoke_all(self, request: Request) -> Response:
        done = await self._applications.revoke(_ends(request), request.path_params["application"], None)
        return ok(wire_control.Receipt(done.id))

    async def revoke_older(self, request: Request) -> Response:
        done = await self._applications.revoke(_ends(request), request.path_params["application"], OLDER)
        return ok(wire_control.Receipt(done.id))

    async def revoke_client(self, request: Request) -> Response:
        done = await self._applications.revoke_client(_ends(request), request.path_params["client"])
        return ok(wire_control.Receipt(done.id))


def _ends(request: Request) -> Call:
    """Answer the call of what ends all that its path names, and takes no query. Refuses: InvalidRequest."""
    if request.scope["query_string"]:
        raise InvalidRequest("This call ends all that its path names, and knows no query.")
    return call_of(request, environment_of(request), b"")


def _asked(query: bytes) -> Asked:
    """Refuses: InvalidRequest."""
    given = single(form_pairs(query))
    if unknown := given.keys() - {"limit", "after", "statement"}:
        raise InvalidRequest(f"This call knows no {min(unknown)[:64]!r}.")
    return asked_of(given)


def asked_of(given: Mapping[str, str]) -> Asked:
    """Read which clients are asked for: `limit`, `after`, `statement`. Refuses: InvalidRequest."""
    statement = given.get("statement")
    if statement == "":
        raise InvalidRequest(f"statement is the id of one, or {OLDER_WORD}.")
    of = OLDER if statement == OLDER_WORD else statement
    limit, after = given.get("limit", f"{Asked().limit}"), given.get("after")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(f"{LIMIT_MAX}") and 0 < int(limit) <= LIMIT_MAX):
        raise InvalidRequest(f"limit is 1 to {LIMIT_MAX}.")
    if after is None:
        return Asked(int(limit), None, of)
    found = _AFTER.fullmatch(after)
    if found is None:
        raise InvalidRequest("after is what `next` of an answer said.")
    return Asked(int(limit), Registered(found[2], int(found[1])), of)


def after_of(client: Registered) -> str:
    """Name a client's place in the list."""
    return f"{client.at}.{client.id}"


def _new(raw: bytes) -> NewStatement:
    """Read what a statement is to be; no body is an empty one. Refuses: InvalidRequest."""
    body = decode(wire_control.StatementBody, raw or b"{}")
    ends_at = moment_of(body.ends_at, "ends_at") if body.ends_at is not UNSET else None
    return NewStatement(ends_at, reason_of(body.reason))


def _shape(present: Present) -> wire_control.ApplicationShape:
    application = present.application
    return wire_control.ApplicationShape(
        application.id,
        application.name,
        application.channels,
        application.scopes,
        application.domains,
        present.clients,
        _moment(present.revoked_at),
    )


def _statement(shown: Shown) -> wire_control.StatementShape:
    return wire_control.StatementShape(
        shown.id if shown.id != OLDER else OLDER_WORD,
        _moment(shown.minted_at),
        wire_control.actor_of_word(shown.minted_by) if shown.minted_by is not None else None,
        _moment(shown.ends_at),
        _day(shown.used_at),
        shown.clients,
    )


def _client(client: Registered) -> wire_control.ClientShape:
    at, of = wire_control.moment(client.at), client.statement_id if client.statement_id != OLDER else OLDER_WORD
    return wire_control.ClientShape(client.id, at, of, _day(client.used_at))


def _moment(ms: int | None) -> str | None:
    return wire_control.moment(ms) if ms is not None else None


def _day(used_at: int) -> str | None:
    """Answer the day of a last use; None for NEVER and for UNKNOWN."""
    return wire_control.day(used_at) if used_at > NEVER else None
