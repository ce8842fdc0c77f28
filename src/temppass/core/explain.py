"""
Why a viewer may watch or may not, in words that somebody reads out on the phone.

What the next authorize would answer is asked of the engine itself, and so is whether a reset or a grant would help:
each is tried on what was found, and the changes are thrown away. So an explanation cannot disagree with a decision.
The sentences name no viewer, no title and no digest.

Source: docs/design.md (explain); contract §4.2-4.7.
"""

from datetime import datetime
from enum import StrEnum
from itertools import compress
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import trial
from temppass.core.catalogue import Offer
from temppass.core.model import (
    DenyCode,
    Floors,
    Found,
    Ledger,
    Permit,
    Standing,
    Subject,
    SubjectKind,
    TrialState,
)
from temppass.core.reset import settle

#: on no wire, so that nobody can have watched it
NEW_TITLE = ""
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_NOUNS = {SubjectKind.DEVICE: "device", SubjectKind.USER_KEY: "user"}


class Hurdle(StrEnum):
    """Why no trial is looked at: the wire's words (contract §7.1)."""

    CHANNEL = "invalid_parameter_service_provider"
    PASS = "invalid_parameter_mvpd"  # noqa: S105 - a word of the wire
    INTEGRATION = "invalid_integration"


class State(StrEnum):
    """Where one subject stands, by its own ledger."""

    NEW = "new"
    RUNNING = "running"
    OVER = "over"
    USED_UP = "used_up"
    #: there is a ledger, and it does not count any more
    RESET = "reset"


class Part(Struct, frozen=True):
    """One subject and its own ledger, if it has one, whether it counts or not."""

    subject: Subject
    state: State
    ledger: Ledger | None
    #: with the bonus; None for a basic pass
    titles_max: int | None


class Help(Struct, frozen=True):
    """
    What would permit the next title: a reset of `subjects`, or a grant to them of at least so many minutes and titles.
    """

    act: Literal["reset", "grant"]
    subjects: tuple[Subject, ...]
    minutes: int = 0
    titles: int = 0


class Explained(Struct, frozen=True):
    """`code` is the wire's word for why not, None where the next authorize permits."""

    because: str
    code: DenyCode | Hurdle | None
    parts: tuple[Part, ...] = ()
    #: of all subjects together; None where the ask has a fault
    joined: Standing | None = None
    helps: tuple[Help, ...] = ()

    @property
    def authorized(self) -> bool:
        return self.code is None


_HURDLES = {
    Hurdle.CHANNEL: "There is no such channel in this environment, so nothing can be watched; check the spelling.",
    Hurdle.PASS: "There is no such pass in this environment, so nothing can be watched with it; check the spelling.",
    Hurdle.INTEGRATION: "The channel does not offer this pass at the moment, so every viewer is denied; a reset does "
    "not help, the catalogue has to enable it.",
}
_FAULTS = {
    DenyCode.CONFIGURATION: "The pass is not fully configured, so every viewer is denied; a reset does not help, the "
    "catalogue has to be mended.",
    DenyCode.IDENTITY: "The pass goes by the user, and what the application sent as the user's identity cannot be read "
    "under the name that the pass asks for, so the viewer is denied; a reset does not help, the application has to "
    "send it.",
}


def hindered(hurdle: Hurdle) -> Explained:
    """Explain where there is nothing to look at."""
    return Explained(_HURDLES[hurdle], hurdle)


def explain(
    found: Found,
    ask: trial.Ask,
    now: int,
    *,
    title: str | None = None,
    enabled: bool = True,
    reset_at: int | None = None,
) -> Explained:
    """
    Explain what the next authorize of `title` (None: of one that nobody has watched) would answer to `ask`.

    `found.ledgers` are those of the ask's subjects, `found.raises` tell when everybody was reset. `enabled` is whether
    the channel offers the pass now, `reset_at` when somebody last reset this viewer alone, if that is known.
    """
    floors = settle(found.floors, ask.offer, now)
    parts = tuple(
        _part(subject, ledger, ask.offer, floors, now)
        for subject, ledger in zip(ask.subjects, found.ledgers, strict=True)
    )
    if not enabled:
        return replace(hindered(Hurdle.INTEGRATION), parts=parts, joined=trial.standing(found, ask, now))
    wanted = NEW_TITLE if title is None else title
    code = _next(found, ask, wanted, now)
    joined = trial.standing(found, ask, now)
    if joined is None:
        assert ask.fault is not None
        return Explained(_FAULTS[ask.fault], code, parts)
    helps = _helps(found, ask, parts, wanted, now) if code is not None else ()
    case = _Case(found, ask, now, wanted, floors, parts, joined, reset_at)
    said = (_because(case, code), _advice(helps), _caveat(ask))
    return Explained(" ".join(filter(None, said)), code, parts, joined, helps)


def _next(found: Found, ask: trial.Ask, title: str, now: int) -> DenyCode | None:
    (verdict,), _thrown_away = trial.authorize(found, ask, [title], now)
    return None if isinstance(verdict, Permit) else verdict.code


def _part(subject: Subject, ledger: Ledger | None, offer: Offer, floors: Floors, now: int) -> Part:
    if ledger is None:
        return Part(subject, State.NEW, None, offer.resources_max)
    if ledger.generation < floors.of(subject.kind):
        return Part(subject, State.RESET, ledger, offer.resources_max)
    own = trial.standing(Found(floors, (ledger,)), trial.Ask(offer, (subject,)), now)
    assert own is not None
    return Part(subject, State(own.state.value), ledger, own.resources_max)


# --- what would help


def _helps(found: Found, ask: trial.Ask, parts: tuple[Part, ...], title: str, now: int) -> tuple[Help, ...]:
    """Try resets, of one subject where that is enough, and grants; answer those after which the title is permitted."""
    counting = [part.state not in {State.NEW, State.RESET} for part in parts]

    def permits(ledgers: tuple[Ledger | None, ...]) -> bool:
        return _next(replace(found, ledgers=ledgers), ask, title, now) is None

    def resetting(gone: tuple[bool, ...]) -> Help | None:
        left = tuple(None if out else ledger for out, ledger in zip(gone, found.ledgers, strict=True))
        return Help("reset", tuple(compress(ask.subjects, gone))) if permits(left) else None

    def granting(minutes: int, titles: int) -> Help | None:
        given = tuple(
            replace(ledger, expires_at=max(ledger.expires_at, now) + minutes * _MINUTE, bonus=ledger.bonus + titles)
            if counts and ledger is not None
            else ledger
            for counts, ledger in zip(counting, found.ledgers, strict=True)
        )
        return Help("grant", tuple(compress(ask.subjects, counting)), minutes, titles) if permits(given) else None

    alone: list[Help | None] = [resetting(tuple(each is part for each in parts)) for part in compress(parts, counting)]
    resets: list[Help | None] = [each for each in alone if each is not None] or [resetting(tuple(counting))]
    titles = _missing(parts, title, counting)
    grants = (granting(minutes, more) for minutes, more in ((1, 0), (0, titles), (1, titles)) if minutes or more)
    grant = next((help_ for help_ in grants if help_ is not None), None)
    return tuple(help_ for help_ in (*resets, grant) if help_ is not None)


def _missing(parts: tuple[Part, ...], title: str, counting: list[bool]) -> int:
    """Answer how many more titles every ledger that counts has to have room for, so that the title fits."""
    held = [(set(part.ledger.used), part.titles_max) for part in compress(parts, counting) if part.ledger is not None]
    union = set[str]().union(*(titles for titles, _ in held))
    if title in union:
        rooms = [
            titles_max - len(titles) for titles, titles_max in held if titles_max is not None and title not in titles
        ]
    else:
        rooms = [titles_max - len(union) for _, titles_max in held if titles_max is not None]
    return max(0, 1 - min(rooms, default=1))


def _advice(helps: tuple[Help, ...]) -> str:
    if not helps:
        return ""
    resets = [_nouns(each.subjects) for each in helps if each.act == "reset"]
    said = [f"reset {' or '.join(resets)}"] if resets else []
    for each in helps:
        if each.act == "grant":
            gifts = ["minutes"] if each.minutes else []
            gifts += [f"at least {_count(each.titles, 'title')}"] if each.titles else []
            said.append(f"grant {' and '.join(gifts)}")
    return f"To let them watch, {', or '.join(said)}."


# --- the sentence


class _Case(Struct, frozen=True):
    """All that the sentence goes by."""

    found: Found
    ask: trial.Ask
    now: int
    title: str
    floors: Floors
    parts: tuple[Part, ...]
    joined: Standing
    reset_at: int | None

    @property
    def left(self) -> str:
        return _span(self.joined.expires_at - self.now)

    def ago(self, at: int) -> str:
        return f"{_span(self.now - at)} ago, {self.clock(at)}"

    def clock(self, at: int) -> str:
        """Tell a moment in the channel's time zone, with its day where that is not today."""
        zone = self.ask.offer.timezone
        then, today = (datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)) for ms in (at, self.now))
        day = (
            ""
            if then.date() == today.date()
            else f"on {then.day} {then:%B} " + f"{then.year} " * (then.year != today.year)
        )
        return f"{day}at {then:%H:%M} ({zone})"


def _because(case: _Case, code: DenyCode | None) -> str:
    joined = case.joined
    if code is DenyCode.DURATION:
        return _over(case)
    if code is DenyCode.RESOURCES:
        return _no_room(case)
    if joined.state is TrialState.NEW:
        return f"{_why_new(case)}, so the next title begins a new trial of {_offered(case.ask.offer)}."
    if case.title in joined.used:
        return f"This title was watched before, so it plays again for the time that is left, {case.left}."
    titles = ""
    if joined.resources_max is not None:
        titles = f" and {joined.resources_max - len(joined.used)} of {_count(joined.resources_max, 'title')}"
    are = "are" if titles or case.left.endswith("s") else "is"
    who = _who(case.ask.subjects)
    return (
        f"The trial of {who} is running: {case.left} of its time{titles} {are} left"
        f"{_granted(case)}, so the next title plays.{_joining(case)}"
    )


def _why_new(case: _Case) -> str:
    """Say why no ledger counts."""
    for part in case.parts:
        if part.ledger is None or part.state is not State.RESET:
            continue
        kind, generation = part.subject.kind, part.ledger.generation
        began = f"The trial that began {case.clock(part.ledger.started_at)} does not count any more"
        if generation >= case.found.floors.of(kind):
            return f"{began}, because the recurring reset that was due {case.clock(case.floors.fired_at)} ended it"
        ends = [
            each.at
            for each in case.found.raises
            if each.kind is kind and each.floor_before <= generation < each.generation
        ]
        return f"{began}, because everybody was reset" + (f" {case.ago(min(ends))}" if ends else " since")
    who = _who(case.ask.subjects)
    if case.reset_at is not None:
        return f"The trial of {who} was reset {case.ago(case.reset_at)}"
    return f"{who[0].upper()}{who[1:]} has no trial of this pass yet"


def _over(case: _Case) -> str:
    ended = [part for part in case.parts if part.state is State.OVER]
    others = [part for part in case.parts if part.state is not State.OVER]
    whose = _who(case.ask.subjects) if not others else f"the {_NOUNS[ended[0].subject.kind]}"
    said = f"The free time of {whose} is over: it ended {case.ago(case.joined.expires_at)}{_granted(case)}"
    for part in others:
        noun = _NOUNS[part.subject.kind]
        if part.ledger is None or part.state is State.RESET:
            said += f"; the {noun} is new, but joins the trial that is over"
        else:
            said += f"; the {noun} alone has time left, but the stricter of both holds"
    return f"{said}."


def _no_room(case: _Case) -> str:
    joined = case.joined
    counting = [(part, part.ledger) for part in case.parts if part.ledger is not None and part.state is not State.RESET]
    if case.title in joined.used:
        full = next(part for part, ledger in counting if case.title not in ledger.used and part.state is State.USED_UP)
        return (
            "The device and the user come from different trials: one of them has watched this title, and the trial of "
            f"the {_NOUNS[full.subject.kind]} has no room for it, because its titles are used up, with "
            f"{case.left} left."
        )
    titles_max = _count(joined.resources_max or 0, "title")
    if len({ledger.used for _, ledger in counting}) > 1:
        said = (
            f"The device and the user come from different trials and have watched {_count(len(joined.used), 'title')} "
            f"between them, and {titles_max} are allowed"
        )
    else:
        said = f"The {titles_max} of the trial {'is' if joined.resources_max == 1 else 'are'} used up"
    verdicts, _ = trial.preauthorize(case.found, case.ask, joined.used, case.now)  # each alone, in one go
    again = sum(isinstance(verdict, Permit) for verdict in verdicts)
    rest = ""
    if again == len(joined.used):
        rest = ", in which the titles that were watched can be watched again, and no other"
    elif again:
        rest = f", in which {again} of the titles that were watched can be watched again, and no other"
    return f"{said}{_granted(case)}, with {case.left} left{rest}."


def _joining(case: _Case) -> str:
    """Say of a subject without a trial whose it joins."""
    new = [part for part in case.parts if part.state in {State.NEW, State.RESET}]
    if not new or len(new) == len(case.parts):
        return ""
    (held,) = (part for part in case.parts if part not in new)
    return f" The {_NOUNS[new[0].subject.kind]} is new, and joins the trial of the {_NOUNS[held.subject.kind]}."


def _granted(case: _Case) -> str:
    """Say what of the titles was a gift."""
    if case.joined.resources_max is None or case.ask.offer.resources_max is None:
        return ""
    bonus = case.joined.resources_max - case.ask.offer.resources_max
    return f" ({bonus} of them granted on top)" if bonus else ""


def _caveat(ask: trial.Ask) -> str:
    """Say what was not looked at: one subject of a promotional pass is judged by its own ledger."""
    if ask.offer.identity_key is None or len(ask.subjects) != 1:
        return ""
    (subject,) = ask.subjects
    other = "user" if subject.kind is SubjectKind.DEVICE else "device"
    return (
        f"Only the {_NOUNS[subject.kind]} was looked at: this pass goes by the {other} as well, whose own trial counts "
        "too."
    )


def _who(subjects: tuple[Subject, ...]) -> str:
    return "this viewer" if len(subjects) != 1 else f"this {_NOUNS[subjects[0].kind]}"


def _nouns(subjects: tuple[Subject, ...]) -> str:
    return " and ".join(f"the {_NOUNS[subject.kind]}" for subject in subjects)


def _offered(offer: Offer) -> str:
    titles = f" and {_count(offer.resources_max, 'title')}" if offer.resources_max is not None else ""
    return f"{_span(offer.ttl_ms)}{titles}"


def _span(ms: int) -> str:
    """Tell a length of time in its largest unit of which there are two, rounded down."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if ms >= (2 * unit if unit != _MINUTE else unit):
            return _count(ms // unit, name)
    return "less than a minute"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
