"""The first page of an environment: who is to be looked for, what happens, what was done."""

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.act import Wanted
from temppass.service import Service
from temppass.service.acts import Search
from temppass.service.counters import MINUTE_MS, Asked
from temppass.web.console.charts import Sums, integrations, sums
from temppass.web.console.look import DONE, IN, console_route, page
from temppass.web.console.seat import seat_of
from temppass.web.problems import SurfaceRoute

#: acts, integrations and environments on the page
ACTS, INTEGRATIONS, ENVIRONMENTS = 10, 50, 50


class HomePages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [console_route(IN, self.home, "GET", "console_home")]

    async def home(self, request: Request) -> Response:
        seat, service = await seat_of(self._service, request), self._service
        minute = seat.now // MINUTE_MS
        # the minutes of which those who listen are told (service/events.py)
        present = Asked(None, None, (minute - 1) * MINUTE_MS, seat.now + 1)
        now = sums(await service.counters.counts(seat.call, present))
        lately = sums(await service.counters.day(seat.call))
        places = sorted({*integrations(seat), *lately})
        environments = [name for name in await service.desk.environments(seat.call) if name != seat.environment]
        return page(
            "home.html",
            seat,
            rows=[(place, now.get(place, Sums()), lately.get(place, Sums())) for place in places[:INTEGRATIONS]],
            unlisted=max(0, len(places) - INTEGRATIONS),
            acts=(await service.acts.search(seat.call, Search(Wanted(), limit=ACTS))).entries,
            kept=ACTS,
            kinds=DONE,
            environments=environments[:ENVIRONMENTS],
        )
