"""
Resets that one person has asked for and another has to confirm, within an hour: at most one of each integration, all of
an environment in one document.

Source: docs/design.md (two persons).
"""

import msgspec
from msgspec import Struct

from temppass.core import act
from temppass.core.model import Kept
from temppass.core.plan import Counted, Target
from temppass.core.refusal import AlreadySo, NotThere

#: how long a second person may take
APPROVAL_MS = 3_600_000
#: the kind and the key of the document
APPROVAL = KEY = "approvals"


class Approval(Struct, frozen=True):
    """A reset that waits. `id` is that of the act that asked for it, `counted` what it was planned with."""

    id: str
    target: Target
    counted: Counted
    share: float
    asked_by: str
    asked_at: int
    reason: str | None = None

    @property
    def ends_at(self) -> int:
        return self.asked_at + APPROVAL_MS

    @property
    def act(self) -> act.ApprovalAsk:
        target, narrowing = self.target, self.target.narrowing
        return act.ApprovalAsk(
            target.channel_id,
            target.pass_id,
            target.kinds,
            narrowing.origin,
            narrowing.over,
            narrowing.started_before,
            self.counted.planned,
        )


_decoder = msgspec.json.Decoder(tuple[Approval, ...])


def pending(kept: Kept | None, now: int) -> tuple[Approval, ...]:
    """Answer what waits still, the oldest first."""
    return tuple(each for each in _decoder.decode(kept.document) if now < each.ends_at) if kept is not None else ()


def added(kept: Kept | None, entry: Approval, now: int) -> Kept:
    """Answer the document with one more. Refuses: AlreadySo where one of the same integration waits."""
    waiting = pending(kept, now)
    for each in waiting:
        if (each.target.channel_id, each.target.pass_id) == (entry.target.channel_id, entry.target.pass_id):
            raise AlreadySo(f"A reset of this pass waits for a second person already, {each.id}; decline that first.")
    return _kept((*waiting, entry))


def without(kept: Kept | None, entry: Approval, now: int) -> Kept:
    """Answer the document without one that waits. Refuses: NotThere where it does not any more."""
    waiting = pending(kept, now)
    if entry not in waiting:
        raise NotThere("This waits for a second person no more: somebody was quicker, or its hour is over.")
    return _kept(tuple(each for each in waiting if each != entry))


def _kept(waiting: tuple[Approval, ...]) -> Kept:
    ends_at = max((each.ends_at for each in waiting), default=0)
    return Kept(APPROVAL, KEY, ends_at, msgspec.json.encode(waiting))
