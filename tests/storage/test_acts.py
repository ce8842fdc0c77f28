"""
What an operator's acts at a shell leave behind, on every adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core.act import ByShell, CatalogueApply, StatementRevoke
from temppass.core.catalogue import EMPTY, Application, Catalogue
from temppass.core.refusal import UnknownApplication
from temppass.core.secret import Secret
from temppass.core.tokens import read_statement
from temppass.core.world import SCOPE_V2, EnvironmentRecord
from temppass.service import Service, serve_from
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

    from temppass.store import Amendment, Store

T0, HERE = 1_767_261_600_000, "release-production"
CATALOGUE = Catalogue(applications={"ops": Application("ops", "Support", None, (SCOPE_V2,))})
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)


def service(store: Store, clock: Clock) -> Service:
    return serve_from(store, SECRET, clock=clock)


def test_an_act_that_changes_something_leaves_a_record(place: Place) -> None:
    """The same catalogue once more changes nothing; the first one brings the environment into being, even if empty."""

    async def work(store: Store) -> tuple[list[int], list[object]]:
        clock, versions = Clock(T0), list[int]()
        rooms = service(store, clock)
        for catalogue, description in ((EMPTY, "bare"), (EMPTY, "again"), (CATALOGUE, "spring"), (CATALOGUE, "")):
            versions.append((await rooms.catalogues.apply(HERE, catalogue, description, ANN)).version)
            clock.advance(1)
        await rooms.statements.revoke(HERE, "ops", ANN)
        return versions, [(record.at - T0, record.actor, record.act) async for _, record in rooms.history.records(HERE)]

    assert place.use(work) == (
        [1, 1, 2, 2],
        [
            (0, ANN, CatalogueApply(1, "bare", ())),
            (2, ANN, CatalogueApply(2, "spring", ("+ application ops",))),
            (4, ANN, StatementRevoke("ops")),
        ],
    )


def test_nothing_is_sealed_without_a_key_of_its_own(place: Place) -> None:
    """An environment of the first version has none until it is brought over; anybody could forge a chain without it."""

    async def work(store: Store) -> list[int]:
        rooms = service(store, Clock(T0))
        await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)

        def without(old: EnvironmentRecord | None) -> Amendment[None]:
            assert old is not None
            keys = SECRET.seal(HERE, replace(SECRET.open(HERE, old.sealed_keys), chain_key=b""), b"n" * 12)
            return None, replace(old, version=old.version + 1, sealed_keys=keys), None

        await store.amend(HERE, without)
        sealed = [await service(store, Clock(T0)).history.seal()]
        await rooms.catalogues.seal_keys()
        return [*sealed, await service(store, Clock(T0)).history.seal()]

    assert place.use(work) == [0, 1]


def test_an_application_that_is_not_declared_is_neither_minted_for_nor_revoked(place: Place) -> None:
    """Neither before the environment exists nor after."""

    async def work(store: Store) -> tuple[int, int]:
        rooms = service(store, Clock(T0))
        for _ in range(2):
            with pytest.raises(UnknownApplication):
                await rooms.statements.mint(HERE, "ops", ANN)
            with pytest.raises(UnknownApplication):
                await rooms.statements.revoke(HERE, "ops", ANN)
            await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
        loaded = await store.load(HERE)
        return loaded.record.version if loaded else 0, len([record async for record in rooms.history.records(HERE)])

    assert place.use(work) == (1, 1)


def test_a_statement_holds_from_the_moment_it_is_minted(place: Place) -> None:
    async def work(store: Store) -> int:
        rooms = service(store, Clock(T0))
        await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
        statement, world = (await rooms.statements.mint(HERE, "ops", ANN)).statement, await rooms.world(HERE)
        assert world.keyring is not None
        return read_statement(world.keyring, statement, HERE, T0 // 1000).epoch - world.epoch("ops")

    assert place.use(work) == 0
