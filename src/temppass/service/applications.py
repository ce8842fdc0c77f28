"""
What applications are given, as operators see it: who may speak here, with how many clients; and the statement that one
of them registers with, which is shown once.
"""

from __future__ import annotations

from typing import NamedTuple

from temppass.core import act
from temppass.core.catalogue import Application
from temppass.core.model import Registered
from temppass.core.operator import Operator, Role
from temppass.core.refusal import NotThere, Refusal
from temppass.service.context import Context, given
from temppass.service.credentials import Minted, UnknownApplication, minting
from temppass.service.desk import Admitted, Call, Desk
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
    """A page of clients: so many, after one of them (None at first)."""

    limit: int = 100
    after: Registered | None = None


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
        world = who.world
        seen = [each for each in world.catalogue.applications.values() if _is_seen(who.operator, each)]
        epochs = {each.id: world.epoch(each.id) for each in seen}
        counts = await self._context.store.count_clients(world.name, epochs, COUNTED_MAX)
        return [Present(each, counts[each.id], world.record.revoked.get(each.id)) for each in seen]

    async def clients(self, call: Call, application_id: str, asked: Asked | Refusal) -> Page:
        """
        Answer who registered with a statement of an application and may still ask for tokens.

        Refuses: as Desk.look; NotThere, also for an application that the operator does not see; what reading refused.
        """
        who = await self._desk.check(call, Role.VIEWER)
        application = who.world.catalogue.applications.get(application_id)
        if application is None or not _is_seen(who.operator, application):
            raise NotThere(f"There is no application {application_id[:64]!r}.")
        page, epoch = given(asked), who.world.epoch(application_id)
        found = await self._context.store.clients(who.world.name, application_id, epoch, page.limit + 1, page.after)
        shown = found[: page.limit]
        return Page(shown, shown[-1] if len(found) > page.limit else None)

    async def mint(self, call: Call, application_id: str, reason: str | Refusal | None) -> Minted:
        """Answer a new software statement; older ones stay. Refuses: as Desk.act; what reading refused; NotThere."""
        id_, issuer = self._context.act_id(), self._context.policy.issuer

        def prepare(who: Admitted) -> Plan[Minted]:
            record = act.Record(id_, who.now, who.actor, act.StatementMint(application_id), given(reason))
            try:
                return minting(who.world, record, issuer)
            except UnknownApplication:
                raise NotThere(f"There is no application {application_id[:64]!r}.") from None

        return await self._desk.act(call, Role.ADMIN, Minted, prepare, is_secret=True)


def _is_seen(operator: Operator, application: Application) -> bool:
    """Tell whether an application speaks for any channel within the operator's limits."""
    return not operator.channels or any(map(application.speaks_for, operator.channels))
