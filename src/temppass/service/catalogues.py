"""
The declared configuration of an environment, as an operator changes it: plan, apply, show; and what a check of the
store finds. A change is one atomic amendment and raises the environment's version, which is how every server notices.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act
from temppass.core.catalogue import EMPTY, Catalogue, carry_resets
from temppass.core.catalogue_change import grave
from temppass.core.catalogue_file import difference
from temppass.core.keys import Pair
from temppass.core.model import NOTHING, Changes, Recorded
from temppass.core.operator import Role
from temppass.core.refusal import Refusal, VersionMoved
from temppass.core.world import HOUSE, EnvironmentRecord, rewritten
from temppass.service.context import Context, given
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.worlds import Plan
from temppass.store import Amendment, Keys

_NOT_YET = EnvironmentRecord(0, EMPTY, {}, {}, b"")


class Applied(NamedTuple):
    """What an apply did, one difference a line, and the version that holds now; what is grave, where it is planned."""

    differences: list[str]
    version: int
    grave: Sequence[str] = ()


class AppliedOver(Struct, frozen=True):
    """As Applied, for an operator: `id` is the act's, None where nothing changed."""

    id: str | None
    version: int
    differences: tuple[str, ...]


class Catalogues:
    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk

    async def plan(self, environment: str, new: Catalogue) -> list[str]:
        """Tell what `apply` would do; change nothing."""
        return difference(await self.catalogue(environment), new)

    async def apply(self, environment: str, new: Catalogue, description: str, actor: act.Actor) -> Applied:
        """
        Make `new` the catalogue; the first time, the environment comes into being with keys of its own.

        An application that it takes out loses all that it was given, also if it returns. Source: design decision 8.24.
        """
        now, id_ = self._context.clock(), self._context.act_id()
        fresh = await self._fresh_pair(environment)

        def change(old: EnvironmentRecord | None) -> Amendment[Applied]:
            applied, changed = self._applied(environment, old, new, now, fresh)
            if changed is None:
                return applied, None, None
            return applied, changed, _recorded(id_, now, actor, applied, description)

        return await self._context.store.amend(environment, change)

    # --- through the control API

    async def shown(self, call: Call) -> tuple[Catalogue, int]:
        """Answer what holds, and its version: 0 where nothing was ever applied. Refuses: as Desk.look."""
        who = await self._desk.check(call, Role.VIEWER)
        return who.world.catalogue, who.world.version

    async def planned(self, call: Call, asked: Catalogue | Refusal) -> Applied:
        """Tell what applying would do, and to which version. Refuses: as Desk.look; what reading refused."""
        who = await self._desk.check(call, Role.ADMIN)
        old, new = who.world.catalogue, given(asked)
        return Applied(difference(old, new), who.world.version, grave(old, new))

    async def apply_over(
        self,
        call: Call,
        asked: Catalogue | Refusal,
        description: str | Refusal,
        over: int | Refusal,
        reason: str | Refusal | None = None,
    ) -> AppliedOver:
        """
        Make `asked` the catalogue, if the version is still the one that it is to replace.

        Refuses: as Desk.act; what reading refused; VersionMoved.
        """
        id_ = self._context.act_id()
        if not (await self._context.worlds.known(call.environment)).version:
            await self._desk.check(call, Role.ADMIN)  # before a key is made
        fresh = await self._fresh_pair(call.environment)

        def prepare(who: Admitted) -> Plan[AppliedOver]:
            world, new, why = who.world, given(asked), (given(description), given(reason))
            if world.version != given(over):
                raise VersionMoved(f"The catalogue's version is {world.version} now; look at it again, and plan anew.")
            applied, changed = self._applied(world.name, world.record if world.version else None, new, who.now, fresh)
            keys = Keys(world.name, world.version)
            if changed is None:
                return keys, lambda _found: (AppliedOver(None, world.version, ()), NOTHING)
            receipt = AppliedOver(id_, changed.version, tuple(applied.differences))
            record = _recorded(id_, who.now, who.actor, applied, *why)
            changes = Changes(environment=rewritten(changed), records=(record,))
            return keys, lambda _found: (receipt, changes)

        return await self._desk.act(call, Role.ADMIN, AppliedOver, prepare)

    def _applied(
        self, environment: str, old: EnvironmentRecord | None, new: Catalogue, now: int, fresh: Pair | None
    ) -> tuple[Applied, EnvironmentRecord | None]:
        """
        Answer what applying `new` does to an environment, and the environment then; None where nothing changes. One
        that comes into being has `fresh` signing keys, and is sealed no sooner: the secret may change meanwhile.
        """
        before = old or _NOT_YET
        if old is not None and new == old.catalogue:
            return Applied([], old.version), None
        since = carry_resets(before.catalogue, before.resets_since, new, now)
        # one that comes is past its epoch too: a program of before may have taken it out and left that as it was
        moved = before.catalogue.applications.keys() ^ new.applications.keys()
        epochs = {**before.epochs, **{name: before.epochs.get(name, 0) + 1 for name in moved}}
        if before.sealed_keys:
            keys = self._with_chain(environment, before.sealed_keys)
        else:
            assert fresh is not None  # environments stay
            keys = self._context.sealed_keys(environment, fresh)
        paused = {name: at for name, at in before.paused.items() if name in since}
        revoked = {name: at for name, at in before.revoked.items() if name in new.applications}
        # of one that comes every statement will be listed
        listing = before.listing | {name: epochs[name] for name in moved}
        changed = EnvironmentRecord(
            before.version + 1, new, since, epochs, keys, paused, revoked=revoked,
            listing={name: epoch for name, epoch in listing.items() if name in new.applications},
        )  # fmt: skip
        return Applied(difference(before.catalogue, new), changed.version), changed

    async def catalogue(self, environment: str) -> Catalogue:
        """Answer what holds, EMPTY where nothing was ever applied."""
        found = await self._context.store.load(environment)
        return found.record.catalogue if found else EMPTY

    async def check(self) -> list[str]:
        """
        Hold the schema and the secret against the store; answer the names of its environments.

        Raises SchemaOutdated, WrongSecret.
        """
        context = self._context
        await context.store.check()
        names = await context.store.environments()
        for name in names:
            await context.worlds.load(name)
        return [name for name in names if name != HOUSE]

    async def seal_keys(self) -> None:
        """
        Bring over environments of the first version of this program: what it derived from the secret is sealed as it
        is, and each gets a key for its chain. Harmless where that was done. Raises WrongSecret.
        """
        for name in await self._context.store.environments():

            def change(old: EnvironmentRecord | None, name: str = name) -> Amendment[None]:
                assert old is not None
                keys = self._with_chain(name, old.sealed_keys)
                if keys == old.sealed_keys:
                    return None, None, None
                return None, replace(old, version=old.version + 1, sealed_keys=keys), None

            await self._context.store.amend(name, change)

    async def _fresh_pair(self, environment: str) -> Pair | None:
        """Make the signing keys of an environment that is not there yet; None for one that is. Raises WrongSecret."""
        if (await self._context.worlds.known(environment)).version:
            return None
        pair = await self._context.new_pair()
        await self._context.prove_secret()
        return pair

    def _with_chain(self, environment: str, sealed_keys: bytes) -> bytes:
        """Answer the keys of an environment with a key for its chain: the same where they have one."""
        secret = self._context.secret
        keys = secret.open(environment, sealed_keys)
        if keys.chain_key:
            return sealed_keys
        keys = replace(keys, chain_key=secrets.token_bytes(32))
        return secret.seal(environment, keys, secrets.token_bytes(12))


def _recorded(
    id_: str, now: int, actor: act.Actor, applied: Applied, description: str, reason: str | None = None
) -> Recorded:
    done = act.CatalogueApply(applied.version, description, tuple(applied.differences))
    return act.recorded(act.Record(id_, now, actor, done, reason))
