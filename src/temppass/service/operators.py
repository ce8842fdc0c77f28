"""
Who may act: created with a token that is shown once, listed, revoked. What changes is the house, so that a token that
was revoked opens nothing any more on any node, from the very next call on.
"""

from __future__ import annotations

import secrets
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, operator
from temppass.core.catalogue import EMPTY, is_environment_name
from temppass.core.model import NOTHING, Changes
from temppass.core.operator import Operator, Role
from temppass.core.refusal import InvalidRequest, NotThere, OutsideLimits, Refusal
from temppass.core.tokens import hash_client_secret
from temppass.core.world import HOUSE, EnvironmentRecord, World, rewritten
from temppass.service.context import Context, given
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.worlds import Plan
from temppass.store import Keys

A = TypeVar("A")

#: the id of an act, its moment, its actor and its reason
_What = tuple[str, int, act.Actor, str | None]


class NewOperator(Struct, frozen=True):
    """Who is to be created: until a moment, or for so many milliseconds, else for 90 days."""

    name: str
    role: Role
    environments: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    ends_at: int | None = None
    lasts_ms: int = operator.DEFAULT_MS


class Created(Struct, frozen=True):
    """`id` is the act's. The token is shown here and never again."""

    id: str
    token: str
    ends_at: int


class Revoked(Struct, frozen=True):
    """`id` is the act's."""

    id: str


class Operators:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk

    # --- at a shell on the store, where nobody has to be admitted

    async def create_here(self, new: NewOperator, actor: act.ByShell) -> Created:
        """Create an operator, and with the first one the house. Refuses: InvalidRequest."""
        await self._found()
        token, id_, now = _token(), self._context.act_id(), self._context.clock()
        return await self._context.worlds.ask(
            HOUSE, lambda house: _creating(house, new, token, (id_, now, actor, None))
        )

    async def revoke_here(self, name: str, actor: act.ByShell) -> Revoked:
        """Refuses: NotThere."""
        id_, now = self._context.act_id(), self._context.clock()
        return await self._context.worlds.ask(HOUSE, lambda house: _revoking(house, name, (id_, now, actor, None)))

    async def everyone(self) -> tuple[Operator, ...]:
        return (await self._context.worlds.present(HOUSE)).record.operators

    # --- through the control API

    async def create(self, call: Call, asked: NewOperator | Refusal, reason: str | Refusal | None = None) -> Created:
        """
        Refuses: as Desk.act; OutsideLimits for an admin of some environments; what reading refused; InvalidRequest.
        """
        token, id_ = _token(), self._context.act_id()

        def prepare(who: Admitted) -> Plan[Created]:
            _of_everything(who.operator)
            return _creating(who.world, given(asked), token, (id_, who.now, who.actor, given(reason)))

        return await self._desk.act(call, Role.ADMIN, Created, prepare, is_secret=True)

    async def revoke(self, call: Call, name: str, reason: str | Refusal | None = None) -> Revoked:
        """Refuses: as Desk.act; OutsideLimits, NotThere; what reading refused."""
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Revoked]:
            _of_everything(who.operator)
            return _revoking(who.world, name, (id_, who.now, who.actor, given(reason)))

        return await self._desk.act(call, Role.ADMIN, Revoked, prepare)

    async def all(self, call: Call) -> tuple[Operator, ...]:
        """Refuses: as Desk.look; OutsideLimits."""
        who = await self._desk.check(call, Role.ADMIN)
        _of_everything(who.operator)
        return who.world.record.operators

    async def whoami(self, call: Call) -> Operator:
        """Refuses: UnknownOperator, EndedOperator."""
        return (await self._desk.check(call, Role.VIEWER)).operator

    async def _found(self) -> None:
        """See to it that there is a house."""
        if (await self._context.worlds.known(HOUSE)).version:
            return
        keys = await self._context.new_keys(HOUSE)

        def prepare(house: World) -> Plan[None]:
            if house.version:
                return Keys(HOUSE, house.version), lambda _found: (None, NOTHING)
            record = EnvironmentRecord(1, EMPTY, {}, {}, keys)
            return Keys(HOUSE, 0), lambda _found: (None, Changes(environment=rewritten(record)))

        await self._context.worlds.ask(HOUSE, prepare)


def _token() -> str:
    return operator.PREFIX + secrets.token_urlsafe(32)


def _of_everything(who: Operator) -> None:
    """Refuses: OutsideLimits."""
    if who.environments:
        raise OutsideLimits("Operators are looked after by an admin of all environments.")


def _creating(house: World, new: NewOperator, token: str, what: _What) -> Plan[Created]:
    id_, now, actor, reason = what
    ends_at = new.ends_at if new.ends_at is not None else now + new.lasts_ms
    for name in new.environments:
        if not is_environment_name(name):
            raise InvalidRequest(f"{name[:64]!r} is no name of an environment; use a-z, 0-9 and -.")
    one = Operator(
        new.name, new.role, hash_client_secret(token, house.client_key), now, ends_at, new.environments, new.channels
    )
    operators = operator.added(house.record.operators, one, now)
    done = act.OperatorCreate(one.name, one.role, one.environments, one.channels, ends_at)
    return _rehousing(house, operators, act.Record(id_, now, actor, done, reason), Created(id_, token, ends_at))


def _revoking(house: World, name: str, what: _What) -> Plan[Revoked]:
    id_, now, actor, reason = what
    found = [each for each in house.record.operators if each.name == name and not each.revoked]
    if not found:
        raise NotThere(f"There is no operator {name[:64]!r}.")
    operators = tuple(
        replace(each, revoked=True, ends_at=min(each.ends_at, now)) if each in found else each
        for each in house.record.operators
    )
    return _rehousing(house, operators, act.Record(id_, now, actor, act.OperatorRevoke(name), reason), Revoked(id_))


def _rehousing(house: World, operators: tuple[Operator, ...], record: act.Record, answer: A) -> Plan[A]:
    changed = replace(house.record, version=house.version + 1, operators=operators)
    changes = Changes(environment=rewritten(changed), records=(act.recorded(record),))
    return Keys(HOUSE, house.version), lambda _found: (answer, changes)
