"""Signing keys: which are published, when each signs and ends, and their rotation."""

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.refusal import InvalidRequest, Refusal
from temppass.service import Service
from temppass.service.signing import Rotated, Rotation
from temppass.web.console.answer import LOOKED, Outcome, reason, refused
from temppass.web.console.look import IN, console_route, page
from temppass.web.console.seat import Form, Seat, form_of, seat_of
from temppass.web.dcr import JWKS_PATH
from temppass.web.problems import SurfaceRoute


class KeyPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(f"{IN}/keys", self.keys, "GET", "console_keys"),
            console_route(f"{IN}/keys/rotate", self.rotate, "POST", "console_rotate_keys"),
        ]

    async def keys(self, request: Request) -> Response:
        return await self._page(await seat_of(self._service, request), LOOKED)

    async def rotate(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        try:
            done = await self._service.signing.rotate(form.call, _rotation(form))
        except Refusal as refusal:
            return await self._page(form.seat, refused(refusal, form))
        return await self._page(form.seat, LOOKED, done)

    async def _page(self, seat: Seat, outcome: Outcome, done: Rotated | None = None) -> Response:
        keys = await self._service.signing.all(seat.call)
        applications = await self._service.applications.all(seat.call) if seat.may("admin") else []
        return page(
            "keys.html",
            seat,
            outcome.status,
            keys=keys,
            applications=applications,
            jwks=JWKS_PATH,
            outcome=outcome,
            done=done,
        )


def _rotation(form: Form) -> Rotation | Refusal:
    """Read how keys are to be rotated: everything that they signed ends only where the environment is typed."""
    why, compromised = reason(form), form.text("compromised") == "1"
    if isinstance(why, Refusal):
        return why
    if compromised and form.text("environment") != form.seat.environment:
        return InvalidRequest(f"Type the name of the environment, {form.seat.environment}, to end its keys.")
    return Rotation(compromised, why)
