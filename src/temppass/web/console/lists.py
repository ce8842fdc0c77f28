"""
Lists of viewers: pasted or in a file, read before anybody is reset, gone through part by part, taken back together.

What a list says comes in the body of a form and goes no further; its pages tell lines by their numbers, and viewers by
their digests.
"""

from __future__ import annotations

import csv
import io

from starlette.requests import Request
from starlette.responses import Response

from temppass.core.model import SubjectKind
from temppass.core.operator import Role
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest, Refusal
from temppass.core.viewer_list import KINDS, Line, LineState, Undoing
from temppass.service import Service
from temppass.service.corrections import UndoWanted
from temppass.service.lists import ListWanted, Returned, Seen
from temppass.web.console.answer import LOOKED, Outcome, query_of, refused
from temppass.web.console.look import HEADERS, console_route, go, page
from temppass.web.console.reset import offered_to
from temppass.web.console.seat import Form, Seat, form_of, form_with_file, seat_of
from temppass.web.problems import CONTROL, SurfaceRoute
from temppass.web.request import attempt

_HERE = "/console/in/{environment}/lists"
#: of a form with a list; a connection lets through 32 KiB more
FORM_BYTES_MAX = 491_520
#: lines on one page
PAGE = 100
_NUMBER_DIGITS_MAX = 9

WORDS = {
    LineState.WAITING: "Waits",
    LineState.RESET: "Reset",
    LineState.NO_TRIAL: "Had no trial",
    LineState.REPEATED: "Named before",
    LineState.UNREADABLE: "Cannot be read",
}
GIVEN_BACK = "Given back"
#: what a file of what failed says; a line that waits may still be reset
_FAILED = (LineState.NO_TRIAL, LineState.UNREADABLE)


class ListPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        one = f"{_HERE}/{{list:id}}"
        return [
            console_route(_HERE, self.ask, "GET", "console_lists"),
            console_route(_HERE, self.make, "POST", "console_lists"),
            console_route(one, self.show, "GET", "console_list"),
            console_route(one, self.go_on, "POST", "console_list"),
            console_route(f"{one}/undo", self.undo, "POST", "console_list_undo"),
            console_route(f"{one}/failed.csv", self.failed, "GET", "console_list_failed"),
        ]

    # --- a list is made

    async def ask(self, request: Request) -> Response:
        return await self._asking(await seat_of(self._service, request, Role.OPERATOR))

    async def make(self, request: Request) -> Response:
        form = await form_with_file(self._service, request, Role.OPERATOR, FORM_BYTES_MAX)
        try:
            made = await self._service.lists.make(form.call, attempt(_wanted, form))
        except Refusal as refusal:
            return await self._asking(form.seat, refused(refusal, form))
        return go(f"{form.seat.here}/lists/{made.id}")

    async def _asking(self, seat: Seat, outcome: Outcome = LOOKED) -> Response:
        lists = await self._service.lists.all(seat.call)
        return page("lists.html", seat, outcome.status, offered=offered_to(seat), lists=lists, outcome=outcome)

    # --- where it is

    async def show(self, request: Request) -> Response:
        seat, after = await seat_of(self._service, request, Role.OPERATOR), query_of(request).get("after", "0")
        if not (after.isascii() and after.isdecimal() and len(after) <= _NUMBER_DIGITS_MAX):
            raise InvalidRequest("after is the number of a line.")
        return await self._page(seat, request.path_params["list"], after=int(after))

    async def go_on(self, request: Request) -> Response:
        form, id_ = await form_of(self._service, request, Role.OPERATOR), request.path_params["list"]
        try:
            one = (await self._service.lists.look(form.seat.call, id_)).list
            if not one.is_begun and form.text("typed") != one.pass_id:
                raise InvalidRequest(f"Nobody was reset: what was typed is not {one.pass_id}, the name of the pass.")
            await self._service.lists.go_on(form.call, id_)
        except Refusal as refusal:
            return await self._page(form.seat, id_, refused(refusal, form))
        return go(f"{form.seat.here}/lists/{id_}")

    async def undo(self, request: Request) -> Response:
        form, id_ = await form_of(self._service, request, Role.OPERATOR), request.path_params["list"]
        try:
            returned = await self._service.lists.undo(form.call, id_, attempt(_undone, form))
        except Refusal as refusal:
            return await self._page(form.seat, id_, refused(refusal, form))
        wrong = [each for each in returned if isinstance(each.outcome, Refusal)]
        if not wrong:
            return go(f"{form.seat.here}/lists/{id_}")
        status = max(CONTROL[type(each.outcome)].status for each in wrong)  # type: ignore[index]  # they are refusals
        return await self._page(form.seat, id_, Outcome("", status, form.fields), returned=wrong)

    async def _page(
        self, seat: Seat, id_: str, outcome: Outcome = LOOKED, *, after: int = 0, returned: list[Returned] | None = None
    ) -> Response:
        seen = await self._service.lists.look(seat.call, id_)
        number, lines = await self._lines_after(seat, seen, after)
        return page(
            "list.html",
            seat,
            outcome.status,
            seen=seen,
            one=seen.list,
            outcome=outcome,
            returned=returned or [],
            lines=[(line, _word(line, seen.undoing[number]), _place(line)) for line in lines],
            after=after,
            more=bool(lines) and lines[-1].number < seen.list.parts[-1].last,
            needs_reason=_needs_reason(seat, seen),
            undoing=Undoing,
        )

    async def _lines_after(self, seat: Seat, seen: Seen, after: int) -> tuple[int, list[Line]]:
        """Answer the lines of a page, and the number of the part that they are of: a page is of one part."""
        numbers = [number for number, part in enumerate(seen.list.parts) if part.last > after]
        if not numbers:
            return 0, []
        lines = await self._service.lists.lines(seat.call, seen.list.id, numbers[0])
        return numbers[0], [line for line in lines if line.number > after][:PAGE]

    async def failed(self, request: Request) -> Response:
        """Answer a file of the lines by which nobody was reset: their numbers, and why; nothing of what they said."""
        seat, id_ = await seat_of(self._service, request, Role.OPERATOR), request.path_params["list"]
        seen, written = await self._service.lists.look(seat.call, id_), io.StringIO()
        table = csv.writer(written)
        table.writerow(["line", "result", "why"])
        for number in range(len(seen.list.parts)):
            for line in await self._service.lists.lines(seat.call, id_, number):
                if line.state in _FAILED:
                    table.writerow([line.number, WORDS[line.state], line.note])
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="list-{id_[:8]}-failed.csv"'}
        return Response(written.getvalue(), 200, headers, "text/csv")


# --- reading


def _wanted(form: Form) -> ListWanted:
    """Refuses: InvalidRequest."""
    channel_id, _, pass_id = form.text("integration").partition("/")
    if not channel_id or not pass_id:
        raise InvalidRequest("Choose a pass.")
    texts = [text for name in ("text", "file") if (text := form.fields.get(name, "")).strip()]
    if len(texts) != 1:
        raise InvalidRequest("Paste the lines of the list, or choose a file; one of the two.")
    kind = form.text("kind") or None
    if kind is not None and kind not in KINDS:
        raise InvalidRequest("Choose what each line holds.")
    return ListWanted(channel_id, pass_id, texts[0], kind, reason_of(form.text("reason")))


def _undone(form: Form) -> UndoWanted:
    """Refuses: InvalidRequest."""
    return UndoWanted(reason_of(form.text("reason")), "replace" in form.fields)


# --- showing


def _word(line: Line, undoing: Undoing) -> str:
    return GIVEN_BACK if line.state is LineState.RESET and undoing is Undoing.UNDONE else WORDS[line.state]


def _place(line: Line) -> str:
    """Answer where the viewer of a line is shown, below the pages of viewers, "" where that is not certain."""
    digests: dict[SubjectKind, str] = {one.kind: one.digest.hex() for one in line.subjects}
    if not digests or len({*digests.values()}) < len(digests):
        return ""
    return "/".join(digests.get(kind, "-") for kind in (SubjectKind.DEVICE, SubjectKind.USER_KEY))


def _needs_reason(seat: Seat, seen: Seen) -> bool:
    declared = seat.world.catalogue.passes.get(seen.list.pass_id)
    return declared is not None and declared.reason_required
