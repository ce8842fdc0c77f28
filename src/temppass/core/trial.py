"""
The engine. Each subject (a device, a user key) has its own ledger; a trial is the join of the ledgers an ask names:

    started_at = the earliest    expires_at = the earliest    used = the union    nothing found = a new trial

A title is permitted while `now < expires_at`, and, where the pass counts titles, while no ledger would come to hold
more than its limit: `resources_max` and the ledger's bonus, the smallest bonus for the join. A title new to the union
needs room in the union, a title that only some of the ledgers hold needs room in each of the others. Time is reported
before titles. On a permit every named subject is written: a ledger that exists keeps its window and gains the title, a
missing one is created with the joined window, titles and bonus. A denied title changes nothing. Hence the promise: no
device and no user key gets more than the TTL or more than `resources_max` distinct titles (and what it was given on
top) per trial, under any concurrency.

Every function here is a step: it is given what the store found and answers what is to be said and to be written.

Source: contract §4.2-4.4, design §3, and docs/design.md (2026-11-21) for the room that a crossing title needs.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

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
    Permit,
    Profile,
    Spent,
    Standing,
    Subject,
    TrialState,
)
from temppass.core.reset import fired, settle


class Ask(Struct, frozen=True):
    """Who asks for what pass. `fault` is set where the ask can only be denied, whatever the ledgers say."""

    offer: Offer
    subjects: tuple[Subject, ...] = ()
    origin: Origin = ANYWHERE
    fault: DenyCode | None = None


def authorize(found: Found, ask: Ask, resources: Sequence[str], now: int) -> tuple[list[Permit | Deny], Changes]:
    """
    Decide each of `resources` in order; the first permit of an unseen subject opens its ledger.

    Answers one Permit or Deny a resource, same order.
    """
    if ask.fault is not None:
        return [Deny(resource, ask.fault) for resource in resources], NOTHING
    floors = settle(found.floors, ask.offer, now)
    trial = _Trial(found, floors, ask, now)
    answers: list[Permit | Deny] = []
    for resource in resources:
        code = trial.judge(resource, now)
        if code is None:
            trial.gain(resource)
            answers.append(Permit(resource, trial.started_at, trial.expires_at))
        else:
            answers.append(Deny(resource, code))
    changes = fired(found.floors, floors, ask.offer, now)
    if not trial.changed:
        return answers, changes
    written = trial.written()
    return answers, Changes(written) if changes is NOTHING else replace(changes, ledgers=written)


def preauthorize(found: Found, ask: Ask, resources: Sequence[str], now: int) -> tuple[list[Permit | Deny], Changes]:
    """Judge each title alone against the present state; start and consume nothing (design decision 8.3)."""
    if ask.fault is not None:
        return [Deny(resource, ask.fault) for resource in resources], NOTHING
    trial = _Trial(found, settle(found.floors, ask.offer, now), ask, now)
    return [
        Permit(resource, trial.started_at, trial.expires_at) if code is None else Deny(resource, code)
        for resource in resources
        for code in (trial.judge(resource, now),)
    ], NOTHING


#: authorize or preauthorize
Judge = Callable[[Found, Ask, Sequence[str], int], tuple[list[Permit | Deny], Changes]]


def profile(found: Found, ask: Ask, now: int) -> Profile | Spent:
    """Show the trial, or the one that an authorize would begin now; write nothing (contract §6.4)."""
    if ask.fault is not None:
        return Spent(ask.fault)
    trial = _Trial(found, settle(found.floors, ask.offer, now), ask, now)
    if now >= trial.expires_at:
        return Spent(DenyCode.DURATION)
    if trial.resources_max is None:
        return Profile(trial.started_at, trial.expires_at, None, ())
    remaining = trial.resources_max + trial.bonus - len(trial.used)
    if remaining <= 0:
        return Spent(DenyCode.RESOURCES)
    return Profile(trial.started_at, trial.expires_at, remaining, tuple(trial.used))


def standing(found: Found, ask: Ask, now: int) -> Standing | None:
    """Tell where the trial stands, also where `profile` only says which limit was met; None for an ask with a fault."""
    if ask.fault is not None:
        return None
    trial = _Trial(found, settle(found.floors, ask.offer, now), ask, now)
    titles_max = trial.resources_max + trial.bonus if trial.resources_max is not None else None
    if now >= trial.expires_at:
        state = TrialState.OVER
    elif titles_max is not None and len(trial.used) >= titles_max:
        state = TrialState.USED_UP
    else:
        state = TrialState.RUNNING if trial.held else TrialState.NEW
    return Standing(state, trial.started_at, trial.expires_at, tuple(trial.used), titles_max)


class _Trial:
    """The join of the ledgers of one ask, while its titles are decided one after another."""

    __slots__ = (
        "bonus",
        "changed",
        "expires_at",
        "floors",
        "held",
        "ledgers",
        "origin",
        "resources_max",
        "started_at",
        "subjects",
        "used",
    )

    def __init__(self, found: Found, floors: Floors, ask: Ask, now: int) -> None:
        self.floors = floors
        self.origin = ask.origin
        self.resources_max = ask.offer.resources_max
        self.subjects = ask.subjects
        self.ledgers: list[Ledger | None] = []
        # dictionaries, because titles keep the order in which they were watched; empty where titles are not counted
        self.held: list[dict[str, None]] = []
        self.used: dict[str, None] = {}
        self.started_at, self.expires_at, self.bonus = now, now + ask.offer.ttl_ms, 0
        for subject, ledger in zip(ask.subjects, found.ledgers, strict=True):
            if ledger is None or ledger.generation < floors.of(subject.kind):
                self.ledgers.append(None)
                continue
            if self.held:
                self.started_at = min(self.started_at, ledger.started_at)
                self.expires_at = min(self.expires_at, ledger.expires_at)
                self.bonus = min(self.bonus, ledger.bonus)
            else:
                self.started_at, self.expires_at, self.bonus = ledger.started_at, ledger.expires_at, ledger.bonus
            self.ledgers.append(ledger)
            titles = dict.fromkeys(ledger.used)
            self.held.append(titles)
            self.used |= titles
        self.changed = False

    def judge(self, resource: str, now: int) -> DenyCode | None:
        if now >= self.expires_at:
            return DenyCode.DURATION
        if self.resources_max is None:
            return None
        if resource not in self.used:
            return None if len(self.used) < self.resources_max + self.bonus else DenyCode.RESOURCES
        counting = zip(self.held, filter(None, self.ledgers), strict=True)
        room = all(resource in titles or len(titles) < self.resources_max + ledger.bonus for titles, ledger in counting)
        return None if room else DenyCode.RESOURCES

    def gain(self, resource: str) -> None:
        if None in self.ledgers:
            self.changed = True
        if self.resources_max is None:
            return
        self.used.setdefault(resource)
        for titles in self.held:
            if resource not in titles:
                titles[resource] = None
                self.changed = True

    def written(self) -> tuple[tuple[Subject, Ledger | None], ...]:
        """Answer the ledger of every subject as it is to be; only called when something changed."""
        held = iter(self.held)
        return tuple(
            (
                subject,
                self._begun(subject)
                if ledger is None
                else Ledger(
                    ledger.started_at,
                    ledger.expires_at,
                    ledger.generation,
                    tuple(next(held)),
                    ledger.origin,
                    ledger.bonus,
                ),
            )
            for subject, ledger in zip(self.subjects, self.ledgers, strict=True)
        )

    def _begun(self, subject: Subject) -> Ledger:
        generation = self.floors.generation(subject.kind)
        return Ledger(self.started_at, self.expires_at, generation, tuple(self.used), self.origin, self.bonus)
