"""
What operators set right, over HTTP: resets, grants, and undo of either. Nobody is named in a path, and no absence of a
name means everybody.

Source: docs/design.md (acts of operators).
"""

from msgspec import UNSET, Struct
from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_corrections
from temppass.core import refusal as r
from temppass.core.grant import Gift
from temppass.core.identity import canonical_user_key, device_from_text, digest_from_hex
from temppass.core.operator import Role
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest
from temppass.service import Service
from temppass.service.corrections import GrantWanted, ResetWanted, UndoWanted, Whom
from temppass.service.plans import ApplyWanted
from temppass.web.desk import CHANNEL, IN, LIMITED, decode, done, environment_of, operation, read, route
from temppass.web.openapi import GuardedRoute, Operation
from temppass.web.plans import everybody
from temppass.web.request import attempt

#: what a viewer that cannot be is refused for
_NAMING: tuple[type[r.Refusal], ...] = (r.InvalidIdentity, r.InvalidDeviceIdentifier, *CHANNEL)
#: the members that name one viewer
_VIEWER = ("device", "email", "key", "subject")


def _correction(
    name: str,
    description: str,
    body: type[Struct],
    *refusals: type[r.Refusal],
    others: tuple[tuple[int, type[Struct]], ...] = (),
) -> Operation:
    return operation(
        name,
        description,
        wire_corrections.DoneShape,
        Role.SUPPORT,
        status=201,
        refusals=(*LIMITED, *_NAMING, r.ReasonRequired, r.KeyReused, *refusals),
        body=body,
        parameters=("Idempotency-Key",),
        others=others,
    )


_RESET = _correction(
    "reset",
    "Make one viewer new to a pass, or (role operator) those of a list, or everybody of a plan; where the pass wants "
    "two persons for that, 202.",
    wire_corrections.ResetBody,
    r.PlanRequired,
    r.PlanOutdated,
    r.AlreadySo,
    others=((202, wire_corrections.AskedShape),),
)
_GRANT = _correction(
    "grant",
    "Give one viewer minutes or titles on top of a trial that runs or is spent.",
    wire_corrections.GrantBody,
    r.NothingToGrant,
)
_UNDO_RESET = _correction(
    "undo_reset",
    "Take back a reset of the last 24 hours, also one of the vendor's wire: of one viewer, or any (role operator).",
    wire_corrections.UndoBody,
    r.NotThere,
    r.NothingToUndo,
    r.LaterReset,
    r.NewTrial,
)
_UNDO_GRANT = _correction(
    "undo_grant",
    "Take back what a grant of the last 24 hours gave and nobody has used.",
    wire_corrections.UndoBody,
    r.NotThere,
    r.NothingToUndo,
)


class CorrectionDoors:
    def __init__(self, service: Service) -> None:
        self._corrections = service.corrections
        self._plans = service.plans

    def routes(self) -> list[GuardedRoute]:
        return [
            route(f"{IN}/resets", self.reset, "POST", _RESET),
            route(f"{IN}/resets/{{act:id}}/undo", self.undo_reset, "POST", _UNDO_RESET),
            route(f"{IN}/grants", self.grant, "POST", _GRANT),
            route(f"{IN}/grants/{{act:id}}/undo", self.undo_grant, "POST", _UNDO_GRANT),
        ]

    async def reset(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        asked = attempt(_reset_wanted, raw)
        if isinstance(asked, ApplyWanted):
            return done(await self._plans.apply(call, asked))
        return done(await self._corrections.reset(call, asked))

    async def grant(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        return done(await self._corrections.grant(call, attempt(_grant_wanted, raw)))

    async def undo_reset(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        asked = attempt(_undo_wanted, raw)
        return done(await self._corrections.undo_reset(call, request.path_params["act"], asked))

    async def undo_grant(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        asked = attempt(_undo_wanted, raw)
        return done(await self._corrections.undo_grant(call, request.path_params["act"], asked))


def _reset_wanted(raw: bytes) -> ResetWanted | ApplyWanted:
    """Refuses: InvalidRequest, InvalidIdentity, InvalidDeviceIdentifier."""
    body = decode(wire_corrections.ResetBody, raw)
    wide = [name for name in ("subjects", "everybody") if getattr(body, name) is not UNSET]
    named = [name for name in _VIEWER if getattr(body, name) is not UNSET]
    if len(wide) + bool(named) != 1:
        raise InvalidRequest("Name one viewer (device, email, key, subject), or subjects, or everybody.")
    if body.everybody is not UNSET:
        wanted = everybody(body.channel, body.pass_, body.everybody, body.only)
        return ApplyWanted(wanted, body.plan if body.plan is not UNSET else None, reason_of(body.reason))
    if body.only is not UNSET or body.plan is not UNSET:
        raise InvalidRequest("only and plan go with everybody.")
    whom = tuple(map(digest_from_hex, body.subjects)) if body.subjects is not UNSET else _whom(body)
    return ResetWanted(body.channel, body.pass_, whom, reason_of(body.reason))


def _grant_wanted(raw: bytes) -> GrantWanted:
    """Refuses: InvalidRequest, InvalidIdentity, InvalidDeviceIdentifier."""
    body = decode(wire_corrections.GrantBody, raw)
    gift = Gift(body.minutes, body.titles)
    return GrantWanted(body.channel, body.pass_, _whom(body), gift, reason_of(body.reason))


def _undo_wanted(raw: bytes) -> UndoWanted:
    """Read what an undo is asked with; no body is an empty one. Refuses: InvalidRequest."""
    body = decode(wire_corrections.UndoBody, raw or b"{}")
    return UndoWanted(reason_of(body.reason), body.replace)


def _whom(body: wire_corrections.ResetBody | wire_corrections.GrantBody) -> Whom:
    """Answer the viewer that a body names. Refuses: InvalidRequest, InvalidIdentity, InvalidDeviceIdentifier."""
    empty = [name for name in _VIEWER if getattr(body, name) == ""]
    if empty:
        raise InvalidRequest(f"{empty[0]} is empty; leave it out, or say who is meant.")
    if body.email is not UNSET and body.key is not UNSET:
        raise InvalidRequest("email and key both name the user key; send one of them.")
    keys = [value for value in (body.email, body.key) if value is not UNSET]
    return Whom(
        device_from_text(body.device) if body.device is not UNSET else None,
        canonical_user_key(keys[0]) if keys else None,
        digest_from_hex(body.subject) if body.subject is not UNSET else None,
    )
