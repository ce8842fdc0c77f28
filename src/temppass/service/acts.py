"""
What was done, as operators see it: found by what they look for, within their limits, in the order of the chain.

What is committed gets its place in the chain before it is looked for, so that everybody finds their own act at once.

Source: docs/design.md (acts, records, chains).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, identity, reset
from temppass.core.anchor import NO_ANCHOR
from temppass.core.operator import Operator, Role
from temppass.core.refusal import NotThere, OutsideLimits, Refusal
from temppass.core.world import HOUSE
from temppass.service.context import Context, given
from temppass.service.corrections import GRANTS, RESETS
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.history import History

#: acts that are looked through for those that rest on one
FOLLOWED_MAX = 500
#: acts that are read, and told, at once: so few that nobody has to wait for long until they are
PAGE = 100


class Entry(NamedTuple):
    """A record, and its place in the chain; None while it has none."""

    sequence: int | None
    record: act.Record

    @property
    def channel_id(self) -> str | None:
        channel_id: str | None = getattr(self.record.act, "channel_id", None)
        return channel_id


class Search(Struct, frozen=True):
    """
    What is looked for. Viewers are those of `wanted.subjects`, a device and user keys in their canonical form: any of
    them. `after` is the sequence beyond which to look, None at first.
    """

    wanted: act.Wanted
    device: bytes | None = None
    user_keys: tuple[str, ...] = ()
    limit: int = PAGE
    after: int | None = None


class Page(NamedTuple):
    """
    `next` is where the next page goes on, None at the end; `kept_since` the moment of the last record that is not kept
    any more, None while all are.
    """

    entries: list[Entry]
    next: int | None
    kept_since: int | None = None


class Around(NamedTuple):
    """
    An act; the one that it rests on, such as the reset that it took back; and those that rest on it, the oldest first.
    `undo_until` is None for one that cannot be undone, or was.
    """

    entry: Entry
    basis: Entry | None
    followed: tuple[Entry, ...]
    undo_until: int | None


class Acts:
    def __init__(self, context: Context, desk: Desk, history: History) -> None:
        self._context = context
        self._desk = desk
        self._history = history

    async def search(self, call: Call, asked: Search | Refusal) -> Page:
        """
        Answer a page of what an operator looks for, the newest first. The house's are for admins of everything.

        Refuses: as Desk.look; what reading refused; OutsideLimits for channels that are not the operator's.
        """
        who = await self._admit(call)
        search = given(asked)
        wanted = _within(who, search)
        await self._history.seal_all(call.environment)
        found = await self._context.store.search(
            call.environment, wanted, search.after, search.limit + 1, newest_first=True
        )
        entries = [entry_of(sealed) for sealed in found[: search.limit]]
        begins = await self._history.beginning(call.environment)
        return Page(
            entries,
            entries[-1].sequence if len(found) > search.limit else None,
            begins.at if begins != NO_ANCHOR else None,
        )

    async def all(self, call: Call, asked: Search | Refusal) -> AsyncIterator[Sequence[Entry]]:
        """
        Answer everything that an operator looks for, the oldest first, a page at a time; who may not is refused before
        the first, and again before each: a token may end meanwhile. Refuses: as `search`.
        """
        beyond: int | None = None
        while True:
            who = await self._admit(call)
            wanted = _within(who, given(asked))
            if beyond is None:
                await self._history.seal_all(call.environment)
            found = await self._context.store.search(call.environment, wanted, beyond, PAGE, newest_first=False)
            yield [entry_of(sealed) for sealed in found]
            if len(found) < PAGE:
                return
            beyond = found[-1].link.sequence

    async def one(self, call: Call, id_: str) -> Entry:
        """Answer one act, sealed or not. Refuses: as Desk.look; NotThere, also for what the operator does not see."""
        who = await self._admit(call)
        found = await self._context.store.record(call.environment, id_)
        if found is None or not who.operator.sees((entry := entry_of(found)).channel_id):
            raise NotThere(f"There is no act {id_[:64]!r}.")
        return entry

    async def around(self, call: Call, id_: str) -> Around:
        """Answer one act with those that belong to it, as far as the operator sees them. Refuses: as `one`."""
        who = await self._admit(call)
        await self._history.seal_all(call.environment)
        entry = await self.one(call, id_)
        followed = await self._followed(call.environment, entry)
        for undo in [each for each in followed if isinstance(each.record.act, act.Undo)]:
            followed += await self._followed(call.environment, undo)
        basis_id = act.refers_to(entry.record.act)
        basis = await self._context.store.record(call.environment, basis_id) if basis_id is not None else None
        return Around(
            entry,
            next(iter(visible(who.operator, [entry_of(basis)])), None) if basis is not None else None,
            tuple(visible(who.operator, sorted(followed, key=lambda each: each.sequence or 0))),
            _undo_until(entry.record, followed, who.now),
        )

    async def _followed(self, environment: str, entry: Entry) -> list[Entry]:
        """Answer what rests on an act: all of it was done within a day and an hour."""
        record, found = entry.record, list[Entry]()
        until = record.at + reset.UNDO_KEPT_MS
        for kinds, channels, pass_id, subjects in _following(record.act):
            wanted = act.Wanted(record.at, until, kinds, (), channels, pass_id, subjects)
            some = await self._context.store.search(environment, wanted, None, FOLLOWED_MAX, newest_first=False)
            found += map(entry_of, some)
        return [each for each in found if act.refers_to(each.record.act) == record.id]

    async def _admit(self, call: Call) -> Admitted:
        who = await self._desk.check(call, Role.VIEWER if call.environment != HOUSE else Role.ADMIN)
        if call.environment == HOUSE and who.operator.environments:
            raise OutsideLimits("What is done to operators is seen by an admin of all environments.")
        return who


def entry_of(sealed: act.Sealed) -> Entry:
    return Entry(sealed.link.sequence or None, act.read_record(sealed.document))


def visible(operator: Operator, entries: Sequence[Entry]) -> list[Entry]:
    """Answer those of which the operator sees the channel."""
    return [entry for entry in entries if operator.sees(entry.channel_id)]


def _following(
    what: act.Act,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str | None, tuple[bytes, ...]]]:
    """Answer by which kinds, channels, pass and subjects that is found which can rest on an act."""
    match what:
        case act.SubjectReset() | act.Grant():
            digests = tuple(subject.digest for subject in what.subjects)
            yield ("undo",), (what.channel_id,), what.pass_id, digests
        case act.EverybodyReset() | act.RecurringReset() | act.NarrowedReset():
            yield ("undo",), (what.channel_id,), what.pass_id, ()
        case act.ApprovalAsk():
            yield ("approval.decline", "reset.everybody", "reset.narrowed"), (what.channel_id,), what.pass_id, ()
        case _:
            pass
    if isinstance(what, act.NarrowedReset | act.Undo):  # an end does not say where it was
        yield ("reset.narrowed.end", "undo.end"), (), None, ()


def _undo_until(record: act.Record, followed: Sequence[Entry], now: int) -> int | None:
    """Answer until when an act can be undone; an undo of a narrowed reset that was broken off is gone on with."""
    undone = act.UndoEnd if isinstance(record.act, act.NarrowedReset) else act.Undo
    until = record.at + reset.UNDO_MS
    if (
        not isinstance(record.act, (*RESETS, *GRANTS))
        or getattr(record.act, "matched", None) == 0
        or any(isinstance(each.record.act, undone) for each in followed)
    ):
        return None
    return until if now < until else None


def _within(who: Admitted, search: Search) -> act.Wanted:
    """Answer what is looked for, within the operator's limits. Refuses: OutsideLimits."""
    wanted, operator, pepper = search.wanted, who.operator, who.world.pepper
    for channel_id in wanted.channels:
        if not operator.sees(channel_id):
            raise OutsideLimits(f"You see the acts on {', '.join(operator.channels)}, not on {channel_id[:64]!r}.")
    digests = [identity.user_key(key, pepper).digest for key in search.user_keys]
    if search.device is not None:
        digests.append(identity.device(search.device, pepper).digest)
    return replace(wanted, channels=wanted.channels or operator.channels, subjects=(*wanted.subjects, *digests))
