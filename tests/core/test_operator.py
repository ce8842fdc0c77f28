"""
Who may what: roles, limits and the end of a token.
"""

import pytest

from temppass.core.operator import OPERATORS_MAX, Operator, Role, added, admitted
from temppass.core.refusal import EndedOperator, InvalidRequest, OutsideLimits, Refusal, RoleMissing, UnknownOperator

NOW = 1_767_261_600_000


def operator(
    name: str = "anna",
    role: Role = Role.SUPPORT,
    ends_at: int = NOW + 1,
    environments: tuple[str, ...] = (),
    channels: tuple[str, ...] = (),
    *,
    revoked: bool = False,
) -> Operator:
    return Operator(name, role, b"", NOW - 1, ends_at, environments, channels, revoked)


def outcome(who: Operator | None, needed: Role, environment: str | None = None, channel: str | None = None) -> str:
    try:
        return admitted(who, needed, NOW, environment=environment, channel_id=channel).name
    except Refusal as refusal:
        return type(refusal).__name__


def test_each_role_may_what_those_below_it_may() -> None:
    may = [[role.value for role in Role if role.may(needed)] for needed in Role]
    assert may == [
        ["viewer", "support", "operator", "admin"],
        ["support", "operator", "admin"],
        ["operator", "admin"],
        ["admin"],
    ]


@pytest.mark.parametrize(
    ("who", "refusal"),
    [
        (None, UnknownOperator),
        (operator(ends_at=NOW), EndedOperator),
        (operator(revoked=True), EndedOperator),
        (operator(role=Role.VIEWER), RoleMissing),
        (operator(environments=("qa",)), OutsideLimits),
        (operator(channels=("REF",)), OutsideLimits),
    ],
)
def test_who_may_not_is_told_why(who: Operator | None, refusal: type[Refusal]) -> None:
    assert outcome(who, Role.SUPPORT, "prod", "ACME1") == refusal.__name__


@pytest.mark.parametrize(
    "who",
    [
        operator(),
        operator(role=Role.OPERATOR),
        operator(environments=("qa", "prod")),
        operator(channels=("REF", "ACME1")),
    ],
)
def test_who_may_is_admitted(who: Operator) -> None:
    assert outcome(who, Role.SUPPORT, "prod", "ACME1") == "anna"


@pytest.mark.parametrize(
    "new",
    [
        operator(name=""),
        operator(name="a" * 65),
        operator(name="anna@example.com"),
        operator(name=".anna"),
        operator(name="anna\n"),
        operator(role=Role.ADMIN, channels=("REF",)),
        operator(ends_at=NOW - 1),
    ],
)
def test_an_operator_that_cannot_be_is_not_added(new: Operator) -> None:
    with pytest.raises(InvalidRequest):
        added((), new, NOW)


def test_a_name_is_taken_until_its_token_has_ended() -> None:
    with pytest.raises(InvalidRequest):
        added((operator(),), operator(role=Role.ADMIN), NOW)
    assert added((operator(ends_at=NOW),), operator(role=Role.ADMIN), NOW) == (operator(role=Role.ADMIN),)


def test_operators_stand_in_the_order_of_their_names() -> None:
    others = (operator("bob"), operator("zoe"))
    assert [each.name for each in added(others, operator("carl"), NOW)] == ["bob", "carl", "zoe"]


def test_where_all_places_are_taken_the_one_that_ended_longest_ago_makes_room() -> None:
    full = tuple(operator(f"a{number:04}") for number in range(OPERATORS_MAX))
    with pytest.raises(InvalidRequest):
        added(full, operator("new"), NOW)
    ended = (operator("ended", ends_at=NOW), operator("long", ends_at=NOW - 1), *full[2:])
    left = {each.name for each in added(ended, operator("new"), NOW)}
    assert (len(left), left & {"ended", "long", "new"}) == (OPERATORS_MAX, {"ended", "new"})
