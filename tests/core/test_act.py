"""
Acts and actors at rest.
"""

from typing import get_args

import pytest
from msgspec import Struct

from temppass.core import act
from temppass.core.act import is_one_viewer
from temppass.core.model import Subject, SubjectKind
from temppass.core.reason import reason_of
from temppass.core.refusal import InvalidRequest


def test_every_struct_with_a_kind_can_be_read_in_a_record() -> None:
    """One that is missing in its union is written, and then no record of it can be read."""
    kinds = [each for each in vars(act).values() if isinstance(each, type) and issubclass(each, Struct)]
    tagged = {each for each in kinds if each.__struct_config__.tag is not None}
    assert tagged == {*get_args(act.Act), *get_args(act.Actor)}


# --- why


@pytest.mark.parametrize(
    ("text", "reason"),
    [("ticket 1", "ticket 1"), ("", None), (" \t", None), ("  two\nlines ", "two lines"), ("x" * 500, "x" * 500),
     ("at 20:15 @ home", "at 20:15 @ home")],
)  # fmt: skip
def test_a_reason_is_one_line(text: str, reason: str | None) -> None:
    assert reason_of(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        "anna@acme.example",
        "call anna@acme",
        "anna%40acme.example",
        "anna\uff20acme.example",
        "x" * 501,
        "a\x00b",
        "a\u202eb",
    ],
)
def test_a_reason_that_names_somebody_or_cannot_be_printed_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        reason_of(text)


@pytest.mark.parametrize(
    ("kinds", "is_one"), [((), False), ((0,), True), ((1,), True), ((0, 1), True), ((0, 0), False), ((0, 1, 1), False)]
)
def test_one_viewer_has_one_subject_of_a_kind(kinds: tuple[int, ...], *, is_one: bool) -> None:
    subjects = [Subject(SubjectKind(kind), bytes([number]) * 16) for number, kind in enumerate(kinds)]
    assert is_one_viewer(subjects) == is_one
