"""
Decisions and profiles: whether a viewer may watch, and what is left. Each use case takes what the request says, stamps
the time once, and makes one call into the store.
"""

# annotations of the functions that each request makes are not worth evaluating: 5 % of a decision
from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from temppass.core import trial
from temppass.core.catalogue import RESOURCE_BYTES_MAX, Channel, Offer, Pass
from temppass.core.identity import device, origin_digest, user_id, user_key, user_key_from_header
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Deny,
    DenyCode,
    Found,
    Origin,
    Permit,
    Profile,
    Spent,
    Standing,
    Subject,
)
from temppass.core.refusal import InvalidIdentity, InvalidResources, Refusal, TooManyResources
from temppass.core.tokens import MediaToken, write_media_token
from temppass.core.world import World
from temppass.service.context import Caller, Context, given, keys_of
from temppass.service.counters import PERMIT, TRIAL, Counters
from temppass.service.together import Together
from temppass.service.worlds import Plan
from temppass.store import LargeLedger

#: an ask of more titles, or of more characters in all, has to wait for its turn among such asks; preauthorize may have
#: more, because it signs nothing
AUTHORIZE_PASSING_MAX = 8
PREAUTHORIZE_PASSING_MAX = 32
CHARACTERS_PASSING_MAX = 8_192


class Viewer(NamedTuple):
    """Who asks, as the headers say: the decoded device id, the identity header unread, the application's id."""

    device_id: bytes
    identity: str | None = None
    app_id: str | None = None


#: who asks, and for which titles
TitlesAsked = tuple[Viewer, Sequence[str]]


#: a verdict and, for a permit, its media token
_Signed = tuple[Permit | Deny, str | None]


class Decided(NamedTuple):
    """The verdicts of one ask in the order of its titles, each permit with its media token, and when it was asked."""

    verdicts: list[_Signed]
    now: int
    media_token_ms: int


class Shown(NamedTuple):
    """The state of a trial, and whose it is."""

    pass_id: str
    state: Profile | Spent
    user_id: str
    standing: Standing | None


class _Judged(NamedTuple):
    world: World
    ask: trial.Ask
    verdicts: list[Permit | Deny]
    now: int
    #: whether a trial begins with this ask
    begins: bool


class Decisions:
    def __init__(self, context: Context, counters: Counters) -> None:
        self._context = context
        self._together = Together()
        self._counters = counters
        #: titles decided, by permit or the code of the denial
        self.verdicts: Counter[str] = Counter()

    async def authorize(self, caller: Caller, pass_id: str, asked: TitlesAsked | Refusal) -> Decided:
        """Decide the titles that are asked for; the first permit begins the trial (contract §6.2)."""
        if not _is_large(asked, AUTHORIZE_PASSING_MAX):
            try:  # and no `suppress`, which costs each request an object
                judged = await self._ask(trial.authorize, caller, pass_id, asked, large=False)
            except LargeLedger:
                pass
            else:
                self._count(judged)
                return await self._decided(judged, [judged.verdicts])
        async with self._context.large_turn():  # the signatures are what takes longest
            judged = await self._ask(trial.authorize, caller, pass_id, asked, large=True)
            self._count(judged)
            # slice by slice, and others have their turn
            firsts = range(0, len(judged.verdicts), AUTHORIZE_PASSING_MAX)
            return await self._decided(
                judged, [judged.verdicts[first : first + AUTHORIZE_PASSING_MAX] for first in firsts]
            )

    async def _decided(self, judged: _Judged, slices: list[list[Permit | Deny]]) -> Decided:
        world, ask, _, now, _ = judged
        signed: list[_Signed] = []
        for some in slices:
            signed += await self._together.run(functools.partial(self._sign, world, ask, some, now))
        return Decided(signed, now, self._context.policy.media_token_ms)

    def _sign(self, world: World, ask: trial.Ask, verdicts: list[Permit | Deny], now: int) -> list[_Signed]:
        """Answer verdicts with the media token of each permit."""
        return [
            (verdict, self._media_token(world, ask, verdict, now) if isinstance(verdict, Permit) else None)
            for verdict in verdicts
        ]

    def _count(self, judged: _Judged) -> None:
        """Count titles, and a trial that begins with this ask."""
        words: list[str] = [PERMIT if isinstance(each, Permit) else each.code.value for each in judged.verdicts]
        for word in words:
            self.verdicts[word] += 1
        if judged.begins:
            words.append(TRIAL)
        offer = judged.ask.offer
        self._counters.add(offer.environment, offer.channel_id, offer.pass_id, judged.now, words)

    async def preauthorize(self, caller: Caller, pass_id: str, asked: TitlesAsked | Refusal) -> list[Permit | Deny]:
        """Judge the titles that are asked for; begin and consume nothing (contract §6.3)."""
        if not _is_large(asked, PREAUTHORIZE_PASSING_MAX):
            with contextlib.suppress(LargeLedger):
                return (await self._ask(trial.preauthorize, caller, pass_id, asked, large=False)).verdicts
        async with self._context.large_turn():
            return (await self._ask(trial.preauthorize, caller, pass_id, asked, large=True)).verdicts

    def _ask(
        self, judge: trial.Judge, caller: Caller, pass_id: str, asked: TitlesAsked | Refusal, *, large: bool
    ) -> Awaitable[_Judged]:
        context = self._context
        now = context.clock()

        def prepare(world: World) -> Plan[_Judged]:
            channel = context.channel(world, caller, now)
            viewer, resources = given(asked)
            offer = world.offer(channel, pass_id)
            if len(resources) > offer.resources_per_call_max:
                raise TooManyResources(f"Name at most {offer.resources_per_call_max} resources in one call.")
            if offer.resource_bytes_max < RESOURCE_BYTES_MAX:
                _check_titles(resources, offer.resource_bytes_max)
            # only an authorize must know the user: a preauthorize without identity goes by the device
            ask = _ask_for(world, offer, viewer, identity_needed=judge is trial.authorize)

            def step(found: Found) -> tuple[_Judged, Changes]:
                verdicts, changes = judge(found, ask, resources, now)
                return _Judged(world, ask, verdicts, now, _begins(found, changes, now)), changes

            return keys_of(world, offer, ask.subjects, large=large), step

        return context.worlds.ask(caller.environment, prepare)

    def _media_token(self, world: World, ask: trial.Ask, permit: Permit, now: int) -> str:
        assert world.keyring is not None
        policy = self._context.policy
        issued_s, ttl_ms = now // 1000, policy.media_token_ms
        token = MediaToken(
            user_id(ask.subjects[0]), ask.offer.channel_id, ask.offer.pass_id, permit.resource,
            issued_s, issued_s + ttl_ms // 1000, ttl_ms, self._context.nonce(), policy.issuer, world.name,
        )  # fmt: skip
        return write_media_token(world.keyring, token)

    async def profile(self, caller: Caller, pass_id: str, viewer: Viewer | Refusal) -> Shown:
        """Show the trial of a viewer; begin nothing (contract §6.4)."""
        context = self._context
        now = context.clock()

        def ask(world: World) -> trial.Ask:
            channel = context.channel(world, caller, now)
            known = given(viewer)
            return _ask_for(world, world.offer(channel, pass_id), known, identity_needed=True)

        return await self.show(caller.environment, ask, now)

    async def show(self, environment: str, ask: Callable[[World], trial.Ask], now: int) -> Shown:
        """Show the trial that `ask` makes of the present world; in turn, if a ledger turns out to hold many titles."""
        worlds = self._context.worlds
        with contextlib.suppress(LargeLedger):
            return await worlds.ask(environment, lambda world: _showing(world, ask(world), now, large=False))
        async with self._context.large_turn():
            return await worlds.ask(environment, lambda world: _showing(world, ask(world), now, large=True))

    # --- what finds nothing in the store: it goes there all the same, so that it is as fresh as a decision

    async def configuration(self, caller: Caller) -> tuple[Channel, list[Pass]]:
        """Answer a channel and the passes of its enabled integrations (contract §6.7)."""
        context = self._context
        now = context.clock()

        def prepare(world: World) -> Plan[tuple[Channel, list[Pass]]]:
            channel = context.channel(world, caller, now)
            offered = [entry for entry in world.catalogue.passes.values() if entry.channels.get(channel.id, False)]
            return keys_of(world), lambda _found: ((channel, offered), NOTHING)

        return await context.worlds.ask(caller.environment, prepare)

    async def log_out(self, caller: Caller, viewer: Viewer | Refusal, pass_id: str | None = None) -> None:
        """
        Change nothing: a trial is no sign-in (contract §6.9). Without a pass, of whatever the viewer has.

        Refuses what the other calls of the channel do, and a pass that it does not offer.
        """
        context = self._context
        now = context.clock()

        def prepare(world: World) -> Plan[None]:
            channel = context.channel(world, caller, now)
            given(viewer)
            if pass_id is not None:
                world.offer(channel, pass_id)
            return keys_of(world), lambda _found: (None, NOTHING)

        await context.worlds.ask(caller.environment, prepare)


# --- whose trial, under which offer


def _is_large(asked: TitlesAsked | Refusal, titles_max: int) -> bool:
    """Tell whether this has to wait for its turn; what cannot be read is refused at once."""
    if isinstance(asked, Refusal):
        return False
    _, titles = asked
    return len(titles) > titles_max or sum(map(len, titles)) > CHARACTERS_PASSING_MAX


def _begins(found: Found, changes: Changes, now: int) -> bool:
    """Tell whether what is written is a trial that begins now, and not one that began in the same millisecond."""
    if not changes.ledgers:
        return False
    _, written = changes.ledgers[0]
    assert written is not None
    return written.started_at == now and not any(each is not None and each.started_at == now for each in found.ledgers)


def _check_titles(titles: Sequence[str], bytes_max: int) -> None:
    """Refuses: InvalidResources."""
    if any(len(title.encode()) > bytes_max for title in titles):
        raise InvalidResources(f"A resource of this mvpd is a text of 1 to {bytes_max} bytes of UTF-8.")


def _showing(world: World, ask: trial.Ask, now: int, *, large: bool) -> Plan[Shown]:
    def step(found: Found) -> tuple[Shown, Changes]:
        state, standing = trial.profile(found, ask, now), trial.standing(found, ask, now)
        return Shown(ask.offer.pass_id, state, user_id(ask.subjects[0]), standing), NOTHING

    return keys_of(world, ask.offer, ask.subjects, large=large), step


def _ask_for(world: World, offer: Offer, viewer: Viewer, *, identity_needed: bool) -> trial.Ask:
    origin = origin_of(world, viewer.app_id, None)
    subject = device(viewer.device_id, world.pepper)
    return ask_of(world, offer, subject, viewer.identity, origin, identity_needed=identity_needed)


def ask_of(
    world: World, offer: Offer, subject: Subject, identity: str | None, origin: Origin, *, identity_needed: bool
) -> trial.Ask:
    """Name the subjects of an ask. A pass or an identity that is of no use is an answer, not a refusal (§6.2)."""
    subjects: tuple[Subject, ...] = (subject,)
    if not offer.usable:
        return trial.Ask(offer, subjects, origin, DenyCode.CONFIGURATION)
    if offer.identity_key is not None and (identity is not None or identity_needed):
        try:
            subjects = (subject, user_key(user_key_from_header(identity, offer.identity_key), world.pepper))
        except InvalidIdentity:
            return trial.Ask(offer, subjects, origin, DenyCode.IDENTITY)
    return trial.Ask(offer, subjects, origin)


def origin_of(world: World, app_id: str | None, device_user: str | None) -> Origin:
    if not app_id and not device_user:
        return ANYWHERE
    return Origin(
        origin_digest(app_id, world.pepper) if app_id else None,
        origin_digest(device_user, world.pepper) if device_user else None,
    )
