"""
The use cases of the wire. Each stamps the time and the ids once, builds keys and a pure step from the present world,
and makes one call into the store (worlds.py). This is where time and randomness enter; no adapter and no HTTP is
known here. What a request says is read by a function that the edge hands in, so that the checks run in the order of
the contract: the token, then the channel, then the rest (contract §6.2, design decisions 8.14 and 8.15).
"""

# annotations of the functions that each request makes are not worth evaluating: 5 % of a decision
from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from temppass.core import oauth, trial
from temppass.core.catalogue import RESOURCE_BYTES_MAX, Application, Channel, Offer
from temppass.core.identity import canonical_user_key, device, origin_digest, user_id, user_key, user_key_from_header
from temppass.core.model import (
    ANYWHERE,
    NOTHING,
    Changes,
    Deny,
    DenyCode,
    Device,
    Found,
    Origin,
    PassKind,
    Permit,
    Profile,
    Record,
    Reset,
    Session,
    Spent,
    Subject,
    SubjectKind,
)
from temppass.core.rate import Bucket, Rate, take
from temppass.core.refusal import (
    InvalidIdentity,
    InvalidRedirect,
    InvalidResources,
    TooManyResources,
    TooManySessions,
    UnknownSession,
)
from temppass.core.tokens import ISSUER, Grant, MediaToken, write_access_token, write_media_token
from temppass.core.world import SCOPE_RESET, SCOPE_V2, World
from temppass.store import Keys, LargeLedger, Outdated, Store, StoreBusy, TrialKey
from temppass.sweeper import Sweeper
from temppass.worlds import Plan, Worlds

A = TypeVar("A")

#: an authentication code lives half an hour and has 7 characters (contract §6.8)
SESSION_MS = 1_800_000
CODE_CHARACTERS = 7
#: an application that paused may open the sessions of this many seconds at once
SESSIONS_BURST_S = 10
_CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is mistaken for another on a TV screen
#: media tokens that are signed before others have their turn: 0.3 ms
SIGNED_AT_ONCE = 8
#: how long a large ask waits for those before it, in seconds
LARGE_WAIT_S = 5
#: after a large ask the others have so many times as long for themselves
LARGE_PAUSE = 2
#: rows that one chunk of a narrowed reset looks at
CHUNK = 1_000


class Policy(Struct, frozen=True):
    """What the operator may choose; all lengths of time in milliseconds."""

    issuer: str = ISSUER
    access_token_ms: int = 21_600_000
    media_token_ms: int = 420_000
    media_algorithm: str = "ES256"
    #: for each application, in each process
    sessions_per_s: int = 50


class Viewer(NamedTuple):
    """Who asks, as the headers say: the decoded device id, the identity header unread, the application's id."""

    device_id: bytes
    identity: str | None = None
    app_id: str | None = None


class Issued(NamedTuple):
    """An access token. `issued_at` is in milliseconds."""

    id: str
    access_token: str
    issued_at: int
    lifetime_ms: int
    scopes: tuple[str, ...]


class Decided(NamedTuple):
    """The verdicts of one ask in the order of its titles, each permit with its media token, and when it was asked."""

    verdicts: list[tuple[Permit | Deny, str | None]]
    now: int
    media_token_ms: int


class Shown(NamedTuple):
    """The state of a trial, and whose it is."""

    pass_id: str
    state: Profile | Spent
    user_id: str


class Everybody:
    """The target of a reset that means all devices or all keys: a value of its own, never the absence of one."""


EVERYBODY = Everybody()


class ResetAsk(NamedTuple):
    """What a reset names. `target` is a device id, or the raw or hashed user key, or EVERYBODY."""

    channel_id: str
    pass_id: str
    target: bytes | str | Everybody
    #: the v1 parameters that narrow a device reset, None where absent or empty (design decision 8.1)
    app_id: str | None = None
    device_user: str | None = None


class SessionForm(NamedTuple):
    """What an application says when it creates or resumes a session; None where it says nothing."""

    pass_id: str | None = None
    domain: str | None = None
    redirect_url: str | None = None


class Opened(NamedTuple):
    """A session that was created or resumed; without one where Temp Pass goes straight to authorize."""

    session_id: str
    session: Session | None


class _Narrowed(NamedTuple):
    """A reset of everybody that still has its ledgers to remove, chunk by chunk."""

    keys: Keys
    origin: Origin
    record: Record


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class Service:
    def __init__(self, store: Store, worlds: Worlds, policy: Policy, clock: Callable[[], int] = wall_clock) -> None:
        self._store = store
        self._worlds = worlds
        self._policy = policy
        self._clock = clock
        self.sweeper = Sweeper(store)
        #: sessions that may be opened, by environment and application
        self._sessions: dict[tuple[str, str], Bucket] = {}
        #: titles decided, by permit or the code of the denial
        self.decisions: Counter[str] = Counter()
        #: tell two tokens of one millisecond apart, on every node, without a system call each (contract §8)
        self._large, self._large_from = asyncio.Lock(), 0
        self._node, self._numbers = secrets.token_hex(8), itertools.count()

    # --- registration and tokens

    async def register(self, environment: str, request: oauth.RegistrationRequest) -> oauth.Registration:
        """Refuses: as core.oauth.register."""
        now, client_id, client_secret = self._clock(), str(uuid.uuid4()), secrets.token_urlsafe(32)

        def prepare(world: World) -> Plan[oauth.Registration]:
            registered, client = oauth.register(world, request, now, client_id=client_id, client_secret=client_secret)
            return _keys(world), lambda _found: (registered, Changes(client=client))

        return await self._worlds.ask(environment, prepare)

    async def issue_token(self, environment: str, request: oauth.TokenRequest) -> Issued:
        """Refuses: as core.oauth.grant."""
        now, jti = self._clock(), self._nonce()
        lifetime_ms = self._policy.access_token_ms

        def prepare(world: World) -> Plan[tuple[World, Grant]]:
            return (
                Keys(world.name, world.version, client_id=request.client_id),
                lambda found: ((world, oauth.grant(world, found.client, request, now, lifetime_ms)), NOTHING),
            )

        world, grant = await self._worlds.ask(environment, prepare)
        assert world.keyring is not None
        token = write_access_token(world.keyring, grant, environment, now // 1000, jti, self._policy.issuer)
        # the id names a record that nobody keeps: a random number that costs no system call will do (contract §3.3)
        id_ = str(uuid.UUID(int=random.getrandbits(128), version=4))
        return Issued(id_, token, now, lifetime_ms, tuple(sorted(grant.scopes)))

    # --- decisions

    def authorize(
        self,
        environment: str,
        token: str | None,
        channel_id: str,
        pass_id: str,
        read: Callable[[], tuple[Viewer, Sequence[str]]],
        *,
        large: bool = False,
    ) -> Awaitable[Decided]:
        """Decide the titles that `read` answers; the first permit begins the trial (contract §6.2)."""
        return self._in_turn(
            lambda alone: self._authorize(environment, token, channel_id, pass_id, read, large=alone), large=large
        )

    async def _authorize(
        self,
        environment: str,
        token: str | None,
        channel_id: str,
        pass_id: str,
        read: Callable[[], tuple[Viewer, Sequence[str]]],
        *,
        large: bool,
    ) -> Decided:
        world, ask, verdicts, now = await self._judge(
            trial.authorize, environment, token, channel_id, pass_id, read, large=large
        )
        signed: list[tuple[Permit | Deny, str | None]] = []
        for verdict in verdicts:
            if len(signed) % SIGNED_AT_ONCE == SIGNED_AT_ONCE - 1:
                await asyncio.sleep(0)
            if isinstance(verdict, Permit):
                self.decisions["permit"] += 1
                signed.append((verdict, self._media_token(world, ask, verdict, now)))
            else:
                self.decisions[verdict.code.value] += 1
                signed.append((verdict, None))
        return Decided(signed, now, self._policy.media_token_ms)

    async def preauthorize(
        self,
        environment: str,
        token: str | None,
        channel_id: str,
        pass_id: str,
        read: Callable[[], tuple[Viewer, Sequence[str]]],
        *,
        large: bool = False,
    ) -> list[Permit | Deny]:
        """Judge the titles that `read` answers; begin and consume nothing (contract §6.3)."""
        _, _, verdicts, _ = await self._in_turn(
            lambda alone: self._judge(trial.preauthorize, environment, token, channel_id, pass_id, read, large=alone),
            large=large,
        )
        return verdicts

    def _judge(
        self,
        judge: trial.Judge,
        environment: str,
        token: str | None,
        channel_id: str,
        pass_id: str,
        read: Callable[[], tuple[Viewer, Sequence[str]]],
        *,
        large: bool,
    ) -> Awaitable[tuple[World, trial.Ask, list[Permit | Deny], int]]:
        now = self._clock()

        def prepare(world: World) -> Plan[tuple[World, trial.Ask, list[Permit | Deny], int]]:
            channel = self._channel(world, token, channel_id, now)
            viewer, resources = read()
            offer = world.offer(channel, pass_id)
            if len(resources) > offer.resources_per_call_max:
                raise TooManyResources(f"Name at most {offer.resources_per_call_max} resources in one call.")
            if offer.resource_bytes_max < RESOURCE_BYTES_MAX:
                _check_titles(resources, offer.resource_bytes_max)
            # only an authorize must know the user: a preauthorize without identity goes by the device
            ask = _ask(world, offer, viewer, identity_needed=judge is trial.authorize)

            def step(found: Found) -> tuple[tuple[World, trial.Ask, list[Permit | Deny], int], Changes]:
                verdicts, changes = judge(found, ask, resources, now)
                return (world, ask, verdicts, now), changes

            return _keys(world, offer, ask.subjects, large=large), step

        return self._worlds.ask(environment, prepare)

    async def _in_turn(self, work: Callable[[bool], Awaitable[A]], *, large: bool) -> A:
        """
        Do `work`; if it is large, or a ledger turns out to be, then alone among all that are (`work` is told): what is
        asked of many titles takes long, and everybody else waits for one of those at most, one time in three.

        Raises StoreBusy where its turn does not come.
        """
        if not large:
            try:
                return await work(False)
            except LargeLedger:
                pass
        try:
            await asyncio.wait_for(self._large.acquire(), LARGE_WAIT_S)
        except TimeoutError:
            raise StoreBusy(f"large asks wait for one another for more than {LARGE_WAIT_S} s") from None
        try:
            # no longer, in case somebody puts the clock back
            await asyncio.sleep(min((self._large_from - self._clock()) / 1000, LARGE_WAIT_S))
            began = self._clock()
            try:
                return await work(True)
            finally:
                ended = self._clock()
                self._large_from = ended + LARGE_PAUSE * max(0, ended - began)
        finally:
            self._large.release()

    def _media_token(self, world: World, ask: trial.Ask, permit: Permit, now: int) -> str:
        assert world.keyring is not None
        issued_s, ttl_ms = now // 1000, self._policy.media_token_ms
        viewer_id, jti = user_id(ask.subjects[0]), self._nonce()
        channel_id, pass_id = ask.offer.channel_id, ask.offer.pass_id
        token = MediaToken(
            viewer_id, channel_id, pass_id, permit.resource, issued_s, issued_s + ttl_ms // 1000, ttl_ms, jti,
            self._policy.issuer, world.name,
        )  # fmt: skip
        return write_media_token(world.keyring, token)

    async def profile(
        self, environment: str, token: str | None, channel_id: str, pass_id: str, read: Callable[[], Viewer]
    ) -> Shown:
        """Show the trial of the viewer that `read` answers; begin nothing (contract §6.4)."""
        now = self._clock()

        def prepare(world: World, large: bool) -> Plan[Shown]:  # noqa: FBT001 - of Keys
            channel = self._channel(world, token, channel_id, now)
            viewer = read()
            offer = world.offer(channel, pass_id)
            return _showing(world, _ask(world, offer, viewer, identity_needed=True), now, large=large)

        return await self._show(environment, prepare)

    async def _show(self, environment: str, prepare: Callable[[World, bool], Plan[Shown]]) -> Shown:
        return await self._in_turn(
            lambda alone: self._worlds.ask(environment, lambda world: prepare(world, alone)), large=False
        )

    async def admit(
        self, environment: str, token: str | None, channel_id: str, read: Callable[[World, Channel], A]
    ) -> A:
        """Answer what `read` makes of the channel: for calls that find nothing in the store, e.g. configuration."""
        now = self._clock()

        def prepare(world: World) -> Plan[A]:
            answer = read(world, self._channel(world, token, channel_id, now))
            return _keys(world), lambda _found: (answer, NOTHING)

        return await self._worlds.ask(environment, prepare)

    # --- sessions

    async def create_session(
        self,
        environment: str,
        token: str | None,
        channel_id: str,
        read: Callable[[], tuple[Viewer, SessionForm]],
        describe: Callable[[], Device],
    ) -> Opened:
        """
        Create the session of what `read` answers; where Temp Pass is chosen at once, none is needed. `describe` tells
        of the device, and is asked only where a session is kept.

        Refuses: InvalidRedirect, UnknownPass, InactiveIntegration, TooManySessions. Source: contract §6.8.
        """
        now, session_id = self._clock(), str(uuid.uuid4())

        def prepare(world: World) -> Plan[Opened]:
            application = self._application(world, token, now)
            channel = world.channel_for(application, channel_id)
            viewer, form = read()
            form = _checked(world, channel, form)
            if form.pass_id is not None:
                return _keys(world), lambda _found: (Opened(session_id, None), NOTHING)
            self._count_session(world.name, application.id, now)
            code = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(CODE_CHARACTERS))
            session = Session(
                code=code, id=session_id, channel_id=channel_id, device=device(viewer.device_id, world.pepper).digest,
                started_at=now, expires_at=now + SESSION_MS,
                domain=form.domain, redirect_url=form.redirect_url, screen=describe(),
            )  # fmt: skip

            def step(found: Found) -> tuple[Opened, Changes]:
                if found.session is not None:
                    raise Outdated  # another session has drawn this code: draw again
                return Opened(session_id, session), Changes(session=session)

            return Keys(world.name, world.version, code=code), step

        return await self._worlds.ask(environment, prepare)

    async def resume_session(
        self, environment: str, token: str | None, channel_id: str, read: Callable[[], tuple[str, SessionForm]]
    ) -> Opened:
        """
        Add what `read` says to the session of the code that it answers. Whose device that is the session knows:
        the second screen cannot, so it is not asked.

        Refuses: UnknownSession, InvalidRedirect, UnknownPass, InactiveIntegration. Source: contract §6.8.
        """
        now = self._clock()

        def prepare(world: World) -> Plan[Opened]:
            channel = self._channel(world, token, channel_id, now)
            code, form = read()
            form = _checked(world, channel, form)

            def step(found: Found) -> tuple[Opened, Changes]:
                session = _resumed(_alive(found.session, channel_id, now), form)
                return Opened(session.id, session), Changes(session=session)

            return Keys(world.name, world.version, code=code), step

        return await self._worlds.ask(environment, prepare)

    async def session(self, environment: str, token: str | None, channel_id: str, read: Callable[[], str]) -> Session:
        """Answer the session of the code that `read` answers. Refuses: UnknownSession."""
        now = self._clock()

        def prepare(world: World) -> Plan[Session]:
            self._channel(world, token, channel_id, now)
            return _finding(world, read(), lambda found: _alive(found.session, channel_id, now))

        return await self._worlds.ask(environment, prepare)

    async def destination(self, environment: str, channel_id: str, read: Callable[[], str]) -> str:
        """
        Answer where a user agent that opens `authenticate` goes: back, because no operator needs to be asked.

        It carries no token, so the URL is checked here even where opening the session did not check it.
        Refuses: UnknownChannel, UnknownSession, UnknownPass, InvalidRedirect.
        """
        now = self._clock()

        def prepare(world: World) -> Plan[str]:
            channel = world.channel(channel_id)

            def destination_of(found: Found) -> str:
                session = _alive(found.session, channel_id, now)
                world.offer(channel, session.pass_id or "")
                return _check_redirect(session.redirect_url, channel)

            return _finding(world, read(), destination_of)

        return await self._worlds.ask(environment, prepare)

    async def profile_of_code(
        self, environment: str, token: str | None, channel_id: str, read: Callable[[], str], identity: str | None
    ) -> Shown | None:
        """
        Show the trial of a session's device, None while no pass is chosen.

        The one use case with two calls into the store: only the session says whose ledgers are meant.
        """
        session = await self.session(environment, token, channel_id, read)
        if session.pass_id is None:
            return None
        pass_id, now = session.pass_id, self._clock()

        def prepare(world: World, large: bool) -> Plan[Shown]:  # noqa: FBT001 - of Keys
            offer = world.offer(self._channel(world, token, channel_id, now), pass_id)
            subject = Subject(SubjectKind.DEVICE, session.device)
            ask = _ask_of(world, offer, subject, identity, ANYWHERE, identity_needed=True)
            return _showing(world, ask, now, large=large)

        return await self._show(environment, prepare)

    # --- resets

    async def reset(
        self, environment: str, token: str | None, kind: SubjectKind, read: Callable[[], ResetAsk]
    ) -> Reset:
        """
        Make one subject, or everybody of a kind, new to a pass; idempotent, and true for the very next ask.

        Nobody is known to a basic pass by user key, so there such a reset matches nothing (contract §4.6).
        Refuses: InvalidToken, RevokedApplication, MissingScope, what `read` refuses, then the channel and the pass.
        """
        now, id_ = self._clock(), str(uuid.uuid4())

        def prepare(world: World) -> Plan[Reset | _Narrowed]:
            grant = self._worlds.grant(world, token, now)
            application = world.admit(grant, SCOPE_RESET, now)
            ask = read()
            offer = world.offer(world.channel_for(application, ask.channel_id), ask.pass_id)
            origin = _origin(world, ask.app_id, ask.device_user)
            subject = _target(world, kind, ask.target)
            keys = _keys(world, offer, (subject,) if subject else (), large=True)

            def recorded(matched: int | None) -> Record:
                return Record(
                    id=id_, at=now, action=f"reset.{kind.name.lower()}", channel_id=offer.channel_id,
                    pass_id=offer.pass_id, target=subject.digest.hex() if subject else "all",
                    application_id=application.id, client_id=grant.client_id, matched=matched,
                )  # fmt: skip

            def step(found: Found) -> tuple[Reset | _Narrowed, Changes]:
                if kind is SubjectKind.USER_KEY and offer.kind is PassKind.BASIC:
                    return Reset(id_, 0), Changes(record=recorded(0))
                if subject is not None:
                    matched, changes = trial.reset_subject(found, trial.Ask(offer, (subject,), origin), now)
                    return Reset(id_, matched), Changes(changes.ledgers, changes.floors, record=recorded(matched))
                if origin != ANYWHERE:
                    return _Narrowed(keys, origin, recorded(None)), trial.settled(found, offer, now)
                changes = trial.reset_everybody(found, offer, kind, now)
                return Reset(id_, None), Changes(floors=changes.floors, record=recorded(None))

            return keys, step

        answer = await self._worlds.ask(environment, prepare)
        return answer if isinstance(answer, Reset) else await self._erase(answer, kind)

    async def _erase(self, narrowed: _Narrowed, kind: SubjectKind) -> Reset:
        """No floor can tell a narrowed reset's ledgers from the others, so they go in small chunks."""
        keys, matched = narrowed.keys, 0
        last: bytes | None = b""
        while last is not None:
            try:
                erased, last = await self._store.erase(keys, kind, narrowed.origin, last, CHUNK)
            except Outdated:  # the reset was admitted when it began
                keys = replace(keys, version=(await self._worlds.load(keys.environment)).version)
                continue
            matched += erased
        record = replace(narrowed.record, matched=matched)
        await self._worlds.ask(
            narrowed.keys.environment, lambda world: (_keys(world), lambda _found: (None, Changes(record=record)))
        )
        return Reset(record.id, matched)

    # --- upkeep

    async def tick(self) -> None:
        """Fire the recurring resets that are due and that nobody has asked about, and sweep what is dead."""
        now = self._clock()
        retention_ms: dict[TrialKey, int] = {}
        for environment in await self._store.environments():
            world = await self._worlds.load(environment)
            retention_ms |= world.retention_ms()
            for channel_id, pass_id in world.recurring():

                def prepare(world: World, channel_id: str = channel_id, pass_id: str = pass_id) -> Plan[None]:
                    offer = world.offer(world.channel(channel_id), pass_id)
                    return _keys(world, offer), lambda found: (None, trial.settled(found, offer, now))

                await self._worlds.ask(environment, prepare)
        await self.sweeper.sweep(now, retention_ms)

    async def world(self, environment: str) -> World:
        """Answer the present world, for its public keys and domains."""
        return await self._worlds.ask(environment, lambda world: (_keys(world), lambda _found: (world, NOTHING)))

    @property
    def retries(self) -> int:
        """How many batches ran again because another node changed the same ledger first."""
        return self._store.retries

    async def ready(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        await self._store.ping()

    def _nonce(self) -> str:
        return f"{self._node}{next(self._numbers):x}"

    def _channel(self, world: World, token: str | None, channel_id: str, now: int) -> Channel:
        return world.channel_for(self._application(world, token, now), channel_id)

    def _application(self, world: World, token: str | None, now: int) -> Application:
        return world.admit(self._worlds.grant(world, token, now), SCOPE_V2, now)

    def _count_session(self, environment: str, application_id: str, now: int) -> None:
        """Refuses: TooManySessions. Every session lives half an hour, so the rate bounds their number too."""
        per_s = self._policy.sessions_per_s
        taken = take(self._sessions.get((environment, application_id)), Rate(per_s, per_s * SESSIONS_BURST_S), now)
        if taken is None:
            raise TooManySessions(
                f"Application {application_id!r} opens over {per_s} sessions a second; wait a second and try again."
            )
        self._sessions[environment, application_id] = taken


def _keys(world: World, offer: Offer | None = None, subjects: tuple[Subject, ...] = (), *, large: bool = False) -> Keys:
    trial_key = (offer.channel_id, offer.pass_id) if offer is not None else None
    return Keys(world.name, world.version, trial_key, subjects, large=large)


def _finding(world: World, code: str, read: Callable[[Found], A]) -> Plan[A]:
    return Keys(world.name, world.version, code=code), lambda found: (read(found), NOTHING)


def _check_titles(titles: Sequence[str], bytes_max: int) -> None:
    """Refuses: InvalidResources."""
    if any(len(title.encode()) > bytes_max for title in titles):
        raise InvalidResources(f"A resource of this mvpd is a text of 1 to {bytes_max} bytes of UTF-8.")


def _showing(world: World, ask: trial.Ask, now: int, *, large: bool) -> Plan[Shown]:
    def step(found: Found) -> tuple[Shown, Changes]:
        return Shown(ask.offer.pass_id, trial.profile(found, ask, now), user_id(ask.subjects[0])), NOTHING

    return _keys(world, ask.offer, ask.subjects, large=large), step


def _ask(world: World, offer: Offer, viewer: Viewer, *, identity_needed: bool) -> trial.Ask:
    origin = _origin(world, viewer.app_id, None)
    subject = device(viewer.device_id, world.pepper)
    return _ask_of(world, offer, subject, viewer.identity, origin, identity_needed=identity_needed)


def _ask_of(
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


def _origin(world: World, app_id: str | None, device_user: str | None) -> Origin:
    if not app_id and not device_user:
        return ANYWHERE
    return Origin(
        origin_digest(app_id, world.pepper) if app_id else None,
        origin_digest(device_user, world.pepper) if device_user else None,
    )


def _target(world: World, kind: SubjectKind, target: bytes | str | Everybody) -> Subject | None:
    match target:
        case bytes():
            assert kind is SubjectKind.DEVICE
            return device(target, world.pepper)
        case str():
            assert kind is SubjectKind.USER_KEY
            return user_key(canonical_user_key(target), world.pepper)
        case _:
            return None


def _alive(session: Session | None, channel_id: str, now: int) -> Session:
    if session is None or session.channel_id != channel_id or now >= session.expires_at:
        raise UnknownSession("The authentication code is unknown or has expired; create a new session.")
    return session


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
    return url is not None and oauth.leads_to(url, channel.domains, ("https", "http"))


def _check_redirect(url: str | None, channel: Channel) -> str:
    if url is None or not _leads_back(url, channel):
        raise InvalidRedirect("redirectUrl is not an absolute URL on one of the channel's domains.")
    return url
