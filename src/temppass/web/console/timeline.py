"""
A viewer's trial on a line of time: bars from begin to end, a line at now, and marks where somebody acted, in units of
the picture, so that a template has only to write them down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from temppass.core.model import TrialState
from temppass.core.viewer import WORDS
from temppass.service.explain import Explanation

#: of the picture: where the names of the rows end, where time ends, how high a row is, and what stands above them
LEFT, RIGHT, ROW, TOP = 92, 620, 26, 22
#: how much of the line is left free on both sides
_MARGIN = 12
#: a moment's label is so wide that two that are closer than this would cover each other
_LABEL = 150
NAMES = {"device": "Device", "key": "User key", "both": "Together"}


class Bar(NamedTuple):
    """A ledger, or what both have together (`both`); `state` is where it stands, in a word."""

    name: str
    state: str
    x: int
    y: int
    width: int
    started_at: int
    expires_at: int


class Mark(NamedTuple):
    kind: str
    x: int
    at: int


class Label(NamedTuple):
    x: int
    #: as SVG's text-anchor has it
    anchor: str
    at: int


class Timeline(NamedTuple):
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    begin: Label
    end: Label | None
    #: where now is
    now: Label
    height: int


def timeline(explanation: Explanation, now: int) -> Timeline | None:
    """Answer the picture of one integration, None where nothing has begun."""
    spans = _spans(explanation)
    if not spans:
        return None
    acts = [each for each in explanation.acts if min(begin for _, _, begin, _ in spans) <= each.record.at <= now]
    moments = [moment for _, _, begin, end in spans for moment in (begin, end)] + [now]
    first, last = min(moments), max(moments)
    width = RIGHT - LEFT - 2 * _MARGIN

    def x(at: int) -> int:
        return LEFT + _MARGIN + (width * (at - first) // (last - first) if last > first else 0)

    bars = tuple(
        Bar(name, state, x(begin), TOP + row * ROW, max(3, x(end) - x(begin)), begin, end)
        for row, (name, state, begin, end) in enumerate(spans)
    )
    marks = tuple(Mark(each.kind, x(each.record.at), each.record.at) for each in reversed(acts))
    here = x(now)
    return Timeline(
        bars,
        marks,
        Label(x(first), "start", first),
        Label(x(last), "end", last) if x(last) - x(first) > _LABEL else None,
        Label(here, "start" if here < LEFT + _LABEL // 2 else "end" if here > RIGHT - _LABEL // 2 else "middle", now),
        TOP + len(bars) * ROW + ROW,
    )


def _spans(explanation: Explanation) -> Sequence[tuple[str, str, int, int]]:
    explained = explanation.explained
    found: list[tuple[str, str, int, int]] = [
        (WORDS[part.subject.kind], part.state.value, part.ledger.started_at, part.ledger.expires_at)
        for part in explained.parts
        if part.ledger is not None
    ]
    joined = explained.joined
    if len(explained.parts) > 1 and joined is not None and joined.state is not TrialState.NEW:
        found.append(("both", joined.state.value, joined.started_at, joined.expires_at))
    return found
