"""
What is forgotten of the acts, on every adapter: the oldest, with whom they named, up to an anchor that verification
goes by; and what was cut off, moved or hidden instead is found.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from temppass.core.act import ByShell, Link, Record, SubjectReset, Wanted, recorded
from temppass.core.anchor import Anchor, forgotten
from temppass.core.catalogue import EMPTY
from temppass.core.model import Changes, Found, Subject, SubjectKind
from temppass.core.operator import Role
from temppass.core.secret import Secret
from temppass.core.world import HOUSE
from temppass.service import Service, history, serve_from
from temppass.service.acts import Search
from temppass.service.context import Policy
from temppass.service.desk import Call
from temppass.service.operators import NewOperator
from temppass.store import Keys, StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.storage.conftest import Place

    from temppass.core.act import Sealed
    from temppass.core.model import Recorded
    from temppass.store import Store

T0, HERE = 1_767_261_600_000, "release-production"
DAY = 86_400_000
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
VIEWER = Subject(SubjectKind.DEVICE, b"v" * 16)
DATABASES = pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)


def service(store: Store, now: int = T0) -> Service:
    return serve_from(store, SECRET, Policy(audit_ms=2 * DAY), Clock(now), pause_s=0)


async def fill(store: Store) -> Service:
    """Seal five acts, the first two days old on the third day: the founding, and a reset of a viewer a day."""
    rooms = service(store)
    await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
    version = (await rooms.world(HERE)).version
    for number in range(1, 5):
        record = recorded(
            Record(f"r{number}", T0 + number * DAY, ANN, SubjectReset("REF", "P", (VIEWER,), 1), "ticket")
        )

        def step(_found: Found, record: Recorded = record) -> tuple[None, Changes]:
            return None, Changes(records=(record,))

        await store.transact(Keys(HERE, version), step)
    await rooms.history.seal_all(HERE)
    return rooms


async def faults(store: Store, kept: Link | None = None) -> list[str]:
    return [fault async for fault in service(store).history.faults(HERE, kept)]


async def sequences(store: Store) -> list[int]:
    return [each.link.sequence for each in await store.records(HERE, 0, 9)]


async def named(store: Store) -> list[int]:
    found = await store.search(HERE, Wanted(subjects=(VIEWER.digest,)), None, 9, newest_first=False)
    return [each.link.sequence for each in found]


@pytest.mark.parametrize("page", [1, 2, 500])
def test_the_oldest_are_forgotten_with_whom_they_named_and_the_chain_holds(
    place: Place, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of a page, and beside a head that was kept before."""
    monkeypatch.setattr(history, "PAGE", page)
    monkeypatch.setattr("temppass.service.upkeep.PAGE", page)

    async def work(store: Store) -> tuple[object, ...]:
        await fill(store)
        kept = [Link(0, bytes(32)), *[each.link for each in await store.records(HERE, 0, 9)]]
        await service(store, T0 + 5 * DAY).upkeep.tick()
        assert [await faults(store, each) for each in kept] == [[]] * len(kept)
        return await sequences(store), await named(store), (await store.head(HERE)).sequence

    assert place.use(work) == ([4, 5], [4, 5], 5)


def test_what_is_forgotten_is_told(place: Place) -> None:
    """Beside what is found, and to nobody while nothing is."""

    async def work(store: Store) -> list[int | None]:
        await fill(store)
        told = []
        for now in (T0, T0 + 5 * DAY):
            rooms = service(store, now)
            if now == T0:
                token = (await rooms.operators.create_here(NewOperator("eve", Role.VIEWER), ANN)).token
            await rooms.upkeep.tick()
            told.append((await rooms.acts.search(Call(HERE, token), Search(Wanted()))).kept_since)
        return told

    assert place.use(work) == [None, T0 + 2 * DAY]


def test_a_chain_of_which_everything_is_forgotten_goes_on(place: Place) -> None:
    """Of the house too."""

    async def work(store: Store) -> tuple[list[str], list[int]]:
        rooms = await fill(store)
        await rooms.operators.create_here(NewOperator("eve", Role.VIEWER), ANN)
        await rooms.history.seal_all(HOUSE)
        later = service(store, T0 + 100 * DAY)
        await later.upkeep.tick()
        assert (await sequences(store), await store.records(HOUSE, 0, 9)) == ([], [])
        told = await faults(store) + [fault async for fault in later.history.faults(HOUSE)]
        await later.operators.create_here(NewOperator("bob", Role.VIEWER), ANN)
        await later.history.seal_all(HOUSE)
        told += [fault async for fault in later.history.faults(HOUSE)]
        return told, [each.link.sequence for each in await store.records(HOUSE, 0, 9)]

    assert place.use(work) == ([], [2])


def test_two_nodes_forget_at_once_what_one_would(place: Place) -> None:
    async def work(store: Store) -> tuple[int, list[int], list[str]]:
        await fill(store)
        async with place.open() as other:
            forgot = await asyncio.gather(
                *(service(each).history.forget(HERE, T0 + 3 * DAY) for each in (store, other, store, other))
            )
        return sum(forgot), await sequences(store), await faults(store)

    assert place.use(work) == (3, [4, 5], [])


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_node_that_was_overtaken_moves_no_anchor_back(place: Place) -> None:
    """Another one forgets more between its reading and its writing; on SQLite nothing comes between."""

    async def overtake(store: Store) -> int:
        return await service(store).history.forget(HERE, T0 + 3 * DAY)

    async def work(store: Store) -> tuple[int, list[int], list[str]]:
        rooms = await fill(store)
        key = (await rooms.world(HERE)).chain_key

        def step(begins: Anchor, page: Sequence[Sealed]) -> Anchor | None:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(place.use, overtake).result()
            return forgotten(key, T0 + DAY, begins, page)

        return await store.forget(HERE, step, 9), await sequences(store), await faults(store)

    assert place.use(work) == (0, [4, 5], [])


def test_what_is_forgotten_while_a_chain_is_verified_is_no_fault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PAGE", 1)

    async def work(store: Store) -> list[str]:
        rooms = await fill(store)
        read = store.recorded

        async def meanwhile(environment: str, after: int, limit: int) -> list[tuple[Link, Recorded]]:
            page = await read(environment, after, limit)
            await rooms.history.forget(HERE, T0 + 3 * DAY)  # one more with each page
            await rooms.history.forget(HERE, T0 + 3 * DAY)
            return page

        monkeypatch.setattr(store, "recorded", meanwhile)
        return await faults(store)

    assert place.use(work) == []


_FUNCTION = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''broken''; END'"
_TRIGGER = "CREATE TRIGGER broken BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION broken()"
#: statements that make forgetting fail when its anchor is written already, and their undoing
BROKEN = {
    "sqlite": (
        "CREATE TRIGGER broken BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'broken'); END",
        "DROP TRIGGER broken",
    ),
    "postgres": (f"{_FUNCTION}; {_TRIGGER}", "DROP TRIGGER broken ON audit; DROP FUNCTION broken()"),
}


@pytest.mark.parametrize(("place", "broken"), BROKEN.items(), indirect=["place"])
def test_what_breaks_off_between_has_forgotten_nothing(place: Place, broken: tuple[str, str]) -> None:
    place.use(fill)
    assert place.meddle is not None
    place.meddle(broken[0])

    async def work(store: Store) -> None:
        with pytest.raises(StoreUnavailable):
            await service(store).history.forget(HERE, T0 + 3 * DAY)

    place.use(work)
    place.meddle(broken[1])

    async def look(store: Store) -> tuple[list[int], list[int], int, list[str]]:
        begins = (await store.anchor(HERE)).link.sequence
        return await sequences(store), await named(store), begins, await faults(store)

    assert place.use(look) == ([1, 2, 3, 4, 5], [2, 3, 4, 5], 0, [])


# --- what was meddled with


GAP = "record {} follows record {}: what was between them is gone"
UNANCHORED = (
    "UPDATE chain SET forgotten_sequence = NULL, forgotten_hash = NULL, forgotten_at = NULL, forgotten_proof = NULL"
)
NOT_OURS = "where the chain begins was not written by this service"


@DATABASES
@pytest.mark.parametrize(
    ("meddled", "told"),
    [
        ("DELETE FROM audit WHERE sequence = 4", [GAP.format(5, 3)]),
        (UNANCHORED, [GAP.format(4, 0)]),
        ("DELETE FROM audit WHERE sequence = 4; UPDATE chain SET forgotten_sequence = 4", [NOT_OURS, GAP.format(5, 0)]),
        ("UPDATE chain SET forgotten_at = 0", [NOT_OURS, GAP.format(4, 0)]),
        ("UPDATE chain SET forgotten_proof = NULL", [NOT_OURS, GAP.format(4, 0)]),
        ("DELETE FROM chain", [GAP.format(4, 0), "the chain ends at record 5, its head is record 0"]),
    ],
)  # fmt: skip
def test_a_beginning_that_was_cut_off_or_an_anchor_that_was_moved_is_found(
    place: Place, meddled: str, told: list[str]
) -> None:
    async def forget(store: Store) -> int:
        return await (await fill(store)).history.forget(HERE, T0 + 3 * DAY)

    place.use(forget)
    assert place.meddle is not None
    place.meddle(meddled)
    assert place.use(faults) == told


#: all but the first
REST = [2, 3, 4, 5]


@DATABASES
@pytest.mark.parametrize(
    ("meddled", "left"),
    [
        ("UPDATE audit SET at = 0", [4, 5]),
        ("UPDATE audit SET document = (SELECT document FROM audit WHERE sequence = 1) WHERE sequence = 2", REST),
        ("DELETE FROM audit WHERE sequence = 2", [3, 4, 5]),
        ("UPDATE chain SET forgotten_sequence = 4", [1, 2, 3, 4, 5]),
    ],
)
def test_what_was_meddled_with_is_not_forgotten(place: Place, meddled: str, left: list[int]) -> None:
    """So that nobody has the service sweep the traces away; what is old is what was sealed as old."""
    place.use(fill)
    assert place.meddle is not None
    place.meddle(meddled)

    async def work(store: Store) -> list[int]:
        await service(store, T0 + 5 * DAY).upkeep.tick()
        return await sequences(store)

    assert place.use(work) == left


BARE = "UPDATE audit SET kind = NULL, actor = NULL, channel = NULL, pass = NULL WHERE sequence"
STRAYED = "record {} is not found by what was sealed: {}"


@DATABASES
@pytest.mark.parametrize(
    ("meddled", "told"),
    [
        ("UPDATE audit SET kind = 'grant' WHERE sequence = 3", [STRAYED.format(3, "kind")]),
        ("UPDATE audit SET actor = 'operator:bob' WHERE sequence = 3", [STRAYED.format(3, "actor")]),
        ("UPDATE audit SET channel = NULL, pass = 'Q' WHERE sequence = 3", [STRAYED.format(3, "channel, pass")]),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 1", [STRAYED.format(1, "moment")]),
        ("UPDATE audit SET id = 'r9' WHERE sequence = 2", [STRAYED.format(2, "id, viewers")]),
        ("DELETE FROM target WHERE act = 'r2'", [STRAYED.format(3, "viewers")]),
        ("INSERT INTO target SELECT environment, document, 'r2' FROM audit WHERE sequence = 1",
         [STRAYED.format(3, "viewers")]),
        (f"{BARE} = 5; DELETE FROM target WHERE act = 'r4'",
         [STRAYED.format(5, "kind, actor, channel, pass, viewers")]),
    ],
)  # fmt: skip
def test_a_record_that_is_found_by_something_else_than_was_sealed_is_told(
    place: Place, meddled: str, told: list[str]
) -> None:
    place.use(fill)
    assert place.meddle is not None
    place.meddle(meddled)
    assert place.use(faults) == told


@DATABASES
def test_what_a_version_before_left_bare_is_no_fault_and_counted(place: Place) -> None:
    """It began the chain; nothing of it is kept that a record could be looked for by."""
    place.use(fill)
    assert place.meddle is not None
    place.meddle(f"{BARE} < 3; DELETE FROM target WHERE act = 'r1'")

    async def work(store: Store) -> tuple[list[str], int]:
        return await faults(store), await service(store).history.bare(HERE)

    assert place.use(work) == ([], 2)
