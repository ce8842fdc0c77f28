"""
One viewer: found by whatever somebody on the phone can spell, explained first and then shown, and set right.

What names a viewer comes in the body of a form and goes no further: pages are at addresses of digests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from msgspec import UNSET
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control
from temppass.core import act
from temppass.core.catalogue import Pass, integration
from temppass.core.explain import State
from temppass.core.grant import Gift
from temppass.core.identity import digest_from_hex
from temppass.core.model import Subject, SubjectKind
from temppass.core.reason import reason_of
from temppass.core.refusal import (
    InvalidIdentity,
    InvalidRequest,
    NewTrial,
    OutsideLimits,
    Refusal,
)
from temppass.core.reset import UNDO_MS
from temppass.core.viewer import WORDS, Doubt, Form, Meant, read_viewer, readings
from temppass.core.world import World
from temppass.service import Service
from temppass.service.corrections import GrantWanted, Receipt, ResetWanted, UndoWanted, Whom
from temppass.service.explain import Explanation, Explanations, Question
from temppass.web.console import seat as seats
from temppass.web.console.answer import Done, Outcome, refused, told
from temppass.web.console.copies import Copied, copies
from temppass.web.console.look import console_route, go, page
from temppass.web.console.seat import Seat, form_of, seat_of
from temppass.web.console.timeline import NAMES, Timeline, timeline
from temppass.web.explain import question_of
from temppass.web.host import base_url
from temppass.web.problems import CONTROL, SurfaceRoute
from temppass.web.request import form_pairs, single

IN = "/console/in/{environment}/viewer"
ONE = f"{IN}/{{device:id}}/{{key:id}}"
#: what stands for the one of a pair that nobody named
NOBODY = "-"
#: integrations that a page shows whole, and titles of one; of the others it shows what matters, and where the rest is
WHOLE_MAX = 5
TITLES_MAX = 50
_SPACE = {Doubt.DEVICE_SPACE, Doubt.KEY_SPACE, Doubt.EMAIL_SPACE}
_UNDO = "undo "
#: of what a form sends, in digits
_NUMBER_DIGITS_MAX = 9
TAKEN = {
    Form.DEVICE_ID: "a device id",
    Form.DEVICE_HEADER: "the header AP-Device-Identifier",
    Form.DEVICE_DIGEST: "the digest of a device",
    Form.EMAIL: "an e-mail address",
    Form.HASH: "a hash of a user key",
    Form.KEY: "a user key, not hashed",
    Form.IDENTITY: "the header AP-TempPass-Identity",
    Form.KEY_DIGEST: "the digest of a user key",
}
STATES = {"new": "New", "running": "Running", "over": "Over", "used_up": "Titles used up", "reset": "Reset"}


class Guess(NamedTuple):
    """Whom the texts of a search may name, and what each of them was taken for."""

    forms: tuple[Form, ...]
    meant: Meant

    @property
    def place(self) -> str:
        """Where the page is, below those of the viewers; it names nobody."""
        told = [("as", form) for form in self.forms] + [("doubt", doubt) for doubt in self.meant.doubts]
        return f"{_hex(self.meant.device)}/{_hex(self.meant.user_key)}?{urlencode(told)}"


class Asked(NamedTuple):
    """What a page of a viewer is asked for beside whose it is; `place` is an integration, "" all."""

    place: str = ""
    title: str = ""
    #: the act to tell of
    done: str = ""
    forms: tuple[Form, ...] = ()

    @property
    def query(self) -> str:
        known = [("in", self.place), ("title", self.title), ("done", self.done)]
        return urlencode([(name, value) for name, value in known if value] + [("as", form) for form in self.forms])


class Refused(NamedTuple):
    """Which form was refused, by its act and integration; `replace` where it can be sent again with that."""

    what: str
    place: str
    outcome: Outcome
    replace: bool


class Shown(NamedTuple):
    """One integration of the page. `whom` are the words of those who have a trial that can be set right."""

    explanation: Explanation
    entry: Pass | None
    line: Timeline | None
    copies: list[Copied]
    whom: tuple[str, ...]
    undoable: frozenset[str]

    def has_form(self, no: Refused) -> bool:
        """Tell whether the form that was refused is on the page again, to tell why there."""
        undone = no.what.removeprefix(_UNDO)
        return undone in self.undoable if undone != no.what else bool(self.whom) and no.place == self.place

    @property
    def place(self) -> str:
        return integration(self.explanation.channel_id, self.explanation.pass_id)


Do = Callable[[seats.Form, Meant], Awaitable[Receipt]]


class ViewerPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(IN, self.again, "GET", "console_viewer_search"),
            console_route(IN, self.search, "POST", "console_viewer_search"),
            console_route(ONE, self.show, "GET", "console_viewer"),
            console_route(f"{ONE}/reset", self.reset, "POST", "console_viewer_reset"),
            console_route(f"{ONE}/grant", self.grant, "POST", "console_viewer_grant"),
            console_route(f"{ONE}/undo/{{act:id}}", self.undo, "POST", "console_viewer_undo"),
        ]

    # --- who is looked for

    async def again(self, request: Request) -> Response:
        """The page of a search is asked for anew: what was typed is not in its address."""
        return go((await seat_of(self._service, request)).here)

    async def search(self, request: Request) -> Response:
        form = await form_of(self._service, request)
        seat, typed = form.seat, {name: form.fields.get(name, "") for name in ("viewer", "other")}
        try:
            guesses = _guesses([text for text in typed.values() if text.strip()], seat.world)
        except Refusal as refusal:
            return page("viewer_search.html", seat, _status(refusal), typed=typed, refused=refusal.detail)
        if len(guesses) > 1:
            known = await self._best_known(seat, guesses)
            guesses = known or [guess for guess in guesses if not _SPACE & {*guess.meant.doubts}]
            if len(guesses) > 1:
                return page(
                    "viewer_search.html", seat, typed=typed, refused="", guesses=guesses, known=bool(known), taken=TAKEN
                )
        return go(f"{seat.here}/viewer/{guesses[0].place}")

    async def _best_known(self, seat: Seat, guesses: Sequence[Guess]) -> list[Guess]:
        """Answer the guesses of which most is known: a trial of the device, of the user key, or both; none if none."""
        known: dict[Subject | None, bool] = {None: False}
        for guess in guesses:
            for one in (Meant(device=guess.meant.device), Meant(user_key=guess.meant.user_key)):
                if (subject := one.device or one.user_key) not in known:
                    found = await self._service.explainer.explain(seat.call, Question(one))
                    known[subject] = isinstance(found, Explanations) and bool(found.explanations)
        most = [known[guess.meant.device] + known[guess.meant.user_key] for guess in guesses]
        return [guess for guess, number in zip(guesses, most, strict=True) if number == max(most) > 0]

    # --- what is shown

    async def show(self, request: Request) -> Response:
        seat = await seat_of(self._service, request)
        pairs = form_pairs(request.scope["query_string"])
        query = single((name, value) for name, value in pairs if name not in {"as", "doubt"})
        forms = tuple(Form(value) for name, value in pairs if name == "as" and value in TAKEN)[:2]
        doubts = tuple(doubt for doubt in Doubt if ("doubt", doubt.value) in pairs)
        asked = Asked(query.get("in", ""), query.get("title", ""), query.get("done", ""), forms)
        return await self._page(request, seat, replace(_meant(request), doubts=doubts), asked)

    async def _page(
        self, request: Request, seat: Seat, meant: Meant, asked: Asked, no: Refused | None = None
    ) -> Response:
        wrong: Refusal | None = None
        found: Explanation | Explanations | None = None
        try:
            found = await self._service.explainer.explain(seat.call, _question(meant, asked))
        except (InvalidRequest, OutsideLimits) as refusal:
            wrong = refusal
        explanations = (found,) if isinstance(found, Explanation) else found.explanations if found is not None else ()
        undone = {
            each.record.act.act_id
            for explanation in explanations
            for each in explanation.acts
            if isinstance(each.record.act, act.Undo)
        }
        # who was denied is why the page was opened
        explanations = tuple(sorted(explanations, key=lambda each: (not _is_of(no, each), each.explained.authorized)))
        done = await told(self._service, {"done": asked.done}, seat.call)
        base = base_url(request.scope)
        shown = [_shown(seat, base, each, undone) for each in explanations]
        wrong_status = _status(wrong) if wrong is not None else 200
        return page(
            "viewer.html",
            seat,
            no.outcome.status if no is not None else wrong_status,
            path=_path(seat, meant),
            meant=meant,
            asked=asked,
            taken=[TAKEN[form] for form in asked.forms],
            wrong=wrong.detail if wrong is not None else "",
            no=no,
            nowhere=found.because if isinstance(found, Explanations) else "",
            warnings=found.warnings if found is not None else (),
            shown=shown,
            in_place=no is not None and any(each.has_form(no) for each in shown[:WHOLE_MAX]),
            whole_max=WHOLE_MAX,
            titles_max=TITLES_MAX,
            places=_places(seat),
            done=done,
            done_undoable=done is not None and _is_undoable(seat, done, undone),
            undo_ms=UNDO_MS,
            states=STATES,
            names=NAMES,
            words=WORDS,
        )

    # --- what is set right

    async def reset(self, request: Request) -> Response:
        async def do(form: seats.Form, meant: Meant) -> Receipt:
            wanted = ResetWanted(*_place_of(form), _whom(meant, form.text("whom")), reason_of(form.text("reason")))
            return await self._service.corrections.reset(form.call, wanted)

        return await self._do(request, "reset", do)

    async def grant(self, request: Request) -> Response:
        async def do(form: seats.Form, meant: Meant) -> Receipt:
            gift = Gift(_number(form, "minutes"), _number(form, "titles"))
            whom, reason = _whom(meant, form.text("whom")), reason_of(form.text("reason"))
            return await self._service.corrections.grant(form.call, GrantWanted(*_place_of(form), whom, gift, reason))

        return await self._do(request, "grant", do)

    async def undo(self, request: Request) -> Response:
        act_id: str = request.path_params["act"]

        async def do(form: seats.Form, _meant: Meant) -> Receipt:
            entry = await self._service.acts.one(form.seat.call, act_id)
            wanted = UndoWanted(reason_of(form.text("reason")), form.text("replace") == "1")
            corrections = self._service.corrections
            undo = corrections.undo_grant if isinstance(entry.record.act, act.Grant) else corrections.undo_reset
            return await undo(form.call, act_id, wanted)

        return await self._do(request, f"{_UNDO}{act_id}", do)

    async def _do(self, request: Request, what: str, do: Do) -> Response:
        form, meant = await form_of(self._service, request), _meant(request)
        asked = Asked(form.text("in"), form.text("title"))
        try:
            receipt = await do(form, meant)
        except Refusal as refusal:
            no = Refused(what, form.text("place"), refused(refusal, form), isinstance(refusal, NewTrial))
            return await self._page(request, form.seat, meant, asked, no)
        return go(f"{_path(form.seat, meant)}?{asked._replace(done=receipt.id).query}")


# --- reading


def _guesses(texts: Sequence[str], world: World) -> list[Guess]:
    """
    Answer whom one text may name, or two together, a device and a user key.

    Refuses: InvalidRequest, InvalidDeviceIdentifier, InvalidIdentity.
    """
    if not texts:
        raise InvalidRequest("Type a device or a user key in any of its forms, and it is looked for.")
    first, *rest = (_read(text, world) for text in texts)
    if not rest:
        return first
    pairs = [
        Guess((*one.forms, *other.forms), _joined(one.meant, other.meant))
        for one in first
        for other in rest[0]
        if (one.meant.device is None) != (other.meant.device is None)
    ]
    if not pairs:
        raise InvalidRequest("Both boxes hold a device, or both a user key; a viewer is one of each.")
    return pairs


def _joined(one: Meant, other: Meant) -> Meant:
    return Meant(one.device or other.device, one.user_key or other.user_key, doubts=(*one.doubts, *other.doubts))


def _read(text: str, world: World) -> list[Guess]:
    """Answer all that one text may name. Refuses: what every reading of it does."""
    found: dict[tuple[Subject | None, Subject | None], Guess] = {}
    refused: Refusal | None = None
    for form, named in readings(text):
        try:
            for meant in _known_by(read_viewer(named, world.pepper), world):
                found.setdefault((meant.device, meant.user_key), Guess((form,), meant))
        except Refusal as refusal:
            refused = refused or refusal
    if not found and refused is not None:
        raise refused
    return list(found.values())


def _known_by(meant: Meant, world: World) -> list[Meant]:
    """Answer the digests of a name; an identity has one under each name that passes have for it."""
    if meant.identity is None:
        return [meant]
    found: list[Meant] = []
    refused = InvalidIdentity("No pass of this environment goes by a user's identity.")
    for identity_key in dict.fromkeys(entry.identity_key for entry in world.catalogue.passes.values()):
        if identity_key:
            try:
                (subject,) = meant.subjects(identity_key, world.pepper)
            except InvalidIdentity as refusal:
                refused = refusal
            else:
                found.append(Meant(user_key=subject, doubts=meant.doubts))
    if not found:
        raise refused
    return found


def _meant(request: Request) -> Meant:
    """Answer the viewer of an address. Raises HTTPException 404 for what is none."""
    digests = [request.path_params[name] for name in ("device", "key")]
    try:
        device, key = (digest_from_hex(text) if text != NOBODY else None for text in digests)
    except InvalidIdentity:
        raise HTTPException(404, "A viewer's page is at the digest of a device, of a user key, or both.") from None
    if device is None and key is None:
        raise HTTPException(404, "A viewer's page is at the digest of a device, of a user key, or both.")
    return Meant(
        Subject(SubjectKind.DEVICE, device) if device is not None else None,
        Subject(SubjectKind.USER_KEY, key) if key is not None else None,
    )


def _question(meant: Meant, asked: Asked) -> Question:
    """Refuses: InvalidRequest."""
    channel_id, _, pass_id = asked.place.partition("/")
    body = wire_control.ExplainBody(
        channel=channel_id if asked.place else UNSET,
        pass_=pass_id if asked.place else UNSET,
        title=asked.title or UNSET,
    )
    return replace(question_of(body), viewer=meant)


def _place_of(form: seats.Form) -> tuple[str, str]:
    """Answer channel and pass of what is set right."""
    channel_id, _, pass_id = form.text("place").partition("/")
    return channel_id, pass_id


def _whom(meant: Meant, word: str) -> Whom:
    """Answer those of a viewer that a form chose. Refuses: InvalidRequest."""
    chosen = {"device": (meant.device,), "key": (meant.user_key,), "both": (meant.device, meant.user_key)}.get(word, ())
    subjects = tuple(subject for subject in chosen if subject is not None)
    if not subjects or len(subjects) != len(chosen):
        raise InvalidRequest("Say whom you mean: the device, the user key or both, as the page shows them.")
    return Whom(subjects=subjects)


def _number(form: seats.Form, name: str) -> int:
    """Refuses: InvalidRequest."""
    text = form.text(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX):
        raise InvalidRequest(f"{name.capitalize()} are a whole number.")
    return int(text)


# --- showing


def _is_of(no: Refused | None, explanation: Explanation) -> bool:
    return no is not None and no.place == integration(explanation.channel_id, explanation.pass_id)


def _shown(seat: Seat, base: str, explanation: Explanation, undone: set[str]) -> Shown:
    entry = seat.world.catalogue.passes.get(explanation.pass_id)
    may_act = entry is not None and entry.channels.get(explanation.channel_id, False) and seat.may("support")
    whom = [
        WORDS[part.subject.kind]
        for part in explanation.explained.parts
        if may_act and part.state not in {State.NEW, State.RESET}
    ]
    return Shown(
        explanation,
        entry,
        timeline(explanation, seat.now),
        copies(
            base,
            seat.environment,
            explanation.channel_id,
            explanation.pass_id,
            [part.subject for part in explanation.explained.parts],
            resets=bool(whom),
        ),
        (*(["both"] if len(whom) > 1 else []), *whom),
        frozenset(each.record.id for each in explanation.acts if _is_undoable(seat, _done(each.record), undone)),
    )


def _done(record: act.Record) -> Done:
    return Done(record.id, act.kind_word(record.act), record.act, record.at)


def _is_undoable(seat: Seat, done: Done, undone: set[str]) -> bool:
    """Tell whether who sits here may take back an act on this viewer, as far as the page knows."""
    what = done.what
    return (
        isinstance(what, act.SubjectReset | act.Grant)
        and what.matched > 0
        and act.is_one_viewer(what.subjects)
        and done.id not in undone
        and seat.now < done.at + UNDO_MS
        and seat.may("support")
        and seat.operator.sees(what.channel_id)
    )


def _places(seat: Seat) -> list[str]:
    """Answer the integrations that can be chosen."""
    return sorted(
        integration(channel_id, entry.id)
        for entry in seat.world.catalogue.passes.values()
        for channel_id in entry.channels
        if seat.operator.sees(channel_id)
    )


def _path(seat: Seat, meant: Meant) -> str:
    return f"{seat.here}/viewer/{_hex(meant.device)}/{_hex(meant.user_key)}"


def _hex(subject: Subject | None) -> str:
    return subject.digest.hex() if subject is not None else NOBODY


def _status(refusal: Refusal) -> int:
    """Answer the status of a page that shows a refusal. Raises it where the control API has no row for it."""
    row = CONTROL.get(type(refusal))
    if row is None:
        raise refusal
    return row.status
