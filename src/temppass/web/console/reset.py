"""
Resets of everybody, or of a part of them: whom they mean, how many that is, the pass's name typed, and what became of
it. Nothing that is left out of a form widens what it means.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control
from temppass.core.catalogue import Channel, Pass
from temppass.core.operator import Role
from temppass.core.plan import EVERYBODY, Target
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest, PlanOutdated, Refusal
from temppass.service import Service
from temppass.service.corrections import UndoWanted
from temppass.service.plans import ApplyWanted, PlanWanted, Wanted
from temppass.web.console.answer import LOOKED, Outcome, done, refused
from temppass.web.console.look import console_route, go, page
from temppass.web.console.seat import Form, Seat, form_of, seat_of
from temppass.web.desk import decode, moment_of
from temppass.web.host import base_url
from temppass.web.problems import CONTROL, SurfaceRoute
from temppass.web.request import attempt

#: how long a page waits for what is done chunk by chunk before it tells how far that is
PATIENCE_S = 1.0
_HERE = "/console/in/{environment}/reset"


class ResetPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route(_HERE, self.ask, "GET", "console_reset"),
            console_route(_HERE, self.plan, "POST", "console_reset"),
            console_route(f"{_HERE}/{{plan:id}}", self.show, "GET", "console_reset_plan"),
            console_route(f"{_HERE}/{{plan:id}}", self.apply, "POST", "console_reset_plan"),
            console_route(f"{_HERE}/done/{{act:id}}", self.done, "GET", "console_reset_done"),
            console_route(f"{_HERE}/done/{{act:id}}/undo", self.undo, "POST", "console_reset_undo"),
            console_route(f"{_HERE}/done/{{act:id}}/finish", self.finish, "POST", "console_reset_finish"),
        ]

    # --- whom it means

    async def ask(self, request: Request) -> Response:
        return _asking(await seat_of(self._service, request, Role.OPERATOR))

    async def plan(self, request: Request) -> Response:
        form = await form_of(self._service, request, Role.OPERATOR)
        try:
            planned = await self._service.plans.plan(form.call, attempt(_planned, form))
        except Refusal as refusal:
            return _asking(form.seat, refused(refusal, form))
        return go(f"{form.seat.here}/reset/{planned.id}")

    # --- what was counted

    async def show(self, request: Request) -> Response:
        seat, id_ = await seat_of(self._service, request, Role.OPERATOR), request.path_params["plan"]
        return await self._plan(request, seat, id_)

    async def apply(self, request: Request) -> Response:
        form, id_ = await form_of(self._service, request, Role.OPERATOR), request.path_params["plan"]
        try:
            receipt = await self._service.plans.apply(form.call, attempt(_applied, form, id_), patience_s=PATIENCE_S)
        except Refusal as refusal:
            return await self._plan(
                request, form.seat, id_, refused(refusal, form), outdated=isinstance(refusal, PlanOutdated)
            )
        if receipt.approval is not None:
            return done(f"{form.seat.here}/approvals", receipt.approval)
        return go(receipt_page(form.seat, receipt.id, _target(form.fields)))

    async def _plan(
        self, request: Request, seat: Seat, id_: str, outcome: Outcome = LOOKED, *, outdated: bool = False
    ) -> Response:
        """Answer the page of a plan; where there is none any more, one from which what was meant is counted anew."""
        try:
            made, offer = await self._service.plans.made(seat.call, id_)
        except PlanOutdated as refusal:
            target = attempt(_target, outcome.typed)
            return page(
                "reset_outdated.html",
                seat,
                CONTROL[PlanOutdated].status,
                refused=outcome.sentence or refusal.detail,
                again=written(target) if isinstance(target, Target) else "",
            )
        return page(
            "reset_plan.html",
            seat,
            outcome.status,
            id=id_,
            made=made,
            offer=offer,
            target=written(made.target),
            copies=_copies(base_url(request.scope), seat, id_, made.target),
            outdated=outdated,
            outcome=outcome,
        )

    # --- what became of it

    async def done(self, request: Request) -> Response:
        return await self._done(await seat_of(self._service, request, Role.OPERATOR), request.path_params["act"])

    async def undo(self, request: Request) -> Response:
        form, id_ = await form_of(self._service, request, Role.OPERATOR), request.path_params["act"]
        try:
            await self._service.corrections.undo_reset(form.call, id_, attempt(_undone, form), patience_s=PATIENCE_S)
        except Refusal as refusal:
            return await self._done(form.seat, id_, refused(refusal, form))
        return go(f"{form.seat.here}/reset/done/{id_}")

    async def finish(self, request: Request) -> Response:
        form, id_ = await form_of(self._service, request, Role.OPERATOR), request.path_params["act"]
        await self._service.courses.finish(form.call, id_, patience_s=PATIENCE_S)
        return go(f"{form.seat.here}/reset/done/{id_}")

    async def _done(self, seat: Seat, id_: str, outcome: Outcome = LOOKED) -> Response:
        course = await self._service.courses.of(seat.call, id_)
        needs_reason = seat.world.catalogue.passes[course.what.pass_id].reason_required
        return page(
            "reset_done.html",
            seat,
            outcome.status,
            course=course,
            needs_reason=needs_reason,
            outcome=outcome,
        )


# --- reading


def _planned(form: Form) -> PlanWanted:
    """Read whom a reset is to mean, from the form, or as a plan of before had it. Refuses: InvalidRequest."""
    if "target" in form.fields:
        return PlanWanted(_target(form.fields))
    channel_id, _, pass_id = form.text("integration").partition("/")
    if not channel_id or not pass_id:
        raise InvalidRequest("Choose a pass.")
    kinds, before = EVERYBODY.get(form.text("kinds")), form.text("started_before")  # type: ignore[call-overload]
    if kinds is None:
        raise InvalidRequest("Choose devices, user keys, or both.")
    since = moment_of(f"{before}Z", "the moment before which a trial began") if before else None
    return PlanWanted(Wanted(channel_id, pass_id, kinds, "over" in form.fields, since, form.text("app_id") or None))


def _applied(form: Form, plan_id: str) -> ApplyWanted:
    """Refuses: InvalidRequest, also where the name that was typed is not the pass's."""
    target = _target(form.fields)
    if form.text("typed") != target.pass_id:
        raise InvalidRequest(f"Nothing was reset: what was typed is not {target.pass_id}, the name of the pass.")
    return ApplyWanted(target, plan_id, reason_of(form.text("reason")))


def _target(fields: Mapping[str, str]) -> Target:
    """Read whom a plan meant, as its page wrote it. Refuses: InvalidRequest."""
    target = decode(Target, fields.get("target", "").encode())
    if target.kinds not in EVERYBODY.values():
        raise InvalidRequest("A reset is of devices, of user keys, or of both.")
    return target


def written(target: Target) -> str:
    return msgspec.json.encode(target).decode()


def _undone(form: Form) -> UndoWanted:
    """Refuses: InvalidRequest."""
    return UndoWanted(reason_of(form.text("reason")), "replace" in form.fields)


# --- answering


def _asking(seat: Seat, outcome: Outcome = LOOKED) -> Response:
    return page("reset.html", seat, outcome.status, offered=offered_to(seat), outcome=outcome)


def offered_to(seat: Seat) -> list[tuple[Channel, list[Pass]]]:
    """Answer the passes that each channel offers which the operator sees."""
    catalogue = seat.world.catalogue
    seen = [channel for channel in catalogue.channels.values() if seat.operator.sees(channel.id)]
    offered = [(each, [one for one in catalogue.passes.values() if one.channels.get(each.id)]) for each in seen]
    return [(channel, passes) for channel, passes in offered if passes]


def receipt_page(seat: Seat, act_id: str, target: Target) -> str:
    """Answer where one sees what became of a reset: one of a part has a page that tells how far it is."""
    return f"{seat.here}/acts/{act_id}?done" if target.is_everybody else f"{seat.here}/reset/done/{act_id}"


def _copies(base: str, seat: Seat, plan_id: str, target: Target) -> list[tuple[str, str]]:
    """Answer what applies a plan elsewhere; nothing where it names an application, known here by its digest alone."""
    narrowing = target.narrowing
    if narrowing.origin.app_id is not None:
        return []
    word = next(word for word, kinds in EVERYBODY.items() if kinds == target.kinds)
    body: dict[str, Any] = {"channel": target.channel_id, "pass": target.pass_id, "everybody": word, "plan": plan_id}
    options = ["--requestor", target.channel_id, "--mvpd", target.pass_id]
    options += [f"--all-{each}" for each in ("devices", "keys") if word in {each, "both"}]
    only: dict[str, Any] = {}
    if narrowing.over:
        only["over"] = True
        options.append("--over")
    if narrowing.started_before is not None:
        only["started_before"] = wire_control.moment(narrowing.started_before)
        options += ["--started-before", only["started_before"]]
    sent = msgspec.json.encode({**body, "only": only} if only else body).decode()
    url = shlex.quote(f"{base}{seat.control}/resets")
    curl = (
        f'curl -sS -X POST {url} -H "Authorization: Bearer $TOKEN" '
        f"-H 'Content-Type: application/json' --data-raw {shlex.quote(sent)}"
    )
    return [("curl", curl), ("temppass", f"temppass reset --profile desk {shlex.join(options)} --apply {plan_id}")]
