"""
What somebody did to the state, never what a viewer asked: one struct an act, who acted, and the record of it at rest.

A record is committed together with what it records. It gets its place in the chain of its environment afterwards
(`sealed`), under a key that only the service has: a sealed record that was changed, inserted, moved or taken out is
found by `faults`. Whoever has seen sequence n has seen everything up to n, because sequences are given in one order
to what is committed already.

Source: docs/design.md (acts and records).
"""

import hmac
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from temppass.core.model import Origin, Recorded, Subject, SubjectKind
from temppass.core.operator import Role

#: of a link of the chain: HMAC-SHA-256
LINK_BYTES = 32

_RECURRING = uuid.UUID("0f0d1c0e-7b3a-5e7e-9d1f-6a5f0f9f4c52")
_ROTATION = uuid.UUID("b3a6a2f4-51c7-5d0b-8f3e-2f6d7c9e4a10")


# --- who acted


class ByApplication(Struct, frozen=True, tag="application", tag_field="kind"):
    """An application over the vendor's wire, through one of its clients."""

    id: str
    client_id: str


class BySchedule(Struct, frozen=True, tag="schedule", tag_field="kind"):
    """The service itself, because a pass declares it."""


class ByShell(Struct, frozen=True, tag="shell", tag_field="kind"):
    """A person at a shell who can open the store; `user` is the name that the system knows, "" where it knows none."""

    user: str = ""


class ByOperator(Struct, frozen=True, tag="operator", tag_field="kind"):
    """An operator through the control API, in the role that they had then."""

    name: str
    role: Role


Actor = ByApplication | BySchedule | ByShell | ByOperator


def actor_word(actor: Actor) -> str:
    """Answer an actor as `kind:name`, by which acts are looked for; a schedule has no name."""
    match actor:
        case ByApplication(id=name):
            return f"application:{name}"
        case BySchedule():
            return "schedule"
        case ByShell(user=name):
            return f"shell:{name}"
        case ByOperator(name=name):
            return f"operator:{name}"
        case _:
            assert_never(actor)


# --- what was done


class SubjectReset(Struct, frozen=True, tag="reset", tag_field="kind"):
    """One viewer is new to a pass again. `matched` counts the ledgers that were removed."""

    channel_id: str
    pass_id: str
    subjects: tuple[Subject, ...]
    matched: int
    origin: Origin | None = None


class Planned(Struct, frozen=True):
    """How many ledgers a reset was about to touch, counted or estimated, when somebody decided on it."""

    running: int
    over: int
    exact: bool


class EverybodyReset(Struct, frozen=True, tag="reset.everybody", tag_field="kind"):
    """
    A floor was raised for each of `kinds`. At the desk it was planned, and where a pass wants two persons for it,
    `approval` is the act by which the first of them asked.
    """

    channel_id: str
    pass_id: str
    kinds: tuple[SubjectKind, ...]
    planned: Planned | None = None
    approval: str | None = None


class NarrowedReset(Struct, frozen=True, tag="reset.narrowed", tag_field="kind"):
    """
    Ledgers of one kind of subject (None: of both) are removed chunk by chunk: those of an origin, those that are over,
    those that began before a moment. This record precedes the first chunk. The rest as in EverybodyReset.
    """

    channel_id: str
    pass_id: str
    subject_kind: SubjectKind | None
    origin: Origin
    over: bool = False
    started_before: int | None = None
    planned: Planned | None = None
    approval: str | None = None


class NarrowedResetEnd(Struct, frozen=True, tag="reset.narrowed.end", tag_field="kind"):
    """The narrowed reset `reset_id` has gone through all ledgers; one without such an end was broken off."""

    reset_id: str
    matched: int


class RecurringReset(Struct, frozen=True, tag="reset.recurring", tag_field="kind"):
    """Both floors were raised because the moment `due_at` had come."""

    channel_id: str
    pass_id: str
    due_at: int


class Undo(Struct, frozen=True, tag="undo", tag_field="kind"):
    """
    The reset or the grant `act_id` was taken back. `matched` counts the ledgers that returned, None where that would
    need a scan or is told at the end (UndoEnd); `replaced` the trials that had begun since.
    """

    act_id: str
    matched: int | None
    replaced: int
    channel_id: str
    pass_id: str
    subjects: tuple[Subject, ...] = ()


class UndoEnd(Struct, frozen=True, tag="undo.end", tag_field="kind"):
    """The undo `undo_id` of a narrowed reset has gone through all chunks; one without such an end was broken off."""

    undo_id: str
    matched: int
    replaced: int


class Grant(Struct, frozen=True, tag="grant", tag_field="kind"):
    """Time or titles were given on top of the trials of one viewer; `matched` counts the ledgers that gained."""

    channel_id: str
    pass_id: str
    subjects: tuple[Subject, ...]
    matched: int
    minutes: int = 0
    titles: int = 0


class ApprovalAsk(Struct, frozen=True, tag="approval.ask", tag_field="kind"):
    """Somebody wants to reset everybody of `kinds`, or a part of them, and another person has to say yes."""

    channel_id: str
    pass_id: str
    kinds: tuple[SubjectKind, ...]
    origin: Origin
    over: bool
    started_before: int | None
    planned: Planned


class ApprovalDecline(Struct, frozen=True, tag="approval.decline", tag_field="kind"):
    """What the act `act_id` asked for is not done."""

    act_id: str
    channel_id: str
    pass_id: str


class CatalogueApply(Struct, frozen=True, tag="catalogue.apply", tag_field="kind"):
    version: int
    description: str
    differences: tuple[str, ...]


class StatementMint(Struct, frozen=True, tag="statement.mint", tag_field="kind"):
    """The application was given a statement, whose `jti` is the id of this act, until a moment, if any."""

    application_id: str
    ends_at: int | None = None


class StatementRevoke(Struct, frozen=True, tag="statement.revoke", tag_field="kind"):
    """
    One statement of the application has ended, and all that came from it; OLDER is what was given by programs that list
    no statements. None: all that the application was given so far.
    """

    application_id: str
    statement_id: str | None = None


class ClientRevoke(Struct, frozen=True, tag="client.revoke", tag_field="kind"):
    """One installation of the application has to register again."""

    application_id: str
    client_id: str


class KeysRotate(Struct, frozen=True, tag="keys.rotate", tag_field="kind"):
    """
    Signing keys were made, and are known as `kids`. Where the present ones were compromised they are those that `ended`
    at once, and all that they had signed with them.
    """

    kids: tuple[str, ...]
    compromised: bool
    ended: tuple[str, ...] = ()


class SchedulePause(Struct, frozen=True, tag="schedule.pause", tag_field="kind"):
    """No moment of a recurring reset is due from now on."""

    channel_id: str
    pass_id: str


class ScheduleResume(Struct, frozen=True, tag="schedule.resume", tag_field="kind"):
    """A recurring reset goes on; what fell due meanwhile is skipped."""

    channel_id: str
    pass_id: str


class OperatorCreate(Struct, frozen=True, tag="operator.create", tag_field="kind"):
    """Somebody may act from now on. No environments, or no channels, are all of them."""

    name: str
    role: Role
    environments: tuple[str, ...]
    channels: tuple[str, ...]
    ends_at: int


class OperatorRevoke(Struct, frozen=True, tag="operator.revoke", tag_field="kind"):
    name: str


class SecretRotate(Struct, frozen=True, tag="secret.rotate", tag_field="kind"):
    """Everything that these environments and the house keep to themselves was sealed under another secret."""

    environments: tuple[str, ...]


class OlderAct(Struct, frozen=True, tag="older", tag_field="kind"):
    """What the first version of this program recorded, as it stands in its document."""

    action: str
    detail: dict[str, Any]


Act = (
    SubjectReset
    | EverybodyReset
    | NarrowedReset
    | NarrowedResetEnd
    | RecurringReset
    | Undo
    | UndoEnd
    | Grant
    | ApprovalAsk
    | ApprovalDecline
    | CatalogueApply
    | StatementMint
    | StatementRevoke
    | KeysRotate
    | ClientRevoke
    | SchedulePause
    | ScheduleResume
    | OperatorCreate
    | OperatorRevoke
    | SecretRotate
    | OlderAct
)


def is_one_viewer(subjects: Iterable[Subject]) -> bool:
    """Tell whether subjects can be those of one viewer: a device, a user key, or one of each."""
    kinds = [subject.kind for subject in subjects]
    return 0 < len(kinds) == len(set(kinds))


# --- the record


class Record(Struct, frozen=True):
    """An act at rest. `id` is known to whoever acted (`TempPass-Reset-Id`), `at` is Unix milliseconds."""

    id: str
    at: int
    actor: Actor
    act: Act
    reason: str | None = None


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Record).decode
_older = msgspec.json.Decoder(dict[str, Any]).decode


def recorded(record: Record) -> Recorded:
    """Answer the record as it is kept: canonical JSON, the same bytes for the same record, which the chain rests on."""
    return _looked_for(record, _encode(record))


def _looked_for(record: Record, document: bytes) -> Recorded:
    what = record.act
    subjects: tuple[Subject, ...] = getattr(what, "subjects", ())
    return Recorded(
        record.id,
        record.at,
        document,
        kind_word(what),
        actor_word(record.actor),
        getattr(what, "channel_id", None),
        getattr(what, "pass_id", None),
        tuple(subject.digest for subject in subjects),
    )


def kind_word(what: Act) -> str:
    """Answer the kind of an act, by which it is looked for."""
    return str(type(what).__struct_config__.tag)


def refers_to(what: Act) -> str | None:
    """Answer the id of the act that one rests on: that it takes back, ends, declines or does as was asked for."""
    names = ("act_id", "reset_id", "undo_id", "approval")
    return next((id_ for name in names if (id_ := getattr(what, name, None)) is not None), None)


class Wanted(Struct, frozen=True):
    """Which records are looked for: those that every part which is given fits; of several values any."""

    #: moments, the first included and the last not
    since: int | None = None
    until: int | None = None
    kinds: tuple[str, ...] = ()
    #: as `actor_word` writes them
    actors: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    pass_id: str | None = None
    #: digests
    subjects: tuple[bytes, ...] = ()

    def fits(self, record: Recorded) -> bool:
        return (
            (self.since is None or record.at >= self.since)
            and (self.until is None or record.at < self.until)
            and (not self.kinds or record.kind in self.kinds)
            and (not self.actors or record.actor in self.actors)
            and (not self.channels or record.channel_id in self.channels)
            and (self.pass_id is None or record.pass_id == self.pass_id)
            and (not self.subjects or not set(self.subjects).isdisjoint(record.subjects))
        )


def read_record(document: bytes) -> Record:
    """Read a record that `recorded` or the first version of this program wrote."""
    fields = _older(document)
    if "act" in fields:
        return _decode(document)
    id_, at, action = fields.pop("id"), fields.pop("at"), fields.pop("action")
    application_id, client_id = fields.pop("application_id", None), fields.pop("client_id", None)
    actor: Actor = ByApplication(application_id, client_id or "") if application_id else ByShell()
    return Record(
        id_, at, actor, OlderAct(action, {name: value for name, value in fields.items() if value is not None})
    )


def recurring_id(environment: str, channel_id: str, pass_id: str, due_at: int) -> str:
    """Name a recurring reset by what it is, so that two nodes cannot make two of it."""
    return str(uuid.uuid5(_RECURRING, f"{environment}/{channel_id}/{pass_id}/{due_at}"))


def rotation_id(environment: str, kid: str) -> str:
    """Name a rotation by the key that has grown old, so that two nodes cannot make two of it."""
    return str(uuid.uuid5(_ROTATION, f"{environment}/{kid}"))


# --- the chain


class Link(Struct, frozen=True):
    """A record's place in its chain: `sequence` counts from 1 without gaps, `hash` covers it and all before it."""

    sequence: int
    hash: bytes


#: before the first record
NO_LINK = Link(0, bytes(LINK_BYTES))


class Sealed(Struct, frozen=True):
    """A record's document and its place in the chain."""

    link: Link
    document: bytes


def sealed(key: bytes, head: Link, documents: Iterable[bytes]) -> list[Link]:
    """Answer the links of `documents`, in their order, that follow `head`."""
    links = []
    for document in documents:
        head = Link(head.sequence + 1, _hash(key, head, document))
        links.append(head)
    return links


def faults(key: bytes, chain: Iterable[Sealed], after: Link) -> Iterator[str]:
    """
    Tell, a sentence each, what is wrong with a part of a chain: nothing where every record is as it was sealed.

    `chain` is in the order of its sequences and follows `after`. What comes behind it is not known here: `loose_ends`.
    """
    for entry in chain:
        if entry.link.sequence != after.sequence + 1:
            yield f"record {entry.link.sequence} follows record {after.sequence}: what was between them is gone"
        elif entry.link.hash != _hash(key, after, entry.document):
            yield f"record {entry.link.sequence} is not what was sealed at its place"
        after = Link(entry.link.sequence, entry.link.hash or b"")  # a database lets somebody empty it


#: what a record is looked for by
_WORDS = {
    "id": "id",
    "moment": "at",
    "kind": "kind",
    "actor": "actor",
    "channel": "channel_id",
    "pass": "pass_id",
    "viewers": "subjects",
}


def is_bare(found: Recorded) -> bool:
    """Tell whether nothing is kept by which a record is looked for but its moment, as versions of before left it."""
    return (found.kind, found.actor, found.channel_id, found.pass_id, found.subjects) == ("", "", None, None, ())


def strayed(found: Recorded, *, may_be_bare: bool) -> list[str]:
    """
    Answer by what a sealed record is looked for otherwise than its document says, so that whoever looks misses it, or
    finds it in the wrong place. One of the first version may always be bare, one of a later only where `may_be_bare`.
    """
    record = read_record(found.document)
    told = _looked_for(record, found.document)
    if is_bare(found) and (may_be_bare or isinstance(record.act, OlderAct)):
        told = replace(told, kind="", actor="", channel_id=None, pass_id=None, subjects=())
    told = replace(told, subjects=tuple(sorted({*told.subjects})))
    return [word for word, name in _WORDS.items() if getattr(found, name) != getattr(told, name)]


def loose_ends(last: Link, head: Link, kept: Link | None) -> Iterator[str]:
    """
    Tell, a sentence each, what is wrong with where a chain ends: `last` is its last record, `head` where it says that
    it ends, `kept` a head of some time before that was kept elsewhere, if one was. Without that, a tail that was cut
    off together with the head shows nowhere.
    """
    if last != head:
        yield f"the chain ends at record {last.sequence}, its head is record {head.sequence}"
    if kept is not None and kept.sequence > last.sequence:
        yield f"the chain ends at record {last.sequence}, the kept head is record {kept.sequence}: the tail is gone"


def misfit(chain: Iterable[Sealed], kept: Link) -> Iterator[str]:
    """Tell, in a sentence, where a part of a chain is another one than when its head was kept."""
    for entry in chain:
        if entry.link.sequence == kept.sequence and entry.link.hash != kept.hash:
            yield f"record {kept.sequence} is another one than the kept head"


def _hash(key: bytes, before: Link, document: bytes) -> bytes:
    return hmac.digest(key, before.hash + (before.sequence + 1).to_bytes(8, "big") + document, "sha256")
