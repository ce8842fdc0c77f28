"""The first page of an environment: who is to be looked for, what happens, what was done."""

from starlette.requests import Request
from starlette.responses import Response

from temppass.service import Service
from temppass.web.console.look import console_route, page
from temppass.web.console.seat import seat_of
from temppass.web.problems import SurfaceRoute


class HomePages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [console_route("/console/in/{environment}", self.home, "GET", "console_home")]

    async def home(self, request: Request) -> Response:
        return page("home.html", await seat_of(self._service, request))
