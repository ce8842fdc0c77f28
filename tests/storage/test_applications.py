"""
Applications as operators see them, on every adapter: who may speak, with which clients, and statements that are minted
on record and shown once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from temppass.core.act import ByOperator, ByShell, StatementMint, Wanted, read_record
from temppass.core.catalogue import Application, Catalogue, Programmer
from temppass.core.model import Changes, Client, Registered
from temppass.core.oauth import RegistrationRequest
from temppass.core.operator import Role
from temppass.core.refusal import AnsweredOnce, NotThere, RoleMissing
from temppass.core.secret import Secret
from temppass.core.world import SCOPE_V2
from temppass.service import Service, serve_from
from temppass.service.applications import Asked, NewStatement
from temppass.service.desk import Call, Once
from temppass.service.operators import NewOperator
from temppass.store import Brood, Keys
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

    from temppass.store import Store

T0, HERE = 1_767_261_600_000, "release-production"
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = Catalogue(
    applications={
        "all": Application("all", "All", None, (SCOPE_V2,)),
        "one": Application("one", "One", ("ACME1",), (SCOPE_V2,), ("acme.example",)),
        "two": Application("two", "Two", ("ACME2",), ()),
    }
)


async def opened(store: Store, clock: Clock | None = None) -> Service:
    rooms = serve_from(store, SECRET, clock=clock or Clock(T0))
    await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
    return rooms


async def operator(rooms: Service, role: Role, *channels: str) -> Call:
    created = await rooms.operators.create_here(NewOperator(f"{role}", role, channels=channels), ANN)
    return Call(HERE, created.token)


async def keep(store: Store, client: Client, version: int) -> None:
    await store.transact(Keys(HERE, version), lambda _found: (None, Changes(client=client)))


async def register(rooms: Service, statement: str) -> str:
    return (await rooms.credentials.register(HERE, RegistrationRequest(statement, None))).client_id


@pytest.mark.parametrize(
    ("channels", "seen"),
    [((), ["all", "one", "two"]), (("ACME1",), ["all", "one"]), (("OTHER", "ACME2"), ["all", "two"])],
)
def test_applications_are_seen_that_speak_for_a_channel_of_the_operators(
    place: Place, channels: tuple[str, ...], seen: list[str]
) -> None:
    async def work(store: Store) -> list[str]:
        rooms = await opened(store)
        call = await operator(rooms, Role.VIEWER, *channels)
        return [each.application.id for each in await rooms.applications.all(call)]

    assert place.use(work) == seen


def test_the_clients_of_an_application_that_is_not_seen_are_not_there(place: Place) -> None:
    """As those of one that there is not."""

    async def work(store: Store) -> None:
        rooms = await opened(store)
        call = await operator(rooms, Role.VIEWER, "ACME1")
        for id_ in ("two", "nobody", "a\0b"):
            with pytest.raises(NotThere):
                await rooms.applications.clients(call, id_, Asked())

    place.use(work)


def test_clients_are_those_of_the_application_that_were_not_revoked(place: Place) -> None:
    """What a revocation ends is counted no more, and the moment is told."""

    async def work(store: Store) -> list[tuple[int, int | None]]:
        clock = Clock(T0)
        rooms = await opened(store, clock)
        call = await operator(rooms, Role.ADMIN)
        told = []

        async def look() -> None:
            for each in await rooms.applications.all(call):
                if each.application.id == "one":
                    clients = (await rooms.applications.clients(call, "one", Asked())).clients
                    assert len(clients) == each.clients
                    told.append((each.clients, each.revoked_at))

        for application in ("all", "one", "one"):
            await register(rooms, (await rooms.statements.mint(HERE, application, ANN)).statement)
        await look()
        clock.advance(1)
        await rooms.statements.revoke(HERE, "one", ANN)
        await look()
        await register(rooms, (await rooms.statements.mint(HERE, "one", ANN)).statement)
        await look()
        return told

    assert place.use(work) == [(2, None), (0, T0 + 1), (1, T0 + 1)]


def test_what_was_revoked_is_forgotten_with_the_application(place: Place) -> None:
    async def work(store: Store) -> list[int | None]:
        rooms = await opened(store)
        call = await operator(rooms, Role.VIEWER)
        await rooms.statements.revoke(HERE, "two", ANN)
        other = replace(CATALOGUE, programmers={"acme": Programmer("acme", "Acme")})
        await rooms.catalogues.apply(HERE, other, "", ANN)
        kept = [each.revoked_at for each in await rooms.applications.all(call)]
        others = {id_: each for id_, each in CATALOGUE.applications.items() if id_ != "two"}
        await rooms.catalogues.apply(HERE, replace(CATALOGUE, applications=others), "", ANN)
        await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
        return kept + [each.revoked_at for each in await rooms.applications.all(call)]

    assert place.use(work) == [None, None, T0, None, None, None]


def test_clients_come_page_by_page_the_last_to_register_first(place: Place) -> None:
    """Those of one moment too."""

    async def work(store: Store) -> list[list[str]]:
        rooms = await opened(store)
        call = await operator(rooms, Role.VIEWER)
        world = await rooms.world(HERE)
        for number, at in enumerate((T0, T0 + 2, T0 + 2, T0 + 1)):
            await keep(store, Client(f"c{number}", "one", world.epoch("one"), b"", at), world.version)
        pages, after = list[list[str]](), None
        while not pages or after is not None:
            page = await rooms.applications.clients(call, "one", Asked(2, after))
            pages.append([each.id for each in page.clients])
            after = page.next
        rest = await store.clients(HERE, Brood("one", world.epoch("one"), ("",)), 9, Registered("c1", T0 + 2))
        return [*pages, [each.id for each in rest]]

    assert place.use(work) == [["c2", "c1"], ["c3", "c0"], ["c3", "c0"]]


def test_no_more_clients_are_counted_than_asked_for(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        for number, statement_id in enumerate(("", "s", "s")):
            await keep(store, Client(f"c{number}", "one", 1, b"", T0, statement_id), 0)
        broods = [Brood("one", 1, ("", "s")), Brood("two", 1, ("", "s")), Brood("one", 1, ("s",)), Brood("one", 1, ())]
        return await store.count_clients(HERE, broods, 2)

    assert place.use(work) == [2, 0, 2, 0]


def test_a_statement_that_was_minted_registers_and_is_on_record_without_itself(place: Place) -> None:
    """At the desk and by shell; the id of the act is the statement's."""

    async def work(store: Store) -> tuple[list[tuple[object, ...]], bool]:
        clock = Clock(T0)
        rooms = await opened(store, clock)
        call = await operator(rooms, Role.ADMIN)
        clock.advance(1)
        minted = await rooms.applications.mint(call, "one", NewStatement(reason="ticket 7"))
        await register(rooms, minted.statement)
        clock.advance(1)
        shell = (await rooms.statements.mint(HERE, "one", ANN)).statement
        await rooms.history.seal_all(HERE)
        found = await store.search(HERE, Wanted(kinds=("statement.mint",)), None, 9, newest_first=False)
        records = [read_record(each.document) for each in found]
        signatures = [text.rpartition(".")[2].encode() for text in (minted.statement, shell)]
        secret = any(signature in each.document for each in found for signature in signatures)
        assert records[0].id == minted.id
        return [(each.at, each.actor, each.act, each.reason) for each in records], secret

    act = StatementMint("one")
    assert place.use(work) == (
        [(T0 + 1, ByOperator("admin", Role.ADMIN), act, "ticket 7"), (T0 + 2, ANN, act, None)],
        False,
    )


def test_a_statement_is_shown_once(place: Place) -> None:
    async def work(store: Store) -> int:
        rooms = await opened(store)
        call = (await operator(rooms, Role.ADMIN))._replace(once=Once("k", "POST /x", b""))
        await rooms.applications.mint(call, "one", NewStatement())
        with pytest.raises(AnsweredOnce):
            await rooms.applications.mint(call, "one", NewStatement())
        await rooms.history.seal_all(HERE)
        acts = await store.search(HERE, Wanted(kinds=("statement.mint",)), None, 9, newest_first=False)
        return len(acts)

    assert place.use(work) == 1


def test_statements_are_minted_by_admins_for_applications_that_there_are(place: Place) -> None:
    async def work(store: Store) -> None:
        rooms = await opened(store)
        admin, lesser = await operator(rooms, Role.ADMIN), await operator(rooms, Role.OPERATOR)
        for call, id_, refusal in ((admin, "nobody", NotThere), (lesser, "one", RoleMissing)):
            with pytest.raises(refusal):
                await rooms.applications.mint(call, id_, NewStatement())
        with pytest.raises(NotThere):
            await rooms.applications.mint(admin._replace(environment="nowhere"), "one", NewStatement())

    place.use(work)
