"""
The catalogue: what holds, what another one would change, the change, and those before it. What is applied is what was
planned, over the version for which it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote_plus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from temppass.core import act
from temppass.core.act import actor_word
from temppass.core.catalogue import Catalogue
from temppass.core.catalogue_file import CatalogueError, parse
from temppass.core.operator import Role
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest, Refusal, VersionMoved
from temppass.service import Service
from temppass.service.acts import Entry, Search
from temppass.web.console.answer import LOOKED, Outcome, done, query_of, reason, refused, told
from temppass.web.console.look import IN, console_route, page, plural
from temppass.web.console.seat import Form, Seat, form_of, seat_of
from temppass.web.control import toml_of
from temppass.web.problems import SurfaceRoute
from temppass.web.request import BODY_BYTES_MAX, attempt

#: applies that are told of
_HISTORY = 20
#: of a form, beside the catalogue: its token, name, description and reason
_BESIDE_BYTES = 8_192
_VERSION_DIGITS_MAX = 15
_UNITS = {"day": 86_400_000, "hour": 3_600_000, "minute": 60_000, "second": 1_000}


class CataloguePages:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._catalogues = service.catalogues

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(f"{IN}/catalogue", self.catalogue, "GET", "console_catalogue"),
            console_route(f"{IN}/catalogue/plan", self.plan, "POST", "console_plan_catalogue"),
            console_route(f"{IN}/catalogue", self.apply, "POST", "console_apply_catalogue"),
        ]

    async def catalogue(self, request: Request) -> Response:
        return await self._page(await seat_of(self._service, request), LOOKED, query_of(request))

    async def plan(self, request: Request) -> Response:
        try:
            form = await form_of(self._service, request)
        except HTTPException as error:
            return await self._too_large(request, error)
        return await self._planned(form, LOOKED)

    async def apply(self, request: Request) -> Response:
        try:
            form = await form_of(self._service, request)
        except HTTPException as error:
            return await self._too_large(request, error)
        described = attempt(_description, form)
        try:
            applied = await self._catalogues.apply_over(
                form.call, attempt(_catalogue, form), described, attempt(_version, form), reason(form)
            )
        except VersionMoved as moved:
            return await self._planned(form, refused(moved, form), moved_from=_version(form))
        except Refusal as refusal:
            if form.seat.may(Role.ADMIN) and not isinstance(attempt(_catalogue, form), Refusal):
                return await self._planned(form, refused(refusal, form))
            return await self._page(form.seat, refused(refusal, form))
        where = f"{form.seat.here}/catalogue"
        return done(where, applied.id or "")

    async def _planned(self, form: Form, outcome: Outcome, moved_from: int | None = None) -> Response:
        """Show what the catalogue of a form would change now."""
        try:
            planned = await self._catalogues.planned(form.seat.call, attempt(_catalogue, form))
        except Refusal as refusal:
            return await self._page(form.seat, refused(refusal, form))
        history = await self._history(form.seat) if moved_from is not None else []
        return page(
            "catalogue_plan.html",
            form.seat,
            outcome.status,
            planned=planned,
            toml=form.fields.get("toml", ""),
            outcome=outcome,
            typed=form.fields,
            moved_from=moved_from,
            moved=[(entry, what) for entry, what in history if what.version > (moved_from or 0)],
            actor=actor_word,
        )

    async def _page(self, seat: Seat, outcome: Outcome, query: Mapping[str, str] = {}) -> Response:
        catalogue, version = await self._catalogues.shown(seat.call)
        toml = toml_of(catalogue)
        typed = outcome.typed.get("toml", toml)
        return page(
            "catalogue.html",
            seat,
            outcome.status,
            catalogue=catalogue,
            version=version,
            toml=toml,
            typed=typed,
            fits=_size(typed) + _BESIDE_BYTES <= BODY_BYTES_MAX,
            outcome=outcome,
            history=await self._history(seat),
            did=await told(self._service, query, seat.call),
            actor=actor_word,
            lasting=lasting,
        )

    async def _history(self, seat: Seat) -> list[tuple[Entry, act.CatalogueApply]]:
        """Answer the last applies, the newest first; they are on no channel, so that limits to channels leave none."""
        search = Search(act.Wanted(kinds=("catalogue.apply",)), limit=_HISTORY)
        found = (await self._service.acts.search(seat.call, search)).entries
        return [(entry, entry.record.act) for entry in found if isinstance(entry.record.act, act.CatalogueApply)]

    async def _too_large(self, request: Request, error: HTTPException) -> Response:
        """Raises `error` where it is another."""
        if error.status_code != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise error
        seat = await seat_of(self._service, request, Role.ADMIN)
        sentence = "This catalogue is larger than a form can be, 64 KiB as a browser writes it; nothing was changed."
        response = await self._page(seat, Outcome(sentence, error.status_code))
        response.headers.update(error.headers or {})
        return response


def lasting(ms: int) -> str:
    """Write a length of time in words."""
    parts = []
    for unit, unit_ms in _UNITS.items():
        number, ms = divmod(ms, unit_ms)
        if number:
            parts.append(plural(number, unit))
    return " ".join(parts)


def _size(toml: str) -> int:
    """Answer how many bytes a browser makes of it."""
    return len(quote_plus(toml.replace("\r\n", "\n").replace("\n", "\r\n")))


def _catalogue(form: Form) -> Catalogue:
    """Refuses: InvalidRequest, with every problem found."""
    try:
        return parse(form.fields.get("toml", ""), "catalogue")
    except (CatalogueError, RecursionError) as error:
        raise InvalidRequest(f"{error}") from None


def _description(form: Form) -> str:
    """Refuses: InvalidRequest."""
    return reason_of(form.text("description")) or ""


def _version(form: Form) -> int:
    """Refuses: InvalidRequest."""
    text = form.text("version")
    if not (text.isascii() and text.isdigit() and len(text) <= _VERSION_DIGITS_MAX):
        raise InvalidRequest("Plan the change first: the form does not say what it is to replace.")
    return int(text)
