"""
Explanations on every adapter: what was found is what is told, wherever the viewer has a trial, with the acts that
touched it, and nothing is changed by asking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from temppass.core import act, reset
from temppass.core.catalogue_file import parse
from temppass.core.identity import canonical_user_key, device, user_key
from temppass.core.model import ANYWHERE, Changes, DenyCode, Found, Ledger, Recorded, Subject, SubjectKind
from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest, OutsideLimits
from temppass.core.secret import Secret
from temppass.core.viewer import Named
from temppass.service import Service, serve_from
from temppass.service.desk import Call
from temppass.service.explain import Explanation, Explanations, Question
from temppass.service.operators import NewOperator
from temppass.store import LEDGER_READ_BYTES_MAX, Keys
from temppass.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.storage.conftest import Place

    from temppass.core.world import World
    from temppass.service.worlds import Plan
    from temppass.store import Store

#: noon
T0, MINUTE, HOUR, DAY = 1_767_268_800_000, 60_000, 3_600_000, 86_400_000
HERE, ANN, SECRET = "release-production", act.ByShell("ann"), Secret(b"s" * 32)
CATALOGUE = parse(
    """
    programmer = [{ id = "a" }]
    channel = [{ id = "C", programmer = "a" }, { id = "D", programmer = "a" }]
    pass = [
      { id = "Basic", kind = "basic", ttl = "30m", channels = ["C", "D"] },
      { id = "Daily", kind = "basic", ttl = "10m", resets = "0 0 * * *", channels = ["C"] },
      { id = "Old", kind = "basic", ttl = "10m", channels = [{ id = "D", enabled = false }] },
      { id = "Promo", kind = "promotional", ttl = "28d", resources_max = 2, identity_key = "email", channels = ["C"] },
    ]
    """,
    "catalogue",
)
EMAIL = "anna@acme.example"
BOTH = Named(device="box", email=EMAIL)
RUNNING = Ledger(T0 - MINUTE, T0 + HOUR, 0)


async def opened(store: Store, clock: Clock, channels: Sequence[str] = ()) -> tuple[Service, Call]:
    rooms = serve_from(store, SECRET, clock=clock)
    await rooms.catalogues.apply(HERE, CATALOGUE, "", ANN)
    new = NewOperator("eve", Role.VIEWER, channels=tuple(channels))
    return rooms, Call(HERE, (await rooms.operators.create_here(new, ANN)).token)


async def written(
    rooms: Service, where: str, ledger: Ledger | None, make: Callable[[Found, World], Changes] | None = None
) -> None:
    """Give the device `box` and Anna's key a ledger in `channel/pass`, or change something else there."""
    channel_id, _, pass_id = where.partition("/")

    def prepare(world: World) -> Plan[None]:
        subjects = subjects_of(world)
        changes = Changes(tuple((subject, ledger) for subject in subjects))
        keys = Keys(HERE, world.version, (channel_id, pass_id), subjects, raises=True, large=True)
        return keys, lambda found: (None, changes if make is None else make(found, world))

    await rooms.context.worlds.ask(HERE, prepare)


def subjects_of(world: World) -> tuple[Subject, Subject]:
    return device(b"box", world.pepper), user_key(canonical_user_key(EMAIL), world.pepper)


async def one(rooms: Service, call: Call, where: str, named: Named = BOTH) -> Explanation:
    channel_id, _, pass_id = where.partition("/")
    told = await rooms.explainer.explain(call, Question(named, channel_id, pass_id))
    assert isinstance(told, Explanation)
    return told


async def places(rooms: Service, call: Call, question: Question) -> list[str]:
    told = await rooms.explainer.explain(call, question)
    assert isinstance(told, Explanations)
    assert bool(told.because) != bool(told.explanations)
    return [f"{each.channel_id}/{each.pass_id}" for each in told.explanations]


def test_what_was_found_is_told_with_the_acts_that_touched_it(place: Place) -> None:
    """
    The resets of this viewer, of which the one that found something tells since when they are new, and the one of
    everybody before; no other's.
    """

    async def work(store: Store) -> object:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)

        def everybody(found: Found, world: World) -> Changes:
            offer, _ = world.declared(world.channel("C"), "Basic")
            changes = reset.reset_everybody(found, offer, [SubjectKind.DEVICE], clock.now, "r1")
            done = act.EverybodyReset("C", "Basic", (SubjectKind.DEVICE,))
            return Changes(floors=changes.floors, raises=changes.raises, records=recorded("r1", done))

        def recorded(id_: str, done: act.Act) -> tuple[Recorded, ...]:
            return (act.recorded(act.Record(id_, clock.now, act.ByOperator("bob", Role.SUPPORT), done, "called")),)

        def single(_found: Found, world: World) -> Changes:
            mine, _ = subjects_of(world)
            other = Subject(SubjectKind.DEVICE, b"o" * 16)
            return Changes(
                records=(
                    *recorded("r2", act.SubjectReset("C", "Basic", (mine,), 1)),
                    *recorded("r3", act.SubjectReset("C", "Basic", (other,), 1)),
                    *recorded("r4", act.SubjectReset("D", "Basic", (mine,), 1)),
                )
            )

        def in_vain(_found: Found, world: World) -> Changes:
            return Changes(records=recorded("r5", act.SubjectReset("C", "Basic", (subjects_of(world)[0],), 0)))

        await written(rooms, "C/Basic", None, everybody)
        clock.advance(MINUTE)
        await written(rooms, "C/Basic", None, single)
        clock.advance(5 * MINUTE)
        await written(rooms, "C/Basic", None, in_vain)
        told = await one(rooms, call, "C/Basic")
        return [touched.record.id for touched in told.acts], told.explained.because

    sentence = (
        "The trial of this device was reset 5 minutes ago, at 12:01 (UTC), so the next title begins a new trial of 30 "
        "minutes."
    )
    assert place.use(work) == (["r5", "r2", "r1"], sentence)


NARROWED = act.NarrowedReset("C", "Basic", SubjectKind.DEVICE, ANYWHERE)


@pytest.mark.parametrize(
    ("since", "says"),
    [
        ([], ["The reset r1 of some of all viewers is under way or was broken off"]),
        ([act.NarrowedResetEnd("r1", 9)], []),
        (
            [act.Undo("r1", None, 0, "C", "Basic")],
            ["The undo of the reset r1 is under way or was broken off"],
        ),
        ([act.NarrowedResetEnd("r1", 9), act.Undo("r1", None, 0, "C", "Basic"), act.UndoEnd("r3", 9, 0)], []),
    ],
    ids=["broken off", "ended", "an undo broken off", "an undo ended"],
)
def test_a_narrowed_reset_or_its_undo_that_is_not_finished_is_told(
    place: Place, since: Sequence[act.Act], says: list[str]
) -> None:
    """As long as something can be done about it."""

    async def work(store: Store) -> list[list[str]]:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)
        acts = [act.Record(f"r{number}", T0 + number, ANN, done) for number, done in enumerate([NARROWED, *since], 1)]
        await written(rooms, "C/Basic", None, lambda _found, _world: Changes(records=tuple(map(act.recorded, acts))))
        told = []
        for now in (T0, T0 + reset.UNDO_MS, T0 + reset.UNDO_MS + 1):
            clock.now = now
            told.append(
                [
                    said.partition(", so that")[0]
                    for said in (await one(rooms, call, "C/Basic", Named(device="box"))).warnings
                ]
            )
        return told

    assert place.use(work) == [says, says, []]


def test_a_viewer_is_found_wherever_they_have_a_trial(place: Place) -> None:
    """By whatever names them, disabled integrations and all; on the channels of the operator, and where it is asked."""

    async def work(store: Store) -> object:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)
        eve = await rooms.operators.create_here(NewOperator("limited", Role.VIEWER, channels=("D",)), ANN)
        for where in ("D/Basic", "D/Old", "C/Promo"):
            await written(rooms, where, RUNNING)
        world = await rooms.world(HERE)
        of_device, of_key = (Named(subject=subject.digest.hex()) for subject in subjects_of(world))
        return [
            await places(rooms, call, Question(BOTH)),
            await places(rooms, Call(HERE, eve.token), Question(BOTH)),
            await places(rooms, call, Question(BOTH, channel_id="C")),
            await places(rooms, call, Question(BOTH, pass_id="Basic")),
            await places(rooms, call, Question(of_device)),
            await places(rooms, call, Question(of_key)),
            await places(rooms, call, Question(Named(key=EMAIL))),
            await places(rooms, call, Question(Named(device="another"))),
        ]

    everywhere = ["D/Basic", "D/Old", "C/Promo"]
    assert place.use(work) == [
        everywhere,
        ["D/Basic", "D/Old"],
        ["C/Promo"],
        ["D/Basic"],
        everywhere,
        ["C/Promo"],
        ["C/Promo"],
        [],
    ]


def test_a_digest_is_looked_at_as_what_it_is(place: Place) -> None:
    async def work(store: Store) -> list[SubjectKind]:
        rooms, call = await opened(store, Clock(T0))
        await written(rooms, "C/Promo", RUNNING)
        told = [
            await one(rooms, call, "C/Promo", Named(subject=subject.digest.hex()))
            for subject in subjects_of(await rooms.world(HERE))
        ]
        return [part.subject.kind for each in told for part in each.explained.parts]

    assert place.use(work) == [SubjectKind.DEVICE, SubjectKind.USER_KEY]


def test_asking_changes_nothing(place: Place) -> None:
    """Though a recurring reset is due, which the explanation tells."""

    async def work(store: Store) -> object:
        clock = Clock(T0)
        rooms, call = await opened(store, clock)
        await written(rooms, "C/Daily", RUNNING)
        clock.advance(DAY)
        before = await store.integrations()
        told = await one(rooms, call, "C/Daily")
        return await store.integrations() == before, "recurring reset that was due" in told.explained.because

    assert place.use(work) == (True, True)


def test_a_ledger_of_many_titles_is_explained_in_its_turn(place: Place) -> None:
    async def work(store: Store) -> DenyCode | str | None:
        rooms, call = await opened(store, Clock(T0))
        titles = tuple(f"{number:07}" for number in range(LEDGER_READ_BYTES_MAX // 8))
        await written(rooms, "C/Promo", Ledger(T0, T0 + HOUR, 0, titles))
        return (await one(rooms, call, "C/Promo")).explained.code

    assert place.use(work) == DenyCode.RESOURCES


def test_a_pass_that_goes_by_the_device_alone_says_so(place: Place) -> None:
    async def work(store: Store) -> tuple[str, ...]:
        rooms, call = await opened(store, Clock(T0))
        with pytest.raises(InvalidRequest):
            await one(rooms, call, "C/Basic", Named(email=EMAIL))
        return (await one(rooms, call, "C/Basic")).warnings

    assert place.use(work) == ("This pass goes by the device alone; the key was not looked at.",)


def test_an_operator_explains_on_their_own_channels(place: Place) -> None:
    async def work(store: Store) -> None:
        rooms, call = await opened(store, Clock(T0), channels=["D"])
        with pytest.raises(OutsideLimits):
            await one(rooms, call, "C/Basic")

    place.use(work)


def test_what_is_not_offered_is_explained_too(place: Place) -> None:
    """In an environment that does not exist as well."""

    async def work(store: Store) -> list[str | None]:
        rooms, call = await opened(store, Clock(T0))
        told = [await one(rooms, call, where) for where in ("X/Basic", "C/X", "C/Old", "D/Old")]
        told.append(await one(rooms, Call("nowhere", call.token), "C/Basic"))
        return [each.explained.code for each in told]

    missing = "invalid_parameter_service_provider"
    assert place.use(work) == [missing, "invalid_parameter_mvpd", "invalid_integration", "invalid_integration", missing]
