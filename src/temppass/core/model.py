"""
The nouns of Temp Pass, frozen: what a pass is, what a ledger remembers, what a step answers and what it changes.

All moments are integer Unix milliseconds (`…_at`), all lengths of time milliseconds (`…_ms`).
Words as in docs/glossary.md.
"""

from enum import IntEnum, StrEnum

from msgspec import Struct


class PassKind(StrEnum):
    #: limited in time, bound to a device
    BASIC = "basic"
    #: limited in time and number of titles, bound to a device and a hashed user key
    PROMOTIONAL = "promotional"


class SubjectKind(IntEnum):
    DEVICE = 0
    USER_KEY = 1


class Subject(Struct, frozen=True, gc=False):
    """Whom a ledger belongs to. `digest` is 16 bytes, keyed with the environment's pepper (core/identity.py)."""

    kind: SubjectKind
    digest: bytes


class Origin(Struct, frozen=True, gc=False):
    """Digests of the application and device user a ledger was created for; None where the ask named none."""

    app_id: bytes | None = None
    device_user: bytes | None = None

    def matches(self, wanted: "Origin") -> bool:
        """Tell whether every part that `wanted` names is equal here (design decision 8.1)."""
        return (wanted.app_id is None or wanted.app_id == self.app_id) and (
            wanted.device_user is None or wanted.device_user == self.device_user
        )


ANYWHERE = Origin()


class Ledger(Struct, frozen=True):
    """One subject's trial under one (channel, pass)."""

    started_at: int
    expires_at: int
    #: counts only while at or above the floor of its kind of subject
    generation: int
    #: titles permitted so far, in order; always empty for a pass without a limit of titles
    used: tuple[str, ...] = ()
    origin: Origin = ANYWHERE
    #: titles given on top of what the pass allows
    bonus: int = 0


class Floors(Struct, frozen=True, gc=False):
    """
    Where the ledgers of one integration stand, for each kind of subject: a ledger counts at or above the floor, and a
    new one is born at the generation, which is the floor or, once a reset was undone, ahead of it.
    """

    device: int = 0
    user_key: int = 0
    #: due moment of the recurring reset that fired last
    fired_at: int = 0
    device_ahead: int = 0
    user_key_ahead: int = 0

    def of(self, kind: SubjectKind) -> int:
        return self.device if kind is SubjectKind.DEVICE else self.user_key

    def generation(self, kind: SubjectKind) -> int:
        if kind is SubjectKind.DEVICE:
            return self.device + self.device_ahead
        return self.user_key + self.user_key_ahead

    def raised(self, kind: SubjectKind) -> "Floors":
        """The next generation begins, and only what is born in it counts."""
        return self._with(kind, self.generation(kind) + 1, 0)

    def lowered(self, kind: SubjectKind, floor: int) -> "Floors":
        """What counted from `floor` on counts again; the generation stays, because it never goes back."""
        return self._with(kind, floor, self.generation(kind) - floor)

    def _with(self, kind: SubjectKind, floor: int, ahead: int) -> "Floors":
        if kind is SubjectKind.DEVICE:
            return Floors(floor, self.user_key, self.fired_at, ahead, self.user_key_ahead)
        return Floors(self.device, floor, self.fired_at, self.device_ahead, ahead)


class Raise(Struct, frozen=True, gc=False):
    """
    A reset of everybody that stands, for one kind of subject: the act `act_id` began `generation` at the moment `at`,
    when ledgers counted from `floor_before` on.
    """

    kind: SubjectKind
    generation: int
    floor_before: int
    at: int
    act_id: str


class Kept(Struct, frozen=True):
    """A document that is kept until `expires_at` and then forgotten. Its `key` is unlike any other kind's."""

    kind: str
    key: str
    expires_at: int
    document: bytes


#: the statement of all that programs of before handed out, which list none; and of a client, when it was used
OLDER, NEVER, UNKNOWN = "", 0, -1
#: how exactly a client's last use is kept
GRAIN_MS = 30 * 86_400_000


class Client(Struct, frozen=True):
    """Credentials handed out by register. The secret itself is never kept."""

    id: str
    application_id: str
    #: the application's epoch at registration; a revocation raises the application's epoch past it
    epoch: int
    secret_hash: bytes
    issued_at: int
    #: the id of the software statement that it registered with, or OLDER
    statement_id: str = OLDER
    #: when it asked for a token last, to thirty days; NEVER, or UNKNOWN of one that a program of before registered
    used_at: int = NEVER


class Use(Struct, frozen=True, gc=False):
    """That a client or a statement, by its id, was used last at a moment."""

    environment: str
    id: str
    at: int


class Registered(Struct, frozen=True):
    """A client as it is shown, without its secret; `at` is the moment of its registration, the rest as of Client."""

    id: str
    at: int
    statement_id: str = OLDER
    used_at: int = NEVER


class Listed(Struct, frozen=True):
    """A software statement that counts: one that was minted and not revoked since. It ends at `ends_at`, if ever."""

    id: str
    application_id: str
    #: the application's at minting, as of Client
    epoch: int
    #: the key that signed it
    kid: str
    minted_at: int
    #: `kind:name`
    minted_by: str
    ends_at: int | None = None

    def has_ended(self, now: int) -> bool:
        """Tell whether it has come to an end by itself."""
        return self.ends_at is not None and now >= self.ends_at


class EndedKind(StrEnum):
    CLIENT = "client"
    #: of an application: all that it was given by programs that list no statements
    OLDER = "older"


class Ended(Struct, frozen=True):
    """
    What was revoked and is remembered until a moment, because what it left behind speaks for itself: a client until
    its last token has ended; for good what an application was given in one of its epochs.
    """

    kind: EndedKind
    id: str
    epoch: int = 0
    until: int | None = None


class Device(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """
    What a session tells the second screen about the first: flat, in the words of `X-Device-Info` (contract §11.1),
    because that is all that the vendor's objects are made of (web/device.py). No address is among them.
    """

    primary_hardware_type: str | None = None
    model: str | None = None
    version: str | None = None
    manufacturer: str | None = None
    vendor: str | None = None
    os_name: str | None = None
    os_family: str | None = None
    os_vendor: str | None = None
    os_version: str | None = None
    browser_name: str | None = None
    browser_vendor: str | None = None
    browser_version: str | None = None
    user_agent: str | None = None
    #: the header `User-Agent`
    original_user_agent: str | None = None
    display_width: str | None = None
    display_height: str | None = None
    display_ppi: str | None = None
    diagonal_screen_size: str | None = None
    application_id: str | None = None
    connection_type: str | None = None
    connection_port: str | None = None
    connection_secure: str | None = None


class Session(Struct, frozen=True):
    """An authentication session, found by its code for half an hour."""

    code: str
    id: str
    channel_id: str
    #: digest of the first screen's device, never the device id
    device: bytes
    started_at: int
    expires_at: int
    pass_id: str | None = None
    domain: str | None = None
    redirect_url: str | None = None
    #: the first screen; under a name that the version before does not read, because its `info` had another shape
    screen: Device = Device()


class Recorded(Struct, frozen=True):
    """A record as it is kept: what core/act.py wrote, under its id and moment, and what it is looked for by."""

    id: str
    at: int
    document: bytes
    kind: str = ""
    #: `kind:name`
    actor: str = ""
    channel_id: str | None = None
    pass_id: str | None = None
    #: digests
    subjects: tuple[bytes, ...] = ()


class Count(Struct, frozen=True, gc=False):
    """How often something happened in one minute (of Unix time) of an integration."""

    environment: str
    minute: int
    channel_id: str
    pass_id: str
    what: str
    n: int


class Server(Struct, frozen=True):
    """A server that is up: when it said so last, and what it told of itself (service/register.py)."""

    id: str
    seen_at: int
    document: bytes


class Rewritten(Struct, frozen=True):
    """An environment as it is to be from now on (core/world.py); its version is one more than before."""

    version: int
    document: bytes


class Found(Struct, frozen=True):
    """What the store knows of the keys that a step named; `ledgers` and `kept` in the order of what was named."""

    floors: Floors
    ledgers: tuple[Ledger | None, ...] = ()
    client: Client | None = None
    kept: tuple[Kept | None, ...] = ()
    #: the resets of everybody that stand, by kind, the oldest first; only where they were asked for
    raises: tuple[Raise, ...] = ()


class Changes(Struct, frozen=True):
    """What a step concludes. Empty fields change nothing; a ledger of None is removed."""

    ledgers: tuple[tuple[Subject, Ledger | None], ...] = ()
    floors: Floors | None = None
    client: Client | None = None
    kept: tuple[Kept, ...] = ()
    records: tuple[Recorded, ...] = ()
    raises: tuple[Raise, ...] = ()
    #: resets of everybody that do not stand any more
    undone: tuple[Raise, ...] = ()
    environment: Rewritten | None = None
    #: only along with a rewritten environment, or other nodes would not hear of it: statements that count from now on,
    #: ids of those that do not any more, what is remembered as ended, and the id of a client that is one no more
    listed: tuple[Listed, ...] = ()
    unlisted: tuple[str, ...] = ()
    ended: tuple[Ended, ...] = ()
    removed_client: str | None = None


NOTHING = Changes()


class DenyCode(StrEnum):
    """Why a title was denied: the wire's words (contract §7.1)."""

    DURATION = "temporary_access_duration_limit_exceeded"
    RESOURCES = "temporary_access_resources_limit_exceeded"
    CONFIGURATION = "invalid_configuration_temporary_access"
    IDENTITY = "invalid_header_identity_for_temporary_access"


class Permit(Struct, frozen=True, gc=False):
    resource: str
    started_at: int
    expires_at: int


class Deny(Struct, frozen=True, gc=False):
    resource: str
    code: DenyCode


class Profile(Struct, frozen=True):
    """The state of a trial, or the projection of one that has not begun. `remaining` is None for a basic pass."""

    started_at: int
    expires_at: int
    remaining: int | None
    used: tuple[str, ...]


class Spent(Struct, frozen=True, gc=False):
    """A profile that cannot be shown, and why."""

    code: DenyCode


class TrialState(StrEnum):
    #: no ledger of the ask counts: an authorize would begin a trial
    NEW = "new"
    RUNNING = "running"
    #: the time is over, whatever the titles
    OVER = "over"
    #: time is left, and no title
    USED_UP = "used_up"


class Standing(Struct, frozen=True):
    """Where a trial stands: its window and titles in every state, projected where it is new."""

    state: TrialState
    started_at: int
    expires_at: int
    used: tuple[str, ...]
    #: with the bonus; None for a basic pass
    resources_max: int | None


class Reset(Struct, frozen=True, gc=False):
    """A reset that was done. `matched` is None where counting would need a scan."""

    id: str
    matched: int | None
