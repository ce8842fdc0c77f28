"""
Grants: what is given on top of a trial, what may be, and what of it can be taken back; and the promise of the engine,
which counts what was given.
"""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from temppass.core import trial
from temppass.core.catalogue import Offer
from temppass.core.grant import MINUTES_MAX, Gift, Given, checked, grant, read_given, undo_grant
from temppass.core.model import NOTHING, Changes, Floors, Found, Kept, Ledger, PassKind, Permit, Subject, SubjectKind
from temppass.core.refusal import InvalidRequest
from temppass.core.reset import UNDO_KEPT_MS, UNDO_MS

#: 2026-01-01T10:00:00Z
T0, MINUTE = 1_767_261_600_000, 60_000
PROMO = Offer("ACME1", "TempPassPromo5", PassKind.PROMOTIONAL, 30 * MINUTE, 5, "email", 5, True, None, "UTC", 0)
BASIC = replace(PROMO, kind=PassKind.BASIC, resources_max=None, identity_key=None)
DEVICE, DEVICE_2 = Subject(SubjectKind.DEVICE, b"d" * 16), Subject(SubjectKind.DEVICE, b"e" * 16)
KEY, KEY_2 = Subject(SubjectKind.USER_KEY, b"k" * 16), Subject(SubjectKind.USER_KEY, b"l" * 16)
END = T0 + 30 * MINUTE
LEDGER = Ledger(T0, END, 1, ("A", "B"))


@pytest.mark.parametrize(
    ("gift", "now", "after"),
    [
        (Gift(minutes=10), T0, replace(LEDGER, expires_at=END + 10 * MINUTE)),
        (Gift(minutes=10), END - 1, replace(LEDGER, expires_at=END + 10 * MINUTE)),
        (Gift(minutes=10), END + MINUTE, replace(LEDGER, expires_at=END + 11 * MINUTE)),
        (Gift(titles=2), T0, replace(LEDGER, bonus=2)),
        (Gift(titles=2), END + MINUTE, replace(LEDGER, bonus=2)),
        (Gift(10, 2), T0, replace(LEDGER, expires_at=END + 10 * MINUTE, bonus=2)),
    ],
    ids=["running", "its last moment", "over", "titles", "titles of one that is over", "both"],
)
def test_minutes_count_from_the_end_or_from_now_and_titles_raise_the_limit(gift: Gift, now: int, after: Ledger) -> None:
    matched, changes = grant(Found(Floors(1, 1), (LEDGER,)), PROMO, (DEVICE,), gift, now, "g1")
    assert (matched, changes.ledgers) == (1, ((DEVICE, after),))


def test_every_named_ledger_that_counts_gains_and_no_other() -> None:
    """What an undo needs is kept aside for a day and an hour, and says which trials gained."""
    found = Found(Floors(1, 2), (LEDGER, LEDGER, None))
    matched, changes = grant(found, PROMO, (DEVICE, KEY, DEVICE_2), Gift(titles=1), T0, "g1")
    (aside,) = changes.kept
    assert (matched, changes.ledgers, read_given(aside), (aside.kind, aside.key, aside.expires_at)) == (
        1,
        ((DEVICE, replace(LEDGER, bonus=1)),),
        (Given(DEVICE, T0, 1, Gift(titles=1), END),),
        ("undo", "undo:g1", T0 + UNDO_KEPT_MS),
    )


@pytest.mark.parametrize("ledger", [None, replace(LEDGER, generation=0)])
def test_who_has_no_trial_is_given_nothing(ledger: Ledger | None) -> None:
    assert grant(Found(Floors(1), (ledger,)), PROMO, (DEVICE,), Gift(10), T0, "g1") == (0, NOTHING)


@pytest.mark.parametrize(
    ("gift", "offer"),
    [
        (Gift(), PROMO),
        (Gift(minutes=-1), PROMO),
        (Gift(minutes=MINUTES_MAX + 1), PROMO),
        (Gift(titles=1), BASIC),
        (Gift(10, 1), BASIC),
        (Gift(titles=-1), PROMO),
        (Gift(titles=1_001), PROMO),
    ],
)
def test_a_gift_within_its_bounds_is_something(gift: Gift, offer: Offer) -> None:
    with pytest.raises(InvalidRequest):
        checked(gift, offer)


def test_the_largest_gifts_are_allowed() -> None:
    assert [checked(gift, PROMO) for gift in (Gift(MINUTES_MAX), Gift(titles=1_000))] == [
        Gift(MINUTES_MAX),
        Gift(titles=1_000),
    ]


@pytest.mark.parametrize(
    ("gift", "ledger", "offer"),
    [
        (Gift(MINUTES_MAX), LEDGER, PROMO),
        (Gift(titles=28), LEDGER, PROMO),
        (Gift(titles=1), replace(LEDGER, bonus=27), PROMO),
        (Gift(titles=996), LEDGER, replace(PROMO, resource_bytes_max=1)),
    ],
    ids=["more than ten years ahead", "more bytes than a ledger holds", "the same in two gifts", "more titles"],
)
def test_no_trial_comes_to_hold_more_than_a_catalogue_could_declare(gift: Gift, ledger: Ledger, offer: Offer) -> None:
    with pytest.raises(InvalidRequest):
        grant(Found(Floors(1), (ledger,)), offer, (DEVICE,), gift, T0, "g1")


# --- undo

GIVEN = Given(DEVICE, T0, 1, Gift(10, 2), END)
GAINED = replace(LEDGER, expires_at=END + 10 * MINUTE, bonus=2)
ASIDE = grant(Found(Floors(1), (LEDGER,)), PROMO, (DEVICE,), Gift(10, 2), T0, "g1")[1].kept[0]


def taken_back(ledger: Ledger | None, now: int, *, floors: Floors = Floors(1)) -> Ledger | None:  # noqa: B008 - it is frozen
    """Answer the ledger after its grant was undone, None where nothing was written."""
    _, changes = undo_grant(Found(floors, (ledger,), kept=(ASIDE,)), PROMO, (GIVEN,), now)
    return dict(changes.ledgers).get(DEVICE)


@pytest.mark.parametrize(
    ("ledger", "now", "after"),
    [
        (GAINED, T0 + 1, LEDGER),
        (GAINED, END + MINUTE, replace(LEDGER, expires_at=END + MINUTE)),
        (GAINED, END + 20 * MINUTE, replace(LEDGER, expires_at=END + 10 * MINUTE)),
        (replace(GAINED, used=tuple("ABCDEF")), T0 + 1, replace(LEDGER, used=tuple("ABCDEF"), bonus=1)),
        (replace(GAINED, used=tuple("ABCDEFGH")), T0 + 1, replace(LEDGER, used=tuple("ABCDEFGH"), bonus=2)),
        (replace(GAINED, bonus=5), T0 + 1, replace(LEDGER, bonus=3)),
        (LEDGER, T0 + 1, LEDGER),
    ],
    ids=["all of it", "what is left of the time", "no time is left", "what is left of the titles", "a lowered maximum",
         "what others gave stays", "reset, and begun again by a join"],
)  # fmt: skip
def test_what_was_given_is_taken_back_but_for_what_was_used(ledger: Ledger, now: int, after: Ledger) -> None:
    assert taken_back(ledger, now) == after


@pytest.mark.parametrize(
    "ledger",
    [None, replace(GAINED, started_at=T0 + 1), replace(GAINED, generation=2), replace(GAINED, generation=0)],
    ids=["gone", "begun anew", "begun in a later generation", "ended by a reset"],
)
def test_nothing_is_taken_from_another_trial(ledger: Ledger | None) -> None:
    """Nor is what was kept aside used up: an undo of that reset may bring the trial back."""
    floors = Floors(1) if ledger is None or ledger.generation else Floors(2)
    assert undo_grant(Found(floors, (ledger,), kept=(ASIDE,)), PROMO, (GIVEN,), T0 + 1) == (0, NOTHING)


@pytest.mark.parametrize(
    ("kept", "waited_ms", "matched"),
    [(ASIDE, UNDO_MS - 1, 1), (ASIDE, UNDO_MS, 0), (replace(ASIDE, expires_at=0), 1, 0), (None, 1, 0)],
    ids=["the last moment", "a day later", "undone before", "undone and swept"],
)
def test_a_grant_is_undone_once_within_a_day(kept: Kept | None, waited_ms: int, matched: int) -> None:
    found = Found(Floors(1), (GAINED,), kept=(kept,))
    assert undo_grant(found, PROMO, (GIVEN,), T0 + waited_ms)[0] == matched


# --- the promise

LIMITED = replace(PROMO, ttl_ms=2 * MINUTE, resources_max=2)


class Shelf:
    """
    The ledgers of one pass, and a book of each subject that knows nothing of windows: for how long it could have been
    permitted, what it watched, and what it was given; one that a join made begins with the page of the other.
    """

    def __init__(self) -> None:
        self.now = T0
        self.ledgers: dict[Subject, Ledger] = {}
        self.asides: list[Kept] = []
        self.open_ms: dict[Subject, int] = {}
        self.watched: dict[Subject, set[str]] = {}
        self.given: dict[Subject, Gift] = {}

    def wait(self, ms: int) -> None:
        for subject, ledger in self.ledgers.items():
            self.open_ms[subject] += max(0, min(self.now + ms, ledger.expires_at) - self.now)
        self.now += ms

    def found(self, subjects: Sequence[Subject], *kept: Kept) -> Found:
        return Found(Floors(), tuple(self.ledgers.get(subject) for subject in subjects), kept=kept)

    def keep(self, changes: Changes) -> None:
        self.ledgers.update({subject: ledger for subject, ledger in changes.ledgers if ledger is not None})

    def authorize(self, subjects: Sequence[Subject], titles: str) -> None:
        answers, changes = trial.authorize(self.found(subjects), trial.Ask(LIMITED, tuple(subjects)), titles, self.now)
        known = [subject for subject in subjects if subject in self.ledgers]
        for subject in {subject for subject, _ in changes.ledgers}.difference(known):
            other = known[0] if known else None
            self.open_ms[subject] = self.open_ms[other] if other else 0
            self.watched[subject] = {*self.watched[other]} if other else set()
            self.given[subject] = self.given[other] if other else Gift()
        self.keep(changes)
        for answer in answers:
            if isinstance(answer, Permit):
                for subject in subjects:
                    self.watched[subject].add(answer.resource)

    def grant(self, subjects: Sequence[Subject], gift: Gift) -> None:
        _, changes = grant(self.found(subjects), LIMITED, subjects, gift, self.now, "g")
        self.keep(changes)
        self.asides += changes.kept
        for subject, _ in changes.ledgers:
            before = self.given[subject]
            self.given[subject] = Gift(before.minutes + gift.minutes, before.titles + gift.titles)

    def undo(self, number: int) -> None:
        """What was taken back stays in the book, as if it had been used."""
        if number < len(self.asides):
            gifts = read_given(self.asides[number])
            found = self.found([each.subject for each in gifts], self.asides[number])
            _, changes = undo_grant(found, LIMITED, gifts, self.now)
            self.keep(changes)
            self.asides[number : number + len(changes.kept)] = changes.kept


_whom = st.tuples(st.sampled_from([DEVICE, DEVICE_2]), st.sampled_from([KEY, KEY_2])) | st.sampled_from([
    (DEVICE,), (DEVICE_2,), (KEY,),
])  # fmt: skip
_gifts = st.builds(Gift, st.integers(0, 2), st.integers(0, 2))
_steps = st.lists(
    st.one_of(
        st.builds(lambda ms: lambda shelf: shelf.wait(ms), st.sampled_from([1, MINUTE, 2 * MINUTE])),
        st.builds(
            lambda whom, titles: lambda shelf: shelf.authorize(whom, titles), _whom, st.text("ABCDEF", max_size=3)
        ),
        st.builds(lambda whom, gift: lambda shelf: shelf.grant(whom, gift), _whom, _gifts),
        st.builds(lambda number: lambda shelf: shelf.undo(number), st.integers(0, 3)),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_steps)
def test_nobody_gets_more_than_the_pass_and_what_was_given(steps: list[Callable[[Shelf], None]]) -> None:
    """Counting what was inherited, whatever is taken back."""
    shelf = Shelf()
    for step in steps:
        step(shelf)
    shelf.wait(100 * MINUTE)
    over = [
        subject
        for subject, gift in shelf.given.items()
        if shelf.open_ms[subject] > LIMITED.ttl_ms + gift.minutes * MINUTE
        or len(shelf.watched[subject]) > (LIMITED.resources_max or 0) + gift.titles
    ]
    assert over == []
