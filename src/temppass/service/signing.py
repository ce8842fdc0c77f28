"""
The signing keys of an environment as operators see and rotate them, and as upkeep keeps them.

A key is made in a thread, before anything is asked of the store, and only for whoever may rotate.
"""

from __future__ import annotations

import secrets

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, keys
from temppass.core.keys import Life, Pair, Shown, StoredKeys
from temppass.core.model import NOTHING, Changes
from temppass.core.operator import Role
from temppass.core.refusal import AlreadySo, NotThere, Refusal
from temppass.core.world import HOUSE, World, rewritten
from temppass.service.context import Context, given
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.worlds import Plan
from temppass.store import Keys


class Rotation(Struct, frozen=True):
    """What is asked for: with `compromised` every present key ends at once, else when its time has come."""

    compromised: bool = False
    reason: str | None = None


class MintAnew(Struct, frozen=True):
    """A statement that nobody can register with any more; `id` is None for those of before, which were not listed."""

    application_id: str
    id: str | None


class Rotated(Struct, frozen=True):
    """`id` is the act's; `kids` are those of the keys that were made, which sign from a moment on."""

    id: str
    kids: tuple[str, ...]
    signs_from: int
    mint_anew: tuple[MintAnew, ...] = ()


class Signing:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk

    # --- through the control API

    async def all(self, call: Call) -> list[Shown]:
        """Answer the keys that are published. Refuses: as Desk.look."""
        who = await self._desk.check(call, Role.VIEWER)
        return self._shown(who.world, who.now)

    async def rotate(self, call: Call, asked: Rotation | Refusal) -> Rotated:
        """Refuses: as Desk.act; what reading refused; NotThere, AlreadySo."""
        await self._desk.check(call, Role.ADMIN)
        pair, id_ = await self._context.new_pair(), self._context.act_id()

        def prepare(who: Admitted) -> Plan[Rotated]:
            return self._rotating(who.world, pair, given(asked), who.actor, id_, who.now)

        return await self._desk.act(call, Role.ADMIN, Rotated, prepare)

    # --- at a shell on the store, where nobody has to be admitted

    async def all_here(self, environment: str) -> list[Shown]:
        return self._shown(await self._context.worlds.load(environment), self._context.clock())

    async def require(self, environment: str) -> None:
        """Refuses: NotThere."""
        _require(await self._context.worlds.load(environment))

    async def rotate_here(self, environment: str, asked: Rotation, actor: act.Actor) -> Rotated:
        """Refuses: NotThere, AlreadySo."""
        await self.require(environment)
        pair, id_, now = await self._context.new_pair(), self._context.act_id(), self._context.clock()
        return await self._context.worlds.ask(
            environment, lambda world: self._rotating(world, pair, asked, actor, id_, now)
        )

    # --- by itself

    async def keep(self, environment: str) -> None:
        """
        Rotate where it is time, and see to it that keys end. Of nodes that do so at once one does it: the others find
        another version, in which there is nothing left to do.
        """
        if environment == HOUSE:  # it signs nothing
            return
        context, now = self._context, self._context.clock()
        if self._is_due(await context.worlds.known(environment), now):
            pair = await context.new_pair()
            await context.worlds.ask(environment, lambda world: self._turning(world, pair, now))
        if self._kept_up(await context.worlds.known(environment), now) is not None:
            await context.worlds.ask(environment, lambda world: self._keeping(world, now))

    def _is_due(self, world: World, now: int) -> bool:
        every_ms = self._context.policy.rotation_ms
        return every_ms is not None and bool(world.version) and keys.is_due(self._stored(world), now, every_ms)

    def _turning(self, world: World, pair: Pair, now: int) -> Plan[None]:
        if not self._is_due(world, now):
            return _nothing(world)
        id_ = act.rotation_id(world.name, self._stored(world).newest()["kid"])
        found, step = self._rotating(world, pair, Rotation(), act.BySchedule(), id_, now)
        return found, lambda seen: (None, step(seen)[1])

    def _keeping(self, world: World, now: int) -> Plan[None]:
        kept = self._kept_up(world, now)
        if kept is None:
            return _nothing(world)
        changes = self._changed(world, kept)
        return Keys(world.name, world.version), lambda _found: (None, changes)

    def _kept_up(self, world: World, now: int) -> StoredKeys | None:
        """Answer what an environment's keys are to be by now, None where they are."""
        if not world.version:
            return None
        stored, policy = self._stored(world), self._context.policy
        lasts_ms = max(policy.access_token_ms, policy.media_token_ms)
        kept = keys.kept_up(stored, now, lasts_ms=lasts_ms, holds=lambda kid, life: _holds(world, kid, life, now))
        return kept if kept != stored else None

    # --- all of them

    def _rotating(
        self, world: World, pair: Pair, asked: Rotation, actor: act.Actor, id_: str, now: int
    ) -> Plan[Rotated]:
        _require(world)
        stored, ended = self._stored(world), ()
        if asked.compromised:
            after, signs_from = keys.replaced(stored, pair, now), now
            ended = tuple(jwk["kid"] for jwk in stored.keys)
        elif (waits_until := keys.waits_until(stored, now)) is not None:
            seconds = (waits_until - now + 999) // 1000
            raise AlreadySo(f"The next key waits already, and signs in {seconds} s; rotate after that.")
        else:
            # published for as long as a copy of the key set is kept, and as long again for clocks that differ
            signs_from = now + 2 * self._context.policy.jwks_ms
            after = keys.added(stored, pair, now, signs_from=signs_from)
        kids = tuple(jwk["kid"] for jwk in pair)
        mint_anew = _unverifiable(world, stored, now) if asked.compromised else ()
        done = act.KeysRotate(kids, compromised=asked.compromised, ended=ended)
        record = act.recorded(act.Record(id_, now, actor, done, asked.reason))
        changes = replace(self._changed(world, after), records=(record,))
        return Keys(world.name, world.version), lambda _found: (Rotated(id_, kids, signs_from, mint_anew), changes)

    def _changed(self, world: World, stored: StoredKeys) -> Changes:
        sealed = self._context.secret.seal(world.name, stored, secrets.token_bytes(12))
        return Changes(environment=rewritten(replace(world.record, version=world.version + 1, sealed_keys=sealed)))

    def _stored(self, world: World) -> StoredKeys:
        return self._context.secret.open(world.name, world.record.sealed_keys)

    def _shown(self, world: World, now: int) -> list[Shown]:
        return keys.shown(self._stored(world), now) if world.version else []


def _require(world: World) -> None:
    """Refuses: NotThere."""
    if not world.version:
        raise NotThere(f"There is no environment {world.name!r}; the first catalogue that is applied makes it.")


def _nothing(world: World) -> Plan[None]:
    return Keys(world.name, world.version), lambda _found: (None, NOTHING)


def _holds(world: World, kid: str, life: Life, now: int) -> bool:
    """Tell whether a statement counts that a key signed, or may: nobody knows which one of before signed what."""
    signed = [each for each in world.listed.values() if each.kid == kid]
    if not all(each.has_ended(now - keys.CLOCK_MS) for each in signed):
        return True
    return life.is_of_before and any(map(world.may_have_older, world.catalogue.applications))


def _unverifiable(world: World, stored: StoredKeys, now: int) -> tuple[MintAnew, ...]:
    """
    Answer the statements that count and end with these keys. They stay on the list, because the clients that registered
    with them live on.
    """
    kids = {jwk["kid"] for jwk in stored.keys}
    found = []
    for application_id in world.catalogue.applications:
        if any(stored.life(jwk).is_of_before for jwk in stored.keys) and world.may_have_older(application_id):
            found.append(MintAnew(application_id, None))
        found += [
            MintAnew(application_id, each.id)
            for each in world.statements_of(application_id)
            if each.kid in kids and not each.has_ended(now)
        ]
    return tuple(found)
