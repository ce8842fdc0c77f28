"""
The contract of the port (store.py), written once and held by every adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from temppass.core import trial
from temppass.core.catalogue import EMPTY, Channel, Offer
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Client,
    Device,
    Floors,
    Found,
    Ledger,
    Origin,
    PassKind,
    Permit,
    Record,
    Session,
    Subject,
    SubjectKind,
)
from temppass.core.world import EnvironmentRecord
from temppass.store import WAITING_MAX, Keys, LargeLedger, Outdated, Store, StoreBusy, StoreUnavailable

if TYPE_CHECKING:
    from tests.storage.conftest import Place

T0, DAY = 1_767_261_600_000, 86_400_000
HERE, ELSEWHERE = "release-production", "prequal-staging"
DEVICES, USER_KEYS = SubjectKind.DEVICE, SubjectKind.USER_KEY
DEVICE, DEVICE_2 = Subject(DEVICES, b"d" * 16), Subject(DEVICES, b"e" * 16)
KEY, KEY_2 = Subject(USER_KEYS, b"k" * 16), Subject(USER_KEYS, b"l" * 16)
#: nobody has declared the environment, which is its version 0
KEYS = Keys(HERE, 0, ("REF", "TempPassREF"), (DEVICE, KEY), "client", "K7Q2MXA")

LEDGER = Ledger(T0, T0 + DAY, 0, ("A", "B"), Origin(b"a" * 16, b"u" * 16))
CLIENT = Client("client", "ops", 3, b"h" * 32, T0)
SESSION = Session("K7Q2MXA", "4b7f0e3e", "REF", b"d" * 16, T0, T0 + 1_800_000)
CHOSEN = replace(SESSION, pass_id="P", domain="acme.example", redirect_url="https://acme.example/", screen=Device("TV"))
RECORD = Record("r1", T0, "reset.device", "REF", "P", "all", "ops", "client", 5, "why")
ENVIRONMENT = EnvironmentRecord(1, EMPTY, {"REF/P": T0}, {"ops": 2}, b"\x00sealed\xff")

OFFER = Offer("REF", "TempPassREF", PassKind.PROMOTIONAL, 28 * DAY, 2, "email", 5, True, None, "UTC", 0)


def look(found: Found) -> tuple[Found, Changes]:
    return found, NOTHING


def writing(changes: Changes) -> Callable[[Found], tuple[None, Changes]]:
    return lambda _found: (None, changes)


def gaining(title: str) -> Callable[[Found], tuple[int, Changes]]:
    """Add a title to the first subject's ledger; answer how many it held before."""

    def step(found: Found) -> tuple[int, Changes]:
        ledger = found.ledgers[0] or Ledger(T0, T0 + DAY, 0)
        return len(ledger.used), Changes(((DEVICE, replace(ledger, used=(*ledger.used, title))),))

    return step


def titles_of(found: Found) -> set[str]:
    return {*found.ledgers[0].used} if found.ledgers[0] else set()


async def declare(store: Store, environment: str, record: EnvironmentRecord) -> None:
    await store.amend(environment, lambda _old: (None, record, None))


# --- transact


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (NOTHING, Found(Floors(), (None, None))),
        (Changes(floors=Floors(1, 2, T0)), Found(Floors(1, 2, T0), (None, None))),
        (Changes(((DEVICE, LEDGER),)), Found(Floors(), (LEDGER, None))),
        (
            Changes(((KEY, Ledger(T0, T0 + DAY, 7)),), Floors(0, 7)),
            Found(Floors(0, 7), (None, Ledger(T0, T0 + DAY, 7))),
        ),
        (Changes(((KEY, LEDGER), (DEVICE, LEDGER))), Found(Floors(), (LEDGER, LEDGER))),
        (Changes(((DEVICE, None),)), Found(Floors(), (None, None))),
        (Changes(client=CLIENT), Found(Floors(), (None, None), CLIENT)),
        (Changes(session=SESSION), Found(Floors(), (None, None), None, SESSION)),
        (Changes(session=CHOSEN), Found(Floors(), (None, None), None, CHOSEN)),
        (
            Changes(((DEVICE, LEDGER), (KEY, None)), Floors(1, 1, T0), CLIENT, SESSION, RECORD),
            Found(Floors(1, 1, T0), (LEDGER, None), CLIENT, SESSION),
        ),
    ],
)
def test_a_step_finds_what_another_wrote(place: Place, changes: Changes, found: Found) -> None:
    async def work(store: Store) -> Found:
        await store.transact(KEYS, writing(changes))
        return await store.transact(KEYS, look)

    assert place.use(work) == found


@pytest.mark.parametrize("title", ["\x00", '"', "\\", "\N{TELEVISION}", "ß" * 1024, " ", "\u2028", "<rss/>\r\n"])
def test_a_title_is_kept_as_it_is(place: Place, title: str) -> None:
    async def work(store: Store) -> Found:
        await store.transact(KEYS, gaining(title))
        return await store.transact(KEYS, look)

    assert place.use(work).ledgers[0] == Ledger(T0, T0 + DAY, 0, (title,))


@pytest.mark.parametrize("origin", [ANYWHERE, Origin(b"a" * 16), Origin(None, b"u" * 16)])
def test_an_origin_is_kept_part_by_part(place: Place, origin: Origin) -> None:
    async def work(store: Store) -> Found:
        await store.transact(KEYS, writing(Changes(((DEVICE, replace(LEDGER, origin=origin)),))))
        return await store.transact(KEYS, look)

    assert place.use(work).ledgers[0] == replace(LEDGER, origin=origin)


def test_later_writes_take_the_place_of_earlier_ones(place: Place) -> None:
    later = Ledger(T0 + 1, T0 + 2, 9, ("C",))

    async def work(store: Store) -> Found:
        await store.transact(KEYS, writing(Changes(((DEVICE, LEDGER), (KEY, LEDGER)), Floors(1), session=SESSION)))
        await store.transact(KEYS, writing(Changes(((DEVICE, later), (KEY, None)), Floors(2, 3, 4), session=CHOSEN)))
        return await store.transact(KEYS, look)

    assert place.use(work) == Found(Floors(2, 3, 4), (later, None), None, CHOSEN)


@pytest.mark.parametrize(
    "keys",
    [
        Keys(ELSEWHERE, 0, ("REF", "TempPassREF"), (DEVICE, KEY), "client", "K7Q2MXA"),
        Keys(HERE, 0, ("REF30", "TempPassREF"), (DEVICE, KEY)),
        Keys(HERE, 0, ("REF", "TempPass"), (DEVICE, KEY)),
        Keys(HERE, 0, ("REF", "TempPass"), (Subject(USER_KEYS, DEVICE.digest), Subject(DEVICES, KEY.digest))),
        Keys(HERE, 0, None, (), "Client", "K7Q2MXB"),
    ],
)
def test_nothing_is_shared(place: Place, keys: Keys) -> None:
    """Not between environments, channels, passes, kinds of subject, clients or sessions."""

    async def work(store: Store) -> Found:
        everything = Changes(((DEVICE, LEDGER), (KEY, LEDGER)), Floors(1, 1, T0), CLIENT, SESSION)
        await store.transact(KEYS, writing(everything))
        return await store.transact(keys, look)

    assert place.use(work) == Found(Floors(), (None,) * len(keys.subjects))


def test_ledgers_are_found_in_the_order_of_the_subjects(place: Place) -> None:
    asked = (KEY_2, DEVICE, KEY, DEVICE_2)

    async def work(store: Store) -> Found:
        ledgers = tuple((subject, Ledger(T0, T0 + at, 0)) for at, subject in enumerate(asked, 1) if subject is not KEY)
        await store.transact(KEYS, writing(Changes(ledgers)))
        return await store.transact(replace(KEYS, subjects=asked), look)

    assert [ledger and ledger.expires_at - T0 for ledger in place.use(work).ledgers] == [1, 2, None, 4]


def test_a_record_is_kept_with_what_it_records(place: Place) -> None:
    bare = Record("r2", T0 + 1, "statement.revoke")

    async def work(store: Store) -> None:
        await store.transact(KEYS, writing(Changes(record=RECORD)))
        await store.amend(ELSEWHERE, lambda _old: (None, None, bare))

    place.use(work)
    assert place.records() == [(HERE, RECORD), (ELSEWHERE, bare)]


@pytest.mark.parametrize(("version", "built_on"), [(0, 1), (1, 0), (2, 1), (2, 3)])
def test_a_step_built_on_another_version_is_not_run(place: Place, version: int, built_on: int) -> None:
    ran = []

    def step(found: Found) -> tuple[None, Changes]:
        ran.append(found)
        return None, Changes(floors=Floors(9))

    async def work(store: Store) -> Found:
        if version:
            await declare(store, HERE, replace(ENVIRONMENT, version=version))
        with pytest.raises(Outdated):
            await store.transact(replace(KEYS, version=built_on), step)
        return await store.transact(replace(KEYS, version=version), look)

    assert (place.use(work).floors, ran) == (Floors(), [])


def test_a_step_that_raises_fails_alone(place: Place) -> None:
    """Its neighbours in the same batch are answered and kept; what it raised is what its caller gets."""
    wrong = KeyError("wrong")

    def failing(_found: Found) -> tuple[int, Changes]:
        raise wrong

    async def work(store: Store) -> tuple[list[object], Found]:
        steps = [gaining("A"), failing, gaining("B"), failing, gaining("C")]
        told = await asyncio.gather(*(store.transact(KEYS, step) for step in steps), return_exceptions=True)
        return list(told), await store.transact(KEYS, look)

    told, found = place.use(work)
    assert (told[1::2], sorted(map(str, told[::2])), titles_of(found)) == ([wrong, wrong], ["0", "1", "2"], {*"ABC"})


def test_concurrent_steps_on_one_ledger_lose_no_update(place: Place) -> None:
    numbers = [f"{number:02}" for number in range(50)]

    async def work(store: Store) -> tuple[list[int], Found]:
        told = await asyncio.gather(*(store.transact(KEYS, gaining(number)) for number in numbers))
        return sorted(told), await store.transact(KEYS, look)

    told, found = place.use(work)
    assert (told, titles_of(found)) == (list(range(50)), set(numbers))


def test_crossing_asks_in_parallel_give_no_subject_more_than_its_pass(place: Place) -> None:
    """Two devices, two keys, every pair of them at once, each for other titles: two titles a subject."""
    pairs = [(device, key) for device in (DEVICE, DEVICE_2) for key in (KEY, KEY_2)]

    async def ask(store: Store, pair: tuple[Subject, Subject], title: str) -> tuple[tuple[Subject, Subject], str, bool]:
        def step(found: Found) -> tuple[bool, Changes]:
            answers, changes = trial.authorize(found, trial.Ask(OFFER, pair), [title], T0)
            return isinstance(answers[0], Permit), changes

        return pair, title, await store.transact(replace(KEYS, subjects=pair), step)

    async def work(store: Store) -> list[tuple[tuple[Subject, Subject], str, bool]]:
        return await asyncio.gather(*(ask(store, pair, title) for title in "ABCDEF" for pair in pairs))

    told = place.use(work)
    permitted = {
        subject: {title for pair, title, permit in told if permit and subject in pair}
        for subject in (DEVICE, DEVICE_2, KEY, KEY_2)
    }
    assert [len(titles) for titles in permitted.values()] == [2, 2, 2, 2]


def test_every_step_after_a_reset_of_everybody_sees_it(place: Place) -> None:
    async def work(store: Store) -> Found:
        await store.transact(KEYS, gaining("A"))
        await store.transact(KEYS, lambda found: (None, trial.reset_everybody(found, OFFER, DEVICES, T0)))
        return await store.transact(KEYS, look)

    assert place.use(work).floors == Floors(1, 0)


@pytest.mark.parametrize("titles", [("x" * 2_000,) * 16, ("\x01" * 2_000,) * 2, ("a", "b" * 32_760)])
def test_a_ledger_of_32_kib_is_read_in_passing(place: Place, titles: tuple[str, ...]) -> None:
    ledger = replace(LEDGER, used=titles)

    async def work(store: Store) -> Found:
        await store.transact(KEYS, writing(Changes(((KEY, ledger),))))
        return await store.transact(KEYS, look)

    assert place.use(work) == Found(Floors(), (None, ledger))


@pytest.mark.parametrize("titles", [("x" * 2_000,) * 17, ("\x01" * 2_000,) * 3, ("a", "b" * 32_761)])
def test_a_larger_ledger_is_read_by_who_has_waited_for_it_and_holds_up_nobody_else(
    place: Place, titles: tuple[str, ...]
) -> None:
    """All in one batch, with one who asks for another subject."""
    ledger = replace(LEDGER, used=titles)
    patient, other = replace(KEYS, large=True), replace(KEYS, subjects=(DEVICE_2,))

    async def work(store: Store) -> list[object]:
        await store.transact(KEYS, writing(Changes(((KEY, ledger),))))
        asks = [store.transact(keys, look) for keys in (KEYS, patient, other, KEYS)]
        return [
            type(found) if isinstance(found, Exception) else found
            for found in await asyncio.gather(*asks, return_exceptions=True)
        ]

    found, nothing = Found(Floors(), (None, ledger)), Found(Floors(), (None,))
    assert place.use(work) == [LargeLedger, found, nothing, LargeLedger]


def test_one_who_stops_waiting_takes_nobody_along(place: Place) -> None:
    async def work(store: Store) -> Found:
        asked = [asyncio.ensure_future(store.transact(KEYS, gaining(title))) for title in "ABC"]
        await asyncio.sleep(0)
        asked[1].cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        return await store.transact(KEYS, look)

    assert titles_of(place.use(work)) - {"B"} == {"A", "C"}


# --- environments


def test_an_environment_is_loaded_as_it_was_declared(place: Place) -> None:
    declared = replace(ENVIRONMENT, catalogue=replace(EMPTY, channels={"REF": Channel("REF", "acme", "Referenz ß")}))

    async def work(store: Store) -> list[EnvironmentRecord | None]:
        await declare(store, HERE, declared)
        return [await store.load(HERE), await store.load(ELSEWHERE)]

    assert place.use(work) == [declared, None]


def test_an_amendment_sees_the_present_state_and_answers(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        await declare(store, HERE, ENVIRONMENT)
        return [await store.amend(name, lambda old: (old, None, None)) for name in (HERE, ELSEWHERE)]

    assert place.use(work) == [ENVIRONMENT, None]


def test_an_amendment_that_raises_changes_nothing(place: Place) -> None:
    def failing(_old: EnvironmentRecord | None) -> tuple[None, EnvironmentRecord, Record]:
        raise KeyError("wrong")

    async def work(store: Store) -> EnvironmentRecord | None:
        await declare(store, HERE, ENVIRONMENT)
        with pytest.raises(KeyError):
            await store.amend(HERE, failing)
        return await store.load(HERE)

    assert (place.use(work), place.records()) == (ENVIRONMENT, [])


def test_concurrent_amendments_lose_none(place: Place) -> None:
    def counting(old: EnvironmentRecord | None) -> tuple[int, EnvironmentRecord, None]:
        version = (old.version if old else 0) + 1
        return version, replace(ENVIRONMENT, version=version), None

    async def work(store: Store) -> tuple[list[int], int]:
        told = await asyncio.gather(*(store.amend(HERE, counting) for _ in range(20)))
        loaded = await store.load(HERE)
        return sorted(told), loaded.version if loaded else 0

    assert place.use(work) == (list(range(1, 21)), 20)


def test_a_change_of_the_environment_holds_for_the_next_step(place: Place) -> None:
    """A step of the old version runs before the change or not at all."""

    async def work(store: Store) -> tuple[list[object], Found]:
        async def ask(title: str) -> str:
            await store.transact(KEYS, gaining(title))
            return title

        before, after = [ask(title) for title in "ABCDE"], [ask(title) for title in "FGHIJ"]
        told = await asyncio.gather(*before, declare(store, HERE, ENVIRONMENT), *after, return_exceptions=True)
        told += await asyncio.gather(ask("K"), return_exceptions=True)
        return [*told], await store.transact(replace(KEYS, version=1), look)

    told, found = place.use(work)
    outdated = [title for title in told if isinstance(title, Outdated)]
    assert (told[-1] in outdated, titles_of(found)) == (True, {*told} - {*outdated, None})


def test_environments_are_told_by_name(place: Place) -> None:
    async def work(store: Store) -> list[list[str]]:
        before = await store.environments()
        for name in (HERE, ELSEWHERE):
            await declare(store, name, ENVIRONMENT)
        return [before, await store.environments()]

    assert place.use(work) == [[], [ELSEWHERE, HERE]]


# --- erase and sweep


def _device(number: int) -> Subject:
    return Subject(DEVICES, bytes([number]) * 16)


async def _many_ledgers(store: Store) -> None:
    """Write ten devices: the even ones from a TV, the first two below the floor; and others that are not meant."""
    tv, phone = Origin(b"t" * 16), Origin(b"p" * 16)
    ledgers = tuple((_device(n), Ledger(T0, T0 + DAY, int(n >= 2), (), phone if n % 2 else tv)) for n in range(10))
    keys = ((Subject(USER_KEYS, _device(4).digest), Ledger(T0, T0 + DAY, 1, (), tv)),)
    await store.transact(KEYS, writing(Changes(ledgers + keys, Floors(1, 0))))
    await store.transact(replace(KEYS, trial=("REF30", "TempPassREF")), writing(Changes(ledgers)))
    await store.transact(replace(KEYS, environment=ELSEWHERE), writing(Changes(ledgers)))


async def _left(store: Store, keys: Keys) -> list[int]:
    subjects = tuple(_device(number) for number in range(10))
    found = await store.transact(replace(keys, subjects=subjects), look)
    return [number for number, ledger in enumerate(found.ledgers) if ledger is not None]


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
def test_erase_goes_through_all_ledgers_chunk_by_chunk(place: Place, limit: int) -> None:
    async def work(store: Store) -> tuple[int, int, list[int]]:
        await _many_ledgers(store)
        erased, chunks = 0, 0
        last: bytes | None = b""
        while last is not None:
            more, last = await store.erase(KEYS, DEVICES, Origin(b"t" * 16), last, limit)
            erased, chunks = erased + more, chunks + 1
        return erased, chunks, await _left(store, KEYS)

    erased, chunks, left = place.use(work)
    assert (erased, chunks in {10 // limit, 10 // limit + 1}, set(left) - {0}) == (4, True, {1, 3, 5, 7, 9})


def test_erase_leaves_everything_else(place: Place) -> None:
    async def work(store: Store) -> tuple[list[list[int]], Found]:
        await _many_ledgers(store)
        await store.erase(KEYS, DEVICES, Origin(b"t" * 16), b"", 1000)
        others = [replace(KEYS, trial=("REF30", "TempPassREF")), replace(KEYS, environment=ELSEWHERE)]
        key = Subject(USER_KEYS, _device(4).digest)
        return [await _left(store, keys) for keys in others], await store.transact(replace(KEYS, subjects=(key,)), look)

    left, found = place.use(work)
    assert (left, found.ledgers) == ([list(range(10))] * 2, (Ledger(T0, T0 + DAY, 1, (), Origin(b"t" * 16)),))


@pytest.mark.parametrize(
    ("origin", "left"),
    [
        (ANYWHERE, []),
        (Origin(b"tv"), [1, 3, 4]),
        (Origin(None, b"ann"), [2, 3, 4]),
        (Origin(b"tv", b"ann"), [1, 2, 3, 4]),
        (Origin(b"ann", b"tv"), [0, 1, 2, 3, 4]),
    ],
)
def test_erase_takes_ledgers_that_match_in_every_part_that_is_named(
    place: Place, origin: Origin, left: list[int]
) -> None:
    origins = [Origin(b"tv", b"ann"), Origin(b"pc", b"ann"), Origin(b"tv", b"bob"), Origin(b"pc"), ANYWHERE]

    async def work(store: Store) -> list[int]:
        ledgers = tuple((_device(n), replace(LEDGER, origin=each)) for n, each in enumerate(origins))
        await store.transact(KEYS, writing(Changes(ledgers)))
        await store.erase(KEYS, DEVICES, origin, b"", 10)
        return await _left(store, KEYS)

    assert place.use(work) == left


def test_erase_of_nothing_is_over_at_once(place: Place) -> None:
    async def work(store: Store) -> tuple[int, bytes | None]:
        return await store.erase(KEYS, USER_KEYS, ANYWHERE, b"", 5)

    assert place.use(work) == (0, None)


def test_erase_needs_the_present_version(place: Place) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(Outdated):
            await store.erase(replace(KEYS, version=1), DEVICES, ANYWHERE, b"", 5)

    place.use(work)


def test_sweep_removes_dead_sessions_up_to_a_limit(place: Place) -> None:
    """A session is dead from `expires_at` on."""

    async def work(store: Store) -> tuple[list[int], list[bool]]:
        sessions = [replace(SESSION, code=f"CODE{n:03}", expires_at=T0 + n) for n in range(5)]
        for session in sessions:
            await store.transact(KEYS, writing(Changes(session=session)))
        swept = [await store.sweep(T0 + 2, 2), await store.sweep(T0 + 2, 2), await store.sweep(T0 + 2, 2)]
        found = [await store.transact(replace(KEYS, code=session.code), look) for session in sessions]
        return swept, [each.session is not None for each in found]

    assert place.use(work) == ([2, 1, 0], [False, False, False, True, True])


# --- opening and closing


def test_what_was_answered_is_found_after_reopening(place: Place) -> None:
    async def write(store: Store) -> None:
        everything = Changes(((DEVICE, LEDGER), (KEY, LEDGER)), Floors(1, 2, T0), CLIENT, CHOSEN, RECORD)
        await store.transact(KEYS, writing(everything))
        await declare(store, HERE, ENVIRONMENT)

    async def read(store: Store) -> tuple[Found, EnvironmentRecord | None]:
        return await store.transact(replace(KEYS, version=1), look), await store.load(HERE)

    place.use(write)
    assert place.use(read) == (Found(Floors(1, 2, T0), (LEDGER, LEDGER), CLIENT, CHOSEN), ENVIRONMENT)


def test_closing_finishes_what_waits(place: Place) -> None:
    async def write(store: Store) -> list[int]:
        asked = [asyncio.ensure_future(store.transact(KEYS, gaining(title))) for title in "ABC"]
        await asyncio.sleep(0)
        await store.close()
        return await asyncio.gather(*asked)

    async def read(store: Store) -> Found:
        return await store.transact(KEYS, look)

    assert (sorted(place.use(write)), titles_of(place.use(read))) == ([0, 1, 2], {*"ABC"})


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.transact(KEYS, gaining("A")),
        lambda store: store.load("here"),
        lambda store: store.amend("here", lambda _old: (None, None, None)),
        lambda store: store.erase(KEYS, DEVICES, ANYWHERE, b"", 1),
        lambda store: store.environments(),
        lambda store: store.sweep(T0, 1),
        lambda store: store.ping(),
    ],
)
def test_a_closed_store_is_unavailable(place: Place, ask: Callable[[Store], Coroutine[Any, Any, Any]]) -> None:
    async def work(store: Store) -> None:
        await store.close()
        with pytest.raises(StoreUnavailable):
            await ask(store)

    place.use(work)


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_a_step_too_many_is_refused_and_the_others_are_run(place: Place) -> None:
    async def work(store: Store) -> list[int]:
        asked = [store.transact(KEYS, lambda _found: (1, NOTHING)) for _ in range(WAITING_MAX + 2)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        return [told.count(1), sum(isinstance(answer, StoreBusy) for answer in told)]

    assert place.use(work) == [WAITING_MAX, 2]


def test_a_store_that_answers_can_be_pinged_and_closed_twice(place: Place) -> None:
    async def work(store: Store) -> None:
        await store.ping()
        await store.close()
        await store.close()

    place.use(work)
