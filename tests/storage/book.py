"""
What a service may answer, by somebody who keeps a book: a page for each viewer who has a trial of one pass, and a list
of what was done. A reset tears pages out and keeps them, an undo puts them back. Of floors, generations, ledgers and
documents the book knows nothing, nor of stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from temppass.core.model import DenyCode, PassKind, SubjectKind
from temppass.core.refusal import LaterReset, NewTrial, NothingToGrant, NothingToUndo

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BOTH = (SubjectKind.DEVICE, SubjectKind.USER_KEY)


class Offered(NamedTuple):
    """One pass, and what it promises at most."""

    kind: PassKind
    ttl_ms: int
    resources_max: int | None
    resets: str | None = None


OFFERED = {
    "basic": Offered(PassKind.BASIC, HOUR, None),
    "promotional": Offered(PassKind.PROMOTIONAL, 2 * HOUR, 2),
    "daily": Offered(PassKind.PROMOTIONAL, 30 * HOUR, 2, "0 0 * * *"),
}

Whose = tuple[SubjectKind, bytes | str]
Verdict = tuple[str, int, int] | DenyCode


@dataclass(eq=False)
class Page:
    """One viewer's trial; `era` tells how many resets of everybody there were before it began."""

    at: int
    until: int
    era: int
    app: str | None
    titles: list[str] = field(default_factory=list)
    bonus: int = 0
    #: what was given on top, and how long the trial was over before it was given more
    given_ms: int = 0
    given_titles: int = 0
    idle_ms: int = 0


@dataclass(eq=False)
class Torn:
    """
    A reset. Of everybody, or of a part of them (`is_narrowed`), it names kinds of subjects; the pages of everybody lie
    there until somebody begins anew.
    """

    at: int
    pages: dict[Whose, Page]
    kinds: tuple[SubjectKind, ...] = ()
    is_everybody: bool = False
    is_narrowed: bool = False
    is_undone: bool = False
    #: of a recurring reset
    due: int | None = None


@dataclass(eq=False)
class Given:
    """A grant: to which trials, told by start and era, and where each would have ended without any."""

    at: int
    to: dict[Whose, tuple[int, int, int]]
    minutes: int
    titles: int
    is_undone: bool = False


class Joined(NamedTuple):
    """The pages of one ask, read together. `most` is None where titles are not counted."""

    pages: list[Page]
    at: int
    until: int
    used: list[str]
    bonus: int
    most: int | None

    def decide(self, title: str, now: int) -> Verdict:
        """Permit a title, which every page gains, or say why not."""
        if now >= self.until:
            return DenyCode.DURATION
        if self.most is not None:
            most = self.most
            if title in self.used:
                has_room = all(title in page.titles or len(page.titles) < most + page.bonus for page in self.pages)
            else:
                has_room = len(self.used) < most + self.bonus
            if not has_room:
                return DenyCode.RESOURCES
            for titles in (self.used, *(page.titles for page in self.pages)):
                if title not in titles:
                    titles.append(title)
        return title, self.at, self.until


class Book:
    def __init__(self, id_: str, now: int) -> None:
        self._offered = OFFERED[id_]
        self.now = now
        self.acts: list[Torn | Given] = []
        self._pages: dict[Whose, Page] = {}
        self._fired = now
        self._eras = dict.fromkeys(SubjectKind, 0)

    # --- what is asked

    def authorize(self, device: bytes, key: str, titles: Sequence[str], app: str | None) -> list[Verdict]:
        """Answer each title's window, or why not."""
        self.fire()
        named = self._named(device, key)
        joined = self._joined([self._pages[whose] for whose in named if whose in self._pages])
        told = [joined.decide(title, self.now) for title in titles]
        if any(isinstance(verdict, tuple) for verdict in told):
            for whose in named:
                if whose not in self._pages:
                    parent = joined.pages[0] if joined.pages else Page(joined.at, joined.until, 0, None)
                    self._place(whose, replace(parent, titles=[*joined.used], era=self._eras[whose[0]], app=app))
            self._promise(named)
        return told

    def shown(self, device: bytes, key: str | None) -> tuple[int, int, list[str], int]:
        """Answer start, end and titles of a trial, or of one that would begin now, and how many titles it may have."""
        named = [] if self._due() is not None else self._named(device, key or "")
        joined = self._joined([self._pages[whose] for whose in named if whose in self._pages])
        return joined.at, joined.until, joined.used, (joined.most or 0) + joined.bonus

    # --- what is done

    def reset(self, whom: Iterable[tuple[SubjectKind, bytes | str]], app: str | None = None) -> int:
        """Tear out the pages of some viewers, where `app` is given of that application alone; answer how many."""
        self.fire()
        return self._tear([*whom], app)

    def reset_everybody(self, kind: SubjectKind, app: str | None) -> int | None:
        self.fire()
        if app is not None:
            return self._tear(self._all((kind,)), app, narrowed_to=(kind,))
        is_known = kind is SubjectKind.DEVICE or self._offered.resources_max is not None
        self._tear_all((kind,) if is_known else ())
        return None if is_known else 0

    def count(self, kinds: tuple[SubjectKind, ...], *, over: bool) -> tuple[int, int]:
        """Answer how many trials run, unless those are not meant, and how many are over."""
        self.fire()
        runs = [self._pages[whose].until > self.now for whose in self._all(kinds)]
        return (0 if over else sum(runs)), len(runs) - sum(runs)

    def reset_by_plan(self, kinds: tuple[SubjectKind, ...], *, over: bool) -> int | None:
        """Reset everybody of `kinds`, or those whose time is over."""
        self.fire()
        if not over:
            self._tear_all(kinds)
            return None
        meant = [whose for whose in self._all(kinds) if self._pages[whose].until <= self.now]
        return self._tear(meant, narrowed_to=kinds)

    def grant(self, whom: Iterable[tuple[SubjectKind, bytes | str]], minutes: int, titles: int) -> int:
        """Refuses: NothingToGrant; it fires no reset then, because nothing is written."""
        named = [each for each in whom if each in self._pages]
        if not named or self._due() is not None:
            raise NothingToGrant("")
        to = {}
        for whose in named:
            page = self._pages[whose]
            to[whose] = (page.at, page.era, min(page.until, page.at + self._offered.ttl_ms))
            if minutes:
                page.idle_ms += max(0, self.now - page.until)
                page.until = max(page.until, self.now) + minutes * MINUTE
            page.bonus += titles
            page.given_ms += minutes * MINUTE
            page.given_titles += titles
        self.acts.append(Given(self.now, to, minutes, titles))
        return len(named)

    def undo(self, done: Torn | Given, *, replacing: bool) -> int | None:
        """Refuses: NothingToUndo, LaterReset, NewTrial."""
        self.fire()
        if done.is_undone or self.now >= done.at + DAY:
            raise NothingToUndo("")
        if isinstance(done, Given):
            return self._take_back(done)
        if not (done.kinds if done.is_everybody else done.pages):
            raise NothingToUndo("")
        kinds = set(done.kinds or (whose[0] for whose in done.pages))
        if any(kinds & {*each.kinds} for each in self._standing_after(done)):
            raise LaterReset("")
        begun = [whose for whose in done.pages if whose in self._pages]
        keeps_new = done.is_everybody or done.is_narrowed
        if begun and not keeps_new and not replacing:
            raise NewTrial("")
        done.is_undone = True
        for whose, page in done.pages.items():
            if whose not in self._pages or (replacing and not done.is_everybody):
                self._place(whose, page)
        return None if keeps_new else len(done.pages)

    def _standing_after(self, done: Torn) -> list[Torn]:
        """Answer the resets of everybody under the same pass that came later."""
        number = next(number for number, each in enumerate(self.acts) if each is done)
        later = (each for each in self.acts[number:] if isinstance(each, Torn) and each is not done)
        return [each for each in later if each.is_everybody and not each.is_undone]

    def fire(self) -> None:
        """Do the recurring reset that is due."""
        due = self._due()
        if due is not None:
            self._fired = due
            self._tear_all(BOTH, due)

    def _due(self) -> int | None:
        midnight = self.now - self.now % DAY
        return midnight if self._offered.resets and midnight > self._fired else None

    def _all(self, kinds: tuple[SubjectKind, ...]) -> list[Whose]:
        return [whose for whose in self._pages if whose[0] in kinds]

    def _tear(self, whom: list[Whose], app: str | None = None, narrowed_to: tuple[SubjectKind, ...] = ()) -> int:
        pages = {
            whose: self._pages.pop(whose)
            for whose in whom
            if whose in self._pages and app in {None, self._pages[whose].app}
        }
        self.acts.append(Torn(self.now, pages, narrowed_to, is_narrowed=bool(narrowed_to)))
        return len(pages)

    def _tear_all(self, kinds: tuple[SubjectKind, ...], due: int | None = None) -> None:
        pages = {whose: self._pages.pop(whose) for whose in self._all(kinds)}
        self.acts.append(Torn(self.now, pages, kinds, is_everybody=True, due=due))
        for kind in kinds:
            self._eras[kind] += 1

    def _take_back(self, done: Given) -> int:
        pages = {whose: page for whose in done.to if (page := self._pages.get(whose)) is not None}
        same = [whose for whose, page in pages.items() if (page.at, page.era) == done.to[whose][:2]]
        if not same:
            raise NothingToUndo("")
        done.is_undone = True
        most = self._offered.resources_max or 0
        for whose in same:
            page, least = pages[whose], done.to[whose][2]
            page.until = max(page.until - done.minutes * MINUTE, min(page.until, self.now), min(page.until, least))
            page.bonus = max(page.bonus - done.titles, min(page.bonus, len(page.titles) - most), 0)
        return len(same)

    # --- pages

    def _named(self, device: bytes, key: str) -> list[Whose]:
        named: list[Whose] = [(SubjectKind.DEVICE, device)]
        if self._offered.kind is PassKind.PROMOTIONAL:
            named.append((SubjectKind.USER_KEY, key))
        return named

    def _joined(self, pages: list[Page]) -> Joined:
        offered = self._offered
        if not pages:
            return Joined([], self.now, self.now + offered.ttl_ms, [], 0, offered.resources_max)
        at, until = min(page.at for page in pages), min(page.until for page in pages)
        used = [*dict.fromkeys(title for page in pages for title in page.titles)]
        return Joined(pages, at, until, used, min(page.bonus for page in pages), offered.resources_max)

    def _place(self, whose: Whose, page: Page) -> None:
        """Put in a page; what a reset of everybody tore out here before is lost for good."""
        self._pages[whose] = page
        for each in self.acts:
            if isinstance(each, Torn) and each.is_everybody and not each.is_undone:
                each.pages.pop(whose, None)

    def _promise(self, named: list[Whose]) -> None:
        """Hold what was just permitted against design §4."""
        offered = self._offered
        for whose in named:
            page = self._pages[whose]
            assert self.now - page.at - page.idle_ms < offered.ttl_ms + page.given_ms
            assert offered.resources_max is None or len(page.titles) <= offered.resources_max + page.given_titles
