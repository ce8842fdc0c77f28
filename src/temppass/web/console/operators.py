"""Who may act: listed, created with a token that is shown once, revoked. The same people in every environment."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest, Refusal
from temppass.core.world import HOUSE
from temppass.service import Service
from temppass.service.desk import Call
from temppass.service.operators import Created, NewOperator
from temppass.web.console.answer import LOOKED, Outcome, done, end_of, query_of, reason, refused, told
from temppass.web.console.look import IN, SIGN_IN, console_route, go, page
from temppass.web.console.seat import Form, Seat, form_of, seat_of
from temppass.web.desk import session_cookie
from temppass.web.problems import SurfaceRoute
from temppass.web.request import attempt


class OperatorPages:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._operators = service.operators

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(f"{IN}/operators", self.operators, "GET", "console_operators"),
            console_route(f"{IN}/operators", self.create, "POST", "console_create_operator"),
            console_route(f"{IN}/operators/revoke", self.revoke, "POST", "console_revoke_operator"),
        ]

    async def operators(self, request: Request) -> Response:
        seat = await seat_of(self._service, request, Role.ADMIN)
        return await self._page(seat, LOOKED, query=query_of(request))

    async def create(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        try:
            created = await self._operators.create(_of_the_house(form.call), attempt(_new, form), reason(form))
        except Refusal as refusal:
            return await self._page(form.seat, refused(refusal, form))
        return await self._page(form.seat, LOOKED._replace(status=201, typed=form.fields), created)

    async def revoke(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        name = form.text("name")
        try:
            revoked = await self._operators.revoke(_of_the_house(form.call), name, reason(form))
        except Refusal as refusal:
            return await self._page(form.seat, refused(refusal, form))
        if name == form.seat.operator.name:  # the session has ended with them
            return go(SIGN_IN, {"Set-Cookie": session_cookie(request, "", 0), "Clear-Site-Data": '"cache"'})
        return done(f"{form.seat.here}/operators", revoked.id)

    async def _page(
        self, seat: Seat, outcome: Outcome, created: Created | None = None, query: Mapping[str, str] = {}
    ) -> Response:
        """Refuses: as Operators.all."""
        call = _of_the_house(seat.call)
        operators = await self._operators.all(call)
        return page(
            "operators.html",
            seat,
            outcome.status,
            operators=operators,
            roles=Role,
            outcome=outcome,
            created=created,
            did=await told(self._service, query, call),
        )


def _of_the_house(call: Call) -> Call:
    return call._replace(environment=HOUSE)


def _new(form: Form) -> NewOperator:
    """Refuses: InvalidRequest."""
    try:
        role = Role(form.text("role"))
    except ValueError:
        raise InvalidRequest(f"A role is {', '.join(Role)}.") from None
    environments, channels = (tuple(form.text(name).replace(",", " ").split()) for name in ("environments", "channels"))
    return NewOperator(form.text("name"), role, environments, channels, end_of(form))
