"""Resets that one operator has asked for and another has to confirm."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest, Refusal
from temppass.service import Service
from temppass.web.console.answer import LOOKED, Outcome, done, query_of, refused, told
from temppass.web.console.look import console_route, go, page
from temppass.web.console.reset import PATIENCE_S
from temppass.web.console.seat import Form, Seat, form_of, seat_of
from temppass.web.problems import SurfaceRoute
from temppass.web.request import attempt

_HERE = "/console/in/{environment}/approvals"


class ApprovalPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(_HERE, self.show, "GET", "console_approvals"),
            console_route(f"{_HERE}/{{approval:id}}", self.decide, "POST", "console_approval"),
        ]

    async def show(self, request: Request) -> Response:
        return await self._waiting(await seat_of(self._service, request, Role.OPERATOR), request)

    async def decide(self, request: Request) -> Response:
        form = await form_of(self._service, request, Role.OPERATOR)
        approves = attempt(_approves, form)
        try:
            receipt = await self._service.plans.decide(
                form.call, request.path_params["approval"], approves, patience_s=PATIENCE_S
            )
        except Refusal as refusal:
            return await self._waiting(form.seat, request, refused(refusal, form))
        if approves is True:
            return go(f"{form.seat.here}/acts/{receipt.id}?done")
        return done(f"{form.seat.here}/approvals", receipt.id)

    async def _waiting(self, seat: Seat, request: Request, outcome: Outcome = LOOKED) -> Response:
        waiting = await self._service.plans.approvals(seat.call)
        news = await told(self._service, query_of(request), seat.call)
        return page("approvals.html", seat, outcome.status, waiting=waiting, told=news, outcome=outcome)


def _approves(form: Form) -> bool:
    """Refuses: InvalidRequest."""
    match form.text("approve"):
        case "yes":
            return True
        case "no":
            return False
        case _:
            raise InvalidRequest("Confirm it, or decline it.")
