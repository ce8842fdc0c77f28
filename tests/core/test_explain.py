"""
Why a viewer may watch or may not: the sentence for every state that can occur, what would help, and the law that an
explanation says what the engine does.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from temppass.core import trial
from temppass.core.catalogue import Offer
from temppass.core.explain import Explained, Help, Hurdle, State, explain, hindered
from temppass.core.model import (
    DenyCode,
    Floors,
    Found,
    Ledger,
    PassKind,
    Permit,
    Raise,
    Subject,
    SubjectKind,
)

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
#: 2026-01-01T10:00:00Z
T0 = 1_767_261_600_000
BASIC = Offer("ACME1", "Basic", PassKind.BASIC, 30 * MINUTE, None, None, 5, True, None, "Europe/Berlin", 0)
PROMO = Offer("ACME1", "Promo", PassKind.PROMOTIONAL, 28 * DAY, 2, "email", 5, True, None, "UTC", 0)
DAILY = replace(BASIC, resets="0 0 * * *", resets_since=T0 - 20 * HOUR, timezone="UTC")
DEVICE, KEY = Subject(SubjectKind.DEVICE, b"\x01" * 16), Subject(SubjectKind.USER_KEY, b"\x02" * 16)
FLOORS = Floors()
TIME, TITLES = DenyCode.DURATION, DenyCode.RESOURCES


def of(
    offer: Offer,
    ledgers: dict[Subject, Ledger | None],
    *,
    floors: Floors = FLOORS,
    raises: tuple[Raise, ...] = (),
    fault: DenyCode | None = None,
    title: str | None = None,
    reset_at: int | None = None,
) -> Explained:
    found = Found(floors, tuple(ledgers.values()), raises=raises)
    asked = trial.Ask(offer, tuple(ledgers), fault=fault)
    return explain(found, asked, T0, title=title, reset_at=reset_at)


def ledger(began: int, lasts: int, used: str = "", *, generation: int = 0, bonus: int = 0) -> Ledger:
    """Make a ledger that began so long before now and ends so long after now; titles of one letter each."""
    return Ledger(T0 - began, T0 + lasts, generation, tuple(used), bonus=bonus)


ONLY_DEVICE = " Only the device was looked at: this pass goes by the user as well, whose own trial counts too."
ONLY_USER = " Only the user was looked at: this pass goes by the device as well, whose own trial counts too."


@pytest.mark.parametrize(
    ("explained", "code", "because"),
    [
        pytest.param(
            of(BASIC, {DEVICE: None}),
            None,
            "This device has no trial of this pass yet, so the next title begins a new trial of 30 minutes.",
            id="new",
        ),
        pytest.param(
            of(PROMO, {DEVICE: None, KEY: None}),
            None,
            "This viewer has no trial of this pass yet, so the next title begins a new trial of 28 days and 2 titles.",
            id="new to a promotional pass",
        ),
        pytest.param(
            of(BASIC, {DEVICE: None}, reset_at=T0 - 5 * MINUTE),
            None,
            "The trial of this device was reset 5 minutes ago, at 10:55 (Europe/Berlin), so the next title begins a "
            "new trial of 30 minutes.",
            id="reset alone",
        ),
        pytest.param(
            of(BASIC, {DEVICE: ledger(21 * MINUTE, 9 * MINUTE)}),
            None,
            "The trial of this device is running: 9 minutes of its time are left, so the next title plays.",
            id="running",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "A"), KEY: ledger(DAY, 3 * HOUR, "A")}),
            None,
            "The trial of this viewer is running: 3 hours of its time and 1 of 2 titles are left, so the next title "
            "plays.",
            id="running, with time and titles left",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "A"), KEY: None}),
            None,
            "The trial of this viewer is running: 3 hours of its time and 1 of 2 titles are left, so the next title "
            "plays. The user is new, and joins the trial of the device.",
            id="a new user on a device with a trial",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "A")}),
            None,
            "The trial of this device is running: 3 hours of its time and 1 of 2 titles are left, so the next title "
            "plays." + ONLY_DEVICE,
            id="a promotional pass by the device alone",
        ),
        pytest.param(
            of(PROMO, {KEY: None}),
            None,
            "This user has no trial of this pass yet, so the next title begins a new trial of 28 days and 2 titles."
            + ONLY_USER,
            id="a promotional pass by the user alone",
        ),
        pytest.param(
            of(BASIC, {DEVICE: ledger(42 * MINUTE, -12 * MINUTE)}),
            TIME,
            "The free time of this device is over: it ended 12 minutes ago, at 10:48 (Europe/Berlin). To let them "
            "watch, reset the device, or grant minutes.",
            id="over",
        ),
        pytest.param(
            of(BASIC, {DEVICE: ledger(400 * DAY, -30 * DAY)}),
            TIME,
            "The free time of this device is over: it ended 30 days ago, on 2 December 2025 at 11:00 (Europe/Berlin). "
            "To let them watch, reset the device, or grant minutes.",
            id="over since last year",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, -HOUR, "A"), KEY: ledger(HOUR, DAY, "A")}),
            TIME,
            "The free time of the device is over: it ended 60 minutes ago, at 09:00 (UTC); the user alone has time "
            "left, but the stricter of both holds. To let them watch, reset the device, or grant minutes.",
            id="over for the device alone",
        ),
        pytest.param(
            of(PROMO, {DEVICE: None, KEY: ledger(DAY, -HOUR, "A")}),
            TIME,
            "The free time of the user is over: it ended 60 minutes ago, at 09:00 (UTC); the device is new, but joins "
            "the trial that is over. To let them watch, reset the user, or grant minutes.",
            id="over for the user, on a new device",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, -HOUR, "AB"), KEY: ledger(DAY, -HOUR, "AB")}),
            TIME,
            "The free time of this viewer is over: it ended 60 minutes ago, at 09:00 (UTC). To let them watch, reset "
            "the device and the user, or grant minutes and at least 1 title.",
            id="over, and no title left",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "AB"), KEY: ledger(DAY, 3 * HOUR, "AB")}),
            TITLES,
            "The 2 titles of the trial are used up, with 3 hours left, in which the titles that were watched can be "
            "watched again, and no other. To let them watch, reset the device and the user, or grant at least 1 title.",
            id="used up",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "AB"), KEY: None}, title="A"),
            None,
            "This title was watched before, so it plays again for the time that is left, 3 hours.",
            id="used up, and watched before",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "ABC", bonus=1), KEY: None}),
            TITLES,
            "The 3 titles of the trial are used up (1 of them granted on top), with 3 hours left, in which the "
            "titles that were watched can be watched again, and no other. To let them watch, reset the device, or "
            "grant at least 1 title.",
            id="a granted title is used up",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "A", bonus=2), KEY: None}),
            None,
            "The trial of this viewer is running: 3 hours of its time and 3 of 4 titles are left (2 of them "
            "granted on top), so the next title plays. The user is new, and joins the trial of the device.",
            id="granted titles are left",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "A"), KEY: ledger(DAY, HOUR, "B")}),
            TITLES,
            "The device and the user come from different trials and have watched 2 titles between them, and 2 titles "
            "are allowed, with 60 minutes left, in which the titles that were watched can be watched again, and "
            "no other. To let them watch, reset the device or the user, or grant at least 1 title.",
            id="different trials, together used up",
        ),
        pytest.param(
            of(PROMO, {DEVICE: ledger(DAY, 3 * HOUR, "AB"), KEY: ledger(DAY, HOUR, "C")}, title="C"),
            TITLES,
            "The device and the user come from different trials: one of them has watched this title, and the trial of "
            "the device has no room for it, because its titles are used up, with 60 minutes left. To let them "
            "watch, reset the device, or grant at least 1 title.",
            id="different trials, no room in one",
        ),
        pytest.param(
            of(
                BASIC,
                {DEVICE: ledger(DAY, -HOUR)},
                floors=Floors(device=2),
                raises=(
                    Raise(SubjectKind.DEVICE, 1, 0, T0 - 2 * HOUR, "r1"),
                    Raise(SubjectKind.DEVICE, 2, 1, T0 - HOUR, "r2"),
                ),
            ),
            None,
            "The trial that began on 31 December 2025 at 11:00 (Europe/Berlin) does not count any more, because "
            "everybody was reset 2 hours ago, at 09:00 (Europe/Berlin), so the next title begins a new trial of 30 "
            "minutes.",
            id="reset with everybody: by the first reset that ended it",
        ),
        pytest.param(
            of(BASIC, {DEVICE: ledger(HOUR, -MINUTE)}, floors=Floors(device=1)),
            None,
            "The trial that began at 10:00 (Europe/Berlin) does not count any more, because everybody was reset since, "
            "so the next title begins a new trial of 30 minutes.",
            id="reset with everybody, nobody knows when",
        ),
        pytest.param(
            of(DAILY, {DEVICE: ledger(DAY, -HOUR)}),
            None,
            "The trial that began on 31 December 2025 at 10:00 (UTC) does not count any more, because the recurring "
            "reset that was due at 00:00 (UTC) ended it, so the next title begins a new trial of 30 minutes.",
            id="a recurring reset is due",
        ),
        pytest.param(
            of(replace(BASIC, usable=False), {DEVICE: ledger(DAY, -HOUR)}, fault=DenyCode.CONFIGURATION),
            DenyCode.CONFIGURATION,
            "The pass is not fully configured, so every viewer is denied; a reset does not help, the catalogue has to "
            "be mended.",
            id="misconfigured",
        ),
        pytest.param(
            of(PROMO, {DEVICE: None}, fault=DenyCode.IDENTITY),
            DenyCode.IDENTITY,
            "The pass goes by the user, and what the application sent as the user's identity cannot be read under the "
            "name that the pass asks for, so the viewer is denied; a reset does not help, the application has to send "
            "it.",
            id="no usable identity",
        ),
        pytest.param(
            explain(Found(Floors(), (None,)), trial.Ask(BASIC, (DEVICE,)), T0, enabled=False),
            Hurdle.INTEGRATION,
            "The channel does not offer this pass at the moment, so every viewer is denied; a reset does not help, the "
            "catalogue has to enable it.",
            id="disabled",
        ),
        pytest.param(
            hindered(Hurdle.PASS),
            Hurdle.PASS,
            "There is no such pass in this environment, so nothing can be watched with it; check the spelling.",
            id="unknown pass",
        ),
        pytest.param(
            hindered(Hurdle.CHANNEL),
            Hurdle.CHANNEL,
            "There is no such channel in this environment, so nothing can be watched; check the spelling.",
            id="unknown channel",
        ),
    ],
)
def test_every_state_has_a_sentence(explained: Explained, code: str | None, because: str) -> None:
    assert (explained.because, explained.code) == (because, code)


@pytest.mark.parametrize(
    ("held", "floors", "state"),
    [
        (None, Floors(), State.NEW),
        (ledger(HOUR, HOUR), Floors(), State.RUNNING),
        (ledger(HOUR, 0, "AB"), Floors(), State.OVER),
        (ledger(HOUR, HOUR, "AB"), Floors(), State.USED_UP),
        (ledger(HOUR, HOUR, "AB", bonus=1), Floors(), State.RUNNING),
        (ledger(HOUR, -HOUR, "AB"), Floors(device=1), State.RESET),
    ],
)
def test_each_subject_has_a_state_of_its_own(held: Ledger | None, floors: Floors, state: State) -> None:
    assert [part.state for part in of(PROMO, {DEVICE: held, KEY: None}, floors=floors).parts] == [state, State.NEW]


# --- laws

LEDGERS = st.none() | st.builds(
    Ledger,
    started_at=st.integers(T0 - 40 * DAY, T0),
    expires_at=st.integers(T0 - 30 * DAY, T0 + 30 * DAY) | st.just(T0),
    generation=st.integers(0, 3),
    used=st.lists(st.sampled_from("ABCD"), unique=True, max_size=4).map(tuple),
    bonus=st.integers(0, 2),
)
FOUND = st.builds(
    Found,
    st.builds(Floors, device=st.integers(0, 2), user_key=st.integers(0, 2), fired_at=st.sampled_from([0, T0])),
    st.tuples(LEDGERS, LEDGERS),
)
OFFERS = st.sampled_from([BASIC, PROMO, DAILY, replace(PROMO, resources_max=1), replace(PROMO, resets="0 0 * * *")])
ASKS = st.builds(
    lambda offer, fault: trial.Ask(offer, (DEVICE, KEY), fault=fault),
    OFFERS,
    st.sampled_from([None, None, None, DenyCode.CONFIGURATION, DenyCode.IDENTITY]),
)
TITLE = st.none() | st.sampled_from("ABCDE")


def alone(found: Found, ask: trial.Ask, which: int | None) -> tuple[Found, trial.Ask]:
    """Leave one subject, or both."""
    if which is None and ask.offer.identity_key is not None:
        return found, ask
    chosen = slice(which or 0, (which or 0) + 1)
    return replace(found, ledgers=found.ledgers[chosen]), replace(ask, subjects=ask.subjects[chosen])


@given(FOUND, ASKS, st.sampled_from([None, 0, 1]), TITLE)
@settings(max_examples=300)
def test_an_explanation_says_what_the_engine_does(
    found: Found, ask: trial.Ask, which: int | None, title: str | None
) -> None:
    found, ask = alone(found, ask, which)
    (verdict,), _ = trial.authorize(found, ask, ["E" if title is None else title], T0)
    explained = explain(found, ask, T0, title=title)
    assert explained.code == (None if isinstance(verdict, Permit) else verdict.code)


@given(FOUND, ASKS, st.sampled_from([None, 0, 1]), TITLE)
@settings(max_examples=300)
def test_a_sentence_is_never_empty_and_names_no_viewer_and_no_title(
    found: Found, ask: trial.Ask, which: int | None, title: str | None
) -> None:
    found, ask = alone(found, ask, which)
    secret = {"A": "Moby Dick", "B": "Emma", "C": "Ulysses", "D": "Dune", "E": "Faust"}
    ledgers = tuple(each and replace(each, used=tuple(secret[one] for one in each.used)) for each in found.ledgers)
    said = explain(replace(found, ledgers=ledgers), ask, T0, title=title and secret[title]).because
    named = [*secret.values(), *(subject.digest.hex() for subject in ask.subjects)]
    assert (said[-1:], [name for name in named if name in said]) == (".", [])


@given(FOUND, ASKS, st.sampled_from([None, 0, 1]), TITLE)
@settings(max_examples=300)
def test_what_is_said_to_help_helps_and_something_does_wherever_a_trial_is_spent(
    found: Found, ask: trial.Ask, which: int | None, title: str | None
) -> None:
    found, ask = alone(found, ask, which)
    explained = explain(found, ask, T0, title=title)

    def helped(help_: Help) -> bool:
        ledgers = [
            each
            if each is None or subject not in help_.subjects
            else None
            if help_.act == "reset"
            else replace(
                each,
                expires_at=max(each.expires_at, T0) + help_.minutes * MINUTE,
                bonus=each.bonus + help_.titles,
            )
            for subject, each in zip(ask.subjects, found.ledgers, strict=True)
        ]
        return explain(replace(found, ledgers=tuple(ledgers)), ask, T0, title=title).authorized

    assert all(map(helped, explained.helps))
    assert {help_.act for help_ in explained.helps} == (
        {"reset", "grant"} if explained.code in {TIME, TITLES} else set()
    )
