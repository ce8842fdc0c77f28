"""
Software statements, each an object: minted on record, listed as long as they count, revoked one by one or all of an
application, with everything that came from them; and clients, of which one can be ended alone.

What is revoked here ends at the next request on every node, because the environment has another version then. Each
plan serves a person at a shell (Statements) as well as an operator (service/applications.py).

Source: contract §3.1 and §3.6, design decisions 8.6-8.10.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act
from temppass.core.catalogue import Application
from temppass.core.keys import CLOCK_MS
from temppass.core.model import NOTHING, OLDER, Changes, Ended, EndedKind, Found, Listed, Registered
from temppass.core.refusal import AlreadySo, InvalidRequest, NotThere, TooManyIssued, UnknownApplication
from temppass.core.tokens import Statement, write_statement
from temppass.core.world import EnvironmentRecord, World, application_sub, rewritten
from temppass.service.context import Context, keys_of
from temppass.service.worlds import Plan
from temppass.store import Brood, Keys

#: statements of one application that count at the same time
LISTED_MAX = 1_000
#: clients that were ended one by one and are remembered, in an environment
ENDED_MAX = 10_000
#: clients of one statement that are counted
COUNTED_MAX = 1_000
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,256}")


class Minted(Struct, frozen=True):
    """`id` is the act's and the statement's `jti`. The statement is shown here and never again."""

    id: str
    statement: str
    ends_at: int | None = None


class Revoked(Struct, frozen=True):
    """`id` is the act's."""

    id: str


class Shown(NamedTuple):
    """
    A statement as it is listed, without itself: OLDER for all that programs of before handed out, of which nobody knows
    when or by whom. `used_at` is the day of its last use in milliseconds, 0 for none; `clients` COUNTED_MAX at most.
    """

    id: str
    minted_at: int | None
    minted_by: str | None
    ends_at: int | None
    used_at: int
    clients: int


class Statements:
    """At a shell on the store, where nobody has to be admitted."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def mint(self, environment: str, application_id: str, actor: act.Actor, ends_at: int | None = None) -> Minted:
        """Answer a new software statement; older ones stay good. Refuses: as `minting`."""
        record = self._record(actor, act.StatementMint(application_id, ends_at))
        issuer = self._context.policy.issuer
        return await self._context.worlds.ask(environment, lambda world: minting(world, record, issuer))

    async def require(self, environment: str, application_id: str) -> None:
        """Refuses: UnknownApplication."""
        application_of(await self._context.worlds.present(environment), application_id)

    async def revoke(
        self, environment: str, application_id: str, actor: act.Actor, statement_id: str | None = None
    ) -> Revoked:
        """End one statement, or all that the application was given so far. Refuses: as `revoking`."""
        record = self._record(actor, act.StatementRevoke(application_id, statement_id))
        return await self._context.worlds.ask(environment, lambda world: revoking(world, record))

    async def revoke_client(self, environment: str, client_id: str, actor: act.Actor) -> Revoked:
        """End one client. Refuses: as `ending_client`."""
        id_, now, lasts_ms = self._context.act_id(), self._context.clock(), self._context.policy.access_token_ms
        return await self._context.worlds.ask(
            environment, lambda world: ending_client(world, client_id, (id_, now, actor, None), lasts_ms)
        )

    async def of(self, environment: str, application_id: str) -> list[Shown]:
        """Answer the statements of an application. Refuses: UnknownApplication."""
        return await listed(self._context, await self._context.worlds.present(environment), application_id)

    async def clients(
        self, environment: str, application_id: str, statement_id: str | None, limit: int, after: Registered | None
    ) -> list[Registered]:
        """
        Answer the next clients of a statement, or (None) of all that count, the last to register first; after one of
        them, None at first. Refuses: UnknownApplication.
        """
        world = await self._context.worlds.present(environment)
        application_of(world, application_id)
        brood = narrowed(brood_of(world, application_id, self._context.clock()), statement_id)
        return await self._context.store.clients(environment, brood, limit, after)

    def _record(self, actor: act.Actor, what: act.Act) -> act.Record:
        return act.Record(self._context.act_id(), self._context.clock(), actor, what)


async def listed(context: Context, world: World, application_id: str) -> list[Shown]:
    """
    Answer the statements of an application that were not revoked, the oldest first, after what is of before; that only
    where there may be any. Refuses: UnknownApplication.
    """
    application_of(world, application_id)
    epoch, found = world.epoch(application_id), world.statements_of(application_id)
    broods = [Brood(application_id, epoch, (id_,)) for id_ in (OLDER, *(each.id for each in found))]
    older, *counts = await context.store.count_clients(world.name, broods, COUNTED_MAX)
    uses = await context.store.uses(world.name) if found else {}
    shown = [
        Shown(each.id, each.minted_at, each.minted_by, each.ends_at, uses.get(each.id, 0), clients)
        for each, clients in zip(found, counts, strict=True)
    ]
    is_open = world.older_counts(application_id) and (older or world.may_have_older(application_id))
    return [Shown(OLDER, None, None, None, 0, older), *shown] if is_open else shown


def brood_of(world: World, application_id: str, now: int) -> Brood:
    """Answer the clients of an application that may ask for tokens."""
    statement_ids = [each.id for each in world.statements_of(application_id) if not each.has_ended(now)]
    older = [OLDER] if world.older_counts(application_id) else []
    return Brood(application_id, world.epoch(application_id), (*older, *statement_ids))


def narrowed(brood: Brood, statement_id: str | None) -> Brood:
    """Answer the clients of one statement among those of a brood, or (None) all of them."""
    counting = tuple(id_ for id_ in brood.statement_ids if statement_id in {None, id_})
    return Brood(brood.application_id, brood.epoch, counting)


def minting(world: World, record: act.Record, issuer: str) -> Plan[Minted]:
    """
    Plan what mints the statement that a record (of StatementMint) tells of.

    Refuses: UnknownApplication; InvalidRequest for an end that is past; TooManyIssued.
    """
    assert isinstance(record.act, act.StatementMint)
    application, ends_at = application_of(world, record.act.application_id), record.act.ends_at
    if ends_at is not None and ends_at <= record.at:
        raise InvalidRequest("A statement ends in the future.")
    if sum(not each.has_ended(record.at) for each in world.statements_of(application.id)) >= LISTED_MAX:
        raise TooManyIssued(f"{application.id!r} has {LISTED_MAX} statements that count; revoke some first.")
    keyring, epoch = world.keyring, world.epoch(application.id)
    assert keyring is not None  # an environment that has an application exists
    statement = Statement(application_sub(world.name, application.id), epoch, record.id)
    now_s = record.at // 1000
    written = write_statement(keyring, statement, world.name, now_s, issuer, ends_at)
    minted_by = act.actor_word(record.actor)
    new = Listed(record.id, application.id, epoch, keyring.statement_kid(now_s * 1000), record.at, minted_by, ends_at)
    changes = _changing(world, world.record, record, Changes(listed=(new,)))
    return keys_of(world), lambda _found: (Minted(record.id, written, ends_at), changes)


def revoking(world: World, record: act.Record) -> Plan[Revoked]:
    """
    Plan what ends one statement, or all of an application, as a record (of StatementRevoke) tells.

    Refuses: UnknownApplication; NotThere for a statement that does not count; AlreadySo for what was ended of before.
    """
    assert isinstance(record.act, act.StatementRevoke)
    application_id, statement_id = record.act.application_id, record.act.statement_id
    application_of(world, application_id)
    old, epoch = world.record, world.epoch(application_id)
    if statement_id is None:
        new = replace(
            old,
            epochs={**old.epochs, application_id: epoch + 1},
            revoked={**old.revoked, application_id: record.at},
            listing={**old.listing, application_id: epoch + 1},
        )
        gone = tuple(each.id for each in world.statements_of(application_id))
        changes = _changing(world, new, record, Changes(unlisted=gone))
    elif statement_id == OLDER:
        if not world.older_counts(application_id):
            raise AlreadySo(f"What {application_id!r} was given before statements were listed has ended already.")
        ended = Ended(EndedKind.OLDER, application_id, epoch)
        changes = _changing(world, old, record, Changes(ended=(ended,)))
    else:
        if statement_id not in {each.id for each in world.statements_of(application_id)}:
            raise NotThere(f"{application_id!r} has no statement {statement_id[:64]!r}, or it was revoked.")
        changes = _changing(world, old, record, Changes(unlisted=(statement_id,)))
    return keys_of(world), lambda _found: (Revoked(record.id), changes)


def ending_client(
    world: World, client_id: str, what: tuple[str, int, act.Actor, str | None], access_token_ms: int
) -> Plan[Revoked]:
    """
    Plan what ends one client; `what` is the id of the act, its moment, its actor and its reason. It is remembered as
    long as a token of any server may live that signed with the present keys: theirs may have another lifetime.

    Refuses: NotThere; TooManyIssued where too many others are remembered.
    """
    id_, at, actor, reason = what
    if not _CLIENT_ID.fullmatch(client_id):  # no store need look it up
        raise NotThere(f"There is no client {client_id[:64]!r}.")

    def step(found: Found) -> tuple[Revoked, Changes]:
        if found.client is None:
            raise NotThere(f"There is no client {client_id[:64]!r}.")
        remembered = [each for each in world.environment.ended if each.kind is EndedKind.CLIENT]
        if len([each for each in remembered if each.until is None or at < each.until]) >= ENDED_MAX:
            raise TooManyIssued(f"{ENDED_MAX} clients were ended one by one; revoke their statement instead.")
        done = act.ClientRevoke(found.client.application_id, client_id)
        lasts_ms = max(access_token_ms, world.keyring.lasts_ms if world.keyring is not None else 0)
        ended = Ended(EndedKind.CLIENT, client_id, until=at + lasts_ms + CLOCK_MS)
        change = Changes(ended=(ended,), removed_client=client_id)
        return Revoked(id_), _changing(world, world.record, act.Record(id_, at, actor, done, reason), change)

    return Keys(world.name, world.version, client_id=client_id), step


def unlisting(world: World) -> Plan[None]:
    """Plan what takes off the list the statements of applications that have left, or that were given in the past."""
    environment = rewritten(replace(world.record, version=world.version + 1))
    changes = Changes(environment=environment, unlisted=world.unlisted) if world.unlisted else NOTHING
    return keys_of(world), lambda _found: (None, changes)


def application_of(world: World, application_id: str) -> Application:
    """Refuses: UnknownApplication."""
    application = world.catalogue.applications.get(application_id)
    if application is None:
        known = ", ".join(world.catalogue.applications) or "none"
        raise UnknownApplication(
            f"environment {world.name!r} has no application {application_id[:64]!r} (it has: {known})"
        )
    return application


def _changing(world: World, new: EnvironmentRecord, record: act.Record, changes: Changes) -> Changes:
    """Answer `changes` on record, in an environment of the next version, so that every node hears of them."""
    environment = rewritten(replace(new, version=world.version + 1))
    return replace(changes, environment=environment, records=(act.recorded(record),))
