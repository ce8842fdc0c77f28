"""
Statements as objects, on every adapter: each is listed until it is revoked or has ended, and with it ends what came
from it, on every node and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from msgspec.structs import replace

from temppass.core.act import ByOperator, ByShell, ClientRevoke, StatementRevoke, Wanted, read_record
from temppass.core.catalogue import EMPTY, Application, Catalogue, Channel, Pass
from temppass.core.model import OLDER, PassKind
from temppass.core.oauth import IntrospectionRequest, RegistrationRequest, TokenRequest
from temppass.core.operator import Role
from temppass.core.refusal import (
    AlreadySo,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    NotThere,
    Refusal,
    RevokedApplication,
    TooManyIssued,
    UnapprovedStatement,
)
from temppass.core.secret import Secret
from temppass.core.world import SCOPE_V2, EnvironmentRecord, application_sub
from temppass.service import Service, serve_from, statements
from temppass.service.applications import Asked, NewStatement
from temppass.service.context import Caller, Policy
from temppass.service.desk import Call
from temppass.service.operators import NewOperator
from temppass.store import STATEMENT_KEPT_MS
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

    from temppass.store import Amendment, Store

T0, HERE = 1_767_261_600_000, "release-production"
HOUR = 3_600_000
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = Catalogue(
    channels={"REF": Channel("REF", "acme", "Reference")},
    passes={"P": Pass("P", PassKind.BASIC, "Preview", 600_000, {"REF": True})},
    applications={"one": Application("one", "One", None, (SCOPE_V2,)), "two": Application("two", "Two", None, ())},
)


class Given(NamedTuple):
    """What one installation has."""

    statement: str
    request: TokenRequest
    token: str


class Nodes:
    """Two servers of one store; what is asked is asked at the second, what is done is done at the first."""

    def __init__(self, store: Store) -> None:
        self.clock = Clock(T0)
        self.first, self.second = (serve_from(store, SECRET, clock=self.clock) for _ in range(2))

    async def open(self) -> Nodes:
        await self.first.catalogues.apply(HERE, CATALOGUE, "", ANN)
        return self

    async def mint(self, ends_at: int | None = None) -> statements.Minted:
        return await self.first.statements.mint(HERE, "one", ANN, ends_at)

    async def install(self, statement: str, node: Service | None = None) -> Given:
        rooms = (node or self.second).credentials
        client = await rooms.register(HERE, RegistrationRequest(statement, None))
        request = TokenRequest(client.client_id, client.client_secret, frozenset())
        return Given(statement, request, (await rooms.issue_token(HERE, request)).access_token)

    async def holds(self, given: Given) -> list[str]:
        """Tell what happens to statement, credentials and token: a refusal's name, or "" where all is well."""
        rooms = self.second
        asks = (
            rooms.credentials.register(HERE, RegistrationRequest(given.statement, None)),
            rooms.credentials.issue_token(HERE, given.request),
            rooms.decisions.configuration(Caller(HERE, given.token, "REF")),
        )
        told = []
        for ask in asks:
            try:
                await ask
                told.append("")
            except Refusal as refusal:
                told.append(type(refusal).__name__)
        return told

    async def older_statement(self) -> str:
        """What a program of before would have minted: on no list."""
        world = await self.first.world(HERE)
        assert world.keyring is not None
        return world.keyring.sign_statement({
            "sub": application_sub(HERE, "one"), "iss": "auth.adobe.com", "nbf": T0 // 1000, "iat": T0 // 1000,
            "aud": HERE, "jti": "an act's", "epoch": world.epoch("one"),
        }, T0)  # fmt: skip


GOOD = ["", "", ""]
ENDED = [UnapprovedStatement.__name__, InvalidClient.__name__, RevokedApplication.__name__]


@pytest.mark.parametrize("whole", [False, True])
def test_what_came_from_a_revoked_statement_has_ended_and_nothing_else(place: Place, whole: bool) -> None:  # noqa: FBT001 - a case
    """Of the other statement, and of what a program of before handed out; or all of it."""

    async def work(store: Store) -> list[list[str]]:
        nodes = await Nodes(store).open()
        minted = [await nodes.mint(), await nodes.mint()]
        given = [await nodes.install(each.statement) for each in minted]
        given.append(await nodes.install(await nodes.older_statement()))
        await nodes.first.statements.revoke(HERE, "one", ANN, None if whole else minted[0].id)
        return [await nodes.holds(each) for each in given]

    assert place.use(work) == ([ENDED, ENDED, ENDED] if whole else [ENDED, GOOD, GOOD])


def test_what_programs_of_before_handed_out_is_revoked_as_one(place: Place) -> None:
    async def work(store: Store) -> list[list[str]]:
        nodes = await Nodes(store).open()
        older = await nodes.older_statement()
        given = [await nodes.install(each) for each in (older, (await nodes.mint()).statement)]
        await nodes.first.statements.revoke(HERE, "one", ANN, OLDER)
        with pytest.raises(AlreadySo):
            await nodes.first.statements.revoke(HERE, "one", ANN, OLDER)
        return [await nodes.holds(each) for each in given]

    assert place.use(work) == [ENDED, GOOD]


def test_after_all_was_revoked_a_program_of_before_begins_anew(place: Place) -> None:
    """As it always did: what was closed is what was handed out until then."""

    async def work(store: Store) -> list[str]:
        nodes = await Nodes(store).open()
        await nodes.first.statements.revoke(HERE, "one", ANN, OLDER)
        await nodes.first.statements.revoke(HERE, "one", ANN)
        return await nodes.holds(await nodes.install(await nodes.older_statement()))

    assert place.use(work) == GOOD


def test_what_came_from_a_statement_ends_with_it(place: Place) -> None:
    """A token lives no longer than its statement, which is told when the token is handed out."""

    async def work(store: Store) -> tuple[int, list[list[str]]]:
        nodes = await Nodes(store).open()
        minted = await nodes.mint(T0 + HOUR)
        given = await nodes.install(minted.statement)
        issued = await nodes.second.credentials.issue_token(HERE, given.request)
        nodes.clock.advance(HOUR - 1000)
        told = [await nodes.holds(given)]
        nodes.clock.advance(1000)
        return issued.lifetime_ms, [*told, await nodes.holds(given)]

    ended = [UnapprovedStatement.__name__, InvalidClient.__name__, InvalidToken.__name__]
    assert place.use(work) == (HOUR, [GOOD, ended])


def test_a_client_is_ended_alone_and_remembered_as_long_as_a_token_of_its_lives(place: Place) -> None:
    async def work(store: Store) -> tuple[list[list[str]], list[list[str]]]:
        nodes = await Nodes(store).open()
        statement = (await nodes.mint()).statement
        given = [await nodes.install(statement), await nodes.install(statement)]
        await nodes.first.statements.revoke_client(HERE, given[0].request.client_id, ANN)
        with pytest.raises(NotThere):
            await nodes.first.statements.revoke_client(HERE, given[0].request.client_id, ANN)
        told, remembered = [await nodes.holds(each) for each in given], []
        for wait in (6 * HOUR, 60_000):
            nodes.clock.advance(wait)
            await store.sweep(nodes.clock(), 0, 10)
            found = await store.load(HERE)
            remembered.append([each.id for each in found.ended] if found else [])
        assert remembered[0] == [given[0].request.client_id]
        return told, remembered[1:]

    assert place.use(work) == ([["", InvalidClient.__name__, RevokedApplication.__name__], GOOD], [[]])


def test_introspection_tells_of_a_token_what_a_call_would_find(place: Place) -> None:
    """Of a revoked statement, of a client that was ended, of a statement whose end has come, and of one that stays."""

    async def work(store: Store) -> list[bool]:
        nodes = await Nodes(store).open()
        minted = [await nodes.mint(), await nodes.mint(), await nodes.mint(T0 + HOUR), await nodes.mint()]
        given = [await nodes.install(each.statement) for each in minted]
        asking = given[-1].request
        await nodes.first.statements.revoke(HERE, "one", ANN, minted[0].id)
        await nodes.first.statements.revoke_client(HERE, given[1].request.client_id, ANN)
        nodes.clock.now = T0 + HOUR
        asked = [IntrospectionRequest(asking.client_id, asking.client_secret, each.token) for each in given]
        return [await nodes.second.credentials.introspect(HERE, each) is not None for each in asked]

    assert place.use(work) == [False, False, False, True]


def test_a_client_is_remembered_as_long_as_a_token_of_any_server_lives(place: Place) -> None:
    """Also where the server that ends it gives tokens a shorter life."""

    async def work(store: Store) -> str:
        clock = Clock(T0)
        long, short = (
            serve_from(store, SECRET, Policy(access_token_ms=hours * HOUR), clock, pause_s=0) for hours in (12, 1)
        )
        nodes = Nodes(store)
        nodes.clock, nodes.first, nodes.second = clock, long, short
        given = await (await nodes.open()).install((await nodes.mint()).statement, long)
        await long.signing.keep(HERE)
        await short.statements.revoke_client(HERE, given.request.client_id, ANN)
        clock.advance(11 * HOUR)
        await store.sweep(clock(), 0, 10)
        await nodes.mint()  # so that both look again
        return (await nodes.holds(given))[2]

    assert place.use(work) == RevokedApplication.__name__


def test_what_a_program_of_before_writes_drops_no_statement(place: Place) -> None:
    """It writes the environment as a whole, without what it does not know, and registers clients of no statement."""

    def rewrite(old: EnvironmentRecord | None) -> Amendment[None]:
        assert old is not None
        return None, replace(old, version=old.version + 1, listing={}), None

    async def work(store: Store) -> list[list[str]]:
        nodes = await Nodes(store).open()
        minted = [await nodes.mint(), await nodes.mint()]
        given = [await nodes.install(each.statement) for each in minted]
        await nodes.first.statements.revoke(HERE, "one", ANN, minted[0].id)
        await store.amend(HERE, rewrite)
        return [await nodes.holds(each) for each in given]

    assert place.use(work) == [ENDED, GOOD]


def test_an_application_that_left_returns_without_its_statements(place: Place) -> None:
    async def work(store: Store) -> tuple[list[str], list[statements.Shown]]:
        nodes = await Nodes(store).open()
        given = await nodes.install((await nodes.mint()).statement)
        for catalogue in (EMPTY, CATALOGUE):
            await nodes.first.catalogues.apply(HERE, catalogue, "", ANN)
        return await nodes.holds(given), await nodes.first.statements.of(HERE, "one")

    assert place.use(work) == (ENDED, [])


def test_statements_are_listed_with_their_clients(place: Place) -> None:
    """What is of before comes first, and only where there is any: its clients, or an environment of before."""

    def of_before(old: EnvironmentRecord | None) -> Amendment[None]:
        assert old is not None
        return None, replace(old, version=old.version + 1, listing={}), None

    async def work(store: Store) -> list[list[tuple[str, int | None, int | None, int]]]:
        nodes = await Nodes(store).open()
        ids = {OLDER: "older"}
        told = []

        async def look() -> None:
            found = await nodes.second.statements.of(HERE, "one")
            told.append([(ids[each.id], each.minted_at, each.ends_at, each.clients) for each in found])

        first, last = await nodes.mint(), await nodes.mint(T0 + HOUR)
        ids |= {first.id: "first", last.id: "last"}
        for statement in (first.statement, first.statement, last.statement):
            await nodes.install(statement)
        await look()
        older = await nodes.install(await nodes.older_statement())
        await look()
        await nodes.first.statements.revoke_client(HERE, older.request.client_id, ANN)
        await store.amend(HERE, of_before)
        await look()
        await nodes.first.statements.revoke(HERE, "one", ANN)
        await look()
        return told

    listed = [("first", T0, None, 2), ("last", T0, T0 + HOUR, 1)]
    assert place.use(work) == [listed, [("older", None, None, 1), *listed], [("older", None, None, 0), *listed], []]


def test_whose_statement_has_ended_may_ask_for_no_token_and_is_no_client(place: Place) -> None:
    """Also before it is swept."""

    async def work(store: Store) -> list[tuple[int, int, int]]:
        nodes = await Nodes(store).open()
        call, desk = await _operator(nodes.first, Role.VIEWER), nodes.first.applications
        for ends_at in (None, T0 + HOUR):
            await nodes.install((await nodes.mint(ends_at)).statement)
        told = []
        for _ in range(2):
            present = {each.application.id: each.clients for each in await desk.all(call)}
            seen = len((await desk.clients(call, "one", Asked())).clients)
            told.append((present["one"], seen, len(await nodes.second.statements.clients(HERE, "one", None, 9, None))))
            nodes.clock.advance(HOUR)
        return told

    assert place.use(work) == [(2, 2, 2), (1, 1, 1)]


def test_a_statement_that_has_ended_is_listed_for_a_while(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        nodes = await Nodes(store).open()
        await nodes.mint(T0 + HOUR)
        counts = []
        for at in (T0 + HOUR + STATEMENT_KEPT_MS - 1, T0 + HOUR + STATEMENT_KEPT_MS):
            await store.sweep(at, 0, 10)
            found = await store.load(HERE)
            counts.append(len(found.statements) if found else 0)
        return counts

    assert place.use(work) == [1, 0]


def test_an_application_has_so_many_statements_that_count(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has ended makes room."""
    monkeypatch.setattr(statements, "LISTED_MAX", 2)

    async def work(store: Store) -> None:
        nodes = await Nodes(store).open()
        for ends_at in (None, T0 + HOUR):
            await nodes.mint(ends_at)
        with pytest.raises(TooManyIssued):
            await nodes.mint()
        nodes.clock.advance(HOUR)
        await nodes.mint()

    place.use(work)


def test_so_many_clients_are_ended_one_by_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "ENDED_MAX", 1)

    async def work(store: Store) -> None:
        nodes = await Nodes(store).open()
        statement = (await nodes.mint()).statement
        ids = [(await nodes.install(statement)).request.client_id for _ in range(2)]
        await nodes.first.statements.revoke_client(HERE, ids[0], ANN)
        with pytest.raises(TooManyIssued):
            await nodes.first.statements.revoke_client(HERE, ids[1], ANN)

    place.use(work)


def test_what_is_minted_and_revoked_has_to_make_sense(place: Place) -> None:
    async def work(store: Store) -> None:
        nodes = await Nodes(store).open()
        with pytest.raises(InvalidRequest):
            await nodes.mint(T0)
        other = await nodes.first.statements.mint(HERE, "two", ANN)
        for id_ in (other.id, "nobody's", "a\0b"):
            with pytest.raises(NotThere):
                await nodes.first.statements.revoke(HERE, "one", ANN, id_)
            with pytest.raises(NotThere):
                await nodes.first.statements.revoke_client(HERE, id_, ANN)

    place.use(work)


async def _operator(rooms: Service, role: Role) -> Call:
    return Call(HERE, (await rooms.operators.create_here(NewOperator(f"{role}", role), ANN)).token)


def test_operators_end_statements_and_clients_on_record(place: Place) -> None:
    async def work(store: Store) -> tuple[bool, list[str]]:
        nodes = await Nodes(store).open()
        call, desk = await _operator(nodes.first, Role.ADMIN), nodes.first.applications
        minted = [await desk.mint(call, "one", NewStatement(T0 + HOUR)) for _ in range(3)]
        given = await nodes.install(minted[2].statement)
        await desk.revoke_statement(call, minted[0].id)
        await desk.revoke(call, "one", minted[1].id)
        await desk.revoke_client(call, given.request.client_id)
        await desk.revoke(call, "one", OLDER)
        await desk.revoke(call, "one", None)
        await nodes.first.history.seal_all(HERE)
        kinds = ("statement.revoke", "client.revoke")
        found = await store.search(HERE, Wanted(kinds=kinds), None, 9, newest_first=False)
        records = [read_record(each.document) for each in found]
        expected = [
            StatementRevoke("one", minted[0].id),
            StatementRevoke("one", minted[1].id),
            ClientRevoke("one", given.request.client_id),
            StatementRevoke("one", OLDER),
            StatementRevoke("one"),
        ]
        by = {each.actor for each in records}
        return ([each.act for each in records], by) == (expected, {ByOperator("admin", Role.ADMIN)}), [
            fault async for fault in nodes.first.history.faults(HERE)
        ]

    assert place.use(work) == (True, [])


def test_who_may_not_end_anything_is_refused_and_what_is_not_there_is_not(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        nodes = await Nodes(store).open()
        minted = await nodes.mint()
        desk, told = nodes.first.applications, []
        for role in (Role.OPERATOR, Role.ADMIN):
            call = await _operator(nodes.first, role)
            asks = (
                desk.revoke_statement(call, minted.id if role is Role.OPERATOR else "nobody's"),
                desk.revoke_statement(call, OLDER),
                desk.revoke(call, "one" if role is Role.OPERATOR else "nobody", None),
                desk.revoke_client(call, "nobody"),
            )
            for ask in asks:
                try:
                    await ask
                except Refusal as refusal:
                    told.append(type(refusal).__name__)
        return [*told, *await nodes.holds(await nodes.install(minted.statement))]

    assert place.use(work) == [
        *["RoleMissing"] * 4, "NotThere", "NotThere", "UnknownApplication", "NotThere", *GOOD
    ]  # fmt: skip


def test_clients_are_told_by_statement(place: Place) -> None:
    """Those of a statement that was revoked are no clients any more."""

    async def work(store: Store) -> list[int]:
        nodes = await Nodes(store).open()
        call, desk = await _operator(nodes.first, Role.VIEWER), nodes.first.applications
        minted = [await nodes.mint() for _ in range(2)]
        for each in (minted[0], minted[0], minted[1]):
            await nodes.install(each.statement)
        counts = [
            len((await desk.clients(call, "one", Asked(statement_id=id_))).clients)
            for id_ in (None, minted[0].id, minted[1].id, OLDER, "nobody's")
        ]
        await nodes.first.statements.revoke(HERE, "one", ANN, minted[0].id)
        present = {each.application.id: each.clients for each in await desk.all(call)}
        page = (await desk.clients(call, "one", Asked())).clients
        return [*counts, len(page), present["one"], *({each.statement_id for each in page} == {minted[1].id},)]

    assert place.use(work) == [3, 2, 1, 0, 0, 1, 1, True]
