"""
Authentication sessions: the half-hour handles by which a second screen joins a first. They are kept documents.

Source: contract §6.5 and §6.8.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from temppass.core import trial
from temppass.core.catalogue import Channel
from temppass.core.identity import device
from temppass.core.model import ANYWHERE, NOTHING, Changes, Device, Found, Kept, Session, Subject, SubjectKind
from temppass.core.oauth import leads_to
from temppass.core.rate import Bucket, Rate, take
from temppass.core.refusal import InvalidRedirect, Refusal, TooManySessions, UnknownSession
from temppass.core.world import World
from temppass.service.context import Caller, Context, given, keys_of, new_id
from temppass.service.decisions import Decisions, Shown, Viewer, ask_of
from temppass.service.worlds import Plan
from temppass.store import Keys, Outdated

#: an authentication code lives half an hour and has 7 characters (contract §6.8)
SESSION_MS = 1_800_000
CODE_CHARACTERS = 7
#: an application that paused may open the sessions of this many seconds at once
BURST_S = 10
_CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is mistaken for another on a TV screen
#: the kind of their documents; the key is the code alone, by which older servers name them too
_KIND = "session"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


class SessionForm(NamedTuple):
    """What an application says when it creates or resumes a session; None where it says nothing."""

    pass_id: str | None = None
    domain: str | None = None
    redirect_url: str | None = None


class Opened(NamedTuple):
    """A session that was created or resumed; without one where Temp Pass goes straight to authorize."""

    session_id: str
    session: Session | None


class Sessions:
    def __init__(self, context: Context, decisions: Decisions) -> None:
        self._context = context
        self._decisions = decisions
        #: sessions that may be opened, by environment and application
        self._may_open: dict[tuple[str, str], Bucket] = {}

    async def create(
        self, caller: Caller, viewer: Viewer | Refusal, form: SessionForm, describe: Callable[[], Device]
    ) -> Opened:
        """
        Create a session; where Temp Pass is chosen at once, none is needed. `describe` tells of the device: it takes
        long, and is asked only where a session is kept.

        Refuses: InvalidRedirect, UnknownPass, InactiveIntegration, TooManySessions.
        """
        context = self._context
        now, session_id = context.clock(), new_id()

        def prepare(world: World) -> Plan[Opened]:
            application = context.application(world, caller, now)
            channel = world.channel_for(application, caller.channel_id)
            device_id = given(viewer).device_id
            checked = _checked(world, channel, form)
            if checked.pass_id is not None:
                return keys_of(world), lambda _found: (Opened(session_id, None), NOTHING)
            self._count(world.name, application.id, now)
            code = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(CODE_CHARACTERS))
            session = Session(
                code=code, id=session_id, channel_id=channel.id, device=device(device_id, world.pepper).digest,
                started_at=now, expires_at=now + SESSION_MS,
                domain=checked.domain, redirect_url=checked.redirect_url, screen=describe(),
            )  # fmt: skip

            def step(found: Found) -> tuple[Opened, Changes]:
                if found.kept[0] is not None:
                    raise Outdated  # another session has drawn this code: draw again
                return Opened(session_id, session), Changes(kept=(_kept(session),))

            return Keys(world.name, world.version, kept=(code,)), step

        return await context.worlds.ask(caller.environment, prepare)

    async def resume(self, caller: Caller, code: str | Refusal, form: SessionForm) -> Opened:
        """
        Add what `form` says to the session of `code`. Whose device that is the session knows: the second screen
        cannot, so it is not asked.

        Refuses: UnknownSession, InvalidRedirect, UnknownPass, InactiveIntegration.
        """
        context = self._context
        now = context.clock()

        def prepare(world: World) -> Plan[Opened]:
            channel = context.channel(world, caller, now)
            known_code = given(code)
            checked = _checked(world, channel, form)

            def step(found: Found) -> tuple[Opened, Changes]:
                session = _resumed(_alive(found, channel.id, now), checked)
                return Opened(session.id, session), Changes(kept=(_kept(session),))

            return Keys(world.name, world.version, kept=(known_code,)), step

        return await context.worlds.ask(caller.environment, prepare)

    async def find(self, caller: Caller, code: str | Refusal) -> Session:
        """Answer the session of `code`. Refuses: UnknownSession."""
        context = self._context
        now = context.clock()

        def prepare(world: World) -> Plan[Session]:
            context.channel(world, caller, now)
            keys = Keys(world.name, world.version, kept=(given(code),))
            return keys, lambda found: (_alive(found, caller.channel_id, now), NOTHING)

        return await context.worlds.ask(caller.environment, prepare)

    async def destination(self, environment: str, channel_id: str, code: str | Refusal) -> str:
        """
        Answer where a user agent that opens `authenticate` goes: back, because no operator needs to be asked.

        It carries no token, so the URL is checked here even where opening the session did not check it.
        Refuses: UnknownChannel, UnknownSession, UnknownPass, InvalidRedirect.
        """
        now = self._context.clock()

        def prepare(world: World) -> Plan[str]:
            channel = world.channel(channel_id)

            def step(found: Found) -> tuple[str, Changes]:
                session = _alive(found, channel_id, now)
                world.offer(channel, session.pass_id or "")
                return _check_redirect(session.redirect_url, channel), NOTHING

            return Keys(world.name, world.version, kept=(given(code),)), step

        return await self._context.worlds.ask(environment, prepare)

    async def profile(self, caller: Caller, code: str | Refusal, identity: str | None) -> Shown | None:
        """
        Show the trial of a session's device, None while no pass is chosen. `identity` is the header, unread.

        A use case with two calls into the store: only the session says whose ledgers are meant.
        """
        context = self._context
        session = await self.find(caller, code)
        if session.pass_id is None:
            return None
        pass_id, now = session.pass_id, context.clock()

        def ask(world: World) -> trial.Ask:
            offer = world.offer(context.channel(world, caller, now), pass_id)
            subject = Subject(SubjectKind.DEVICE, session.device)
            return ask_of(world, offer, subject, identity, ANYWHERE, identity_needed=True)

        return await self._decisions.show(caller.environment, ask, now)

    def _count(self, environment: str, application_id: str, now: int) -> None:
        """Refuses: TooManySessions. Every session lives half an hour, so the rate bounds their number too."""
        per_s = self._context.policy.sessions_per_s
        taken = take(self._may_open.get((environment, application_id)), Rate(per_s, per_s * BURST_S), now)
        if taken is None:
            raise TooManySessions(
                f"Application {application_id!r} opens over {per_s} sessions a second; wait a second and try again."
            )
        self._may_open[environment, application_id] = taken


def _kept(session: Session) -> Kept:
    return Kept(_KIND, session.code, session.expires_at, _encode(session))


def _alive(found: Found, channel_id: str, now: int) -> Session:
    (kept,) = found.kept
    if kept is not None and kept.kind == _KIND and now < kept.expires_at:
        session = _decode(kept.document)
        if session.channel_id == channel_id:
            return session
    raise UnknownSession("The authentication code is unknown or has expired; create a new session.")


def _checked(world: World, channel: Channel, form: SessionForm) -> SessionForm:
    """
    Answer a form of which all may be kept. Where a pass is chosen a redirect URL is not judged (contract §6.8), but one
    that leads nowhere is left out.

    Refuses: UnknownPass, InactiveIntegration, InvalidRedirect.
    """
    if form.pass_id is not None:
        world.offer(channel, form.pass_id)
        return form if _leads_back(form.redirect_url, channel) else form._replace(redirect_url=None)
    if form.redirect_url is not None:
        _check_redirect(form.redirect_url, channel)
    return form


def _resumed(session: Session, form: SessionForm) -> Session:
    """Add what the second screen knows to what the first one said; its own device stays out of it."""
    return replace(
        session,
        pass_id=form.pass_id or session.pass_id,
        domain=form.domain or session.domain,
        redirect_url=form.redirect_url or session.redirect_url,
    )


def _leads_back(url: str | None, channel: Channel) -> bool:
    return url is not None and leads_to(url, channel.domains, ("https", "http"))


def _check_redirect(url: str | None, channel: Channel) -> str:
    if url is None or not _leads_back(url, channel):
        raise InvalidRedirect("redirectUrl is not an absolute URL on one of the channel's domains.")
    return url
