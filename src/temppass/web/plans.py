"""
Resets of everybody over HTTP: planned, and where a pass wants two persons for them, asked for and confirmed.

Source: docs/design.md (plans, two persons).
"""

from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control, wire_corrections
from temppass.core import refusal as r
from temppass.core.approval import Approval
from temppass.core.operator import Role
from temppass.core.plan import EVERYBODY, Example
from temppass.core.refusal import InvalidRequest
from temppass.core.viewer import WORDS
from temppass.service import Service
from temppass.service.plans import PlanWanted, Wanted
from temppass.web.desk import (
    CHANNEL,
    IN,
    LIMITED,
    call_of,
    decode,
    done,
    environment_of,
    moment_of,
    ok,
    operation,
    read,
    route,
)
from temppass.web.openapi import GuardedRoute
from temppass.web.request import attempt

#: digits of a digest that an example shows
_SHOWN = 8

_PLAN = operation(
    "plan",
    "Count what a reset of everybody, or of a part of them, would touch: in a second, exactly or as an estimate.",
    wire_corrections.PlannedShape,
    Role.OPERATOR,
    status=201,
    refusals=(*LIMITED, *CHANNEL, r.KeyReused),
    body=wire_corrections.PlanBody,
    parameters=("Idempotency-Key",),
)
_APPROVALS = operation(
    "approvals",
    "List the resets that wait for a second person.",
    wire_corrections.ApprovalsShape,
    Role.OPERATOR,
)
_DECIDE = operation(
    "decide",
    "Confirm a reset that another operator asked for, and it is done (201); or decline it (200).",
    wire_corrections.DoneShape,
    Role.OPERATOR,
    status=201,
    refusals=(*LIMITED, *CHANNEL, r.KeyReused, r.NotThere, r.OwnApproval, r.PlanOutdated),
    body=wire_corrections.ApprovalBody,
    parameters=("Idempotency-Key",),
    others=((200, wire_corrections.DoneShape),),
)


class PlanDoors:
    def __init__(self, service: Service) -> None:
        self._plans = service.plans

    def routes(self) -> list[GuardedRoute]:
        return [
            route(f"{IN}/plans", self.plan, "POST", _PLAN),
            route(f"{IN}/approvals", self.approvals, "GET", _APPROVALS),
            route(f"{IN}/approvals/{{approval:id}}", self.decide, "POST", _DECIDE),
        ]

    async def plan(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        planned = await self._plans.plan(call, attempt(_plan_wanted, raw))
        answer = wire_corrections.PlannedShape(
            planned.id,
            planned.running,
            planned.over,
            planned.exact,
            [_example(each) for each in planned.examples],
            wire_control.moment(planned.ends_at),
        )
        return ok(answer, 201)

    async def approvals(self, request: Request) -> Response:
        waiting = await self._plans.approvals(call_of(request, environment_of(request)))
        return ok(wire_corrections.ApprovalsShape([_approval(each) for each in waiting]))

    async def decide(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        asked = attempt(_approves, raw)
        receipt = await self._plans.decide(call, request.path_params["approval"], asked)
        return done(receipt, 201 if asked is True else 200)


def everybody(
    channel_id: str, pass_id: str, word: wire_corrections.EverybodyWord, only: wire_corrections.OnlyShape | UnsetType
) -> Wanted:
    """Read whom a reset of everybody means. Refuses: InvalidRequest."""
    kinds = EVERYBODY[word]
    if only is UNSET:
        return Wanted(channel_id, pass_id, kinds)
    if only.app_id == "":
        raise InvalidRequest("only.app_id is empty; leave it out, or name the application.")
    since = moment_of(only.started_before, "only.started_before") if only.started_before is not UNSET else None
    return Wanted(channel_id, pass_id, kinds, only.over, since, only.app_id if only.app_id is not UNSET else None)


def _plan_wanted(raw: bytes) -> PlanWanted:
    """Refuses: InvalidRequest."""
    body = decode(wire_corrections.PlanBody, raw)
    return PlanWanted(everybody(body.channel, body.pass_, body.everybody, body.only), body.share)


def _approves(raw: bytes) -> bool:
    """Refuses: InvalidRequest."""
    return decode(wire_corrections.ApprovalBody, raw).approve


def _example(example: Example) -> wire_corrections.ExampleShape:
    subject = example.subject
    return wire_corrections.ExampleShape(
        WORDS[subject.kind], subject.digest.hex()[:_SHOWN], wire_control.moment(example.started_at), example.titles
    )


def _approval(waiting: Approval) -> wire_corrections.ApprovalShape:
    target, narrowing, planned = waiting.target, waiting.target.narrowing, waiting.counted.planned
    before, app_id = narrowing.started_before, narrowing.origin.app_id
    return wire_corrections.ApprovalShape(
        waiting.id,
        target.channel_id,
        target.pass_id,
        next(word for word, kinds in EVERYBODY.items() if kinds == target.kinds),
        wire_corrections.OnlyToldShape(
            narrowing.over,
            wire_control.moment(before) if before is not None else None,
            app_id.hex() if app_id is not None else None,
        ),
        planned.running,
        planned.over,
        planned.exact,
        waiting.asked_by,
        wire_control.moment(waiting.asked_at),
        waiting.reason,
        wire_control.moment(waiting.ends_at),
    )
