"""Recurring resets: when each comes next, whatever the clocks do, what the last ones were, and a pause."""

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.refusal import Refusal
from temppass.service import Service
from temppass.web.console.answer import LOOKED, Done, Outcome, done, query_of, reason, refused, told
from temppass.web.console.look import IN, console_route, page
from temppass.web.console.seat import Seat, form_of, seat_of
from temppass.web.problems import SurfaceRoute


class SchedulePages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(f"{IN}/schedules", self.schedules, "GET", "console_schedules"),
            console_route(f"{IN}/schedules", self.set, "POST", "console_set_schedule"),
        ]

    async def schedules(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        return await self._page(seat, LOOKED, await told(self._service, query_of(request), seat.call))

    async def set(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        where, paused = (form.text("channel"), form.text("pass")), form.text("paused") == "1"
        try:
            set_ = await self._service.schedules.set(form.call, *where, paused, reason(form))
        except Refusal as refusal:
            return await self._page(form.seat, refused(refusal, form))
        return done(f"{form.seat.here}/schedules", set_.id)

    async def _page(self, seat: Seat, outcome: Outcome, did: Done | None = None) -> Response:
        schedules = await self._service.schedules.all(seat.call)
        return page("schedules.html", seat, outcome.status, schedules=schedules, outcome=outcome, did=did)
