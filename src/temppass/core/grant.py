"""
Grants, as steps: minutes or titles given on top of a trial that runs or is spent, and taken back.

Minutes count from the ledger's end, or from now where that has passed. Titles raise the limit of that ledger alone; a
join has the smallest limit of its ledgers, and a ledger that a join makes inherits its window, titles and limit. So
the promise of the engine reads: permitted time is at most the TTL and the minutes granted, titles at most
`resources_max` and the titles granted, counting what was inherited.

What is taken back is what was given, but never a moment that has passed or that is the pass's own, nor a title that was
watched, and only from the trial that it was given to.

Source: docs/design.md (grants).
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from temppass.core.catalogue import Offer
from temppass.core.catalogue_file import LEDGER_BYTES_MAX, RESOURCES_MAX
from temppass.core.model import Changes, Found, Kept, Ledger, Subject
from temppass.core.refusal import InvalidRequest
from temppass.core.reset import UNDO, UNDO_KEPT_MS, counts, fired, forgotten, is_undoable, settle, undo_key

MINUTE_MS = 60_000
#: of one grant, and of all that lies ahead of a trial after it: as a catalogue could declare
MINUTES_MAX = 5_256_000


class Gift(Struct, frozen=True):
    """What is given to every ledger that an ask names: at least one of the two is not 0."""

    minutes: int = 0
    titles: int = 0


class Given(Struct, frozen=True):
    """
    What one ledger was given: `started_at` and `generation` say which trial it was. It would have ended at `least_at`
    had nobody ever given it anything.
    """

    subject: Subject
    started_at: int
    generation: int
    gift: Gift
    least_at: int = 0

    def is_of(self, ledger: Ledger) -> bool:
        return (ledger.started_at, ledger.generation) == (self.started_at, self.generation)


def checked(gift: Gift, offer: Offer) -> Gift:
    """Answer a gift that an offer can have. Refuses: InvalidRequest."""
    if not (gift.minutes or gift.titles):
        raise InvalidRequest("Send minutes or titles.")
    if not 0 <= gift.minutes <= MINUTES_MAX:
        raise InvalidRequest(f"minutes are 1 to {MINUTES_MAX}.")
    if gift.titles and offer.resources_max is None:
        raise InvalidRequest(f"Pass {offer.pass_id!r} counts no titles; grant minutes.")
    if not 0 <= gift.titles <= RESOURCES_MAX:
        raise InvalidRequest(f"titles are 1 to {RESOURCES_MAX}.")
    return gift


def grant(
    found: Found, offer: Offer, subjects: Sequence[Subject], gift: Gift, now: int, act_id: str
) -> tuple[int, Changes]:
    """
    Give `gift` to the ledgers of `subjects` that count, and keep aside what its undo needs.

    `found.ledgers` are those of `subjects`, same order. Answers how many gained. Refuses: InvalidRequest where a ledger
    would come to hold more than a catalogue could declare.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    counting = [
        (subject, ledger)
        for subject, ledger in zip(subjects, found.ledgers, strict=True)
        if ledger is not None and counts(ledger, subject, floors)
    ]
    if not counting:
        return 0, changes
    given = tuple(
        Given(
            subject,
            ledger.started_at,
            ledger.generation,
            gift,
            min(ledger.expires_at, ledger.started_at + offer.ttl_ms),
        )
        for subject, ledger in counting
    )
    aside = Kept(UNDO, undo_key(act_id), now + UNDO_KEPT_MS, msgspec.json.encode(given))
    written = tuple((subject, _raised(ledger, offer, gift, now)) for subject, ledger in counting)
    return len(written), msgspec.structs.replace(changes, ledgers=written, kept=(aside,))


def undo_grant(found: Found, offer: Offer, given: Sequence[Given], now: int) -> tuple[int, Changes]:
    """
    Take back what was `given`, as it was read from the first of `found.kept`, from the trials that still are.

    `found.ledgers` are those of the subjects of `given`, same order. Answers how many ledgers it was taken from: 0
    where nothing is left to undo, or its day is over.
    """
    floors = settle(found.floors, offer, now)
    changes = fired(found.floors, floors, offer, now)
    aside = found.kept[0]
    written = tuple(
        (each.subject, _lowered(ledger, offer, each, now))
        for each, ledger in zip(given, found.ledgers, strict=True)
        if ledger is not None and counts(ledger, each.subject, floors) and each.is_of(ledger)
    )
    if aside is None or not is_undoable(aside, now) or not written:
        return 0, changes
    return len(written), msgspec.structs.replace(changes, ledgers=written, kept=(forgotten(aside),))


_given = msgspec.json.Decoder(tuple[Given, ...])


def read_given(kept: Kept) -> tuple[Given, ...]:
    """Answer what a grant gave."""
    return _given.decode(kept.document)


def _raised(ledger: Ledger, offer: Offer, gift: Gift, now: int) -> Ledger:
    """Refuses: InvalidRequest."""
    expires_at, bonus = ledger.expires_at, ledger.bonus + gift.titles
    if gift.minutes:
        expires_at = max(expires_at, now) + gift.minutes * MINUTE_MS
    if gift.minutes and expires_at - now > MINUTES_MAX * MINUTE_MS:
        raise InvalidRequest(f"No trial can have more than {MINUTES_MAX} minutes ahead of it.")
    titles = (offer.resources_max or 0) + bonus
    if gift.titles and (titles > RESOURCES_MAX or titles * offer.resource_bytes_max > LEDGER_BYTES_MAX):
        most = min(RESOURCES_MAX, LEDGER_BYTES_MAX // offer.resource_bytes_max)
        raise InvalidRequest(f"With what it has already, no trial of this pass can have more than {most} titles.")
    return msgspec.structs.replace(ledger, expires_at=expires_at, bonus=bonus)


def _lowered(ledger: Ledger, offer: Offer, given: Given, now: int) -> Ledger:
    # what has passed, was watched, or is the pass's own is not taken: a trial that was reset and begun again by a join
    # has the start of before, and what was given to it went with the reset. Nor is anything given where it was less
    least_at = min(ledger.expires_at, max(now, given.least_at))
    least = min(ledger.bonus, len(ledger.used) - (offer.resources_max or 0))
    return msgspec.structs.replace(
        ledger,
        expires_at=max(ledger.expires_at - given.gift.minutes * MINUTE_MS, least_at),
        bonus=max(ledger.bonus - given.gift.titles, least, 0),
    )
