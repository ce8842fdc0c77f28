"""
Whoever meddles with sealed records in the database is found, on each database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from temppass.core.act import NO_LINK, ByShell, Link
from temppass.core.catalogue import EMPTY, Application, Catalogue
from temppass.core.secret import Secret
from temppass.core.world import HOUSE, SCOPE_V2
from temppass.service import Service, history, serve_from
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

    from temppass.store import Store

T0, HERE = 1_767_261_600_000, "release-production"
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = Catalogue(applications={"ops": Application("ops", "Support", None, (SCOPE_V2,))})
DATABASES = pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)

COUNT = 5
NOT_SEALED = "record {} is not what was sealed at its place"


async def act(rooms: Service, clock: Clock, count: int) -> None:
    """Do something, so many times, a millisecond apart."""
    for _ in range(count):
        await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
        clock.advance(1)
        await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
        clock.advance(1)


async def fill(store: Store) -> Link:
    """Record five acts and seal them; answer the head."""
    clock = Clock(T0)
    rooms = serve_from(store, SECRET, clock=clock)
    await act(rooms, clock, 2)
    await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
    await rooms.history.seal()
    return await store.head(HERE)


async def faults(store: Store, kept: Link | None = None) -> list[str]:
    rooms = serve_from(store, SECRET, clock=Clock(T0))
    return [fault async for fault in rooms.history.faults(HERE, kept)]


@pytest.mark.parametrize("page", [1, 2, 500])
def test_a_chain_that_nobody_meddled_with_holds(place: Place, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages it takes, and with a head of any time before."""
    monkeypatch.setattr(history, "PAGE", page)

    async def work(store: Store) -> list[list[str]]:
        rooms = serve_from(store, SECRET, clock=Clock(T0))
        told = [await faults(store, NO_LINK)]
        await rooms.catalogues.apply(HERE, EMPTY, "", ANN)
        await rooms.history.seal_all(HERE)
        kept = await store.head(HERE)
        clock = Clock(T0 + 1)
        await act(serve_from(store, SECRET, clock=clock), clock, 2)
        await rooms.history.seal_all(HERE)
        assert (await store.head(HERE)).sequence == COUNT - 1
        return [*told, await faults(store), await faults(store, kept), [f async for f in rooms.history.faults(HOUSE)]]

    assert place.use(work) == [[], [], [], []]


CHANGED = "UPDATE audit SET document = (SELECT document FROM audit WHERE sequence = 1) WHERE sequence = {}"
REMOVED = "DELETE FROM audit WHERE sequence = {}"
MADE = "INSERT INTO audit (id, at, environment, document, sequence, hash) "
INSERTED = (
    "UPDATE audit SET sequence = sequence + 100 WHERE sequence >= {0};"
    "UPDATE audit SET sequence = sequence - 99 WHERE sequence > 100;"
    f"{MADE} SELECT 'new', at, environment, document, {{0}}, hash FROM audit WHERE sequence = 1;"
    "UPDATE chain SET sequence = sequence + 1"
)
REORDERED = (
    "UPDATE audit SET sequence = 100 WHERE sequence = {0};"
    "UPDATE audit SET sequence = {0} WHERE sequence = {0} + 1;"
    "UPDATE audit SET sequence = {0} + 1 WHERE sequence = 100"
)
LINKLESS = "UPDATE audit SET hash = NULL WHERE sequence = {}"


@DATABASES
@pytest.mark.parametrize(
    ("meddled", "told"),
    [
        (CHANGED.format(3), [NOT_SEALED.format(3)]),
        (CHANGED.format(5), [NOT_SEALED.format(5)]),
        (REMOVED.format(1), ["record 2 follows record 0: what was between them is gone"]),
        (REMOVED.format(3), ["record 4 follows record 2: what was between them is gone"]),
        (REMOVED.format(5), ["the chain ends at record 4, its head is record 5"]),
        (INSERTED.format(3), [NOT_SEALED.format(each) for each in (3, 4, 5, 6)]),
        (REORDERED.format(2), [NOT_SEALED.format(each) for each in (2, 3, 4)]),
        (LINKLESS.format(2), [NOT_SEALED.format(each) for each in (2, 3)]),
        ("UPDATE audit SET sequence = NULL WHERE sequence = 5", ["the chain ends at record 4, its head is record 5"]),
        ("DELETE FROM chain", ["the chain ends at record 5, its head is record 0"]),
    ],
)
def test_what_was_meddled_with_is_told(place: Place, meddled: str, told: list[str]) -> None:
    place.use(fill)
    assert place.meddle is not None
    place.meddle(meddled)
    assert place.use(faults) == told


CUT = (
    "DELETE FROM audit WHERE sequence > 3;"
    "UPDATE chain SET sequence = 3, hash = (SELECT hash FROM audit WHERE sequence = 3)"
)


@DATABASES
def test_a_tail_that_was_cut_off_with_the_head_is_told_by_a_kept_head_alone(place: Place) -> None:
    kept = place.use(fill)
    assert place.meddle is not None
    place.meddle(CUT)
    told = [place.use(faults), place.use(lambda store: faults(store, kept))]
    assert told == [[], ["the chain ends at record 3, the kept head is record 5: the tail is gone"]]


@DATABASES
def test_a_chain_that_went_on_otherwise_after_its_tail_was_cut_off_is_told_by_a_kept_head(place: Place) -> None:
    kept = place.use(fill)
    assert place.meddle is not None
    place.meddle(CUT)

    async def go_on(store: Store) -> list[str]:
        clock = Clock(T0 + 100)
        rooms = serve_from(store, SECRET, clock=clock)
        await act(rooms, clock, 2)
        await rooms.history.seal_all(HERE)
        return await faults(store, kept)

    assert place.use(go_on) == ["record 5 is another one than the kept head"]


def test_all_records_are_told_however_many_wait_for_their_place(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one moment in the order in which they were done."""
    monkeypatch.setattr(history, "PAGE", 2)

    async def work(store: Store) -> tuple[list[int], list[int]]:
        clock = Clock(T0)
        rooms = serve_from(store, SECRET, clock=clock)
        for catalogue in (EMPTY, CATALOGUE, EMPTY, CATALOGUE, EMPTY):
            await rooms.catalogues.apply(HERE, catalogue, "", ANN)
        waiting = [getattr(record.act, "version", 0) async for record in rooms.history.unsealed(HERE)]
        await rooms.history.seal()
        return waiting, [link.sequence if link else 0 async for link, _ in rooms.history.records(HERE)]

    assert place.use(work) == ([1, 2, 3, 4, 5], [1, 2, 0, 0, 0])
