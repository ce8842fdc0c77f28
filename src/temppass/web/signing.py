"""
Signing keys over HTTP: which ones there are, and their rotation.

Source: docs/reference.md (control).
"""

from starlette.requests import Request
from starlette.responses import Response

from temppass import wire_control
from temppass.core import refusal as r
from temppass.core.keys import Shown
from temppass.core.operator import Role
from temppass.core.reason import reason_of
from temppass.service import Service
from temppass.service.signing import Rotation
from temppass.web.desk import IN, LIMITED, call_of, decode, environment_of, ok, operation, read, route
from temppass.web.openapi import GuardedRoute
from temppass.web.request import attempt

_KEYS = operation(
    "keys",
    "List the signing keys: those that sign first, then the next, then those that only verify.",
    wire_control.KeysShape,
    Role.VIEWER,
)
_ROTATE = operation(
    "rotate_keys",
    "Publish the next signing keys, which sign later. Compromised ones end at once, with all that they signed.",
    wire_control.KeysRotated,
    Role.ADMIN,
    status=201,
    refusals=(*LIMITED, r.NotThere, r.AlreadySo, r.KeyReused),
    body=wire_control.RotationBody,
    parameters=("Idempotency-Key",),
)


class SigningDoors:
    def __init__(self, service: Service) -> None:
        self._signing = service.signing

    def routes(self) -> list[GuardedRoute]:
        return [
            route(f"{IN}/keys", self.keys, "GET", _KEYS),
            route(f"{IN}/keys/rotate", self.rotate, "POST", _ROTATE),
        ]

    async def keys(self, request: Request) -> Response:
        found = await self._signing.all(call_of(request, environment_of(request)))
        return ok(wire_control.KeysShape([_shape(each) for each in found]))

    async def rotate(self, request: Request) -> Response:
        raw, call = await read(request, environment_of(request))
        done = await self._signing.rotate(call, attempt(_rotation, raw))
        anew = [wire_control.MintAnewShape(each.application_id, each.id) for each in done.mint_anew]
        return ok(wire_control.KeysRotated(done.id, done.kids, wire_control.moment(done.signs_from), anew), 201)


def _rotation(raw: bytes) -> Rotation:
    """Read how keys are to be rotated; no body is an empty one. Refuses: InvalidRequest."""
    body = decode(wire_control.RotationBody, raw or b"{}")
    return Rotation(body.compromised, reason_of(body.reason))


def _shape(key: Shown) -> wire_control.KeyShape:
    made_at, signs_from, until = (
        wire_control.moment(at) if at is not None else None for at in (key.made_at, key.signs_from, key.until)
    )
    return wire_control.KeyShape(key.kid, key.kind, key.alg, key.state, made_at, signs_from, until)
