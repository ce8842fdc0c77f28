"""
Where a chain begins of which the oldest records are forgotten.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from temppass.core.act import NO_LINK, BySchedule, Link, Record, RecurringReset, Sealed, faults, recorded, sealed
from temppass.core.anchor import NO_ANCHOR, Anchor, anchored, forgotten, is_good

KEY = b"k" * 32


def chain(moments: list[int], after: Link = NO_LINK) -> list[Sealed]:
    acts = [RecurringReset("REF", "P", number) for number in range(len(moments))]
    documents = [
        recorded(Record(f"r{at}", at, BySchedule(), act)).document for at, act in zip(moments, acts, strict=True)
    ]
    return [Sealed(*each) for each in zip(sealed(KEY, after, documents), documents, strict=True)]


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 10), st.integers(0, 10))
def test_what_is_older_is_forgotten_from_the_beginning_on(moments: list[int], earlier: int, before: int) -> None:
    """However often: the rest follows the anchor, its first record is not older, and the anchor is good."""
    records, begins = chain(moments), NO_ANCHOR
    for moment in (earlier, before):
        begins = forgotten(KEY, moment, begins, records[begins.link.sequence :]) or begins
    rest = records[begins.link.sequence :]
    assert (
        [*faults(KEY, rest, begins.link)],
        is_good(KEY, begins),
        [at >= max(earlier, before) for at in moments[begins.link.sequence :][:1]],
        begins.at,
    ) == ([], True, [True] * bool(rest), moments[begins.link.sequence - 1] if begins != NO_ANCHOR else 0)


ANCHOR = anchored(KEY, Link(3, b"h" * 32), 7)


@pytest.mark.parametrize(
    "forged",
    [
        replace(ANCHOR, link=Link(4, b"h" * 32)),
        replace(ANCHOR, link=Link(3, b"i" * 32)),
        replace(ANCHOR, at=8),
        replace(ANCHOR, proof=b""),
        anchored(b"l" * 32, ANCHOR.link, ANCHOR.at),
        replace(NO_ANCHOR, proof=b"x"),
    ],
)
def test_an_anchor_that_was_moved_or_forged_is_no_good(forged: Anchor) -> None:
    """Nor does anything follow it that could be forgotten."""
    after = forgotten(KEY, 10, forged, chain([1], forged.link))
    assert (is_good(KEY, ANCHOR), is_good(KEY, forged), after) == (True, False, None)


@pytest.mark.parametrize(("meddled", "last"), [(0, 0), (1, 1), (2, 2)])
def test_what_was_meddled_with_is_not_forgotten_nor_what_follows(meddled: int, last: int) -> None:
    records = chain([1, 2, 3])
    records[meddled] = replace(records[meddled], document=records[meddled].document.replace(b'"at":', b'"at":-'))
    begins = forgotten(KEY, 10, NO_ANCHOR, records)
    assert (begins.link.sequence if begins else 0) == last
