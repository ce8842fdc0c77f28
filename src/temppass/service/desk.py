"""
How an operator acts: admitted in the transaction of what they do, once for each idempotency key, on record.

Source: docs/design.md (operators); draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act
from temppass.core.model import NOTHING, Changes, Found, Kept
from temppass.core.operator import Operator, Role, admitted
from temppass.core.refusal import AnsweredOnce, InvalidRequest, KeyReused, Refusal
from temppass.core.tokens import hash_client_secret, keyed, same
from temppass.core.world import HOUSE, World
from temppass.service.context import Context
from temppass.service.signins import Opened, SignIns
from temppass.service.worlds import Plan, refusing
from temppass.store import Keys

A = TypeVar("A")
R = TypeVar("R", bound=Struct)

#: how long the answer to an idempotency key is kept
ONCE_MS = 86_400_000
ONCE = "once"
ONCE_CHARACTERS_MAX = 255


class Once(NamedTuple):
    """What a caller calls one act by, and what it asked: the same call again is answered as before."""

    key: str
    path: str
    body: bytes


class Call(NamedTuple):
    """An operator's call, not checked yet: by a token, or a session of the console. `environment` is where it acts."""

    environment: str
    token: str | None
    once: Once | None = None
    session: str | None = None
    #: the hash of the token that the session was opened with, which Desk.held finds
    held: bytes | None = None


class Admitted(NamedTuple):
    """Who acts, where, and when."""

    operator: Operator
    world: World
    now: int

    @property
    def actor(self) -> act.ByOperator:
        return act.ByOperator(self.operator.name, self.operator.role)


class _Answered(Struct, frozen=True):
    """What is kept of a call: the digest of its body, and the receipt; None where that told a secret."""

    body: bytes
    receipt: bytes | None


class Desk:
    def __init__(self, context: Context, signins: SignIns) -> None:
        self._context = context
        self._signins = signins

    async def held(self, call: Call) -> Call:
        """Answer a call with the hash that its session stands for now, if it comes by one. Refuses: UnknownOperator."""
        if call.session is None or call.token is not None:
            return call
        return call._replace(held=(await self._signins.find(call.session)).token_hash)

    async def sign_in(self, token: str | None) -> Opened:
        """Open a session of the console. Refuses: UnknownOperator, EndedOperator."""
        return await self._signins.open(lambda house, now: admit(house, Call("", token), Role.VIEWER, now))

    async def look(
        self, call: Call, needed: Role, prepare: Callable[[Admitted], Plan[A]], *, channel_id: str | None = None
    ) -> A:
        """
        Answer what an operator asks to see. `prepare` plans a step that changes nothing.

        Refuses: UnknownOperator, EndedOperator, OutsideLimits, RoleMissing, and what `prepare` and its step refuse.
        """
        call, now = await self.held(call), self._context.clock()

        def plan(house: World, world: World) -> Plan[A]:
            return prepare(Admitted(admit(house, call, needed, now, channel_id=channel_id), world, now))

        return await self._context.worlds.ask_as(call.environment, plan)

    async def check(self, call: Call, needed: Role, *, channel_id: str | None = None) -> Admitted:
        """Answer who calls, for what is read outside of a step. Refuses: as `look`."""
        return await self.look(
            call,
            needed,
            lambda who: (Keys(who.world.name, who.world.version), lambda _found: (who, NOTHING)),
            channel_id=channel_id,
        )

    async def environments(self, call: Call) -> list[str]:
        """Answer the environments in which the operator may act: those that are named, or all. Refuses: as `look`."""
        operator = (await self.check(call, Role.VIEWER)).operator
        return sorted(operator.environments) or [
            name for name in await self._context.store.environments() if name != HOUSE
        ]

    async def act(
        self,
        call: Call,
        needed: Role,
        receipt: type[R],
        prepare: Callable[[Admitted], Plan[R]],
        *,
        channel_id: str | None = None,
        is_secret: bool = False,
    ) -> R:
        """
        Do what an operator asks for: the step's changes, its record and what answers the call's repetition, in one
        transaction. With `is_secret` the receipt tells what is shown once.

        Refuses: as `look`; InvalidRequest for a key that is none; KeyReused, AnsweredOnce.
        """
        call, now = await self.held(call), self._context.clock()

        def plan(house: World, world: World) -> Plan[R]:
            operator = admit(house, call, needed, now, channel_id=channel_id)
            once = call.once
            if once is None:
                return prepare(Admitted(operator, world, now))
            if not 0 < len(once.key) <= ONCE_CHARACTERS_MAX or not once.key.isprintable():
                raise InvalidRequest(f"An Idempotency-Key has 1 to {ONCE_CHARACTERS_MAX} printable characters.")
            name = keyed(house.client_key, *(part.encode() for part in (operator.name, once.path, once.key))).hex()
            body = keyed(house.client_key, once.body)
            place = f"{ONCE}:{name}"
            try:
                keys, step = prepare(Admitted(operator, world, now))
            except Refusal as refusal:  # perhaps because it was done already
                keys, step = Keys(world.name, world.version), refusing(refusal)

            def step_once(found: Found) -> tuple[R, Changes]:
                *others, before = found.kept
                if before is not None and now < before.expires_at:
                    return _again(before, body, receipt), NOTHING
                answer, changes = step(replace(found, kept=tuple(others)))
                answered = _Answered(body, None if is_secret else msgspec.json.encode(answer))
                kept = Kept(ONCE, place, now + ONCE_MS, msgspec.json.encode(answered))
                return answer, replace(changes, kept=(*changes.kept, kept))

            return replace(keys, kept=(*keys.kept, place)), step_once

        return await self._context.worlds.ask_as(call.environment, plan)


def admit(house: World, call: Call, needed: Role, now: int, *, channel_id: str | None = None) -> Operator:
    """Answer the operator whose token the call carries, or stands for. Refuses: as core.operator.admitted."""
    operator, digest = None, call.held
    if call.token is not None and house.record.operators:
        digest = hash_client_secret(call.token, house.client_key)
    if digest is not None:
        for each in house.record.operators:  # all of them, whichever it is
            if same(each.token_hash, digest):
                operator = each
    environment = call.environment or None
    return admitted(operator, needed, now, environment=environment, channel_id=channel_id)


def _again(before: Kept, body: bytes, receipt: type[R]) -> R:
    """Answer a repeated call as before. Refuses: KeyReused, AnsweredOnce."""
    answered = msgspec.json.decode(before.document, type=_Answered)
    if not same(answered.body, body):
        raise KeyReused("This Idempotency-Key was sent with another body; use a new one.")
    if answered.receipt is None:
        raise AnsweredOnce("The answer to this Idempotency-Key told a secret, which is shown only once.")
    return msgspec.json.decode(answered.receipt, type=receipt)
