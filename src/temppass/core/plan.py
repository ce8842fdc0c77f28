"""
A reset of everybody, or of a part of them, is counted before it is done. What was counted is a plan: it is applied
once, within a quarter of an hour, and only while about as many ledgers are meant as when it was made.

Digests are uniform (keyed hashes), so where there is no time to count to the end, the part of their space that was
walked tells how many there are; the plan says so.

Source: docs/design.md (plans).
"""

from typing import Literal

import msgspec
from msgspec import Struct

from temppass.core import act
from temppass.core.identity import DIGEST_BYTES
from temppass.core.model import Floors, Kept, Subject, SubjectKind
from temppass.core.refusal import InvalidRequest, PlanOutdated
from temppass.core.reset import Narrowing, Tally

#: how long a plan can be applied
PLAN_MS = 900_000
#: the kind of the documents that hold plans
PLAN = "plan"
#: by how much the number may have moved at most, as a share of what was planned; so many more or fewer always may be
SHARE, LEAST = 0.1, 10

#: what the kinds that a reset of everybody means are called
EVERYBODY: dict[Literal["devices", "keys", "both"], tuple[SubjectKind, ...]] = {
    "devices": (SubjectKind.DEVICE,),
    "keys": (SubjectKind.USER_KEY,),
    "both": (SubjectKind.DEVICE, SubjectKind.USER_KEY),
}

_SPACE = 1 << 8 * DIGEST_BYTES


class Target(Struct, frozen=True):
    """Whom of an integration a reset means: everybody of `kinds`, or those of them that `narrowing` fits."""

    channel_id: str
    pass_id: str
    kinds: tuple[SubjectKind, ...]
    narrowing: Narrowing = Narrowing()

    @property
    def is_everybody(self) -> bool:
        return self.narrowing == Narrowing()


class Counted(Struct, frozen=True):
    """How many ledgers a reset would touch: counted to the last of them, or estimated from a part. `floors` held."""

    touched: Tally
    is_exact: bool
    floors: Floors

    @property
    def planned(self) -> act.Planned:
        return act.Planned(self.touched.running, self.touched.over, self.is_exact)


class Example(Struct, frozen=True):
    """One of those that a reset would touch: a digest, when the trial began, how many titles it has."""

    subject: Subject
    started_at: int
    titles: int


class Plan(Struct, frozen=True):
    """What somebody saw before a reset, and by which share it may have moved when it is applied."""

    target: Target
    counted: Counted
    share: float
    made_at: int
    #: an operator's name; None in plans of before
    made_by: str | None = None
    examples: tuple[Example, ...] = ()

    @property
    def ends_at(self) -> int:
        return self.made_at + PLAN_MS


_decoder = msgspec.json.Decoder(Plan)


def estimated(touched: Tally, last: bytes | None) -> Tally:
    """Answer how many there are in all, where `touched` were counted up to the digest `last`; None: to the end."""
    if last is None:
        return touched
    walked = (int.from_bytes(last.ljust(DIGEST_BYTES, b"\0")[:DIGEST_BYTES], "big") + 1) / _SPACE
    return Tally(round(touched.running / walked), round(touched.over / walked))


def has_moved(planned: Tally, present: Tally, share: float = SHARE) -> bool:
    """Tell whether a reset would touch a number of ledgers that differs too much from the one that was planned."""
    before, after = planned.running + planned.over, present.running + present.over
    return abs(after - before) > max(LEAST, share * before)


# --- at rest


def plan_key(id_: str) -> str:
    return f"{PLAN}:{id_}"


def kept_plan(id_: str, plan: Plan) -> Kept:
    """Answer a plan as it is kept until it is applied or too old."""
    return Kept(PLAN, plan_key(id_), plan.ends_at, msgspec.json.encode(plan))


def read_plan(kept: Kept | None, now: int, made_by: str | None = None) -> Plan:
    """Answer a plan, of a certain operator where one is named. Refuses: PlanOutdated."""
    made = _decoder.decode(kept.document) if kept is not None and now < kept.expires_at else None
    if made is None or made_by not in {None, made.made_by}:
        raise PlanOutdated("There is no such plan, or it was applied, or is older than 15 minutes; make a new one.")
    return made


def check(plan: Plan, target: Target, present: Counted) -> None:
    """
    See that a plan is of what is to be done, and that it still tells how many that means.

    Refuses: InvalidRequest for a plan of something else, PlanOutdated.
    """
    if plan.target != target:
        raise InvalidRequest("The plan is of another reset; ask for what was planned, or make a plan of this one.")
    if has_moved(plan.counted.touched, present.touched, plan.share):
        before, after = (tally.running + tally.over for tally in (plan.counted.touched, present.touched))
        raise PlanOutdated(f"It would touch {after:,} trials now, {before:,} when it was planned; make a new plan.")
