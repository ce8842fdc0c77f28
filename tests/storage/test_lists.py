"""Lists of viewers, on every adapter: gone through part by part, by whoever is there, and taken back together."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.storage.test_corrections import ANN, HERE, HOUR, MINUTE, Rooms, refused, rooms

from temppass.core.act import ByOperator, SubjectReset
from temppass.core.identity import canonical_user_key, device, user_key
from temppass.core.operator import Role
from temppass.core.refusal import (
    AlreadySo,
    EndedOperator,
    InvalidRequest,
    NewTrial,
    NothingToUndo,
    NotThere,
    OutsideLimits,
    RoleMissing,
    UnknownPass,
)
from temppass.core.reset import UNDO_MS
from temppass.core.viewer_list import LINES_MAX, PART_VIEWERS, LineState, Undoing
from temppass.service.corrections import Receipt, UndoWanted
from temppass.service.counters import Asked
from temppass.service.desk import Once
from temppass.service.lists import ListWanted
from temppass.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.storage.conftest import Place

    from temppass.service.desk import Call
    from temppass.store import Store

UNDO = UndoWanted("ticket 2")
#: a list of two parts, of which the first and the last viewer, and one in the middle, have a trial
LONG = [b"d%d" % number for number in range(PART_VIEWERS + 1)]
SOME = (LONG[0], LONG[500], LONG[-1])


async def made(
    here: Rooms, text: str | None = None, pass_id: str = "Basic", by: Call | None = None, channel: str = "REF"
) -> str:
    text = "device\n" + "\n".join(each.decode() for each in LONG) if text is None else text
    asked = ListWanted(channel, pass_id, text, None, "ticket 1")
    id_: str = (await here.service.lists.make(by or here.operator, asked)).id
    return id_


async def told(here: Rooms, list_id: str, part: int = 0) -> list[tuple[int, LineState, str]]:
    lines = await here.service.lists.lines(here.operator, list_id, part)
    return [(line.number, line.state, line.note) for line in lines]


async def undo(here: Rooms, list_id: str, wanted: UndoWanted = UNDO) -> list[object]:
    """Answer how many trials each part gave back, or how that was refused."""
    call = here.operator._replace(once=Once(str(wanted), "POST /undo", b""))
    returned = await here.service.lists.undo(call, list_id, wanted)
    return [each.outcome.matched if isinstance(each.outcome, Receipt) else type(each.outcome) for each in returned]


def test_a_list_is_read_before_anybody_is_reset_and_then_is_one_act(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Promo", b"tv", b"phone")
        text = "device,email\ntv,anna@example.net\nphone,\nnobody,\n,\ntv,anna@example.net\n"
        id_ = await made(here, text, "Promo")
        before = await here.left("Promo", b"tv", b"phone")
        done = await here.service.lists.go_on(here.operator, id_)
        record, pepper = await here.record(done.id), (await here.service.world(HERE)).pepper
        named = (b"tv", b"phone", b"nobody")
        key = user_key(canonical_user_key("anna@example.net"), pepper)
        tv, phone, nobody = (device(each, pepper) for each in named)
        assert (record.actor, record.act, record.reason) == (
            ByOperator("operator", Role.OPERATOR),
            SubjectReset("REF", "Promo", (tv, key, phone, nobody), 3),
            "ticket 1",
        )
        return before, done.matched, await here.left("Promo", b"tv", b"phone"), await told(here, id_)

    lines = [
        (2, LineState.RESET, ""),
        (3, LineState.RESET, ""),
        (4, LineState.NO_TRIAL, ""),
        (5, LineState.UNREADABLE, "Names neither a device nor a key nor an email; an empty one would mean everybody."),
        (6, LineState.REPEATED, "Names whom line 2 names."),
    ]
    assert place.use(work) == ([0, 0], 3, [None, None], lines)


def test_a_digest_means_the_subject_that_has_a_trial(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Promo", b"tv")
        pepper = (await here.service.world(HERE)).pepper
        key = user_key(canonical_user_key("anna@example.net"), pepper)
        id_ = await made(here, f"subject\n{key.digest.hex()}\n", "Promo")
        record = await here.record((await here.service.lists.go_on(here.operator, id_)).id)
        assert isinstance(record.act, SubjectReset)
        return record.act.subjects == (key,), record.act.matched

    assert place.use(work) == (True, 1)


def test_a_list_that_was_left_half_way_is_finished_by_another_process(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *SOME)
        id_ = await made(here)
        await here.service.lists.go_on(here.operator, id_)
        half = await here.service.lists.look(here.operator, id_)
        left = await here.left("Basic", *SOME)
        other = here.on(store)
        await other.service.lists.go_on(await here.limited(Role.OPERATOR, "REF"), id_)
        seen = await other.service.lists.look(here.operator, id_)
        numbers = [(one.list.done, one.list.matched, one.is_open) for one in (half, seen)]
        return numbers, left, await here.left("Basic", *SOME)

    assert place.use(work) == ([(1000, 2, True), (1001, 3, False)], [None, None, 0], [None] * 3)


def test_nothing_is_done_twice(place: Place) -> None:
    """Two processes go on at once, and somebody does once more at the end; whoever came back keeps the new trial."""

    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *SOME)
        id_, other = await made(here, "device\nd0\nd500\n"), here.on(store)
        at_once = await asyncio.gather(*(each.service.lists.go_on(here.operator, id_) for each in (here, other)))
        here.clock.advance(MINUTE)
        await here.watch("Basic", LONG[0])
        again = await here.service.lists.go_on(here.operator, id_)
        for each in (here, other):
            await each.service.upkeep.count()
        counted = await here.service.counters.counts(here.operator, Asked())
        resets = sum(point.counts.get("reset", 0) for point in counted)
        return {*at_once} == {again}, again.matched, resets, await here.left("Basic", *SOME)

    assert place.use(work) == (True, 2, 1, [MINUTE, None, 0])


def test_the_whole_is_taken_back_and_is_not_gone_on_with(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *SOME)
        whole, half = await made(here), None
        for _ in range(2):
            await here.service.lists.go_on(here.operator, whole)
        returned, back = await undo(here, whole), await here.left("Basic", *SOME)
        half = await made(here)
        await here.service.lists.go_on(here.operator, half)
        returned += await undo(here, half)
        closed = await refused(here.service.lists.go_on(here.operator, half))
        seen = await here.service.lists.look(here.operator, half)
        return returned, back, closed, seen.undoing, seen.is_open, await refused(undo(here, half))

    undoing = (Undoing.UNDONE, Undoing.NOTHING)
    assert place.use(work) == ([1, 2, 2], [0] * 3, AlreadySo, undoing, False, NothingToUndo)


def test_a_part_that_cannot_be_taken_back_keeps_no_other_from_it(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *SOME)
        id_ = await made(here)
        for _ in range(2):
            await here.service.lists.go_on(here.operator, id_)
        here.clock.advance(MINUTE)
        await here.watch("Basic", LONG[0])
        returned, left = await undo(here, id_), await here.left("Basic", *SOME)
        returned += await undo(here, id_, UndoWanted(None, replace=True))
        return returned, left, await here.left("Basic", *SOME)

    assert place.use(work) == ([1, NewTrial, 2], [MINUTE, None, 0], [0] * 3)


def test_a_day_later_nothing_is_taken_back_and_then_the_list_is_gone(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", LONG[0])
        id_ = await made(here, "device\nd0\n")
        await here.service.lists.go_on(here.operator, id_)
        here.clock.advance(UNDO_MS)
        seen = (await here.service.lists.look(here.operator, id_)).undoing, await refused(undo(here, id_))
        here.clock.advance(HOUR)
        gone = await refused(here.service.lists.look(here.operator, id_))
        return *seen, gone, await here.service.lists.all(here.operator)

    assert place.use(work) == ((Undoing.TOO_LATE,), NothingToUndo, NotThere, [])


def test_who_was_revoked_half_way_goes_on_no_more(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        await here.watch("Basic", *SOME)
        id_ = await made(here)
        await here.service.lists.go_on(here.operator, id_)
        await here.service.operators.revoke_here("operator", ANN)
        asked = [here.service.lists.go_on(here.operator, id_), here.service.lists.undo(here.operator, id_, UNDO)]
        return [await refused(each) for each in asked], await here.left("Basic", *SOME)

    assert place.use(work) == ([EndedOperator] * 2, [None, None, 0])


def test_lists_are_for_operators_of_their_channel(place: Place) -> None:
    async def work(store: Store) -> tuple[object, ...]:
        here = await rooms(store)
        other, lists = await here.limited(Role.OPERATOR, "TWO"), here.service.lists
        id_, second = await made(here, "device\nd0\n"), await made(here, "device\nd0\n", by=other, channel="TWO")
        found = [[one.id for one in await lists.all(call)] for call in (here.operator, other)]
        told = [
            await refused(asked)
            for asked in (
                made(here, "device\nd0\n", by=here.support),
                made(here, "device\nd0\n", by=other),
                lists.look(here.support, id_),
                lists.look(other, id_),
                lists.go_on(other, id_),
                lists.undo(other, id_, UNDO),
                lists.look(here.operator, "none"),
            )
        ]
        return found == [[second, id_], [second]], told

    assert place.use(work) == (True, [RoleMissing, OutsideLimits, RoleMissing, *[NotThere] * 4])


@pytest.mark.parametrize(
    ("text", "pass_id", "refusal"),
    [
        ("", "Basic", InvalidRequest),
        ("d0\nd1\n", "Basic", InvalidRequest),
        ("device,device_id\nd0,d1\n", "Basic", InvalidRequest),
        ("device\n" + "d\n" * (LINES_MAX + 1), "Basic", InvalidRequest),
        ("device\nd0\n", "None", UnknownPass),
    ],
)
def test_what_is_no_list_is_refused(place: Place, text: str, pass_id: str, refusal: type[Exception]) -> None:
    async def work(store: Store) -> object:
        return await refused(made(await rooms(store), text, pass_id))

    assert place.use(work) == refusal


def test_a_list_that_names_nobody_who_can_be_reset_does_nothing(place: Place) -> None:
    async def work(store: Store) -> object:
        here = await rooms(store)
        return await refused(here.service.lists.go_on(here.operator, await made(here, "email\nx@y\n")))

    assert place.use(work) == InvalidRequest


def test_the_files_of_a_store_do_not_hold_what_a_list_says(tmp_path: Path) -> None:
    said = ["tvbox-4f19c2a0-77d3", "user@domain.example", "<script>x</script>"]
    path = tmp_path / "store.db"

    async def work() -> list[bytes]:
        store = SqliteStore(path)
        try:
            here = await rooms(store)
            text = f"device,email\n{said[0]},{said[1]}\n{said[2]},\n,{said[2]}\n"
            call = here.operator._replace(once=Once("k", "POST /lists", text.encode()))
            id_ = await made(here, text, "Promo", by=call)
            await here.service.lists.go_on(here.operator, id_)
            return [file.read_bytes() for file in [path, path.with_name("store.db-wal")]]
        finally:
            await store.close()

    kept = [*asyncio.run(work()), path.read_bytes()]
    digests = [hashlib.sha256(value.encode()) for value in said]
    forms = [each.encode() for each in said] + [
        form for each in digests for form in (each.digest(), each.hexdigest().encode())
    ]
    forms += [base64.b64encode(each.encode())[:-4] for each in said]
    found = [form for form in forms for held in kept if form in held]
    assert (b"list:" in b"".join(kept), found) == (True, [])
