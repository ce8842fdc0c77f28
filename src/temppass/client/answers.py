"""
What the control API tells an operator, as values, and how its JSON is read: members that are not known are left out, or
kept as they are where they belong to an act, so that a newer service is understood as far as it goes.

Source: docs/reference.md (control).
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from temppass.client.errors import InvalidTarget, Unreadable
from temppass.client.exchange import dict_of, words

#: of a text that only says something, such as the sentence of an explanation, so many characters are taken
_TEXT_CHARACTERS = 4_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Operator(Struct, frozen=True):
    """Who may act. No environments, or no channels, are all of them. Moments are Unix milliseconds."""

    name: str
    role: str
    environments: tuple[str, ...]
    channels: tuple[str, ...]
    ends_at: int
    created_at: int
    is_revoked: bool


class NewOperator(Struct, frozen=True):
    """An operator who was just created, and their token, which is shown once. `act_id` names the act."""

    act_id: str
    token: str
    ends_at: int

    def __repr__(self) -> str:
        return f"NewOperator({self.act_id!r}, ends_at={self.ends_at})"


class Receipt(Struct, frozen=True):
    """
    What was done: the id of the act, how many ledgers it matched (None where nobody counts them), until when it can be
    undone, in Unix milliseconds (0 where it cannot).

    With an `approval` nothing was done yet: another operator has to confirm it, and `id` is "".
    """

    id: str
    matched: int | None = None
    undo_until: int = 0
    approval: str = ""


class Only(Struct, frozen=True):
    """
    Whom of everybody: those whose time is over, whose trial began before a moment (Unix milliseconds), or began in one
    application; all that is given has to fit. Of an approval, `app_id` is a digest.
    """

    over: bool = False
    started_before: int | None = None
    app_id: str | None = None


class Example(Struct, frozen=True):
    """
    One trial that a reset would touch: `kind` is device or key, `subject` the first digits of a digest; since when, in
    Unix milliseconds, and how many titles it has.
    """

    kind: str
    subject: str
    started_at: int
    titles: int


class Planned(Struct, frozen=True):
    """
    What a reset of everybody would touch: trials that run and trials that are over, counted to the last, or estimated
    where `is_exact` is False. The plan `id` can be applied once, until `ends_at`, in Unix milliseconds.
    """

    id: str
    running: int
    over: int
    is_exact: bool
    examples: tuple[Example, ...]
    ends_at: int


class Approval(Struct, frozen=True):
    """
    A reset of everybody (devices, keys or both) that waits for a second person until `ends_at`, as it was planned.
    Moments are Unix milliseconds.
    """

    id: str
    requestor: str
    mvpd: str
    everybody: str
    only: Only
    running: int
    over: int
    is_exact: bool
    asked_by: str
    asked_at: int
    ends_at: int
    reason: str = ""


class Due(Struct, frozen=True):
    """
    A moment at which a recurring reset falls due, in Unix milliseconds, and as the clock on the wall shows it there.
    `effect` is skipped or twice where the clocks change, else "".
    """

    at: int
    local: str
    effect: str = ""


class Fired(Struct, frozen=True):
    """A recurring reset that was done: its act, when, and when it was due, in Unix milliseconds."""

    id: str
    at: int
    due_at: int


class Schedule(Struct, frozen=True):
    """The recurring reset of a pass: when it falls due next, the last ones, since when it is paused (0 where not)."""

    requestor: str
    mvpd: str
    cron: str
    timezone: str
    paused_at: int
    next: tuple[Due, ...]
    last: tuple[Fired, ...]


class Point(Struct, frozen=True):
    """
    What happened in one integration from `at` on (Unix milliseconds), for one step: how often, by word: permit, trial,
    reset, or the code of a denial.
    """

    at: int
    requestor: str
    mvpd: str
    counts: dict[str, int]


class CatalogueShown(Struct, frozen=True):
    """The catalogue that holds, as a file that would apply it, and its version; 0 where there is none."""

    toml: str
    version: int


class CatalogueChange(Struct, frozen=True):
    """What applying a catalogue would change, or has changed, a line each. `act_id` is "" where nothing was done."""

    version: int
    differences: tuple[str, ...]
    act_id: str = ""


class LedgerState(Struct, frozen=True):
    """
    What one subject of a viewer has: `kind` is device or key, `subject` its digest, `state` new, running, over, used_up
    or reset. Moments are Unix milliseconds, 0 where there is no trial. `titles` were watched, of `titles_max`, the
    granted ones (`bonus`) included; None where the pass does not count them.
    """

    kind: str
    subject: str
    state: str
    started_at: int = 0
    expires_at: int = 0
    titles: tuple[str, ...] = ()
    titles_max: int | None = None
    bonus: int = 0


class Help(Struct, frozen=True):
    """What would permit the next title: `act` is reset or grant, of these digests; a grant of at least so much."""

    act: str
    subjects: tuple[str, ...]
    minutes: int = 0
    titles: int = 0


class Explanation(Struct, frozen=True):
    """
    Why a viewer may watch or may not, in one integration: `because` is to be read out; `authorized` and `code` are what
    the next authorize would answer. `subjects` are judged each by itself, `joined` is what they have together; `acts`
    are the last that touched the viewer.
    """

    because: str
    authorized: bool
    code: str
    requestor: str
    mvpd: str
    subjects: tuple[LedgerState, ...]
    joined: LedgerState | None
    helps: tuple[Help, ...]
    acts: tuple["Act", ...]
    warnings: tuple[str, ...]


class Explained(Struct, frozen=True):
    """
    What is to be said of a viewer: one explanation for each integration. `because` is the sentence where there is only
    one, or none; `warnings` are those of all.
    """

    because: str
    explanations: tuple[Explanation, ...]
    warnings: tuple[str, ...]


class Act(Struct, frozen=True):
    """
    What somebody did. `at` is Unix milliseconds; `sequence` is its place in the audit trail, None until it is sealed;
    `actor` is written `kind:name`; `more` is what only acts of its kind have, JSON decoded.
    """

    id: str
    at: int
    kind: str
    actor: str
    sequence: int | None = None
    reason: str = ""
    requestor: str = ""
    mvpd: str = ""
    matched: int | None = None
    more: dict[str, Any] = {}


# --- reading


def rfc3339(ms: int) -> str:
    """Write Unix milliseconds as the control API has them. Raises InvalidTarget for what no calendar has."""
    try:
        at = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        raise InvalidTarget("that moment is in no calendar", hint="moments are Unix milliseconds") from None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: Any) -> int:
    """Read a moment of the control API as Unix milliseconds, 0 for none."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
    except (TypeError, ValueError, OverflowError):  # TypeError: also for one without a zone
        return 0


def objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Raises Unreadable."""
    found = fields.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Unreadable(f"the answer has no list of {name}")
    return found


def text(fields: dict[str, Any], name: str) -> str:
    """Raises Unreadable."""
    found = fields.get(name)
    if not isinstance(found, str) or not found:
        raise Unreadable(f"the answer has no {name}")
    return found


def number(fields: dict[str, Any], name: str) -> int:
    """Raises Unreadable."""
    found = _count(fields.get(name))
    if found is None:
        raise Unreadable(f"the answer has no number {name}")
    return found


def _said(value: Any) -> str:
    return words(value, most=_TEXT_CHARACTERS) if value is not None else ""


def texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_said, value)) if isinstance(value, list) else ()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def operator_of(fields: dict[str, Any]) -> Operator:
    return Operator(
        text(fields, "name"),
        text(fields, "role"),
        texts(fields.get("environments")),
        texts(fields.get("channels")),
        moment(fields.get("ends_at")),
        moment(fields.get("created_at")),
        fields.get("revoked") is True,
    )


def receipt_of(fields: dict[str, Any]) -> Receipt:
    if isinstance(fields.get("approval"), str):
        return Receipt("", approval=text(fields, "approval"))
    return Receipt(text(fields, "id"), _count(fields.get("matched")), moment(fields.get("undo_until")))


def planned_of(fields: dict[str, Any]) -> Planned:
    return Planned(
        text(fields, "id"),
        number(fields, "running"),
        number(fields, "over"),
        fields.get("exact") is True,
        tuple(map(_example, objects(fields, "examples"))),
        moment(fields.get("ends_at")),
    )


def _example(fields: dict[str, Any]) -> Example:
    return Example(
        _said(fields.get("kind")),
        _said(fields.get("subject")),
        moment(fields.get("started_at")),
        _count(fields.get("titles")) or 0,
    )


def approval_of(fields: dict[str, Any]) -> Approval:
    only = dict_of(fields.get("only"))
    before, app_id = only.get("started_before"), only.get("app_id")
    return Approval(
        text(fields, "id"),
        text(fields, "channel"),
        text(fields, "pass"),
        _said(text(fields, "everybody")),
        Only(
            only.get("over") is True,
            moment(before) if before is not None else None,
            _said(app_id) if app_id is not None else None,
        ),
        number(fields, "running"),
        number(fields, "over"),
        fields.get("exact") is True,
        _said(fields.get("asked_by")),
        moment(fields.get("asked_at")),
        moment(fields.get("ends_at")),
        _said(fields.get("reason")),
    )


def schedule_of(fields: dict[str, Any]) -> Schedule:
    return Schedule(
        text(fields, "channel"),
        text(fields, "pass"),
        _said(fields.get("cron")),
        _said(fields.get("timezone")),
        moment(fields.get("paused_at")),
        tuple(
            Due(moment(due.get("at")), _said(due.get("local")), _said(due.get("effect")))
            for due in objects(fields, "next")
        ),
        tuple(
            Fired(text(fired, "id"), moment(fired.get("at")), moment(fired.get("due_at")))
            for fired in objects(fields, "last")
        ),
    )


def point_of(fields: dict[str, Any]) -> Point:
    counts = dict_of(fields.get("counts"))
    return Point(
        moment(fields.get("at")),
        text(fields, "channel"),
        text(fields, "pass"),
        {_said(word): count for word, value in counts.items() if (count := _count(value)) is not None},
    )


def change_of(fields: dict[str, Any]) -> CatalogueChange:
    differences = fields.get("differences")
    if not isinstance(differences, list):
        raise Unreadable("the answer has no list of differences")
    return CatalogueChange(number(fields, "version"), texts(differences), _said(fields.get("id")))


def explained_of(fields: dict[str, Any]) -> Explained:
    one = "explanations" not in fields
    found = tuple(map(_explanation, [fields] if one else objects(fields, "explanations")))
    because = _said(text(fields, "because")) if not found else found[0].because if one else ""
    return Explained(because, found, texts(fields.get("warnings")))


def _explanation(fields: dict[str, Any]) -> Explanation:
    following, joined = dict_of(fields.get("next")), fields.get("joined")
    return Explanation(
        _said(text(fields, "because")),
        following.get("authorized") is True,
        _said(following.get("code")),
        _said(fields.get("channel")),
        _said(fields.get("pass")),
        tuple(map(_ledger, objects(fields, "subjects"))),
        _ledger(joined) if isinstance(joined, dict) else None,
        tuple(map(_help, objects(fields, "helps"))),
        tuple(map(act_of, objects(fields, "acts"))),
        texts(fields.get("warnings")),
    )


def _ledger(fields: dict[str, Any]) -> LedgerState:
    return LedgerState(
        _said(fields.get("kind")),
        _said(fields.get("subject")),
        _said(fields.get("state")),
        moment(fields.get("started_at")),
        moment(fields.get("expires_at")),
        texts(fields.get("titles")),
        _count(fields.get("titles_max")),
        _count(fields.get("bonus")) or 0,
    )


def _help(fields: dict[str, Any]) -> Help:
    counts = (_count(fields.get(name)) or 0 for name in ("minutes", "titles"))
    return Help(_said(fields.get("act")), texts(fields.get("subjects")), *counts)


def actor_of(value: Any) -> str:
    """Write who acted as `kind:name`, "" for nobody."""
    actor = dict_of(value)
    return ":".join(_said(actor[name]) for name in ("kind", "name") if actor.get(name))


_OF_EVERY_ACT = {"id", "at", "kind", "actor", "sequence", "reason", "channel", "pass", "matched"}


def act_of(fields: dict[str, Any]) -> Act:
    return Act(
        text(fields, "id"),
        moment(fields.get("at")),
        _said(fields.get("kind")),
        actor_of(fields.get("actor")),
        _count(fields.get("sequence")),
        _said(fields.get("reason")),
        _said(fields.get("channel")),
        _said(fields.get("pass")),
        _count(fields.get("matched")),
        {name: value for name, value in fields.items() if name not in _OF_EVERY_ACT},
    )
