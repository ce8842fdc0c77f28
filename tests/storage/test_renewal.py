"""
Who says that it serves the store, and another secret that takes the place of the present one: whoever is up has to
know both, nothing that was issued ends, nobody becomes new, and the old one opens nothing afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, cast

import asyncpg
import pytest
from msgspec.structs import replace

from temppass.core.act import ByShell, SecretRotate, read_record
from temppass.core.catalogue import EMPTY, Application, Catalogue
from temppass.core.keys import StoredKeys
from temppass.core.model import Changes, Found, Recorded, Server
from temppass.core.operator import Role
from temppass.core.secret import Secret, Source, WrongSecret
from temppass.core.world import HOUSE, SCOPE_V2, EnvironmentRecord
from temppass.service import Service, serve_from
from temppass.service.desk import Call, Once
from temppass.service.operators import NewOperator
from temppass.service.register import GONE_MS, Process
from temppass.service.renewal import NotYet
from temppass.storage.postgres import PostgresStore
from temppass.store import AmendmentOfAll, Holder, Keys, Store, StoreUnavailable, Whole
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

A = TypeVar("A")

T0, HERE, THERE = 1_767_261_600_000, "release-production", "release-staging"
OLD, NEW, OTHER = b"s" * 32, b"t" * 32, b"u" * 32
ANN = ByShell("ann")
CATALOGUE = Catalogue(applications={"ops": Application("ops", "Support", None, (SCOPE_V2,))})
#: what a server that is up and behind is called
BEHIND = "process 7 on db.example (1.0)"


def serving(store: Store, *values: bytes, source: Source | None = None, clock: Clock | None = None) -> Service:
    return serve_from(store, Secret(*values, source=source), clock=clock or Clock(T0))


async def made(store: Store) -> Service:
    """Answer a service with the old secret, and two environments that it made."""
    service = serving(store, OLD)
    for name in (HERE, THERE):
        await service.catalogues.apply(name, CATALOGUE, "", ANN)
    return service


async def entered(service: Service) -> Service:
    await service.register.enter(Process("db.example", 7, "1.0"))
    return service


async def whole(store: Store) -> Whole:
    return await store.amend_all(lambda whole: (whole, {}, None))


async def sealed(store: Store) -> Mapping[str, bytes]:
    return {name: each.sealed_keys for name, each in (await whole(store)).environments.items()}


# --- the port


def test_a_server_is_known_by_what_it_said_last(place: "Place") -> None:
    async def work(store: Store) -> tuple[Server, ...]:
        await store.announce(Server("a", T0, b"1"))
        await store.announce(Server("b", T0, b"1"))
        await store.announce(Server("a", T0 + 1, b"2"))
        return (await whole(store)).servers

    assert {*place.use(work)} == {Server("a", T0 + 1, b"2"), Server("b", T0, b"1")}


def test_a_server_that_withdraws_is_forgotten_once_and_for_all(place: "Place") -> None:
    async def work(store: Store) -> tuple[Server, ...]:
        await store.announce(Server("a", T0, b"1"))
        await store.withdraw("a")
        await store.withdraw("a")
        return (await whole(store)).servers

    assert place.use(work) == ()


def test_servers_that_said_nothing_for_long_are_forgotten(place: "Place") -> None:
    async def work(store: Store) -> tuple[Server, ...]:
        for id_, at in (("a", T0), ("b", T0 + 1)):
            await store.announce(Server(id_, at, b"1"))
        await store.forget_servers(T0 + 1)
        return (await whole(store)).servers

    assert place.use(work) == (Server("b", T0 + 1, b"1"),)


def test_all_environments_change_at_once_with_a_record_of_the_house(place: "Place") -> None:
    new = EnvironmentRecord(1, EMPTY, {}, {}, b"sealed")

    async def work(store: Store) -> tuple[str, Mapping[str, EnvironmentRecord], list[bytes]]:
        await store.amend(HERE, lambda _old: (None, new, None))

        def change(found: Whole) -> AmendmentOfAll[str]:
            changed = {name: replace(each, version=2) for name, each in found.environments.items()}
            return "done", {**changed, HOUSE: new}, Recorded("act", T0, b"record")

        answer = await store.amend_all(change)
        return answer, (await whole(store)).environments, await store.unsealed(HOUSE, 9)

    assert place.use(work) == ("done", {HOUSE: new, HERE: replace(new, version=2)}, [b"record"])


def test_a_change_of_all_that_raises_changes_nothing(place: "Place") -> None:
    async def work(store: Store) -> list[str]:
        def change(_found: Whole) -> AmendmentOfAll[None]:
            raise NotYet("never")

        with pytest.raises(NotYet):
            await store.amend_all(change)
        return await store.environments()

    assert place.use(work) == []


# --- who is up


def test_a_server_that_comes_up_says_so_before_it_looks_whether_its_secret_opens_the_store(place: "Place") -> None:
    """Else somebody could change the secret in between, and neither would notice the other."""

    async def work(store: Store) -> int:
        await made(store)
        with pytest.raises(WrongSecret):
            await entered(serving(store, OTHER))
        return len((await whole(store)).servers)

    assert place.use(work) == 1


def test_a_server_that_goes_says_no_more_that_it_is_up(place: "Place") -> None:
    async def work(store: Store) -> tuple[Server, ...]:
        service = await entered(await made(store))
        await service.register.leave()
        await service.register.say()
        return (await whole(store)).servers

    assert place.use(work) == ()


def test_upkeep_forgets_servers_that_are_gone_without_a_word(place: "Place") -> None:
    async def work(store: Store) -> tuple[int, int]:
        clock = Clock(T0)
        await entered(serving(store, OLD, clock=Clock(T0)))
        other, left = serving(store, OLD, clock=clock), []
        for moment in (T0 + GONE_MS, T0 + GONE_MS + 1):
            clock.now = moment
            await other.upkeep.tick()
            left.append(len((await whole(store)).servers))
        return left[0], left[1]

    assert place.use(work) == (1, 0)


# --- another secret


def test_everything_opens_with_the_new_secret_alone_and_holds_the_same(place: "Place") -> None:
    async def work(store: Store) -> tuple[dict[str, StoredKeys], dict[str, StoredKeys], list[str]]:
        await made(store)
        before = {name: Secret(OLD).open(name, each) for name, each in (await sealed(store)).items()}
        await serving(store, NEW, OLD).renewal.renew(None, ANN)
        after, refused = {}, []
        for name, each in (await sealed(store)).items():
            after[name] = Secret(NEW).open(name, each)
            with pytest.raises(WrongSecret):
                Secret(OLD).open(name, each)
            refused.append(name)
        return before, {name: keys for name, keys in after.items() if name != HOUSE}, sorted(refused)

    before, after, refused = place.use(work)
    assert (after, refused) == (before, [HOUSE, HERE, THERE])


def test_every_environment_has_another_version_so_that_every_server_notices(place: "Place") -> None:
    async def work(store: Store) -> dict[str, int]:
        await made(store)
        await serving(store, NEW, OLD).renewal.renew(None, ANN)
        return {name: each.version for name, each in (await whole(store)).environments.items()}

    assert place.use(work) == {HOUSE: 1, HERE: 2, THERE: 2}


def test_a_token_of_before_and_the_keys_that_sign_stay(place: "Place") -> None:
    """To read a key takes long, so what was sealed anew is not read anew."""

    async def work(store: Store) -> bool:
        service = serving(store, NEW, OLD)
        await made(store)
        before = await service.world(HERE)
        await serving(store, NEW, OLD).renewal.renew(None, ANN)
        after = await service.world(HERE)
        return (before.version, before.keyring) == (after.version - 1, after.keyring)

    assert place.use(work)


def test_it_is_an_act_of_the_house_and_both_chains_hold(place: "Place") -> None:
    async def work(store: Store) -> tuple[list[object], list[str]]:
        before = await made(store)
        await before.history.seal()
        after = serving(store, NEW, OLD)
        await after.renewal.renew(None, ANN)
        await after.history.seal()
        acts = [read_record(each.document) for each in await store.records(HOUSE, 0, 9)]
        faults = [fault for name in (HOUSE, HERE, THERE) async for fault in after.history.faults(name, None)]
        return [(each.actor, each.act) for each in acts], faults

    assert place.use(work) == ([(ANN, SecretRotate((HERE, THERE)))], [])


def test_once_all_is_done_there_is_nothing_left_to_do_and_to_record(place: "Place") -> None:
    async def work(store: Store) -> tuple[tuple[str, ...], tuple[str, ...], int]:
        await made(store)
        first = await serving(store, NEW, OLD).renewal.renew(None, ANN)
        second = await serving(store, NEW, OLD).renewal.renew(None, ANN)
        return first.names, second.names, len(await store.unsealed(HOUSE, 9))

    assert place.use(work) == ((HERE, THERE), (), 1)


def test_what_a_broken_off_change_left_is_sealed_later(place: "Place") -> None:
    """An environment may come into being while the secret changes; the next time it is the only one."""

    async def work(store: Store) -> tuple[str, ...]:
        await serving(store, OLD).catalogues.apply(HERE, CATALOGUE, "", ANN)
        await serving(store, NEW, OLD).renewal.renew(None, ANN)
        late = EnvironmentRecord(1, EMPTY, {}, {}, Secret(OLD).seal(THERE, StoredKeys((), pepper=b"p"), b"n" * 12))
        await store.amend(THERE, lambda _old: (None, late, None))
        return (await serving(store, NEW, OLD).renewal.renew(None, ANN)).names

    assert place.use(work) == (THERE,)


def test_a_look_tells_the_same_and_changes_nothing(place: "Place") -> None:
    async def work(store: Store) -> tuple[tuple[str, ...], bool]:
        await made(store)
        before = await whole(store)
        looked = await serving(store, NEW, OLD).renewal.look(None)
        return looked.names, await whole(store) == before

    assert place.use(work) == ((HERE, THERE), True)


def test_an_environment_comes_into_being_under_the_secret_that_opens_the_others(place: "Place") -> None:
    """It was restarted with both, and others that were not know the one of before alone."""

    async def work(store: Store) -> list[str]:
        await serving(store, OLD).catalogues.apply(HERE, CATALOGUE, "", ANN)
        await serving(store, NEW, OLD).catalogues.apply(THERE, CATALOGUE, "", ANN)
        return await serving(store, OLD).catalogues.check()

    assert place.use(work) == [HERE, THERE]


def test_no_environment_comes_into_being_under_a_secret_that_opens_no_other(place: "Place") -> None:
    async def work(store: Store) -> list[str]:
        await serving(store, OLD).catalogues.apply(HERE, CATALOGUE, "", ANN)
        with pytest.raises(WrongSecret):
            await serving(store, OTHER).catalogues.apply(THERE, CATALOGUE, "", ANN)
        return await store.environments()

    assert place.use(work) == [HERE]


class Meanwhile:
    """A store on which something happens before a step of an operator: the second one, which is to change something."""

    def __init__(self, store: Store, happens: Callable[[], Awaitable[object]]) -> None:
        self._store, self._happens, self._steps = store, happens, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def transact(self, keys: Keys, step: Callable[[Found], tuple[A, Changes]]) -> A:
        self._steps += keys.house is not None
        if self._steps == 2:
            await self._happens()
        return await self._store.transact(keys, step)


def test_an_environment_that_an_operator_makes_while_the_secret_changes_is_under_the_new_one(place: "Place") -> None:
    async def work(store: Store) -> list[str]:
        root = await serving(store, OLD).operators.create_here(NewOperator("root", Role.ADMIN), ANN)
        meanwhile = Meanwhile(store, lambda: serving(store, NEW, OLD).renewal.renew(None, ANN))
        beside = serving(cast("Store", meanwhile), NEW, OLD)
        await beside.catalogues.apply_over(Call(THERE, root.token, Once("1", "/catalogue", b"")), CATALOGUE, "", 0)
        return await serving(store, NEW).catalogues.check()

    assert place.use(work) == [THERE]


# --- who would be left behind


async def refused(store: Store, *, source: Source | None = None, holder: Holder | None = None) -> str:
    """Try to change the secret; answer who is named, "" where it is done. Where it is not, nothing has changed."""
    before = await sealed(store)
    try:
        await serving(store, NEW, OLD, source=source).renewal.renew(holder, ANN)
    except NotYet as error:
        assert await sealed(store) == before
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("values", "behind"), [((OLD,), BEHIND), ((OLD, NEW), ""), ((NEW, OLD), ""), ((OLD, OTHER), BEHIND)]
)
def test_a_server_that_is_up_has_to_know_both(place: "Place", values: tuple[bytes, ...], behind: str) -> None:
    async def work(store: Store) -> str:
        await made(store)
        await entered(serving(store, *values))
        return await refused(store)

    assert place.use(work) == behind


@pytest.mark.parametrize(
    ("of_server", "of_change", "behind"),
    [("here", "here", ""), ("elsewhere", "here", BEHIND), ("here", None, BEHIND), (None, "here", BEHIND)],
)
def test_or_else_it_reads_the_same_files_again(
    place: "Place", of_server: str | None, of_change: str | None, behind: str
) -> None:
    async def work(store: Store) -> str:
        await made(store)
        sources = [Source(each, lambda: [NEW, OLD]) if each else None for each in (of_server, of_change)]
        await entered(serving(store, OLD, source=sources[0]))
        return await refused(store, source=sources[1])

    assert place.use(work) == behind


@pytest.mark.parametrize(("late_ms", "behind"), [(GONE_MS, BEHIND), (GONE_MS + 1, "")])
def test_a_server_that_said_nothing_for_a_minute_is_gone(place: "Place", late_ms: int, behind: str) -> None:
    async def work(store: Store) -> str:
        await made(store)
        await entered(serving(store, OLD, clock=Clock(T0 - late_ms)))
        return await refused(store)

    assert place.use(work) == behind


@pytest.mark.parametrize(
    ("process", "behind"),
    [
        (7, ""),
        (8, "process 8, which holds the file and does not say which secrets it knows"),
        (None, "another process, which holds the file and does not say which secrets it knows"),
    ],
)
def test_whoever_holds_the_file_has_to_say_what_it_knows(place: "Place", process: int | None, behind: str) -> None:
    async def work(store: Store) -> str:
        await made(store)
        await entered(serving(store, NEW, OLD))
        return await refused(store, holder=Holder(process))

    assert place.use(work) == behind


@pytest.mark.parametrize("name", ["temppass", "temppass 2"])
def test_a_program_of_a_version_before_knows_one_secret_only(postgres: str, name: str) -> None:
    """It says nothing of itself but its name, to the database."""

    async def work() -> tuple[str, str]:
        store = PostgresStore(postgres)
        try:
            await made(store)
            older = await asyncpg.connect(postgres, server_settings={"application_name": name})
            beside = await refused(store)
            await older.close()
            return beside.partition(" from ")[0].removesuffix(" (of a version before)"), await refused(store)
        finally:
            await store.close()

    assert asyncio.run(work()) == (name, "")


def test_a_server_that_comes_up_while_the_secret_changes_finds_it_changed(postgres: str) -> None:
    """It waits, or the change would not know of it, and it would have looked before."""
    said: list[object] = []

    async def come_up() -> None:
        store = PostgresStore(postgres)
        try:
            await entered(serving(store, OLD))
        except (StoreUnavailable, WrongSecret) as error:
            said.append(type(error))
        finally:
            await store.close()

    async def work() -> int:
        store = PostgresStore(postgres)

        def change(found: Whole) -> AmendmentOfAll[int]:
            with ThreadPoolExecutor(1) as other:
                other.submit(lambda: asyncio.run(come_up())).result()
            return len(found.servers), {}, None

        try:
            await made(store)
            return await store.amend_all(change)
        finally:
            await store.close()

    assert (asyncio.run(work()), said) == (0, [StoreUnavailable])
