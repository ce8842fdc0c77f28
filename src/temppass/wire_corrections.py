"""
The JSON shapes of what operators set right: resets, plans, approvals, grants, undo. As those of wire_control.py.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from temppass.core.plan import SHARE
from temppass.wire_control import SubjectWord

EverybodyWord = Literal["devices", "keys", "both"]


class OnlyShape(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom of everybody: only those whose time is over, who started before a moment, of one application."""

    over: bool = False
    started_before: str | UnsetType = UNSET
    app_id: str | UnsetType = UNSET


class OnlyToldShape(Struct, frozen=True):
    """As OnlyShape; of an application there is a digest."""

    over: bool
    started_before: str | None
    app_id: str | None


class ResetBody(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Who is to be new to a pass: one viewer (`device`, `email` or `key`, or the digest of either, `subject`), a list of
    digests, or everybody of a plan. Nobody named is an error, never everybody.
    """

    channel: str
    # `pass` is no name in Python
    pass_: str = field(name="pass")
    device: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    subjects: tuple[str, ...] | UnsetType = UNSET
    everybody: EverybodyWord | UnsetType = UNSET
    only: OnlyShape | UnsetType = UNSET
    plan: str | UnsetType = UNSET
    reason: str = ""


class PlanBody(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A reset of everybody, or of those that `only` leaves, that is to be counted. When it is done, the number may have
    moved by `share` of it, or by ten, at most.
    """

    channel: str
    pass_: str = field(name="pass")
    everybody: EverybodyWord
    only: OnlyShape | UnsetType = UNSET
    share: Annotated[float, Meta(ge=0, le=1)] = SHARE


class ExampleShape(Struct, frozen=True):
    """One trial that a reset would touch: whose, by the first digits of the digest, since when, how many titles."""

    kind: SubjectWord
    subject: str
    started_at: str
    titles: int


class PlannedShape(Struct, frozen=True):
    """
    What a reset would touch: trials that run and those that are over, estimated from a part where `exact` is false.
    Until `ends_at` it can be applied, once.
    """

    id: str
    running: int
    over: int
    exact: bool
    examples: list[ExampleShape]
    ends_at: str


class AskedShape(Struct, frozen=True):
    """A second person has to confirm: `approval` is what to name, and the act by which it was asked for."""

    approval: str


class ApprovalBody(Struct, frozen=True, forbid_unknown_fields=True):
    approve: bool


class ApprovalShape(Struct, frozen=True):
    """A reset that waits for a second person, who can say yes until `ends_at`; counted when it was planned."""

    id: str
    channel: str
    pass_: str = field(name="pass")
    everybody: EverybodyWord
    only: OnlyToldShape
    running: int
    over: int
    exact: bool
    asked_by: str
    asked_at: str
    reason: str | None
    ends_at: str


class ApprovalsShape(Struct, frozen=True):
    approvals: list[ApprovalShape]


class GrantBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be given minutes, titles or both on top of a trial: one viewer, named as in a reset."""

    channel: str
    pass_: str = field(name="pass")
    device: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    minutes: int = 0
    titles: int = 0
    reason: str = ""


class UndoBody(Struct, frozen=True, forbid_unknown_fields=True):
    """With `replace`, trials that were begun since end."""

    reason: str = ""
    replace: bool = False


class DoneShape(Struct, frozen=True):
    """
    `id` is the act's. `matched` counts the ledgers that it touched, null where that would need a scan; until
    `undo_until` it can be taken back, null where it cannot.
    """

    id: str
    matched: int | None
    undo_until: str | None
