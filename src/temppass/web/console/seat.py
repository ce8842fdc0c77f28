"""
Who sits at the console: sessions in cookies, forms that no other page can send, and what each of them may do.

A form says back what only a page of its own session was told; it comes from the same origin, or nothing says from
where; and it names itself, so that one that is sent twice is done once.
Source: RFC 6265 (cookies); Fetch Metadata; OWASP CSRF prevention (synchronizer token).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request

from temppass.core.operator import Operator, Role
from temppass.core.refusal import InvalidRequest, UnknownOperator
from temppass.core.tokens import same
from temppass.core.world import World
from temppass.service import Service
from temppass.service.desk import Call, Once
from temppass.service.signins import SignedIn
from temppass.web.desk import environment_of, session_of
from temppass.web.host import base_url
from temppass.web.request import Headers, Pairs, form_pairs, multipart_pairs, read_body, single

#: what a form says back of its page, and what it calls itself
TOKEN, ONCE = "form_token", "once"


class Seat(NamedTuple):
    """An operator before a page of an environment."""

    environment: str
    signed: SignedIn
    operator: Operator
    world: World
    #: when the page was asked for
    now: int

    def may(self, role: str) -> bool:
        return self.operator.role.may(Role(role))

    @property
    def here(self) -> str:
        """Where the pages of the environment are."""
        return f"/console/in/{self.environment}"

    @property
    def control(self) -> str:
        """Where the control API has the same."""
        return f"/control/v1/environments/{self.environment}"

    @property
    def call(self) -> Call:
        """The operator's call, for what is only looked at."""
        return Call(self.environment, None, held=self.signed.token_hash)


class Form(NamedTuple):
    """What was sent from a page, once it is certain that it was."""

    seat: Seat
    fields: Mapping[str, str]
    #: the operator's call, once for each form
    call: Call

    def text(self, name: str) -> str:
        """Answer a field without the space around it; "" where it is not there."""
        return self.fields.get(name, "").strip()


async def signed_in(service: Service, request: Request) -> SignedIn:
    """Refuses: UnknownOperator."""
    session = session_of(request)
    if session is None:
        raise UnknownOperator("Sign in with an operator token.")
    return await service.signins.find(session)


async def seat_of(service: Service, request: Request, needed: Role = Role.VIEWER) -> Seat:
    """Answer who asks for a page. Refuses: as Desk.look; InvalidRequest for what is no environment."""
    environment, signed = environment_of(request), await signed_in(service, request)
    who = await service.desk.check(Call(environment, None, held=signed.token_hash), needed)
    return Seat(environment, signed, who.operator, who.world, who.now)


async def form_of(service: Service, request: Request, needed: Role = Role.VIEWER) -> Form:
    """Answer what a page sends. Refuses: as seat_of; InvalidRequest for what no page of this session sent."""
    body = await read_body(request, Headers(request.scope["headers"]))
    return _read_form(request, await seat_of(service, request, needed), form_pairs(body))


async def form_with_file(service: Service, request: Request, needed: Role, bytes_max: int) -> Form:
    """Answer what a page sends that takes a file, which is a field like the others; the rest as `form_of`."""
    seat = await seat_of(service, request, needed)  # first: nobody else sends so much
    headers = Headers(request.scope["headers"])
    body, content_type = await read_body(request, headers, bytes_max), headers.get(b"content-type") or ""
    is_in_parts = content_type.lower().startswith("multipart/")
    return _read_form(request, seat, multipart_pairs(body, content_type) if is_in_parts else form_pairs(body))


def _read_form(request: Request, seat: Seat, pairs: Pairs) -> Form:
    fields = single(pairs)
    refuse_foreign(request, fields, seat.signed.form_token)
    once = fields.pop(ONCE, "")
    told = "&".join(f"{len(name)}:{name}={value}" for name, value in sorted(fields.items()) if name != TOKEN)
    call = seat.call._replace(once=Once(once, f"{request.method} {request.scope['path']}", told.encode()))
    return Form(seat, fields, call if once else seat.call)


def refuse_foreign(request: Request, fields: Mapping[str, str], form_token: str) -> None:
    """Refuses: InvalidRequest for a form that another page sent, or a page of another session."""
    headers = Headers(request.scope["headers"])
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    foreign = (origin is not None and origin != base_url(request.scope)) or site not in {None, "same-origin", "none"}
    if foreign or not same(fields.get(TOKEN, "").encode(), form_token.encode()):
        raise InvalidRequest(
            "This form does not come from a page of this session. Load the page anew, and send it again."
        )
