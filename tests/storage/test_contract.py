"""
The contract of the port (store.py), written once and held by every adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from temppass.core import reset, trial
from temppass.core.act import NO_LINK, Link, Sealed
from temppass.core.catalogue import EMPTY, Channel, Offer
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Client,
    Floors,
    Found,
    Kept,
    Ledger,
    Origin,
    PassKind,
    Permit,
    Raise,
    Recorded,
    Subject,
    SubjectKind,
)
from temppass.core.reset import Aim, Narrowing
from temppass.core.world import Environment, EnvironmentRecord
from temppass.store import (
    WAITING_MAX,
    IntegrationKey,
    Keys,
    LargeLedger,
    Outdated,
    Standing,
    Store,
    StoreBusy,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from tests.storage.conftest import Place

T0, DAY = 1_767_261_600_000, 86_400_000
HERE, ELSEWHERE = "release-production", "prequal-staging"
DEVICES, USER_KEYS = SubjectKind.DEVICE, SubjectKind.USER_KEY
DEVICE, DEVICE_2 = Subject(DEVICES, b"d" * 16), Subject(DEVICES, b"e" * 16)
KEY, KEY_2 = Subject(USER_KEYS, b"k" * 16), Subject(USER_KEYS, b"l" * 16)
#: nobody has declared the environment, which is its version 0
KEYS = Keys(HERE, 0, ("REF", "TempPassREF"), (DEVICE, KEY), "client", ("K7Q2MXA",), raises=True)

LEDGER = Ledger(T0, T0 + DAY, 0, ("A", "B"), Origin(b"a" * 16, b"u" * 16), 3)
CLIENT = Client("client", "ops", 3, b"h" * 32, T0)
KEPT = Kept("session", "K7Q2MXA", T0 + 1_800_000, b"{}")
RAISE = Raise(DEVICES, 1, 0, T0, "r1")
LATER = Kept("session", "K7Q2MXA", T0 + 1_900_000, b'{"pass_id":"P"}')
RECORD = Recorded("r1", T0, b'{"id":"r1"}')
ENVIRONMENT = EnvironmentRecord(1, EMPTY, {"REF/P": T0}, {"ops": 2}, b"\x00sealed\xff")

OFFER = Offer("REF", "TempPassREF", PassKind.PROMOTIONAL, 28 * DAY, 2, "email", 5, True, None, "UTC", 0)


def finding(
    floors: Floors,
    ledgers: tuple[Ledger | None, ...],
    client: Client | None = None,
    kept: tuple[Kept | None, ...] = (None,),
    raises: tuple[Raise, ...] = (),
) -> Found:
    """Answer what a step with KEYS finds; nothing is kept unless it is said."""
    return Found(floors, ledgers, client, kept, raises)


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
        (NOTHING, finding(Floors(), (None, None))),
        (Changes(floors=Floors(1, 2, T0)), finding(Floors(1, 2, T0), (None, None))),
        (Changes(((DEVICE, LEDGER),)), finding(Floors(), (LEDGER, None))),
        (
            Changes(((KEY, Ledger(T0, T0 + DAY, 7)),), Floors(0, 7)),
            finding(Floors(0, 7), (None, Ledger(T0, T0 + DAY, 7))),
        ),
        (Changes(((KEY, LEDGER), (DEVICE, LEDGER))), finding(Floors(), (LEDGER, LEDGER))),
        (Changes(((DEVICE, None),)), finding(Floors(), (None, None))),
        (Changes(client=CLIENT), finding(Floors(), (None, None), CLIENT)),
        (Changes(kept=(KEPT,)), finding(Floors(), (None, None), None, (KEPT,))),
        (Changes(kept=(LATER,)), finding(Floors(), (None, None), None, (LATER,))),
        (
            Changes(((DEVICE, LEDGER), (KEY, None)), Floors(1, 1, T0, 4, 5), CLIENT, (KEPT,), (RECORD,), (RAISE,)),
            finding(Floors(1, 1, T0, 4, 5), (LEDGER, None), CLIENT, (KEPT,), (RAISE,)),
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
        await store.transact(KEYS, writing(Changes(((DEVICE, LEDGER), (KEY, LEDGER)), Floors(1), kept=(KEPT,))))
        await store.transact(KEYS, writing(Changes(((DEVICE, later), (KEY, None)), Floors(2, 3, 4), kept=(LATER,))))
        return await store.transact(KEYS, look)

    assert place.use(work) == finding(Floors(2, 3, 4), (later, None), None, (LATER,))


@pytest.mark.parametrize(
    "keys",
    [
        Keys(ELSEWHERE, 0, ("REF", "TempPassREF"), (DEVICE, KEY), "client", ("K7Q2MXA",), raises=True),
        Keys(HERE, 0, ("REF30", "TempPassREF"), (DEVICE, KEY), raises=True),
        Keys(HERE, 0, ("REF", "TempPass"), (DEVICE, KEY)),
        Keys(HERE, 0, ("REF", "TempPass"), (Subject(USER_KEYS, DEVICE.digest), Subject(DEVICES, KEY.digest))),
        Keys(HERE, 0, None, (), "Client", ("K7Q2MXB",)),
    ],
)
def test_nothing_is_shared(place: Place, keys: Keys) -> None:
    """Not between environments, channels, passes, kinds of subject, clients or sessions."""

    async def work(store: Store) -> Found:
        everything = Changes(((DEVICE, LEDGER), (KEY, LEDGER)), Floors(1, 1, T0), CLIENT, (KEPT,), raises=(RAISE,))
        await store.transact(KEYS, writing(everything))
        return await store.transact(keys, look)

    assert place.use(work) == Found(Floors(), (None,) * len(keys.subjects), None, (None,) * len(keys.kept))


def test_ledgers_are_found_in_the_order_of_the_subjects(place: Place) -> None:
    asked = (KEY_2, DEVICE, KEY, DEVICE_2)

    async def work(store: Store) -> Found:
        ledgers = tuple((subject, Ledger(T0, T0 + at, 0)) for at, subject in enumerate(asked, 1) if subject is not KEY)
        await store.transact(KEYS, writing(Changes(ledgers)))
        return await store.transact(replace(KEYS, subjects=asked), look)

    assert [ledger and ledger.expires_at - T0 for ledger in place.use(work).ledgers] == [1, 2, None, 4]


def test_a_record_is_kept_with_what_it_records(place: Place) -> None:
    bare = Recorded("r2", T0 + 1, b'{"id":"r2"}')

    async def work(store: Store) -> tuple[list[str], list[list[bytes]]]:
        await store.transact(KEYS, writing(Changes(records=(RECORD,))))
        await store.amend(ELSEWHERE, lambda _old: (None, None, bare))
        environments = await store.unsealed_environments()
        return environments, [await store.unsealed(name, 10) for name in environments]

    assert place.use(work) == ([ELSEWHERE, HERE], [[bare.document], [RECORD.document]])


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
        await store.transact(KEYS, lambda found: (None, reset.reset_everybody(found, OFFER, [DEVICES], T0, "r1")))
        return await store.transact(KEYS, look)

    assert place.use(work).floors == Floors(1, 0)


@pytest.mark.parametrize("titles", [("x" * 2_000,) * 16, ("\x01" * 2_000,) * 2, ("a", "b" * 32_760)])
def test_a_ledger_of_32_kib_is_read_in_passing(place: Place, titles: tuple[str, ...]) -> None:
    ledger = replace(LEDGER, used=titles)

    async def work(store: Store) -> Found:
        await store.transact(KEYS, writing(Changes(((KEY, ledger),))))
        return await store.transact(KEYS, look)

    assert place.use(work) == finding(Floors(), (None, ledger))


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

    found, nothing = finding(Floors(), (None, ledger)), finding(Floors(), (None,))
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

    async def work(store: Store) -> list[Environment | None]:
        await declare(store, HERE, declared)
        return [await store.load(HERE), await store.load(ELSEWHERE)]

    assert place.use(work) == [Environment(declared), None]


def test_an_amendment_sees_the_present_state_and_answers(place: Place) -> None:
    async def work(store: Store) -> list[object]:
        await declare(store, HERE, ENVIRONMENT)
        return [await store.amend(name, lambda old: (old, None, None)) for name in (HERE, ELSEWHERE)]

    assert place.use(work) == [ENVIRONMENT, None]


def test_an_amendment_that_raises_changes_nothing(place: Place) -> None:
    def failing(_old: EnvironmentRecord | None) -> tuple[None, EnvironmentRecord, Recorded]:
        raise KeyError("wrong")

    async def work(store: Store) -> tuple[Environment | None, list[bytes]]:
        await declare(store, HERE, ENVIRONMENT)
        with pytest.raises(KeyError):
            await store.amend(HERE, failing)
        return await store.load(HERE), await store.unsealed(HERE, 10)

    assert place.use(work) == (Environment(ENVIRONMENT), [])


def test_concurrent_amendments_lose_none(place: Place) -> None:
    def counting(old: EnvironmentRecord | None) -> tuple[int, EnvironmentRecord, None]:
        version = (old.version if old else 0) + 1
        return version, replace(ENVIRONMENT, version=version), None

    async def work(store: Store) -> tuple[list[int], int]:
        told = await asyncio.gather(*(store.amend(HERE, counting) for _ in range(20)))
        loaded = await store.load(HERE)
        return sorted(told), loaded.record.version if loaded else 0

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


# --- resets of everybody that stand


def test_an_undone_reset_does_not_stand(place: Place) -> None:
    raises = [Raise(kind, generation, generation - 1, T0, "r") for kind in SubjectKind for generation in (1, 2, 3)]

    async def work(store: Store) -> tuple[Raise, ...]:
        for raised in raises:
            await store.transact(KEYS, writing(Changes(floors=Floors(raised.generation), raises=(raised,))))
        await store.transact(KEYS, writing(Changes(floors=Floors(1), undone=(raises[1], raises[2], raises[5]))))
        return (await store.transact(KEYS, look)).raises

    assert place.use(work) == (raises[0], raises[3], raises[4])


def test_a_reset_that_is_undone_in_the_same_batch_does_not_stand(place: Place) -> None:
    """The undo finds it. Neither names a subject, so that nothing keeps them out of one batch."""
    keys = replace(KEYS, subjects=())

    def undo(found: Found) -> tuple[tuple[Raise, ...], Changes]:
        return found.raises, Changes(floors=Floors(0, 0, 0, 1), undone=found.raises)

    async def work(store: Store) -> list[object]:
        raising = store.transact(keys, writing(Changes(floors=Floors(1), raises=(RAISE,))))
        told = await asyncio.gather(raising, store.transact(keys, undo))
        return [*told, (await store.transact(keys, look)).raises]

    assert place.use(work) == [None, (RAISE,), ()]


def test_integrations_are_told_with_what_stands(place: Place) -> None:
    async def work(store: Store) -> list[tuple[IntegrationKey, Standing]]:
        await store.transact(KEYS, writing(Changes(floors=Floors(1, 2, T0, 3, 4), raises=(RAISE,))))
        await store.transact(replace(KEYS, integration=("REF30", "A")), writing(Changes(((DEVICE, LEDGER),))))
        return await store.integrations()

    assert place.use(work) == [
        ((HERE, "REF", "TempPassREF"), Standing(Floors(1, 2, T0, 3, 4), (RAISE,))),
        ((HERE, "REF30", "A"), Standing(Floors())),
    ]


# --- the chain


def numbered(head: Link, documents: Sequence[bytes]) -> list[Link]:
    """Link documents by number alone."""
    return [Link(head.sequence + n, bytes([n]) * 32) for n, _ in enumerate(documents, 1)]


def recording(*numbers: int) -> Callable[[Found], tuple[None, Changes]]:
    """Record something at each of these moments after T0."""
    return writing(Changes(records=tuple(Recorded(f"r{n}", T0 + n, b"%d" % n) for n in numbers)))


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_records_get_a_sequence_without_gaps_in_the_order_of_their_moments(place: Place, limit: int) -> None:
    async def work(store: Store) -> tuple[list[tuple[int, bytes]], list[bytes], Link]:
        await store.transact(KEYS, recording(3, 1, 2))
        while await store.seal(HERE, numbered, limit):
            pass
        await store.transact(KEYS, recording(0))
        while await store.seal(HERE, numbered, limit):
            pass
        sealed = await store.records(HERE, 0, 10)
        return [(each.link.sequence, each.document) for each in sealed], await store.unsealed(HERE, 10), sealed[-1].link

    sealed, unsealed, last = place.use(work)
    assert (sealed, unsealed) == ([(1, b"1"), (2, b"2"), (3, b"3"), (4, b"0")], [])
    assert last.sequence == 4


def test_the_head_of_a_chain_is_its_last_link(place: Place) -> None:
    async def work(store: Store) -> list[Link]:
        heads = [await store.head(HERE)]
        await store.transact(KEYS, recording(1, 2))
        await store.seal(HERE, numbered, 10)
        return [*heads, await store.head(HERE), await store.head(ELSEWHERE)]

    assert place.use(work) == [NO_LINK, Link(2, b"\x02" * 32), NO_LINK]


def test_sealed_records_are_read_page_by_page(place: Place) -> None:
    async def work(store: Store) -> list[list[Sealed]]:
        await store.transact(KEYS, recording(1, 2, 3))
        await store.seal(HERE, numbered, 10)
        return [await store.records(HERE, 0, 2), await store.records(HERE, 2, 2), await store.records(HERE, 3, 2)]

    sealed = [Sealed(Link(n, bytes([n]) * 32), b"%d" % n) for n in (1, 2, 3)]
    assert place.use(work) == [sealed[:2], sealed[2:], []]


def test_nodes_that_seal_at_once_give_each_record_one_place(place: Place) -> None:
    async def work(store: Store, other: Store) -> list[tuple[int, bytes]]:
        await store.transact(KEYS, recording(*range(20)))
        sealing = [each.seal(HERE, numbered, 3) for each in (store, other) * 5]
        await asyncio.gather(*sealing)
        while await store.seal(HERE, numbered, 100):
            pass
        return [(each.link.sequence, each.document) for each in await store.records(HERE, 0, 100)]

    async def both(store: Store) -> list[tuple[int, bytes]]:
        async with place.open() as other:
            return await work(store, other)

    assert place.use(both) == [(n + 1, b"%d" % n) for n in range(20)]


# --- pages and sweep


def _device(number: int) -> Subject:
    return Subject(DEVICES, bytes([number]) * 16)


async def _many_ledgers(store: Store) -> None:
    """Write ten devices, of which one is removed again, and others that are not meant."""
    ledgers = tuple((_device(n), Ledger(T0, T0 + DAY + n, n // 5)) for n in range(10))
    await store.transact(KEYS, writing(Changes((*ledgers, (KEY, LEDGER)), Floors(1, 0))))
    await store.transact(replace(KEYS, subjects=(_device(3),)), writing(Changes(((_device(3), None),))))
    await store.transact(replace(KEYS, integration=("REF30", "TempPassREF")), writing(Changes(ledgers)))
    await store.transact(replace(KEYS, environment=ELSEWHERE), writing(Changes(ledgers)))


@pytest.mark.parametrize("limit", [1, 3, 9, 1000])
def test_ledgers_are_told_page_by_page_whether_they_count_or_not(place: Place, limit: int) -> None:
    async def work(store: Store) -> list[tuple[Subject, Ledger]]:
        await _many_ledgers(store)
        told: list[tuple[Subject, Ledger]] = []
        page = await store.ledgers((HERE, "REF", "TempPassREF"), DEVICES, b"", limit)
        while page:
            told += page
            page = await store.ledgers((HERE, "REF", "TempPassREF"), DEVICES, page[-1][0].digest, limit)
        return told

    assert place.use(work) == [(_device(n), Ledger(T0, T0 + DAY + n, n // 5)) for n in range(10) if n != 3]


def test_there_are_no_ledgers_of_what_nobody_knows(place: Place) -> None:
    async def work(store: Store) -> list[tuple[Subject, Ledger]]:
        return await store.ledgers((HERE, "REF", "TempPassREF"), USER_KEYS, b"", 5)

    assert place.use(work) == []


def test_sweep_removes_kept_documents_whose_time_is_over_up_to_a_limit(place: Place) -> None:
    """A document's time is over from `expires_at` on."""

    async def work(store: Store) -> tuple[list[int], list[bool]]:
        documents = [replace(KEPT, key=f"CODE{n:03}", expires_at=T0 + n) for n in range(5)]
        await store.transact(KEYS, writing(Changes(kept=tuple(documents))))
        swept = [await store.sweep(T0 + 2, 0, 2), await store.sweep(T0 + 2, 0, 2), await store.sweep(T0 + 2, 0, 2)]
        found = await store.transact(replace(KEYS, kept=tuple(each.key for each in documents)), look)
        return swept, [each is not None for each in found.kept]

    assert place.use(work) == ([2, 1, 0], [False, False, False, True, True])


def test_sweep_forgets_resets_that_stand_too_long(place: Place) -> None:
    async def work(store: Store) -> tuple[int, tuple[Raise, ...]]:
        raises = tuple(replace(RAISE, generation=n, at=T0 + n) for n in (1, 2, 3))
        await store.transact(KEYS, writing(Changes(floors=Floors(3), raises=raises)))
        return await store.sweep(0, T0 + 3, 10), (await store.transact(KEYS, look)).raises

    assert place.use(work) == (2, (replace(RAISE, generation=3, at=T0 + 3),))


# --- opening and closing


def test_what_was_answered_is_found_after_reopening(place: Place) -> None:
    async def write(store: Store) -> None:
        everything = Changes(((DEVICE, LEDGER), (KEY, LEDGER)), Floors(1, 2, T0), CLIENT, (KEPT,), (RECORD,), (RAISE,))
        await store.transact(KEYS, writing(everything))
        await declare(store, HERE, ENVIRONMENT)

    async def read(store: Store) -> tuple[Found, Environment | None]:
        return await store.transact(replace(KEYS, version=1), look), await store.load(HERE)

    place.use(write)
    assert place.use(read) == (
        finding(Floors(1, 2, T0), (LEDGER, LEDGER), CLIENT, (KEPT,), (RAISE,)),
        Environment(ENVIRONMENT),
    )


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
        lambda store: store.ledgers((HERE, "REF", "TempPassREF"), DEVICES, b"", 1),
        lambda store: store.tally((HERE, "REF", "TempPassREF"), DEVICES, Aim(Floors(), Narrowing(), T0), b"", 1),
        lambda store: store.seal(HERE, numbered, 1),
        lambda store: store.environments(),
        lambda store: store.sweep(T0, T0, 1),
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
