"""
What was counted, as charts made here: one small chart for each thing that is counted, all with the same steps, so that
nothing has to be told apart by colour; and the numbers themselves behind each.

A chart is a page's own picture: its shapes have classes, which the style sheet fills, in light and dark.
Source: WAI-ARIA Graphics (role="img" with a title and a description); docs/design.md (charts).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.refusal import InvalidRequest, Refusal
from temppass.service import Service
from temppass.service.counters import MINUTE_MS, PERMIT, RESET, TRIAL, Asked, Point
from temppass.web.console.look import IN, console_route, page
from temppass.web.console.seat import Seat, seat_of
from temppass.web.problems import CONTROL, SurfaceRoute
from temppass.web.request import attempt, form_pairs, single

#: of a chart, in its own units; it is stretched to where it stands
WIDTH, HEIGHT = 600, 100
#: what is counted that is no denial, and what it is called
_WORDS = {PERMIT: "Permits", TRIAL: "New trials", RESET: "Resets"}


class Span(NamedTuple):
    """How far back one looks, and in which steps."""

    words: str
    minutes: int
    step_minutes: int
    step_words: str


SPANS = {
    "hour": Span("Last hour", 60, 1, "1 minute"),
    "day": Span("Last day", 24 * 60, 15, "15 minutes"),
    "weeks": Span("Last two weeks", 14 * 24 * 60, 240, "4 hours"),
}


class Chart(NamedTuple):
    """One thing that is counted: how often in each step, and bars of that under a height that stands for `top`."""

    title: str
    values: tuple[int, ...]
    top: int
    bars: str

    def numbered(self, moments: Sequence[int]) -> list[tuple[int, int]]:
        """Answer the steps in which something was counted, with its number."""
        return [(at, n) for at, n in zip(moments, self.values, strict=True) if n]

    @property
    def total(self) -> int:
        return sum(self.values)

    @property
    def most(self) -> int:
        return max(self.values)


def charts(points: Sequence[Point], moments: Sequence[int]) -> list[Chart]:
    """
    Answer a chart for permits, one for each code of a denial, one for new trials and one for resets, over the steps
    that begin at `moments`. Denials have one scale, so that they compare.
    """
    place = {at: number for number, at in enumerate(moments)}
    counted: dict[str, list[int]] = {word: [0] * len(moments) for word in _WORDS}
    for point in points:
        if point.at in place:
            for word, n in point.counts.items():
                counted.setdefault(word, [0] * len(moments))[place[point.at]] += n
    denials = {word: values for word, values in sorted(counted.items()) if word not in _WORDS}
    top = max((n for values in denials.values() for n in values), default=0)
    return [
        _chart(_WORDS[PERMIT], counted[PERMIT]),
        *(_chart(f"Denied: {word.replace('_', ' ')}", values, top) for word, values in denials.items()),
        _chart(_WORDS[TRIAL], counted[TRIAL]),
        _chart(_WORDS[RESET], counted[RESET]),
    ]


def _chart(title: str, values: Sequence[int], top: int = 0) -> Chart:
    top = top or max(values) or 1
    wide = WIDTH / len(values)
    bars = "".join(
        f"M{number * wide:.5g} {HEIGHT}v-{max(1, HEIGHT * n / top):.4g}h{wide * 0.8:.4g}V{HEIGHT}z"
        for number, n in enumerate(values)
        if n
    )
    return Chart(title, tuple(values), top, bars)


class Sums(NamedTuple):
    """How often something happened in one integration."""

    permits: int = 0
    denials: int = 0
    trials: int = 0
    resets: int = 0


def sums(points: Sequence[Point]) -> dict[tuple[str, str], Sums]:
    """Add up points, by channel and pass."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for point in points:
        counts.setdefault((point.channel_id, point.pass_id), Counter()).update(point.counts)
    return {
        place: Sums(each[PERMIT], sum(n for word, n in each.items() if word not in _WORDS), each[TRIAL], each[RESET])
        for place, each in counts.items()
    }


def integrations(seat: Seat) -> list[tuple[str, str]]:
    """Answer channel and pass of every integration that the operator sees."""
    passes = seat.world.catalogue.passes.values()
    return sorted((channel, each.id) for each in passes for channel in each.channels if seat.operator.sees(channel))


class _Choice(NamedTuple):
    span: str
    channel_id: str | None
    pass_id: str | None


class ChartPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [console_route(f"{IN}/counters", self.counters, "GET", "console_counters")]

    async def counters(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        choice = attempt(_choice, single(form_pairs(request.scope["query_string"])))
        if isinstance(choice, Refusal):
            return _page(seat, _Choice("hour", None, None), [], [], choice)
        span = SPANS[choice.span]
        step_ms, steps = span.step_minutes * MINUTE_MS, span.minutes // span.step_minutes
        last = seat.now // step_ms
        moments = [step_ms * number for number in range(last - steps + 1, last + 1)]
        asked = Asked(choice.channel_id, choice.pass_id, moments[0], seat.now + 1, span.step_minutes)
        return _page(seat, choice, moments, await self._service.counters.counts(seat.call, asked))


def _choice(given: Mapping[str, str]) -> _Choice:
    """Refuses: InvalidRequest."""
    span = given.get("span") or "hour"
    if span not in SPANS:
        raise InvalidRequest(f"Choose {', '.join(SPANS)}; {span[:64]!r} is none of them.")
    return _Choice(span, given.get("channel") or None, given.get("pass") or None)


def _page(
    seat: Seat, choice: _Choice, moments: Sequence[int], points: Sequence[Point], refusal: Refusal | None = None
) -> Response:
    there = integrations(seat)
    return page(
        "counters.html",
        seat,
        CONTROL[type(refusal)].status if refusal is not None else 200,
        refused=refusal.detail if refusal is not None else "",
        choice=choice,
        spans=SPANS,
        moments=moments,
        charts=charts(points, moments) if moments else [],
        sums=sums(points),
        channels=sorted({channel_id for channel_id, _ in there}),
        passes=sorted({pass_id for _, pass_id in there}),
        width=WIDTH,
        height=HEIGHT,
    )
