"""
What comes of a form: what was refused is told on the page that it was sent from, with what was typed; what was done on
the page that one is sent to, by its act.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from temppass.core import act
from temppass.core.reason import reason_of
from temppass.core.refusal import EndedOperator, NotThere, Refusal, UnknownOperator
from temppass.service import Service
from temppass.service.desk import Call
from temppass.web.console.look import go
from temppass.web.console.seat import Form
from temppass.web.desk import moment_of
from temppass.web.problems import CONTROL
from temppass.web.request import attempt, form_pairs, single

_ACT_ID = re.compile(r"[0-9a-f-]{36}")


class Outcome(NamedTuple):
    """What is to be told of a form on the page that it was sent from: why it was refused, and what was typed."""

    sentence: str = ""
    status: int = 200
    typed: Mapping[str, str] = {}


#: of a page that is only looked at
LOOKED = Outcome()


class Done(NamedTuple):
    """An act that a page tells of, and when it was done."""

    id: str
    kind: str
    what: act.Act
    at: int


def refused(refusal: Refusal, form: Form) -> Outcome:
    """Answer what the page tells. Refuses: as the use case did, where nobody is signed in any more."""
    row = CONTROL.get(type(refusal))
    if row is None or isinstance(refusal, UnknownOperator | EndedOperator):
        raise refusal
    return Outcome(refusal.detail, row.status, form.fields)


def done(path: str, act_id: str) -> Response:
    """Go to a page, which tells of an act."""
    return go(f"{path}?done={act_id}")


async def told(service: Service, query: Mapping[str, str], call: Call) -> Done | None:
    """Answer the act that a page is to tell of; None where it names none that its operator sees."""
    id_ = query.get("done", "")
    if not _ACT_ID.fullmatch(id_):
        return None
    try:
        entry = await service.acts.one(call, id_)
    except NotThere:
        return None
    return Done(id_, act.kind_word(entry.record.act), entry.record.act, entry.record.at)


def query_of(request: Request) -> dict[str, str]:
    """Refuses: InvalidRequest."""
    return single(form_pairs(request.scope["query_string"]))


def reason(form: Form) -> str | Refusal | None:
    return attempt(reason_of, form.text("reason"))


def end_of(form: Form) -> int | None:
    """Answer the moment that a form says: UTC, for a browser writes no zone. Refuses: InvalidRequest."""
    typed = form.text("ends_at")
    return moment_of(typed if typed.endswith("Z") else f"{typed}Z", "the end") if typed else None
