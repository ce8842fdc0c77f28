"""
What applications are given, as operators see it: who may speak here, with how many clients; and the statement that one
of them registers with, which is shown once.
"""

from __future__ import annotations

from typing import NamedTuple

from temppass.core import act
from temppass.core.catalogue import Application
from temppass.core.model import OLDER, Registered
from temppass.core.operator import Operator, Role
from temppass.core.refusal import NotThere, Refusal
from temppass.service.context import Context, given
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.statements import (
    Minted,
    Revoked,
    Shown,
    brood_of,
    ending_client,
    listed,
    minting,
    narrowed,
    revoking,
)
from temppass.service.worlds import Plan

#: clients of one application that are counted
COUNTED_MAX = 10_000


class Present(NamedTuple):
    """
    An application with its clients that may ask for tokens, counted up to COUNTED_MAX, and the moment when all that it
    had been given was ended last, if ever.
    """

    application: Application
    clients: int
    revoked_at: int | None


class Asked(NamedTuple):
    """A page of clients: so many, after one of them (None at first), of one statement or (None) of all that count."""

    limit: int = 100
    after: Registered | None = None
    statement_id: str | None = None


class NewStatement(NamedTuple):
    """What a statement is to be: until a moment, if ever."""

    ends_at: int | None = None
    reason: str | None = None


class Page(NamedTuple):
    """The last to register first; `next` is whom the next page is after, None at the end."""

    clients: list[Registered]
    next: Registered | None


class Applications:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk

    async def all(self, call: Call) -> list[Present]:
        """Answer those that speak for a channel which the operator sees. Refuses: as Desk.look."""
        who = await self._desk.check(call, Role.VIEWER)
        applications = who.world.catalogue.applications.values()
        return await self._present(who, [each for each in applications if _is_seen(who.operator, each)])

    async def one(self, call: Call, application_id: str) -> Present:
        """Refuses: as Desk.look; NotThere, also for an application that the operator does not see."""
        who = await self._seeing(call, application_id)
        (present,) = await self._present(who, [who.world.catalogue.applications[application_id]])
        return present

    async def clients(self, call: Call, application_id: str, asked: Asked | Refusal) -> Page:
        """
        Answer who registered with a statement of an application and may still ask for tokens.

        Refuses: as Desk.look; NotThere, also for an application that the operator does not see; what reading refused.
        """
        who = await self._seeing(call, application_id)
        page = given(asked)
        brood = narrowed(brood_of(who.world, application_id, who.now), page.statement_id)
        found = await self._context.store.clients(who.world.name, brood, page.limit + 1, page.after)
        shown = found[: page.limit]
        return Page(shown, shown[-1] if len(found) > page.limit else None)

    async def statements(self, call: Call, application_id: str) -> list[Shown]:
        """Answer what was minted for an application and not revoked. Refuses: as `clients`."""
        who = await self._seeing(call, application_id)
        return await listed(self._context, who.world, application_id)

    async def mint(self, call: Call, application_id: str, asked: NewStatement | Refusal) -> Minted:
        """Answer a new software statement; older ones stay. Refuses: as Desk.act; what reading refused; `minting`."""
        id_, issuer = self._context.act_id(), self._context.policy.issuer

        def prepare(who: Admitted) -> Plan[Minted]:
            new = given(asked)
            done = act.StatementMint(application_id, new.ends_at)
            return minting(who.world, act.Record(id_, who.now, who.actor, done, new.reason), issuer)

        return await self._desk.act(call, Role.ADMIN, Minted, prepare, is_secret=True)

    async def revoke(
        self, call: Call, application_id: str, statement_id: str | None, reason: str | Refusal | None = None
    ) -> Revoked:
        """
        End what came from one statement of an application, from OLDER, or (None) from all of them.

        Refuses: as Desk.act; what reading refused; `revoking`.
        """
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Revoked]:
            done = act.StatementRevoke(application_id, statement_id)
            return revoking(who.world, act.Record(id_, who.now, who.actor, done, given(reason)))

        return await self._desk.act(call, Role.ADMIN, Revoked, prepare)

    async def revoke_statement(self, call: Call, statement_id: str) -> Revoked:
        """As `revoke`, by the statement's id alone."""
        id_ = self._context.act_id()

        def prepare(who: Admitted) -> Plan[Revoked]:
            found = who.world.listed.get(statement_id)
            if found is None or statement_id == OLDER:
                raise NotThere(f"There is no statement {statement_id[:64]!r}, or it was revoked.")
            done = act.StatementRevoke(found.application_id, statement_id)
            return revoking(who.world, act.Record(id_, who.now, who.actor, done))

        return await self._desk.act(call, Role.ADMIN, Revoked, prepare)

    async def revoke_client(self, call: Call, client_id: str, reason: str | Refusal | None = None) -> Revoked:
        """End one client. Refuses: as Desk.act; what reading refused; `ending_client`."""
        id_, lasts_ms = self._context.act_id(), self._context.policy.access_token_ms

        def prepare(who: Admitted) -> Plan[Revoked]:
            return ending_client(who.world, client_id, (id_, who.now, who.actor, given(reason)), lasts_ms)

        return await self._desk.act(call, Role.ADMIN, Revoked, prepare)

    async def _present(self, who: Admitted, applications: list[Application]) -> list[Present]:
        broods = [brood_of(who.world, each.id, who.now) for each in applications]
        counts = await self._context.store.count_clients(who.world.name, broods, COUNTED_MAX)
        revoked = who.world.record.revoked
        return [Present(each, n, revoked.get(each.id)) for each, n in zip(applications, counts, strict=True)]

    async def _seeing(self, call: Call, application_id: str) -> Admitted:
        """Refuses: as Desk.look; NotThere, also for an application that the operator does not see."""
        who = await self._desk.check(call, Role.VIEWER)
        application = who.world.catalogue.applications.get(application_id)
        if application is None or not _is_seen(who.operator, application):
            raise NotThere(f"There is no application {application_id[:64]!r}.")
        return who


def _is_seen(operator: Operator, application: Application) -> bool:
    """Tell whether an application speaks for any channel within the operator's limits."""
    return not operator.channels or any(map(application.speaks_for, operator.channels))
