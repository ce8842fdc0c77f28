"""
The declared configuration of an environment, as an operator changes it: plan, apply, show; and what a check of the
store finds. A change is one atomic amendment and raises the environment's version, which is how every server notices.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from msgspec.structs import replace

from temppass.core import act
from temppass.core.catalogue import EMPTY, Catalogue, carry_resets
from temppass.core.catalogue_file import difference
from temppass.core.world import HOUSE, EnvironmentRecord
from temppass.service.context import Context, new_id
from temppass.store import Amendment

_NOT_YET = EnvironmentRecord(0, EMPTY, {}, {}, b"")


class Applied(NamedTuple):
    """What an apply did, one difference a line, and the version that holds now."""

    differences: list[str]
    version: int


class Catalogues:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def plan(self, environment: str, new: Catalogue) -> list[str]:
        """Tell what `apply` would do; change nothing."""
        return difference(await self.catalogue(environment), new)

    async def apply(self, environment: str, new: Catalogue, description: str, actor: act.Actor) -> Applied:
        """
        Make `new` the catalogue; the first time, the environment comes into being with keys of its own.

        An application that it takes out loses all that it was given, also if it returns. Source: design decision 8.24.
        """
        now, id_ = self._context.clock(), new_id()

        def change(old: EnvironmentRecord | None) -> Amendment[Applied]:
            before = old or _NOT_YET
            differences = difference(before.catalogue, new)
            if old is not None and new == old.catalogue:
                return Applied([], old.version), None, None
            since = carry_resets(before.catalogue, before.resets_since, new, now)
            # one that comes is past its epoch too: a program of before may have taken it out and left that as it was
            moved = before.catalogue.applications.keys() ^ new.applications.keys()
            epochs = {**before.epochs, **{name: before.epochs.get(name, 0) + 1 for name in moved}}
            keys = (
                self._with_chain(environment, before.sealed_keys)
                if before.sealed_keys
                else self._context.new_keys(environment)
            )
            paused = {name: at for name, at in before.paused.items() if name in since}
            changed = EnvironmentRecord(before.version + 1, new, since, epochs, keys, paused)
            done = act.CatalogueApply(changed.version, description, tuple(differences))
            return Applied(differences, changed.version), changed, act.recorded(act.Record(id_, now, actor, done))

        return await self._context.store.amend(environment, change)

    async def catalogue(self, environment: str) -> Catalogue:
        """Answer what holds, EMPTY where nothing was ever applied."""
        record = await self._context.store.load(environment)
        return record.catalogue if record else EMPTY

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

    def _with_chain(self, environment: str, sealed_keys: bytes) -> bytes:
        """Answer the keys of an environment with a key for its chain: the same where they have one."""
        secret = self._context.secret
        keys = secret.open(environment, sealed_keys)
        if keys.chain_key:
            return sealed_keys
        keys = replace(keys, chain_key=secrets.token_bytes(32))
        return secret.seal(environment, keys, secrets.token_bytes(12))
