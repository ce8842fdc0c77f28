"""What applications are given: their statements, the clients behind each, a new statement, and the end of any of it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.model import OLDER
from temppass.core.refusal import InvalidRequest, Refusal
from temppass.service import Service
from temppass.service.applications import COUNTED_MAX, NewStatement
from temppass.service.statements import COUNTED_MAX as COUNTED_OF_STATEMENT_MAX
from temppass.service.statements import Minted
from temppass.web.applications import OLDER_WORD, after_of, asked_of
from temppass.web.console.answer import LOOKED, Outcome, done, end_of, query_of, reason, refused, told
from temppass.web.console.look import IN, console_route, page
from temppass.web.console.seat import Form, Seat, form_of, seat_of
from temppass.web.problems import SurfaceRoute
from temppass.web.request import attempt

_ONE = f"{IN}/applications/{{application:id}}"
#: clients on a page
_LIMIT = "50"
_ALL = "all"


class ApplicationPages:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._applications = service.applications

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(f"{IN}/applications", self.all, "GET", "console_applications"),
            console_route(_ONE, self.one, "GET", "console_application"),
            console_route(f"{_ONE}/statements", self.mint, "POST", "console_mint"),
            console_route(f"{_ONE}/statements/revoke", self.revoke, "POST", "console_revoke_statements"),
            console_route(f"{_ONE}/clients/revoke", self.revoke_client, "POST", "console_revoke_client"),
        ]

    async def all(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        found = await self._applications.all(seat.call)
        return page("applications.html", seat, applications=found, counted_max=COUNTED_MAX)

    async def one(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        return await self._page(seat, request, LOOKED, query_of(request))

    async def mint(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        try:
            minted = await self._applications.mint(form.call, request.path_params["application"], attempt(_new, form))
        except Refusal as refusal:
            return await self._page(form.seat, request, refused(refusal, form))
        return await self._page(form.seat, request, LOOKED._replace(status=201), minted=minted)

    async def revoke(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        application_id, why = request.path_params["application"], reason(form)
        try:
            which = _which(form, application_id)
            revoked = await self._applications.revoke(form.call, application_id, which, why)
        except Refusal as refusal:
            return await self._page(form.seat, request, refused(refusal, form))
        return done(_path(form.seat, request), revoked.id)

    async def revoke_client(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        try:
            revoked = await self._applications.revoke_client(form.call, form.text("client"), reason(form))
        except Refusal as refusal:
            return await self._page(form.seat, request, refused(refusal, form))
        return done(_path(form.seat, request), revoked.id)

    async def _page(
        self,
        seat: Seat,
        request: Request,
        outcome: Outcome,
        query: Mapping[str, str] = {},
        minted: Minted | None = None,
    ) -> Response:
        application_id = request.path_params["application"]
        asked = asked_of({"limit": _LIMIT, **query})
        clients = await self._applications.clients(seat.call, application_id, asked)
        return page(
            "application.html",
            seat,
            outcome.status,
            present=await self._applications.one(seat.call, application_id),
            statements=await self._applications.statements(seat.call, application_id),
            clients=clients.clients,
            next=after_of(clients.next) if clients.next is not None else None,
            of=query.get("statement"),
            outcome=outcome,
            minted=minted,
            did=await told(self._service, query, seat.call),
            here=_path(seat, request),
            older=OLDER,
            older_word=OLDER_WORD,
            counted_max=COUNTED_MAX,
            counted_of_statement_max=COUNTED_OF_STATEMENT_MAX,
        )


def _path(seat: Seat, request: Request) -> str:
    return f"{seat.here}/applications/{request.path_params['application']}"


def _new(form: Form) -> NewStatement:
    """Refuses: InvalidRequest."""
    why = reason(form)
    if isinstance(why, Refusal):
        raise why
    return NewStatement(end_of(form), why)


def _which(form: Form, application_id: str) -> str | None:
    """Answer which statement is to end, OLDER, or None for all of them. Refuses: InvalidRequest."""
    which = form.text("statement")
    if which == _ALL:
        if form.text("application") != application_id:
            raise InvalidRequest(f"Type the id of the application, {application_id}, to end all that it was given.")
        return None
    if not which:
        raise InvalidRequest("Name the statement that is to end.")
    return OLDER if which == OLDER_WORD else which
