"""
What was done, as pages: found by a filter whose address says it all, taken away as a file, one by one with what belongs
to it. The page of an act is its receipt too, and where it is taken back.

A viewer is looked for by digests: what identifies one is sent in a body and turned into these before anything has an
address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control
from temppass.core.act import Grant, NarrowedReset, is_one_viewer
from temppass.core.model import Subject, SubjectKind
from temppass.core.operator import Role
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest, NewTrial, Refusal
from temppass.core.viewer import Named, read_viewer
from temppass.service import Service
from temppass.service.acts import Around, Page, Search
from temppass.service.corrections import GRANTS, RESETS, UndoWanted, role_to_undo
from temppass.service.explain import digests_of
from temppass.web.acts import CSV, LINES, ActFiles, search_of
from temppass.web.console.look import DONE, HEADERS, console_route, go, page
from temppass.web.console.seat import Seat, form_of, seat_of
from temppass.web.desk import moment_of
from temppass.web.problems import CONTROL, SurfaceRoute
from temppass.web.request import attempt, form_pairs, single

ACTS = "/console/in/{environment}/acts"
#: acts on one page
LISTED = 50
#: viewers that the page of an act names one by one; its file has all of them
NAMED_MAX = 100
#: by what one looks, in the order of the form
FILTERS = ("since", "until", "actor", "kind", "channel", "pass", "subject")
#: how a viewer is named in a form
SPELLINGS = {"email": "E-mail address", "key": "User key", "device": "Device"}
#: members of an act that its page has a place for
_TOLD = {"id", "sequence", "at", "kind", "actor", "reason", "channel", "pass", "matched", "subjects"}
#: as a form has a moment, which is in UTC here
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?")


class ActPages:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._files = ActFiles(service.acts)

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(ACTS, self.acts, "GET", "console_acts"),
            console_route(f"{ACTS}.csv", self.table, "GET", "console_acts_csv"),
            console_route(f"{ACTS}.jsonl", self.lines, "GET", "console_acts_lines"),
            console_route(f"{ACTS}/viewer", self.viewer, "POST", "console_acts_viewer"),
            console_route(f"{ACTS}/{{act:id}}", self.act, "GET", "console_act"),
            console_route(f"{ACTS}/{{act:id}}/undo", self.undo, "POST", "console_undo"),
        ]

    # --- many

    async def acts(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        given = single(form_pairs(request.scope["query_string"]))
        if "" in given.values():  # what a form leaves empty is no part of the address
            return go(_address(seat, given))
        asked, found = attempt(_asked, given), Page([], None)
        try:
            found = await self._service.acts.search(seat.call, asked)
        except Refusal as refusal:
            return _list(seat, given, found, refusal)
        return _list(seat, given, found)

    async def viewer(self, request: Request) -> Response:
        """Answer where the acts on a viewer are listed, by digests."""
        form = await form_of(self._service, request)
        seat, given = form.seat, {name: form.text(name) for name in FILTERS if form.text(name)}
        how, spelled = form.text("how"), form.fields.get("viewer", "")
        try:
            if how not in SPELLINGS:
                raise InvalidRequest("Say what names the viewer: an e-mail address, a user key or a device.")
            digests = digests_of(seat.world, read_viewer(Named(**{how: spelled}), seat.world.pepper))
        except Refusal as refusal:
            return _list(seat, given, Page([], None), refusal, how, spelled)
        return go(_address(seat, {**given, "subject": ",".join(digest.hex() for digest in digests)}))

    async def table(self, request: Request) -> Response:
        return await self._file(request, CSV, "csv")

    async def lines(self, request: Request) -> Response:
        return await self._file(request, LINES, "jsonl")

    async def _file(self, request: Request, media_type: str, ending: str) -> Response:
        seat = await seat_of(self._service, request)
        asked = attempt(_asked, single(form_pairs(request.scope["query_string"])))
        name = f'attachment; filename="acts-{seat.environment}.{ending}"'
        return await self._files.answer(seat.call, asked, media_type, {**HEADERS, "Content-Disposition": name})

    # --- one

    async def act(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        around = await self._service.acts.around(seat.call, request.path_params["act"])
        return _one(seat, around, is_fresh=b"done" in request.scope["query_string"])

    async def undo(self, request: Request) -> Response:
        form = await form_of(self._service, request, Role.SUPPORT)
        around = await self._service.acts.around(form.seat.call, request.path_params["act"])
        record = around.entry.record
        corrections = self._service.corrections
        undo = corrections.undo_grant if isinstance(record.act, Grant) else corrections.undo_reset
        wanted = attempt(_undo_wanted, form.fields)
        try:
            receipt = await undo(form.call, record.id, wanted)
        except Refusal as refusal:
            return _one(form.seat, around, refusal, form.text("reason"))
        return go(f"{form.seat.here}/acts/{receipt.id}?done")


# --- reading


def _asked(given: Mapping[str, str]) -> Search:
    """Refuses: InvalidRequest."""
    if unknown := given.keys() - {*FILTERS, "after"}:
        raise InvalidRequest(f"There is nothing called {min(unknown)[:64]!r} to look by.")
    after = given.get("after", "")
    if after and not (after.isascii() and after.isdigit() and 0 < len(after) <= 18):  # noqa: PLR2004 - fits a database
        raise InvalidRequest("`after` is the sequence of an act, a number.")
    some = {name: tuple(value for value in (given.get(name, ""),) if value) for name in ("actor", "kind", "channel")}
    subjects = tuple(each for each in given.get("subject", "").split(",") if each.strip())
    return search_of(
        wire_control.ActsBody(
            since=_with_zone(given["since"]) if given.get("since") else UNSET,
            until=_with_zone(given["until"]) if given.get("until") else UNSET,
            actors=some["actor"],
            kinds=some["kind"],
            channels=some["channel"],
            pass_=given.get("pass") or UNSET,
            subjects=tuple(each.strip() for each in subjects),
            limit=LISTED,
            after=int(after) if after else None,
        )
    )


def _with_zone(text: str) -> str:
    return f"{text}Z" if _LOCAL.fullmatch(text) else text


def _undo_wanted(fields: Mapping[str, str]) -> UndoWanted:
    """Refuses: InvalidRequest."""
    return UndoWanted(reason_of(fields.get("reason", "")), fields.get("replace") == "1")


# --- showing


def _address(seat: Seat, given: Mapping[str, str], ending: str = "") -> str:
    """Answer where that is listed which is looked for."""
    asked = urlencode({name: value for name, value in given.items() if value}, quote_via=quote, safe=":,")
    return f"{seat.here}/acts{ending}{'?' if asked else ''}{asked}"


def _list(
    seat: Seat, given: Mapping[str, str], found: Page, refusal: Refusal | None = None, how: str = "", spelled: str = ""
) -> Response:
    kept = {name: given.get(name, "") for name in FILTERS}
    return page(
        "acts.html",
        seat,
        CONTROL[type(refusal)].status if refusal is not None else 200,
        refused=refusal.detail if refusal is not None else "",
        found=found,
        given=kept,
        since=_field(kept["since"]),
        until=_field(kept["until"]),
        is_newest=not any(given.values()),
        newest=_address(seat, kept),
        older=_address(seat, {**kept, "after": str(found.next)}) if found.next is not None else "",
        csv=_address(seat, kept, ".csv"),
        lines=_address(seat, kept, ".jsonl"),
        kinds=DONE,
        spellings=SPELLINGS,
        how=how,
        spelled=spelled,
    )


def _field(text: str) -> str:
    """Write a moment for a field of a form, which has no zone; "" for what is none."""
    try:
        at = moment_of(_with_zone(text), "")
    except InvalidRequest:
        return ""
    exactness = "minutes" if at % 60_000 == 0 else "seconds" if at % 1000 == 0 else "milliseconds"
    return datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None).isoformat(timespec=exactness)


def _one(
    seat: Seat, around: Around, refusal: Refusal | None = None, reason: str = "", *, is_fresh: bool = False
) -> Response:
    record = around.entry.record
    told = wire_control.act_shape(*around.entry)
    subjects: tuple[Subject, ...] = getattr(record.act, "subjects", ())
    is_undoable = isinstance(record.act, (*RESETS, *GRANTS)) and seat.may(role_to_undo(record.act))
    declared = seat.world.catalogue.passes.get(getattr(record.act, "pass_id", ""))
    return page(
        "act.html",
        seat,
        CONTROL[type(refusal)].status if refusal is not None else 200,
        refused=refusal.detail if refusal is not None else "",
        around=around,
        record=record,
        channel_id=told["channel"],
        pass_id=told["pass"],
        matched=told["matched"],
        more={name: value for name, value in told.items() if name not in _TOLD and value not in (None, [], ())},
        subjects=subjects[:NAMED_MAX],
        unnamed=max(0, len(subjects) - NAMED_MAX),
        viewer=_viewer(subjects) if is_one_viewer(subjects) else "",
        viewer_of=lambda subject: _viewer((subject,)),
        is_fresh=is_fresh,
        may_undo=is_undoable and around.undo_until is not None,
        is_reason_needed=declared is not None and declared.reason_required,
        may_replace=isinstance(refusal, NewTrial) or isinstance(record.act, NarrowedReset),
        reason=reason,
    )


def _viewer(subjects: tuple[Subject, ...]) -> str:
    """Answer the page of one viewer, below the environment's."""
    digests = {subject.kind: subject.digest.hex() for subject in subjects}
    return f"/viewer/{digests.get(SubjectKind.DEVICE, '-')}/{digests.get(SubjectKind.USER_KEY, '-')}"
