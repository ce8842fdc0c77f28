"""
The engine, as contract §4.2-4.6 tells it: whose trial it is, the clock, the titles, what a reset forgets; and laws
that hold over any sequence of asks.
"""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from temppass.core import act, reset, trial
from temppass.core.catalogue import Offer
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Deny,
    DenyCode,
    Floors,
    Found,
    Ledger,
    Origin,
    PassKind,
    Permit,
    Profile,
    Raise,
    Spent,
    Standing,
    Subject,
    SubjectKind,
    TrialState,
)

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
#: 2026-01-01T10:00:00Z, the contract's t0
T0 = 1_767_261_600_000

BASIC = Offer("ACME1", "TempPassBasic30m", PassKind.BASIC, 30 * MINUTE, None, None, 5, True, None, "UTC", 0)
PROMO = Offer("ACME1", "TempPassPromo5", PassKind.PROMOTIONAL, 28 * DAY, 5, "email", 5, True, None, "UTC", 0)
DAILY = replace(BASIC, pass_id="TempPass2", ttl_ms=10 * MINUTE, resets="0 0 * * *", resets_since=T0)
MIDNIGHT = T0 + 14 * HOUR


def fired(floors: Floors, now: int, pass_id: str = "TempPass2") -> Changes:
    """Answer what is written where a recurring reset has fired once, at `now`, and made `floors`."""
    id_ = act.recurring_id("", "ACME1", pass_id, floors.fired_at)
    record = act.Record(id_, now, act.BySchedule(), act.RecurringReset("ACME1", pass_id, floors.fired_at))
    raises = tuple(Raise(kind, 1, 0, now, id_) for kind in SubjectKind)
    return Changes(floors=floors, raises=raises, records=(act.recorded(record),))


DEVICE, DEVICE_2, DEVICE_3 = (Subject(SubjectKind.DEVICE, bytes([number]) * 16) for number in (1, 2, 3))
KEY, KEY_2, KEY_3 = (Subject(SubjectKind.USER_KEY, bytes([number]) * 16) for number in (4, 5, 6))
TIME, TITLES = DenyCode.DURATION, DenyCode.RESOURCES


class Shelf:
    """The ledgers of one (channel, pass), and the steps of the engine on them."""

    def __init__(self, offer: Offer, ledgers: dict[Subject, Ledger] | None = None) -> None:
        self.offer = offer
        self.floors = Floors()
        self.ledgers = dict(ledgers or {})

    def found(self, *subjects: Subject) -> Found:
        return Found(self.floors, tuple(self.ledgers.get(subject) for subject in subjects))

    def keep(self, changes: Changes) -> Changes:
        self.floors = changes.floors or self.floors
        for subject, ledger in changes.ledgers:
            self.ledgers.pop(subject, None)
            if ledger is not None:
                self.ledgers[subject] = ledger
        return changes

    def authorize(self, now: int, titles: str, *subjects: Subject, origin: Origin = ANYWHERE) -> list[Permit | Deny]:
        """Ask for titles of one letter each."""
        asked = trial.Ask(self.offer, subjects, origin)
        answers, changes = trial.authorize(self.found(*subjects), asked, list(titles), now)
        self.keep(changes)
        return answers

    def permits(self, now: int, title: str, *subjects: Subject) -> bool:
        return isinstance(self.authorize(now, title, *subjects)[0], Permit)

    def began(self, now: int, title: str, *subjects: Subject) -> int:
        """Answer when the trial began in which the title is permitted."""
        (answer,) = self.authorize(now, title, *subjects)
        assert isinstance(answer, Permit)
        return answer.started_at

    def profile(self, now: int, *subjects: Subject) -> Profile | Spent:
        return trial.profile(self.found(*subjects), trial.Ask(self.offer, subjects), now)

    def reset(self, now: int, target: Subject | SubjectKind, origin: Origin = ANYWHERE) -> int | None:
        """Reset one subject, or everybody of a kind; answer how many ledgers matched, where that is known."""
        if isinstance(target, SubjectKind):
            self.keep(reset.reset_everybody(self.found(), self.offer, [target], now, "r1"))
            return None
        narrowing = reset.Narrowing(origin)
        matched, changes = reset.reset_subjects(self.found(target), self.offer, [target], narrowing, now, "r1")
        self.keep(changes)
        return matched


# --- whose trial it is (contract §4.2)

_OF_KEY = Ledger(T0 - 2 * DAY, T0 + 26 * DAY, 0, ("A",))
_OF_DEVICE = Ledger(T0 - DAY, T0 + 27 * DAY, 0, ("B", "C"))


@pytest.mark.parametrize(
    ("of_device", "of_key", "device_after", "key_after"),
    [
        pytest.param(
            None,
            None,
            Ledger(T0, T0 + 28 * DAY, 0, ("X",)),
            Ledger(T0, T0 + 28 * DAY, 0, ("X",)),
            id="both unseen: a new trial, both attached",
        ),
        pytest.param(
            None,
            _OF_KEY,
            replace(_OF_KEY, used=("A", "X")),
            replace(_OF_KEY, used=("A", "X")),
            id="key seen: its trial, the device is attached",
        ),
        pytest.param(
            _OF_DEVICE,
            None,
            replace(_OF_DEVICE, used=("B", "C", "X")),
            replace(_OF_DEVICE, used=("B", "C", "X")),
            id="device seen: its trial, the key is attached",
        ),
        pytest.param(
            _OF_KEY,
            _OF_KEY,
            replace(_OF_KEY, used=("A", "X")),
            replace(_OF_KEY, used=("A", "X")),
            id="both seen in one trial: that one",
        ),
        pytest.param(
            _OF_DEVICE,
            _OF_KEY,
            replace(_OF_DEVICE, used=("B", "C", "X")),
            replace(_OF_KEY, used=("A", "X")),
            id="both seen in different trials: each keeps its own window and gains the title",
        ),
    ],
)
def test_identity_table(
    of_device: Ledger | None, of_key: Ledger | None, device_after: Ledger, key_after: Ledger
) -> None:
    shelf = Shelf(PROMO)
    shelf.keep(Changes(((DEVICE, of_device), (KEY, of_key))))
    answers = shelf.authorize(T0, "X", DEVICE, KEY)
    window = min(device_after.started_at, key_after.started_at), min(device_after.expires_at, key_after.expires_at)
    assert (answers, shelf.ledgers) == ([Permit("X", *window)], {DEVICE: device_after, KEY: key_after})


def test_crossing_trials_show_the_strictest_of_both() -> None:
    shelf = Shelf(PROMO, {DEVICE: _OF_DEVICE, KEY: _OF_KEY})
    assert shelf.profile(T0, DEVICE, KEY) == Profile(T0 - 2 * DAY, T0 + 26 * DAY, 2, ("B", "C", "A"))


@pytest.mark.parametrize("spent", [DEVICE, KEY])
def test_either_subject_out_of_time_denies(spent: Subject) -> None:
    fresh = KEY if spent is DEVICE else DEVICE
    shelf = Shelf(PROMO, {spent: Ledger(T0 - DAY, T0, 0, ("A",)), fresh: Ledger(T0, T0 + DAY, 0, ("A",))})
    assert shelf.authorize(T0, "AB", DEVICE, KEY) == [Deny("A", TIME), Deny("B", TIME)]


def test_a_full_device_and_a_full_key_with_other_titles_give_nothing_more() -> None:
    """The union would permit both titles, and each subject would come to hold two of one."""
    ledgers = {DEVICE: Ledger(T0, T0 + DAY, 0, ("A",)), KEY: Ledger(T0, T0 + DAY, 0, ("B",))}
    shelf = Shelf(replace(PROMO, resources_max=1), ledgers)
    assert (shelf.authorize(T0, "ABC", DEVICE, KEY), shelf.ledgers) == (
        [Deny("A", TITLES), Deny("B", TITLES), Deny("C", TITLES)],
        ledgers,
    )


def test_a_title_that_one_subject_holds_needs_room_in_the_other() -> None:
    shelf = Shelf(
        replace(PROMO, resources_max=2),
        {DEVICE: Ledger(T0, T0 + DAY, 0, ("A",)), KEY: Ledger(T0, T0 + DAY, 0, ("B", "C"))},
    )
    answers = shelf.authorize(T0, "ABC", DEVICE, KEY)
    assert (answers, [ledger.used for ledger in shelf.ledgers.values()]) == (
        [Deny("A", TITLES), Permit("B", T0, T0 + DAY), Deny("C", TITLES)],
        [("A", "B"), ("B", "C")],
    )


def test_a_key_carries_its_titles_to_another_device() -> None:
    shelf = Shelf(replace(PROMO, resources_max=1))
    asked = [
        shelf.permits(T0 + at, title, device, KEY)
        for at, (title, device) in enumerate([("A", DEVICE), ("B", DEVICE_2), ("A", DEVICE_2), ("B", DEVICE)])
    ]
    assert asked == [True, False, True, False]


# --- the clock (contract §4.3)


def _at(clock: str) -> int:
    return int(datetime.strptime(f"2026-01-01T{clock}", "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC).timestamp() * 1000)


def test_worked_example() -> None:
    """The table of contract §4.3, line by line."""
    shelf = Shelf(BASIC)
    told = [
        shelf.authorize(_at("10:00:00.000"), "R", DEVICE),
        shelf.authorize(_at("10:12:00.000"), "S", DEVICE),
        shelf.authorize(_at("10:29:59.999"), "T", DEVICE),
        shelf.authorize(_at("10:30:00.000"), "R", DEVICE),
        shelf.profile(_at("10:31:00.000"), DEVICE),
        shelf.reset(_at("10:32:00.000"), DEVICE),
        shelf.authorize(_at("10:33:00.000"), "R", DEVICE),
    ]
    window = _at("10:00:00.000"), _at("10:30:00.000")
    assert told == [
        [Permit("R", *window)],
        [Permit("S", *window)],
        [Permit("T", *window)],
        [Deny("R", TIME)],
        Spent(TIME),
        1,
        [Permit("R", _at("10:33:00.000"), _at("11:03:00.000"))],
    ]


@pytest.mark.parametrize("offer", [BASIC, PROMO])
@pytest.mark.parametrize(("early_ms", "permitted"), [(1, True), (0, False), (-1, False)])
def test_now_equal_to_expires_at_denies(offer: Offer, early_ms: int, permitted: bool) -> None:  # noqa: FBT001
    shelf = Shelf(offer)
    shelf.authorize(T0, "A", DEVICE, KEY)
    assert shelf.permits(T0 + offer.ttl_ms - early_ms, "A", DEVICE, KEY) is permitted


@pytest.mark.parametrize("ttl_ms", [MINUTE, HOUR])
def test_a_later_ttl_moves_no_trial_that_has_begun(ttl_ms: int) -> None:
    shelf = Shelf(BASIC)
    shelf.authorize(T0, "A", DEVICE)
    shelf.offer = replace(BASIC, ttl_ms=ttl_ms)
    assert shelf.authorize(T0 + 20 * MINUTE, "A", DEVICE) == [Permit("A", T0, T0 + 30 * MINUTE)]


def test_looking_begins_nothing() -> None:
    """Each look projects a later window; only the authorize begins one."""
    shelf = Shelf(PROMO)
    looks = [shelf.profile(T0 + at, DEVICE, KEY) for at in (0, 5)]
    assert (looks, shelf.began(T0 + 9, "A", DEVICE, KEY)) == (
        [Profile(T0 + at, T0 + at + 28 * DAY, 5, ()) for at in (0, 5)],
        T0 + 9,
    )


# --- counting titles (contract §4.4)


def test_titles_are_decided_in_order_until_none_is_left() -> None:
    shelf = Shelf(replace(PROMO, resources_max=2))
    answers = shelf.authorize(T0, "AABCA", DEVICE, KEY)
    assert [isinstance(answer, Permit) for answer in answers] == [True, True, True, False, True]


def test_watching_again_consumes_nothing_and_writes_nothing() -> None:
    shelf = Shelf(replace(PROMO, resources_max=2))
    shelf.authorize(T0, "AB", DEVICE, KEY)
    ask = trial.Ask(shelf.offer, (DEVICE, KEY))
    answer = trial.authorize(shelf.found(DEVICE, KEY), ask, ["B", "A"], T0 + DAY)
    assert answer == ([Permit(title, T0, T0 + 28 * DAY) for title in "BA"], NOTHING)


def test_time_is_reported_before_titles() -> None:
    shelf = Shelf(replace(PROMO, resources_max=1))
    shelf.authorize(T0, "A", DEVICE, KEY)
    assert shelf.authorize(T0 + 28 * DAY, "B", DEVICE, KEY) == [Deny("B", TIME)]


def test_a_basic_pass_counts_no_titles() -> None:
    shelf = Shelf(BASIC)
    shelf.authorize(T0, "ABCDEFGH", DEVICE)
    assert shelf.ledgers == {DEVICE: Ledger(T0, T0 + 30 * MINUTE, 0)}


def test_a_profile_tells_what_is_left_until_nothing_is() -> None:
    shelf = Shelf(replace(PROMO, resources_max=2))
    told = []
    for title in "AB":
        shelf.authorize(T0, title, DEVICE, KEY)
        told.append(shelf.profile(T0, DEVICE, KEY))
    assert told == [Profile(T0, T0 + 28 * DAY, 1, ("A",)), Spent(TITLES)]


@pytest.mark.parametrize(
    ("watched", "after", "state"),
    [
        ("", 0, TrialState.NEW),
        ("A", 0, TrialState.RUNNING),
        ("A", 28 * DAY - 1, TrialState.RUNNING),
        ("AB", 0, TrialState.USED_UP),
        ("A", 28 * DAY, TrialState.OVER),
        ("AB", 28 * DAY, TrialState.OVER),  # time goes before titles
    ],
)
def test_a_standing_has_window_and_titles_whatever_the_state(watched: str, after: int, state: TrialState) -> None:
    offer = replace(PROMO, resources_max=2)
    shelf = Shelf(offer)
    for title in watched:
        shelf.authorize(T0, title, DEVICE, KEY)
    found, ask = shelf.found(DEVICE, KEY), trial.Ask(offer, (DEVICE, KEY))
    assert trial.standing(found, ask, T0 + after) == Standing(state, T0, T0 + 28 * DAY, tuple(watched), 2)


def test_a_bonus_counts_in_a_standing() -> None:
    ledger = Ledger(T0, T0 + DAY, 0, ("A", "B"), bonus=1)
    found, ask = Found(Floors(), (ledger,)), trial.Ask(replace(PROMO, resources_max=2), (DEVICE,))
    assert trial.standing(found, ask, T0) == Standing(TrialState.RUNNING, T0, T0 + DAY, ("A", "B"), 3)


def test_an_ask_that_can_only_be_denied_has_no_standing() -> None:
    assert (
        trial.standing(Found(Floors(), (None,)), trial.Ask(BASIC, (DEVICE,), fault=DenyCode.CONFIGURATION), T0) is None
    )


def test_a_lowered_maximum_leaves_the_titles_already_used() -> None:
    shelf = Shelf(PROMO)
    shelf.authorize(T0, "ABC", DEVICE, KEY)
    shelf.offer = replace(PROMO, resources_max=2)
    assert [shelf.permits(T0, title, DEVICE, KEY) for title in "ABCD"] == [True, True, True, False]


# --- preauthorize (contract §6.3, design decision 8.3)


def test_preauthorize_judges_each_title_alone() -> None:
    """One title is left, and each of two new ones could have it."""
    shelf = Shelf(replace(PROMO, resources_max=2))
    shelf.authorize(T0, "A", DEVICE, KEY)
    ask = trial.Ask(shelf.offer, (DEVICE, KEY))
    answer = trial.preauthorize(shelf.found(DEVICE, KEY), ask, ["A", "B", "C"], T0 + 1)
    assert answer == ([Permit(title, T0, T0 + 28 * DAY) for title in "ABC"], NOTHING)


@pytest.mark.parametrize(
    ("titles", "now", "codes"),
    [("A", T0, [None, TITLES]), ("A", T0 + 28 * DAY, [TIME, TIME]), ("", T0, [None, None])],
)
def test_preauthorize_denies_as_authorize_would(titles: str, now: int, codes: list[DenyCode | None]) -> None:
    shelf = Shelf(replace(PROMO, resources_max=1))
    shelf.authorize(T0, titles, DEVICE, KEY)
    answers, changes = trial.preauthorize(shelf.found(DEVICE), trial.Ask(shelf.offer, (DEVICE,)), ["A", "B"], now)
    assert ([getattr(answer, "code", None) for answer in answers], changes) == (codes, NOTHING)


@pytest.mark.parametrize("fault", [DenyCode.CONFIGURATION, DenyCode.IDENTITY])
def test_an_ask_with_a_fault_is_denied_and_changes_nothing(fault: DenyCode) -> None:
    ask = trial.Ask(replace(DAILY, resets_since=0), (DEVICE,), fault=fault)
    answers = [judge(Found(Floors(), (None,)), ask, ["A", "B"], T0) for judge in (trial.authorize, trial.preauthorize)]
    shown = trial.profile(Found(Floors(), (None,)), ask, T0)
    assert (answers, shown) == ([([Deny("A", fault), Deny("B", fault)], NOTHING)] * 2, Spent(fault))


# --- resets (contract §4.6)

_DEVICES, _KEYS = SubjectKind.DEVICE, SubjectKind.USER_KEY


@pytest.mark.parametrize(
    ("offer", "resets", "new"),
    [
        # which of (device, key), (device, another key), (another device, key) begin anew
        (BASIC, [DEVICE], [True, True, True]),
        (BASIC, [_DEVICES], [True, True, True]),
        (BASIC, [_KEYS], [False, False, True]),
        (BASIC, [KEY], [False, False, True]),
        (PROMO, [], [False, False, False]),
        (PROMO, [DEVICE], [False, True, False]),
        (PROMO, [_DEVICES], [False, True, False]),
        (PROMO, [KEY], [False, False, True]),
        (PROMO, [_KEYS], [False, False, True]),
        (PROMO, [DEVICE, KEY], [True, True, True]),
        (PROMO, [_DEVICES, _KEYS], [True, True, True]),
        (PROMO, [DEVICE_2, KEY_2], [False, False, False]),
    ],
)
def test_reset_effects(offer: Offer, resets: list[Subject | SubjectKind], new: list[bool]) -> None:
    began = []
    for device, key in [(DEVICE, KEY), (DEVICE, KEY_3), (DEVICE_3, KEY)]:
        shelf = Shelf(offer)
        named = (device, key) if offer is PROMO else (device,)
        shelf.authorize(T0, "A", *(DEVICE, KEY)[: len(named)])
        for target in resets:
            shelf.reset(T0 + 1, target)
        began.append(shelf.began(T0 + 2, "A", *named) == T0 + 2)
    assert began == new


@pytest.mark.parametrize("target", [DEVICE, KEY])
def test_a_reset_of_one_counts_what_it_matched_and_may_be_repeated(target: Subject) -> None:
    shelf = Shelf(PROMO)
    shelf.authorize(T0, "A", DEVICE, KEY)
    assert [shelf.reset(T0, target), shelf.reset(T0, target)] == [1, 0]


@pytest.mark.parametrize("kind", list(SubjectKind))
def test_a_ledger_below_the_floor_no_longer_matches(kind: SubjectKind) -> None:
    shelf = Shelf(PROMO)
    shelf.authorize(T0, "A", DEVICE, KEY)
    shelf.reset(T0, kind)
    matched = {subject.kind: shelf.reset(T0, subject) for subject in (DEVICE, KEY)}
    assert matched == {other: 0 if other is kind else 1 for other in SubjectKind}


def test_a_reset_of_everybody_is_one_small_write() -> None:
    """However many ledgers there are, only the floor of their kind rises."""
    changes = reset.reset_everybody(Found(Floors(3, 7, 5)), PROMO, [_KEYS], T0, "r1")
    assert changes == Changes(floors=Floors(3, 8, 5), raises=(Raise(_KEYS, 8, 7, T0, "r1"),))


_TV, _PHONE = Origin(app_id=b"tv"), Origin(app_id=b"phone")


@pytest.mark.parametrize(
    ("recorded", "wanted", "matched"),
    [
        (_TV, ANYWHERE, 1),
        (ANYWHERE, ANYWHERE, 1),
        (_TV, _TV, 1),
        (_TV, _PHONE, 0),
        (ANYWHERE, _TV, 0),
        (Origin(b"tv", b"anna"), Origin(device_user=b"anna"), 1),
        (Origin(b"tv", b"anna"), Origin(b"tv", b"anna"), 1),
        (Origin(b"tv", b"anna"), Origin(b"phone", b"anna"), 0),
        (Origin(b"tv", None), Origin(b"tv", b"anna"), 0),
    ],
)
def test_a_narrowed_reset_takes_ledgers_of_that_origin(recorded: Origin, wanted: Origin, matched: int) -> None:
    shelf = Shelf(BASIC)
    shelf.authorize(T0, "A", DEVICE, origin=recorded)
    assert (shelf.reset(T0, DEVICE, wanted), DEVICE in shelf.ledgers) == (matched, not matched)


def test_a_ledger_keeps_the_origin_it_was_created_with() -> None:
    shelf = Shelf(PROMO)
    shelf.authorize(T0, "A", DEVICE, KEY, origin=_TV)
    shelf.authorize(T0, "B", DEVICE_2, KEY, origin=_PHONE)
    assert {subject: ledger.origin for subject, ledger in shelf.ledgers.items()} == {
        DEVICE: _TV,
        KEY: _TV,
        DEVICE_2: _PHONE,
    }


# --- recurring resets (design §3, decision 8.4)


def test_a_viewer_who_straddles_midnight_gets_two_windows() -> None:
    shelf = Shelf(DAILY)
    began = [shelf.began(at, "A", DEVICE) for at in (MIDNIGHT - MINUTE, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + MINUTE)]
    assert began == [MIDNIGHT - MINUTE, MIDNIGHT - MINUTE, MIDNIGHT, MIDNIGHT]


def test_a_due_reset_fires_once_and_makes_up_for_downtime_in_one() -> None:
    shelf = Shelf(DAILY)
    floors = []
    for now in (T0, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 3 * DAY + HOUR):
        shelf.authorize(now, "A", DEVICE)
        floors.append(shelf.floors)
    assert floors == [Floors(), Floors(), *[Floors(1, 1, MIDNIGHT)] * 2, Floors(2, 2, MIDNIGHT + 3 * DAY)]


def test_a_due_reset_fires_even_where_the_ask_is_denied() -> None:
    """Title B finds no room, and yet the floors rise for everybody."""
    offer = replace(PROMO, resources_max=0, resets="0 0 * * *")
    found = Found(Floors(), (None,))
    answer = trial.authorize(found, trial.Ask(offer, (DEVICE,)), ["B"], MIDNIGHT)
    assert answer == ([Deny("B", TITLES)], fired(Floors(1, 1, MIDNIGHT), MIDNIGHT, PROMO.pass_id))


def test_looking_sees_a_due_reset_and_leaves_it_to_others() -> None:
    shelf = Shelf(DAILY)
    shelf.authorize(T0, "A", DEVICE)
    seen = shelf.profile(MIDNIGHT, DEVICE)
    judged = trial.preauthorize(shelf.found(DEVICE), trial.Ask(DAILY, (DEVICE,)), ["A"], MIDNIGHT)
    assert (seen, judged) == (
        Profile(MIDNIGHT, MIDNIGHT + 10 * MINUTE, None, ()),
        ([Permit("A", MIDNIGHT, MIDNIGHT + 10 * MINUTE)], NOTHING),
    )


@pytest.mark.parametrize(
    ("fired_at", "now", "floors"),
    [
        (0, MIDNIGHT - 1, None),
        (0, MIDNIGHT, Floors(1, 1, MIDNIGHT)),
        (MIDNIGHT, MIDNIGHT + DAY - 1, None),
        (MIDNIGHT, MIDNIGHT + DAY, Floors(1, 1, MIDNIGHT + DAY)),
    ],
)
def test_the_tick_fires_what_is_due(fired_at: int, now: int, floors: Floors | None) -> None:
    changes = reset.fire(Found(Floors(0, 0, fired_at)), DAILY, now)
    assert changes == (NOTHING if floors is None else fired(floors, now))


@pytest.mark.parametrize("target", [DEVICE, _DEVICES])
def test_a_reset_by_hand_fires_what_is_due_before_it(target: Subject | SubjectKind) -> None:
    shelf = Shelf(DAILY)
    shelf.authorize(T0, "A", DEVICE)
    shelf.reset(MIDNIGHT, target)
    by_hand = 1 if target is _DEVICES else 0
    assert shelf.floors == Floors(1 + by_hand, 1, MIDNIGHT)


# --- laws

LAW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_LIMITED = replace(PROMO, ttl_ms=100, resources_max=2)

_pairs = st.tuples(st.sampled_from([DEVICE, DEVICE_2]), st.sampled_from([KEY, KEY_2, None]))
_titles = st.text("ABCD", min_size=1, max_size=3)
_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([0, 1, 40, 99, 100]), _pairs, _titles),
        st.tuples(st.just(0), st.sampled_from([DEVICE, KEY, _DEVICES, _KEYS]), st.just("")),
    ),
    max_size=20,
)


@LAW
@given(_steps)
def test_no_device_and_no_key_ever_gets_more_than_its_pass(steps: list[tuple[int, object, str]]) -> None:
    """Each subject's first permit opens its time, each title counts once; only a reset of it begins another trial."""
    shelf, now = Shelf(_LIMITED), T0
    trials: dict[Subject, tuple[int, set[str]]] = {}
    for wait_ms, whom, titles in steps:
        now += wait_ms
        if isinstance(whom, tuple):
            subjects = [subject for subject in whom if subject is not None]
            for answer in shelf.authorize(now, titles, *subjects):
                if isinstance(answer, Permit):
                    for subject in subjects:
                        trials.setdefault(subject, (now, set()))[1].add(answer.resource)
                        assert now < trials[subject][0] + _LIMITED.ttl_ms
                        assert now < answer.expires_at
        else:
            assert isinstance(whom, Subject | SubjectKind)
            shelf.reset(now, whom)
            trials = {subject: kept for subject, kept in trials.items() if whom not in {subject, subject.kind}}
        assert all(len(used) <= 2 for _, used in trials.values())


_ledgers = st.none() | st.builds(
    lambda age, titles, generation: Ledger(T0 - age, T0 - age + 100, generation, tuple(dict.fromkeys(titles))),
    st.integers(0, 200),
    st.text("ABC", max_size=2),
    st.integers(0, 1),
)
_founds = st.builds(
    lambda device, key: Found(Floors(1, 0), (device, key)),
    _ledgers,
    _ledgers,
)
_ASK = trial.Ask(_LIMITED, (DEVICE, KEY))


@LAW
@given(_founds, _titles)
def test_the_same_input_gives_the_same_output(found: Found, titles: str) -> None:
    assert trial.authorize(found, _ASK, list(titles), T0) == trial.authorize(found, _ASK, list(titles), T0)


@LAW
@given(_founds, _titles)
def test_a_denied_title_changes_nothing(found: Found, titles: str) -> None:
    """Asking for the permitted titles alone comes to the same changes."""
    answers, changes = trial.authorize(found, _ASK, list(titles), T0)
    permitted = [answer.resource for answer in answers if isinstance(answer, Permit)]
    assert trial.authorize(found, _ASK, permitted, T0)[1] == changes


@LAW
@given(_founds, _titles)
def test_a_permit_never_outlives_the_trial_of_a_subject(found: Found, titles: str) -> None:
    answers, _ = trial.authorize(found, _ASK, list(titles), T0)
    counting = [
        ledger for ledger, floor in zip(found.ledgers, (1, 0), strict=True) if ledger and ledger.generation >= floor
    ]
    ends = min([ledger.expires_at for ledger in counting], default=T0 + 100)
    assert {answer.expires_at for answer in answers if isinstance(answer, Permit)} <= {ends}


@LAW
@given(_founds, _titles, st.permutations([DEVICE, KEY]))
def test_a_reset_of_both_subjects_begins_anew(found: Found, titles: str, order: list[Subject]) -> None:
    shelf = Shelf(_LIMITED)
    shelf.floors = found.floors
    shelf.keep(Changes(tuple(zip((DEVICE, KEY), found.ledgers, strict=True))))
    for subject in order:
        shelf.reset(T0, subject)
    assert shelf.began(T0 + 1, titles[0], DEVICE, KEY) == T0 + 1
