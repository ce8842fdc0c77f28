"""
Who operates the service: a person, or a robot with a name, in a role, within limits, until a moment.

Roles are a ladder: each may do what those below it may. An operator can be limited to environments (none named: all of
them) and to channels; an admin cannot be limited to channels, because a catalogue has them all.

Source: docs/design.md (operators).
"""

import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from temppass.core.refusal import EndedOperator, InvalidRequest, OutsideLimits, RoleMissing, UnknownOperator

#: what every operator token starts with, so that one that leaked is found by scanners
PREFIX = "tpo_"
#: of one that is created without saying until when
DEFAULT_MS = 90 * 86_400_000
#: how many there may be; all of them are read with every change of one
OPERATORS_MAX = 1_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Role(StrEnum):
    """From the least to the most."""

    #: explain, list acts and counters, see catalogue, schedules, statements
    VIEWER = "viewer"
    #: also reset or grant one viewer, and undo that
    SUPPORT = "support"
    #: also lists, narrowed resets, resets of everybody, schedules, approvals
    OPERATOR = "operator"
    #: also catalogue, statements, keys, operators
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        ladder = list(Role)
        return ladder.index(self) >= ladder.index(needed)


class Operator(Struct, frozen=True):
    """One who has a token, of which `token_hash` is a keyed digest. Moments are Unix milliseconds."""

    name: str
    role: Role
    token_hash: bytes
    created_at: int
    ends_at: int
    #: none: all
    environments: tuple[str, ...] = ()
    #: none: all
    channels: tuple[str, ...] = ()
    revoked: bool = False

    def sees(self, channel_id: str | None) -> bool:
        """Tell whether something of a channel, or of none, is within the limits."""
        return not self.channels or channel_id in self.channels


def checked(operator: Operator) -> Operator:
    """Answer an operator that can be. Refuses: InvalidRequest."""
    if _NAME.fullmatch(operator.name) is None:
        raise InvalidRequest(
            "Name an operator with 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with none of the last three."
        )
    if operator.role is Role.ADMIN and operator.channels:
        raise InvalidRequest("An admin cannot be limited to channels; use the role operator, or name none.")
    if operator.ends_at <= operator.created_at:
        raise InvalidRequest("An operator's end lies in the future.")
    return operator


def added(operators: Iterable[Operator], new: Operator, now: int) -> tuple[Operator, ...]:
    """
    Answer the operators with a new one. One of the same name that has ended makes room.

    Refuses: InvalidRequest.
    """
    others = [each for each in operators if each.name != new.name]
    if any(each.name == new.name and now < each.ends_at for each in operators):
        raise InvalidRequest(f"There is an operator {new.name!r} already; revoke it first, or choose another name.")
    if len(others) >= OPERATORS_MAX:
        longest_ended = min(others, key=lambda each: each.ends_at)
        if now < longest_ended.ends_at:
            raise InvalidRequest(f"There are {OPERATORS_MAX} operators; no more fit.")
        others.remove(longest_ended)
    return tuple(sorted((*others, checked(new)), key=lambda each: each.name))


def admitted(
    operator: Operator | None, needed: Role, now: int, *, environment: str | None = None, channel_id: str | None = None
) -> Operator:
    """
    Answer the operator that may do what needs this role, in an environment and on a channel where they are named.

    `operator` is the one of a token, None for a token that nobody has. Refuses: UnknownOperator, EndedOperator,
    OutsideLimits, RoleMissing.
    """
    if operator is None:
        raise UnknownOperator("Send Authorization: Bearer tpo_…, the token of an operator; an admin creates one.")
    if operator.revoked or now >= operator.ends_at:
        raise EndedOperator("This operator token has ended; ask an admin for another.")
    if environment is not None and operator.environments and environment not in operator.environments:
        raise OutsideLimits(f"You may act in {', '.join(operator.environments)}, not in {environment!r}.")
    if not operator.role.may(needed):
        raise RoleMissing(f"This needs the role {needed}; yours is {operator.role}.")
    if channel_id is not None and not operator.sees(channel_id):
        raise OutsideLimits(f"You may act on {', '.join(operator.channels)}, not on {channel_id!r}.")
    return operator
