"""
Explanations for whoever answers the phone: what was found, put into words by the core, with the acts that touched the
viewer. Nothing is changed and nothing is logged: what names a viewer stays in the call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import act, reset, trial
from temppass.core.catalogue import Offer
from temppass.core.explain import Explained, Hurdle, State, explain, hindered
from temppass.core.model import NOTHING, Changes, DenyCode, Found
from temppass.core.operator import Role
from temppass.core.refusal import (
    InactiveIntegration,
    InvalidIdentity,
    InvalidRequest,
    Refusal,
    UnknownChannel,
    UnknownPass,
)
from temppass.core.viewer import Meant, Named, read_viewer
from temppass.core.world import World
from temppass.service.context import Context, given
from temppass.service.desk import Admitted, Call, Desk
from temppass.service.history import History
from temppass.service.worlds import Plan
from temppass.store import Keys, LargeLedger

#: explanations in one answer
EXPLAINED_MAX = 50
#: integrations that are looked at together
TOGETHER = 64
#: acts beside one explanation
ACTS_MAX = 20
#: of the viewer alone, wherever they were done, that are looked through
OWN_ACTS_MAX = 200
#: ends of narrowed resets and of their undos, of a day and an hour, that are looked through
ENDS_MAX = 500
#: of everybody of one integration
_OF_EVERYBODY = ("reset.everybody", "reset.narrowed", "reset.recurring", "undo")
_HURDLES: dict[type[Refusal], Hurdle] = {
    UnknownChannel: Hurdle.CHANNEL,
    UnknownPass: Hurdle.PASS,
    InactiveIntegration: Hurdle.INTEGRATION,
}
_NOWHERE = (
    "Nothing is known of this viewer under any pass, so that they are new everywhere, or spelled in another way here."
)
_REST_NOT_RESET = (
    "The reset {} of some of all viewers is under way or was broken off, so that some of them may still have their "
    "trial; undo it, or ask for it once more."
)
_REST_NOT_BACK = (
    "The undo of the reset {} is under way or was broken off, so that some trials may not be back yet; undo the reset "
    "once more, which finishes it."
)

#: (channel, pass)
Place = tuple[str, str]


class Question(Struct, frozen=True):
    """
    Why a viewer may or may not watch; without channel and pass, wherever it was. No title is one that is new.

    The viewer is named, or known by the digests that a name means.
    """

    viewer: Named | Meant
    channel_id: str | None = None
    pass_id: str | None = None
    title: str | None = None


class Touched(NamedTuple):
    """A record that touched the viewer, and its place in the chain."""

    sequence: int
    record: act.Record

    @property
    def place(self) -> tuple[str | None, str | None]:
        what = self.record.act
        return getattr(what, "channel_id", None), getattr(what, "pass_id", None)

    @property
    def kind(self) -> str:
        return act.kind_word(self.record.act)


class Explanation(Struct, frozen=True):
    """What holds under one pass of one channel. `acts` are those that touched the viewer, the newest first."""

    channel_id: str
    pass_id: str
    explained: Explained
    acts: tuple[Touched, ...]
    warnings: tuple[str, ...]


class Explanations(Struct, frozen=True):
    """Wherever the viewer has a trial, or had one that was reset. `because` says so where that is nowhere."""

    because: str
    explanations: tuple[Explanation, ...]
    warnings: tuple[str, ...]


class Explainer:
    def __init__(self, context: Context, desk: Desk, history: History) -> None:
        self._context = context
        self._desk = desk
        self._history = history

    async def explain(self, call: Call, asked: Question | Refusal) -> Explanation | Explanations:
        """
        Explain what holds under the pass of the channel that is asked for; else wherever the viewer has anything.

        Refuses: as Desk.look; InvalidRequest, InvalidDeviceIdentifier, InvalidIdentity.
        """
        channel_id = asked.channel_id if isinstance(asked, Question) else None
        who = await self._desk.check(call, Role.VIEWER, channel_id=channel_id)
        question = given(asked)
        viewer = question.viewer
        meant = read_viewer(viewer, who.world.pepper) if isinstance(viewer, Named) else viewer
        await self._history.seal_all(who.world.name)
        own = await self._own_acts(who, question, meant)
        if question.channel_id is None or question.pass_id is None:
            return await self._everywhere(call, who, question, meant, own)
        place = (question.channel_id, question.pass_id)
        return await self._with_acts(who, place, await self._look(call, place, question, meant, own), meant, own)

    async def _everywhere(
        self, call: Call, who: Admitted, question: Question, meant: Meant, own: list[Touched]
    ) -> Explanations:
        places, touched = _places(who, question, meant), {each.place for each in own}
        found: list[tuple[Place, Explained]] = []
        for first in range(0, len(places), TOGETHER):
            some = places[first : first + TOGETHER]
            looks = (self._look(call, place, question, meant, own) for place in some)
            for place, explained in zip(some, await asyncio.gather(*looks), strict=True):
                if place in touched or any(part.state is not State.NEW for part in explained.parts):
                    found.append((place, explained))
            if len(found) >= EXPLAINED_MAX:
                break
        explanations = [
            await self._with_acts(who, place, explained, meant, own) for place, explained in found[:EXPLAINED_MAX]
        ]
        return Explanations("" if explanations else _NOWHERE, tuple(explanations), meant.warnings)

    async def _look(
        self, call: Call, place: Place, question: Question, meant: Meant, own: Sequence[Touched]
    ) -> Explained:
        """Explain one pass of one channel; in turn, if a ledger turns out to hold many titles."""

        def prepare(who: Admitted, *, large: bool) -> Plan[Explained]:
            return _explaining(who, place, question, meant, own, large=large)

        with contextlib.suppress(LargeLedger):
            return await self._desk.look(call, Role.VIEWER, partial(prepare, large=False), channel_id=place[0])
        async with self._context.large_turn():
            return await self._desk.look(call, Role.VIEWER, partial(prepare, large=True), channel_id=place[0])

    async def _with_acts(
        self, who: Admitted, place: Place, explained: Explained, meant: Meant, own: Sequence[Touched]
    ) -> Explanation:
        channel_id, pass_id = place
        wanted = act.Wanted(kinds=_OF_EVERYBODY, channels=(channel_id,), pass_id=pass_id)
        acts = [each for each in own if each.place == place]
        acts += [each for each in await self._acts(who, wanted, ACTS_MAX) if not _names_viewers(each)]
        acts.sort(key=lambda each: -each.sequence)
        warnings = (*meant.warnings, *_not_looked_at(who, place, meant), *await self._not_finished(who, acts))
        return Explanation(channel_id, pass_id, explained, tuple(acts[:ACTS_MAX]), warnings)

    async def _not_finished(self, who: Admitted, acts: Sequence[Touched]) -> list[str]:
        """Say which of the narrowed resets among `acts`, and of their undos, have not gone through all chunks."""
        narrowed = [
            each.record.id
            for each in acts
            if isinstance(each.record.act, act.NarrowedReset) and who.now < each.record.at + reset.UNDO_MS
        ]
        if not narrowed:
            return []
        undone = {each.record.act.act_id: each.record.id for each in acts if isinstance(each.record.act, act.Undo)}
        wanted = act.Wanted(since=who.now - reset.UNDO_KEPT_MS, kinds=("reset.narrowed.end", "undo.end"))
        ended = {
            getattr(each.record.act, "reset_id", None) or getattr(each.record.act, "undo_id", None)
            for each in await self._acts(who, wanted, ENDS_MAX)
        }
        return [
            _REST_NOT_BACK.format(id_) if id_ in undone else _REST_NOT_RESET.format(id_)
            for id_ in narrowed
            if undone.get(id_, id_) not in ended
        ]

    async def _own_acts(self, who: Admitted, question: Question, meant: Meant) -> list[Touched]:
        """Answer the acts that name the viewer, where the operator sees them and where it is asked for."""
        channels = (question.channel_id,) if question.channel_id is not None else who.operator.channels
        digests = digests_of(who.world, meant)
        wanted = act.Wanted(channels=channels, pass_id=question.pass_id, subjects=digests)
        return await self._acts(who, wanted, OWN_ACTS_MAX) if digests else []

    async def _acts(self, who: Admitted, wanted: act.Wanted, limit: int) -> list[Touched]:
        found = await self._context.store.search(who.world.name, wanted, None, limit, newest_first=True)
        return [Touched(each.link.sequence, act.read_record(each.document)) for each in found]


def digests_of(world: World, meant: Meant) -> tuple[bytes, ...]:
    """Answer every digest that the viewer may have been recorded under, whatever the pass."""
    found = dict[bytes, None]()
    for identity_key in {entry.identity_key for entry in world.catalogue.passes.values()} | {None}:
        with contextlib.suppress(InvalidIdentity):
            found |= dict.fromkeys(subject.digest for subject in meant.subjects(identity_key, world.pepper))
    if meant.user_key is not None:
        found[meant.user_key.digest] = None
    return tuple(found)


def _places(who: Admitted, question: Question, meant: Meant) -> list[Place]:
    """Answer the integrations that are asked for, that the operator sees, and that go by what is known."""
    goes_by_device = meant.device is not None or meant.either is not None
    return [
        (channel_id, entry.id)
        for entry in who.world.catalogue.passes.values()
        if question.pass_id in {None, entry.id} and (entry.identity_key is not None or goes_by_device)
        for channel_id in entry.channels
        if question.channel_id in {None, channel_id} and who.operator.sees(channel_id)
    ]


def _explaining(
    who: Admitted, place: Place, question: Question, meant: Meant, own: Sequence[Touched], *, large: bool
) -> Plan[Explained]:
    """Refuses: InvalidRequest where the pass does not go by what is known of the viewer."""
    world, now = who.world, who.now
    nothing = Keys(world.name, world.version)
    try:
        offer, enabled = world.declared(world.channel(place[0]), place[1])
    except (UnknownChannel, UnknownPass, InactiveIntegration) as refusal:
        hurdle = _HURDLES[type(refusal)]
        return nothing, lambda _found: (hindered(hurdle), NOTHING)
    ask = _ask(world, offer, meant)
    if not ask.subjects and ask.fault is None:
        raise InvalidRequest("This pass goes by the device alone, so that a key says nothing; name the device.")
    reset_at = max((each.record.at for each in own if each.place == place and _is_reset(each)), default=None)

    def step(found: Found) -> tuple[Explained, Changes]:
        seen, asked = _one_of_either(found, ask) if meant.either is not None else (found, ask)
        return explain(seen, asked, now, title=question.title, enabled=enabled, reset_at=reset_at), NOTHING

    return Keys(world.name, world.version, place, ask.subjects, raises=True, large=large), step


def _ask(world: World, offer: Offer, meant: Meant) -> trial.Ask:
    """Ask as an authorize of this viewer would, but for what is not known of them."""
    try:
        subjects = meant.subjects(offer.identity_key, world.pepper)
    except InvalidIdentity:
        subjects = (meant.device,) if meant.device is not None else ()
        return trial.Ask(offer, subjects, fault=DenyCode.IDENTITY if offer.usable else DenyCode.CONFIGURATION)
    return trial.Ask(offer, subjects, fault=None if offer.usable else DenyCode.CONFIGURATION)


def _one_of_either(found: Found, ask: trial.Ask) -> tuple[Found, trial.Ask]:
    """Of a digest that may be a device's or a key's, take the one that has a ledger; where none has, the device's."""
    held = next((place for place, ledger in enumerate(found.ledgers) if ledger is not None), 0)
    return (
        replace(found, ledgers=found.ledgers[held : held + 1]),
        replace(ask, subjects=ask.subjects[held : held + 1]),
    )


def _is_reset(touched: Touched) -> bool:
    what = touched.record.act
    return isinstance(what, act.SubjectReset) and what.matched > 0


def _names_viewers(touched: Touched) -> bool:
    """Tell whether an act is of some viewers alone, as the undo of a reset of one is."""
    return bool(getattr(touched.record.act, "subjects", ()))


def _not_looked_at(who: Admitted, place: Place, meant: Meant) -> tuple[str, ...]:
    entry = who.world.catalogue.passes.get(place[1])
    if meant.names_key and entry is not None and entry.identity_key is None:
        return ("This pass goes by the device alone; the key was not looked at.",)
    return ()
