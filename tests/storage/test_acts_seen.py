"""
What operators see of what was done, on every adapter: within their limits, in order, at once and as it happens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from temppass.core import act, identity
from temppass.core.act import ByShell, EverybodyReset, Record, SubjectReset, Wanted, recorded
from temppass.core.catalogue import EMPTY
from temppass.core.model import Changes, Found
from temppass.core.operator import Role
from temppass.core.refusal import EndedOperator, NotThere, OutsideLimits, RoleMissing
from temppass.core.secret import Secret
from temppass.core.world import HOUSE
from temppass.service import Service, serve_from
from temppass.service.acts import Entry, Page, Search
from temppass.service.counters import MINUTE_MS, Point
from temppass.service.desk import Call
from temppass.service.events import COUNTED_LOOKS, TooManyListen
from temppass.service.operators import NewOperator
from temppass.store import Keys, StoreUnavailable
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from tests.storage.conftest import Place

    from temppass.core.model import Count
    from temppass.service.events import Heard
    from temppass.store import Store

T0, HERE = 1_767_261_600_000, "release-production"
ANN, SECRET = ByShell("ann"), Secret(b"s" * 32)
EVERYTHING = Search(Wanted())


def service(store: Store, look_s: float = 0.01) -> Service:
    return serve_from(store, SECRET, clock=Clock(T0), look_s=look_s)


async def operator(rooms: Service, role: Role = Role.VIEWER, name: str = "eve", *channels: str) -> Call:
    created = await rooms.operators.create_here(NewOperator(name, role, channels=channels), ANN)
    return Call(HERE, created.token)


async def do(rooms: Service, *numbers: int, channel: str = "REF") -> None:
    """Reset every device of a channel, so many milliseconds after T0."""
    version = (await rooms.world(HERE)).version
    acts = [Record(f"r{number}", T0 + number, ANN, EverybodyReset(channel, "P", ())) for number in numbers]

    def step(_found: Found) -> tuple[None, Changes]:
        return None, Changes(records=tuple(map(recorded, acts)))

    await rooms.context.store.transact(Keys(HERE, version), step)


async def found(rooms: Service) -> None:
    """Found the environment, without which nothing is sealed; its own act is the first of all."""
    await rooms.catalogues.apply(HERE, EMPTY, "", ANN)


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.record.id for entry in entries if isinstance(entry.record.act, EverybodyReset)]


# --- found


def test_an_act_is_found_at_once_and_the_newest_first(place: Place) -> None:
    async def work(store: Store) -> tuple[list[str], list[int | None]]:
        rooms = service(store)
        call = await operator(rooms)
        await found(rooms)
        await do(rooms, 1, 2, 3)
        page = await rooms.acts.search(call, EVERYTHING)
        return ids(page.entries), [entry.sequence for entry in page.entries]

    assert place.use(work) == (["r3", "r2", "r1"], [4, 3, 2, 1])


def test_pages_follow_one_another_until_the_last(place: Place) -> None:
    """And what is done meanwhile moves nothing."""

    async def work(store: Store) -> list[list[int | None]]:
        rooms = service(store)
        call, after, pages = await operator(rooms), None, []
        await found(rooms)
        await do(rooms, 1, 2, 3)
        while True:
            page = await rooms.acts.search(call, Search(Wanted(), limit=2, after=after))
            pages.append([entry.sequence for entry in page.entries])
            await do(rooms, 9 + len(pages))
            if (after := page.next) is None:
                return pages

    assert place.use(work) == [[4, 3], [2, 1]]


def test_who_is_limited_to_channels_sees_their_acts_alone(place: Place) -> None:
    """Found, told one by one, taken away and heard; and may not ask for others."""

    async def work(store: Store) -> list[list[str]]:
        rooms = service(store)
        call = await operator(rooms, Role.VIEWER, "eve", "REF")
        await found(rooms)
        await do(rooms, 1, 3)
        await do(rooms, 2, channel="OTHER")
        for refused in (
            rooms.acts.search(call, Search(Wanted(channels=("REF", "OTHER")))),
            anext(rooms.acts.all(call, Search(Wanted(channels=("OTHER",))))),
        ):
            with pytest.raises(OutsideLimits):
                await refused
        for id_ in ("r2", "nothing"):
            with pytest.raises(NotThere):
                await rooms.acts.one(call, id_)
        page = await rooms.acts.search(call, EVERYTHING)
        taken = [entry async for part in rooms.acts.all(call, EVERYTHING) for entry in part]
        heard = await hear(await rooms.events.listen(call, 0), 2)
        one = await rooms.acts.one(call, "r1")
        assert len(page.entries) == len(taken) == 2
        return [ids(page.entries), ids(taken), ids(heard), ids([one])]

    assert place.use(work) == [["r3", "r1"], ["r1", "r3"], ["r1", "r3"], ["r1"]]


def test_an_act_is_told_sealed_or_not(place: Place) -> None:
    async def work(store: Store) -> list[int | None]:
        rooms = service(store)
        call = await operator(rooms)
        await found(rooms)
        await do(rooms, 1)
        told = [(await rooms.acts.one(call, "r1")).sequence]
        await rooms.history.seal()
        return [*told, (await rooms.acts.one(call, "r1")).sequence]

    assert place.use(work) == [None, 2]


def test_acts_on_a_viewer_are_found_by_any_of_their_names(place: Place) -> None:
    """By device, key or digest; a stranger's name finds nothing."""

    async def work(store: Store) -> list[int]:
        rooms = service(store)
        call = await operator(rooms)
        await found(rooms)
        world = await rooms.world(HERE)
        tv, key = identity.device(b"tv", world.pepper), identity.user_key("k", world.pepper)
        acts = [
            Record(f"r{number}", T0 + number, ANN, SubjectReset("REF", "P", (subject,), 1))
            for number, subject in enumerate((tv, key))
        ]
        await store.transact(
            Keys(HERE, world.version), lambda _found: (None, Changes(records=tuple(map(recorded, acts))))
        )
        return [
            len((await rooms.acts.search(call, search)).entries)
            for search in (
                Search(Wanted(), b"tv"),
                Search(Wanted(), user_keys=("k",)),
                Search(Wanted(), b"tv", ("k",)),
                Search(Wanted(subjects=(tv.digest,)), user_keys=("k",)),
                Search(Wanted(), b"another"),
            )
        ]

    assert place.use(work) == [1, 1, 2, 2, 0]


def test_where_there_is_no_environment_nothing_was_done(place: Place) -> None:
    async def work(store: Store) -> Page:
        rooms = service(store)
        call = (await operator(rooms))._replace(environment="nowhere")
        return await rooms.acts.search(call, Search(Wanted(), b"tv"))

    assert place.use(work) == Page([], None)


def test_what_is_done_to_operators_is_seen_by_an_admin_of_everything(place: Place) -> None:
    async def work(store: Store) -> list[str]:
        rooms = service(store)
        root = (await operator(rooms, Role.ADMIN, "root"))._replace(environment=HOUSE)
        some = await rooms.operators.create_here(NewOperator("qa", Role.ADMIN, ("qa",)), ANN)
        for call, refusal in (
            ((await operator(rooms, Role.OPERATOR))._replace(environment=HOUSE), RoleMissing),
            (Call(HOUSE, some.token), OutsideLimits),
        ):
            for asked in (rooms.acts.search(call, EVERYTHING), rooms.acts.one(call, "r1")):
                with pytest.raises(refusal):
                    await asked
        page = await rooms.acts.search(root, EVERYTHING)
        return sorted(getattr(entry.record.act, "name", "") for entry in page.entries)

    assert place.use(work) == ["eve", "qa", "root"]


# --- taken away


def test_everything_is_taken_away_page_by_page_while_the_token_is_good(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("temppass.service.acts.PAGE", 2)

    async def work(store: Store) -> tuple[list[int], bool]:
        rooms = service(store)
        call = await operator(rooms)
        await found(rooms)
        await do(rooms, *range(1, 5))
        sizes = [len(page) async for page in rooms.acts.all(call, EVERYTHING)]
        pages = rooms.acts.all(call, EVERYTHING)
        await anext(pages)
        await rooms.operators.revoke_here("eve", ANN)
        with pytest.raises(EndedOperator):
            await anext(pages)
        return sizes, True

    assert place.use(work) == ([2, 2, 1], True)


# --- heard


async def hear(heard: AsyncGenerator[Heard], count: int) -> list[Entry]:
    """Listen until so many acts were heard."""
    entries: list[Entry] = []
    async for news in heard:
        entries += news.acts
        if len(entries) >= count:
            break
    await heard.aclose()
    return entries


def test_acts_are_heard_in_sequence_from_now_on(place: Place) -> None:
    async def work(store: Store) -> list[int | None]:
        rooms, there = service(store), service(store)
        call = await operator(rooms)
        await found(rooms)
        await do(rooms, 1)
        await rooms.history.seal()
        heard = await rooms.events.listen(call, None)
        await anext(heard)
        await do(there, 3, 2)  # on another server
        return [entry.sequence for entry in await hear(heard, 2)]

    assert place.use(work) == [3, 4]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_who_comes_again_hears_what_was_missed_first(place: Place, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages that is."""
    monkeypatch.setattr("temppass.service.events.PAGE", 2)

    async def work(store: Store) -> list[int | None]:
        rooms = service(store)
        call = await operator(rooms)
        await found(rooms)
        await do(rooms, 1, 2, 3)
        await rooms.history.seal()
        heard = await rooms.events.listen(call, after)
        first = await anext(heard)
        await do(rooms, 4)
        return [entry.sequence for entry in [*first.acts, *await hear(heard, 5 - after - len(first.acts))]]

    assert place.use(work) == list(range(after + 1, 6))


def test_a_token_that_ends_ends_the_hearing(place: Place) -> None:
    """Also where it was revoked through another server; what is done after that is not heard."""

    async def work(store: Store) -> list[str]:
        rooms, there = service(store), service(store)
        call = await operator(rooms)
        await found(rooms)
        heard = await rooms.events.listen(call, None)
        await anext(heard)
        await there.operators.revoke_here("eve", ANN)
        told = [entry async for news in heard for entry in news.acts]
        with pytest.raises(EndedOperator):
            await rooms.events.listen(call, None)
        return ids(told)

    assert place.use(work) == []


def test_a_token_whose_end_comes_ends_the_hearing_on_every_server(place: Place) -> None:
    """By the clock of each."""

    async def work(store: Store) -> list[int]:
        clock, soon = Clock(T0), 1_000
        servers = [serve_from(store, SECRET, clock=clock, look_s=0.01) for _ in range(2)]
        created = await servers[0].operators.create_here(NewOperator("eve", Role.VIEWER, lasts_ms=soon), ANN)
        heard = [await each.events.listen(Call(HERE, created.token), None) for each in servers]
        for listener in heard:
            await anext(listener)
            await anext(listener)
        clock.advance(soon)
        for each in servers:
            with pytest.raises(EndedOperator):
                await each.events.listen(Call(HERE, created.token), None)
        return [len([news async for news in listener if news.acts]) for listener in heard]

    assert place.use(work) == [0, 0]


def test_of_many_who_come_to_listen_at_once_no_more_get_in_than_may(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("temppass.service.events.LISTENERS_MAX", 2)

    async def work(store: Store) -> int:
        rooms = service(store, look_s=3_600)
        call = await operator(rooms)
        await found(rooms)

        async def come() -> AsyncGenerator[Heard] | None:
            try:
                heard = await rooms.events.listen(call, None)
            except TooManyListen:
                return None
            await anext(heard)
            return heard

        listeners = [heard for heard in await asyncio.gather(*(come() for _ in range(5))) if heard is not None]
        for heard in listeners:
            await heard.aclose()
        return len(listeners)

    assert place.use(work) == 2


def test_one_look_serves_all_and_nobody_looks_where_nobody_listens(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> tuple[list[list[int | None]], int, bool]:
        rooms = service(store, look_s=3_600)
        call, asked = await operator(rooms), list[int]()
        await found(rooms)
        await rooms.history.seal()
        listeners = [await rooms.events.listen(call, None) for _ in range(3)]
        for heard in listeners:
            await anext(heard)
        await do(rooms, 1, 2)
        read = store.records

        async def counted(environment: str, after: int, limit: int) -> list[act.Sealed]:
            asked.append(after)
            return await read(environment, after, limit)

        monkeypatch.setattr(store, "records", counted)
        await rooms.events.look()
        told = [await anext(heard) for heard in listeners]
        for heard in listeners:
            await heard.aclose()
        return [[entry.sequence for entry in news.acts] for news in told], len(asked), rooms.events.is_looking

    assert place.use(work) == ([[2, 3]] * 3, 1, False)


def test_counters_are_heard_every_five_looks_within_the_limits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the present minute and of the one before; one reading serves all who listen."""

    async def work(store: Store) -> tuple[list[list[list[Point] | None]], list[tuple[int, int]]]:
        rooms = service(store, look_s=3_600)
        everything, limited = await operator(rooms), await operator(rooms, Role.VIEWER, "bob", "REF")
        await found(rooms)
        for minutes, channel in ((0, "REF"), (-1, "ACME1"), (-2, "REF")):
            rooms.counters.add(HERE, channel, "P", T0 + minutes * MINUTE_MS, ["permit"])
        await rooms.counters.flush()
        listeners = [await rooms.events.listen(call, None) for call in (everything, everything, limited)]
        for heard in listeners:
            await anext(heard)
        asked, read = list[tuple[int, int]](), store.counts

        async def counted(environment: str, since: int, until: int) -> list[Count]:
            asked.append((since, until))
            return await read(environment, since, until)

        monkeypatch.setattr(store, "counts", counted)
        told: list[list[list[Point] | None]] = []
        for _ in range(COUNTED_LOOKS + 1):
            await rooms.events.look()
            told.append([(await anext(heard)).points for heard in listeners])
        for heard in listeners:
            await heard.aclose()
        return told, asked

    minute = T0 // MINUTE_MS
    ref, acme1 = Point(T0, "REF", "P", {"permit": 1}), Point(T0 - MINUTE_MS, "ACME1", "P", {"permit": 1})
    told, asked = place.use(work)
    nothing = [None, None, None]
    assert told == [*[nothing] * (COUNTED_LOOKS - 1), [[acme1, ref], [acme1, ref], [ref]], nothing]
    assert asked == [(minute - 1, minute + 1)]


def test_who_listens_while_the_store_goes_away_is_told_to_come_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next who listens finds somebody who looks again."""

    async def work(store: Store) -> list[str]:
        rooms = service(store)
        call = await operator(rooms)
        await found(rooms)
        heard = await rooms.events.listen(call, None)
        await anext(heard)

        async def away(_environment: str, _after: int, _limit: int) -> list[act.Sealed]:
            raise StoreUnavailable

        with monkeypatch.context() as patched:
            patched.setattr(store, "records", away)
            told = [entry async for news in heard for entry in news.acts]
        again = await rooms.events.listen(call, 0)
        await do(rooms, 1)
        return ids([*told, *await hear(again, 2)])

    assert place.use(work) == ["r1"]
