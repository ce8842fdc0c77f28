"""
What an operator does to an environment from the command line: declare its catalogue, mint and revoke statements.

A change is one atomic amendment in the store and raises the environment's version, which is how every server notices.
"""

import secrets
import uuid
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from temppass.core.catalogue import EMPTY, Catalogue, carry_resets, difference
from temppass.core.model import Record
from temppass.core.tokens import Secret, Statement, generate_keys, write_statement
from temppass.core.world import EnvironmentRecord, application_sub
from temppass.service import Policy, wall_clock
from temppass.store import Store
from temppass.worlds import Worlds

_NOT_YET = EnvironmentRecord(0, EMPTY, {}, {}, b"")


class UnknownApplication(Exception):
    """The catalogue of the environment has no such application."""


class Applied(NamedTuple):
    """What an apply did, one difference a line, and the version that holds now."""

    differences: list[str]
    version: int


class Administration:
    def __init__(
        self, store: Store, secret: Secret, worlds: Worlds, policy: Policy, clock: Callable[[], int] = wall_clock
    ) -> None:
        self._store = store
        self._secret = secret
        self._worlds = worlds
        self._policy = policy
        self._clock = clock

    async def plan(self, environment: str, new: Catalogue) -> list[str]:
        """Tell what `apply` would do; change nothing."""
        return difference(await self.catalogue(environment), new)

    async def apply(self, environment: str, new: Catalogue, description: str) -> Applied:
        """
        Make `new` the catalogue; the first time, the environment comes into being with keys of its own.

        An application that it takes out loses all that it was given, also if it returns. Source: design decision 8.24.
        """
        now, kids = self._clock(), (secrets.token_hex(8), secrets.token_hex(8))

        def change(old: EnvironmentRecord | None) -> tuple[Applied, EnvironmentRecord | None, Record | None]:
            before = old or _NOT_YET
            differences = difference(before.catalogue, new)
            if old is not None and new == old.catalogue:
                return Applied([], old.version), None, None
            keys = before.sealed_keys or self._secret.encrypt(environment, generate_keys(kids), secrets.token_bytes(12))
            since = carry_resets(before.catalogue, before.resets_since, new, now)
            # one that comes is past its epoch too: a program of before may have taken it out and left that as it was
            moved = before.catalogue.applications.keys() ^ new.applications.keys()
            epochs = {**before.epochs, **{name: before.epochs.get(name, 0) + 1 for name in moved}}
            changed = EnvironmentRecord(before.version + 1, new, since, epochs, keys)
            detail = "\n".join([description, *differences] if description else differences)
            return Applied(differences, changed.version), changed, _record(now, "catalogue.apply", detail)

        return await self._store.amend(environment, change)

    async def catalogue(self, environment: str) -> Catalogue:
        record = await self._store.load(environment)
        return record.catalogue if record else EMPTY

    async def mint(self, environment: str, application_id: str) -> str:
        """Answer a new software statement; older ones stay good. Raises UnknownApplication."""
        world = await self._worlds.load(environment)
        if application_id not in world.catalogue.applications or world.keyring is None:
            raise UnknownApplication(_unknown(environment, application_id, world.catalogue))
        statement = Statement(application_sub(environment, application_id), world.epoch(application_id))
        now_s, jti = self._clock() // 1000, str(uuid.uuid4())
        return write_statement(world.keyring, statement, environment, now_s, jti, self._policy.issuer)

    async def revoke(self, environment: str, application_id: str) -> None:
        """
        End every statement, client and token that the application was given so far; a later mint starts afresh.

        Raises UnknownApplication. Source: design decision 8.10.
        """
        now = self._clock()

        def change(old: EnvironmentRecord | None) -> tuple[None, EnvironmentRecord | None, Record | None]:
            if old is None or application_id not in old.catalogue.applications:
                raise UnknownApplication(_unknown(environment, application_id, old.catalogue if old else EMPTY))
            epochs = {**old.epochs, application_id: old.epochs.get(application_id, 0) + 1}
            changed = replace(old, version=old.version + 1, epochs=epochs)
            return None, changed, _record(now, "statement.revoke", application_id)

        await self._store.amend(environment, change)

    async def check(self) -> list[str]:
        """
        Hold the schema and the secret against the store; answer the names of its environments.

        Raises SchemaOutdated, WrongSecret.
        """
        await self._store.check()
        names = await self._store.environments()
        for name in names:
            await self._worlds.load(name)
        return names


def _unknown(environment: str, application_id: str, catalogue: Catalogue) -> str:
    known = ", ".join(catalogue.applications) or "none"
    return f"environment {environment!r} has no application {application_id!r} (it has: {known})"


def _record(now: int, action: str, detail: str) -> Record:
    return Record(id=str(uuid.uuid4()), at=now, action=action, detail=detail)
