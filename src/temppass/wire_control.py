"""
The JSON shapes of the control API, in both directions. Members are in snake_case, moments texts in UTC with
milliseconds (RFC 3339), problems those of RFC 9457.

Bodies forbid what they do not know: a target that is misspelt must not mean everybody.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, convert, field, to_builtins

from temppass.core.act import Actor, Record, actor_word, kind_word
from temppass.core.calendar import Effect
from temppass.core.explain import State
from temppass.core.keys import KeyState
from temppass.core.model import Subject, SubjectKind, TrialState
from temppass.core.operator import Role
from temppass.core.viewer import WORDS


def moment(ms: int) -> str:
    """Write down Unix milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(ms: int) -> str:
    """Write down the day of Unix milliseconds, in UTC."""
    return moment(ms)[:10]


def read_moment(text: str) -> int:
    """Answer Unix milliseconds. Raises ValueError for what is no moment, or has no zone."""
    read = datetime.fromisoformat(text)
    if read.tzinfo is None:
        raise ValueError("a moment needs a zone, e.g. Z")
    return round(read.timestamp() * 1000)


SubjectWord = Literal["device", "key"]


class Receipt(Struct, frozen=True):
    """`id` is the act's."""

    id: str


class Problem(Struct, frozen=True):
    """What is wrong (RFC 9457): `title` and `status` of HTTP, `code` for programs, `detail` for people."""

    title: str
    status: int
    code: str
    detail: str


# --- operators


class OperatorShape(Struct, frozen=True):
    """An operator. No environments, or no channels, are all of them."""

    name: str
    role: Role
    environments: tuple[str, ...]
    channels: tuple[str, ...]
    ends_at: str
    created_at: str
    revoked: bool


class Operators(Struct, frozen=True):
    operators: list[OperatorShape]


class OperatorBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be created; without `ends_at`, for 90 days."""

    name: str
    role: Role
    environments: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    ends_at: str | UnsetType = UNSET


class OperatorCreated(Struct, frozen=True):
    """`id` is the act's. The token is told once."""

    id: str
    token: str
    ends_at: str


# --- acts


class ActsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Which acts are looked for: those that every member fits; of several values any, and of several viewers any.

    `actors` are written `operator:anna`, `application:ops`, `shell:root` and `schedule`; `subjects` are digests in hex;
    `device` is an id or the value of AP-Device-Identifier, `key` a user key, hashed or raw.
    """

    since: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    actors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    # `pass` is no name in Python
    pass_: str | UnsetType = field(name="pass", default=UNSET)
    subjects: tuple[str, ...] = ()
    device: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    after: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class ActorShape(Struct, frozen=True):
    """Who acted: an application, an operator, a shell on the store, or a schedule, which has no name."""

    kind: Literal["application", "schedule", "shell", "operator"]
    name: str


class ActShape(Struct, frozen=True):
    """
    An act on record. `sequence` is its place in the chain, null while it has none. Beside these members stand the act's
    own; subjects are digests in hex.
    """

    id: str
    sequence: int | None
    at: str
    kind: str
    actor: ActorShape
    reason: str | None
    channel: str | None
    pass_: str | None = field(name="pass")
    matched: int | None


class ActsShape(Struct, frozen=True):
    """
    A page of acts, the newest first. `next` is what to send as `after`, null at the end. What was done up to
    `kept_since` is kept no more; null while everything is.
    """

    records: list[ActShape]
    next: int | None
    kept_since: str | None


#: what members of acts are called in JSON; None for those that ActShape has
_MEMBERS = {"channel_id": None, "pass_id": None, "matched": None, "application_id": "application", "act_id": "act"}


def actor_shape(actor: Actor) -> ActorShape:
    return actor_of_word(actor_word(actor))


def actor_of_word(word: str) -> ActorShape:
    """Answer an actor that was written as `kind:name`."""
    kind, _, name = word.partition(":")
    return convert({"kind": kind, "name": name}, ActorShape)


def act_shape(sequence: int | None, record: Record) -> dict[str, object]:
    """Answer a record as ActShape, with the act's own members beside."""
    done = record.act
    shape = ActShape(
        record.id,
        sequence,
        moment(record.at),
        kind_word(done),
        actor_shape(record.actor),
        record.reason,
        getattr(done, "channel_id", None),
        getattr(done, "pass_id", None),
        getattr(done, "matched", None),
    )
    own = {
        _MEMBERS.get(name) or name: _told(name, getattr(done, name))
        for name in done.__struct_fields__
        if _MEMBERS.get(name, name) is not None
    }
    return {**to_builtins(shape), **own}


def _told(name: str, value: object) -> object:
    match value:
        case SubjectKind():
            return WORDS[value]
        case Subject(digest=digest):
            return digest.hex()
        case bytes():
            return value.hex()
        case int() if name.endswith(("_at", "_until", "_before")):
            return moment(value)
        case tuple() | list():
            return [_told("", each) for each in value]
        case Struct():
            return {each: _told(each, getattr(value, each)) for each in value.__struct_fields__}
        case _:
            return value


# --- schedules


class DueShape(Struct, frozen=True):
    """A moment that will be due: in UTC, and as the clock on the wall shows it where the channel is.

    `effect` is told where the clocks change: the time is `skipped` that day and counts at the end of the gap, or comes
    `twice` and counts the first time.
    """

    at: str
    local: str
    effect: Effect | None


class FiredShape(Struct, frozen=True):
    """A recurring reset that was done; `id` is the act's."""

    id: str
    at: str
    due_at: str


class ScheduleShape(Struct, frozen=True):
    """The recurring reset of a pass on a channel: the next moments, the last ones, and since when it is paused."""

    channel: str
    # `pass` is no name in Python
    pass_: str = field(name="pass")
    cron: str
    timezone: str
    paused_at: str | None
    next: list[DueShape]
    last: list[FiredShape]


class SchedulesShape(Struct, frozen=True):
    schedules: list[ScheduleShape]


class ScheduleBody(Struct, frozen=True, forbid_unknown_fields=True):
    paused: bool


# --- counters


class PointShape(Struct, frozen=True):
    """What happened from `at` on, for one step: how often, by word: `permit`, `trial`, `reset`, code of a denial."""

    at: str
    channel: str
    # `pass` is no name in Python
    pass_: str = field(name="pass")
    counts: dict[str, int]


class CountersShape(Struct, frozen=True):
    """`step` is written as durations in the catalogue are."""

    step: str
    points: list[PointShape]


# --- the catalogue, whose tables are those of its file (docs/reference.md)


class CataloguePlan(Struct, frozen=True):
    """What applying would do, a line each, and to which version."""

    version: int
    differences: list[str]


class CatalogueApplied(Struct, frozen=True):
    """`id` is the act's, null where nothing changed; `version` holds now."""

    id: str | None
    version: int
    differences: tuple[str, ...]


# --- applications


class ApplicationShape(Struct, frozen=True):
    """
    Who may speak here. `channels` is null for all of them; `clients` counts those that may ask for tokens, 10,000 at
    most; all that the application had been given until `revoked_at` has ended, null where that never was.
    """

    id: str
    name: str
    channels: tuple[str, ...] | None
    scopes: tuple[str, ...]
    domains: tuple[str, ...]
    clients: int
    revoked_at: str | None


class ApplicationsShape(Struct, frozen=True):
    applications: list[ApplicationShape]


class ClientShape(Struct, frozen=True):
    """
    One that registered with a statement: an installation of the application. `statement` is the statement's id, or
    `older`; `used_on` the day of the last token that it asked for, to 30 days; null for none, or where nobody knows.
    """

    id: str
    registered_at: str
    statement: str
    used_on: str | None


class ClientsShape(Struct, frozen=True):
    """A page of clients, the last to register first. `next` is what to send as `after`, null at the end."""

    clients: list[ClientShape]
    next: str | None


class StatementBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a statement is to be: when it ends, with all that comes of it, never without `ends_at`; and why."""

    ends_at: str | UnsetType = UNSET
    reason: str = ""


class StatementMinted(Struct, frozen=True):
    """`id` is the act's, and the statement's `jti`. The statement is told once; `ends_at` is null for no end."""

    id: str
    statement: str
    ends_at: str | None


class StatementShape(Struct, frozen=True):
    """
    A statement that was not revoked. The `id` `older` stands for all that the application was given before statements
    were listed, of which nobody knows when or by whom. `used_on` is the day when a client registered with it, or asked
    for a token, last: null for none; `clients` counts 1,000 at most.
    """

    id: str
    minted_at: str | None
    minted_by: ActorShape | None
    ends_at: str | None
    used_on: str | None
    clients: int


class StatementsShape(Struct, frozen=True):
    statements: list[StatementShape]


# --- signing keys


class KeyShape(Struct, frozen=True):
    """
    A key of the key set. Moments are null where nobody knows, as of keys of before; `until` is when it verifies no
    token any more, null while it may sign. A statement that it signed keeps it for longer.
    """

    kid: str
    kind: str
    alg: str
    state: KeyState
    made_at: str | None
    signs_from: str | None
    until: str | None


class KeysShape(Struct, frozen=True):
    keys: list[KeyShape]


class RotationBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why keys are rotated; with `compromised` every present one ends at once, with all that it signed."""

    compromised: bool = False
    reason: str = ""


class MintAnewShape(Struct, frozen=True):
    """A statement that ended with its key; `id` is null for all that were minted before ids were kept."""

    application: str
    id: str | None


class KeysRotated(Struct, frozen=True):
    """`id` is the act's, `kids` are the new keys, which sign from a moment on."""

    id: str
    kids: tuple[str, ...]
    signs_from: str
    mint_anew: list[MintAnewShape]


# --- explain


class ExplainBody(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A viewer, in one or two of the first four; `subject` is a digest that an explanation told. With `channel` and `pass`
    one explanation, else a list; `title` is one that nobody has watched where it is left out.
    """

    device: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    pass_: str | UnsetType = field(default=UNSET, name="pass")
    title: str | UnsetType = UNSET


class NextShape(Struct, frozen=True):
    """What the next authorize would answer; `code` is the wire's where it denies."""

    authorized: bool
    code: str | None


class SubjectShape(Struct, frozen=True):
    """
    One device or user key by itself: `subject` is its digest in hex, moments are null where it has no trial, `titles`
    those watched and `titles_max` with the granted ones (`bonus`); null for a pass that does not count them.
    """

    kind: SubjectWord
    subject: str
    state: State
    started_at: str | None
    expires_at: str | None
    titles: tuple[str, ...]
    titles_max: int | None
    bonus: int


class JoinedShape(Struct, frozen=True):
    """What the subjects have together, which is what a decision goes by. Moments are null where nothing has begun."""

    state: TrialState
    started_at: str | None
    expires_at: str | None
    titles: tuple[str, ...]
    titles_max: int | None


class HelpShape(Struct, frozen=True):
    """What would permit the next title: a reset of `subjects`, or a grant to them of at least so much."""

    act: Literal["reset", "grant"]
    subjects: tuple[str, ...]
    minutes: int
    titles: int


class Explanation(Struct, frozen=True):
    """Why a viewer may watch or may not: `because` is to be read out."""

    channel: str
    pass_: str = field(name="pass")
    because: str
    next: NextShape
    subjects: list[SubjectShape]
    joined: JoinedShape | None
    helps: list[HelpShape]
    acts: list[ActShape]
    warnings: tuple[str, ...]


class Explanations(Struct, frozen=True):
    """One for each integration in which the viewer has, or had, a trial; `because` says so where there is none."""

    because: str
    explanations: list[Explanation]
    warnings: tuple[str, ...]
