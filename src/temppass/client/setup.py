"""
The conversations of an operator about what is set up and how it goes: recurring resets, counters, the catalogue. They
are as those of control.py, without any I/O.

Source: docs/reference.md (control); RFC 9110 §13.1.1 (If-Match).
"""

import re
from urllib.parse import urlencode

from temppass.client.answers import (
    CatalogueChange,
    CatalogueShown,
    Point,
    Receipt,
    Schedule,
    change_of,
    objects,
    point_of,
    receipt_of,
    rfc3339,
    schedule_of,
)
from temppass.client.control import Seat, answered, asked, path_in, segment
from temppass.client.errors import InvalidTarget, Unreadable
from temppass.client.exchange import Flow, object_of

TOML_TYPE = "application/toml"

_VERSION = re.compile(r'"([0-9]{1,15})"')

# --- recurring resets


def schedules(seat: Seat) -> Flow[list[Schedule]]:
    """Answer the recurring resets that one sees."""
    answer = yield from asked(seat, "GET", path_in(seat, "/schedules"))
    return [schedule_of(each) for each in objects(answer, "schedules")]


def set_schedule(seat: Seat, requestor: str, mvpd: str, *, paused: bool, once: str) -> Flow[Receipt]:
    """Pause a recurring reset, or let it go on. Raises RequestRefused, with code `already_so` where it is so."""
    path = path_in(seat, f"/schedules/{segment(requestor)}/{segment(mvpd)}")
    return receipt_of((yield from asked(seat, "POST", path, {"paused": paused}, once=once)))


# --- counters


def counters(
    seat: Seat, requestor: str | None, mvpd: str | None, since: int | None, until: int | None, step: str | None
) -> Flow[list[Point]]:
    """Answer how often what happened, step by step. Raises InvalidTarget for a moment that is in no calendar."""
    moments = {name: rfc3339(at) for name, at in (("since", since), ("until", until)) if at is not None}
    texts = {"channel": requestor, "pass": mvpd, **moments, "step": step}
    query = urlencode({name: value for name, value in texts.items() if value is not None})
    answer = yield from asked(seat, "GET", path_in(seat, f"/counters{'?' if query else ''}{query}"))
    return [point_of(each) for each in objects(answer, "points")]


# --- the catalogue


def catalogue(seat: Seat) -> Flow[CatalogueShown]:
    """Answer the catalogue that holds."""
    answer = yield from answered(seat, "GET", path_in(seat, "/catalogue"), {"Accept": TOML_TYPE})
    found = _VERSION.fullmatch(answer.headers.get("etag", ""))
    try:
        if found is not None:
            return CatalogueShown(answer.body.decode(), int(found[1]))
    except UnicodeDecodeError:
        pass
    raise Unreadable("the answer is no catalogue with its version", status=answer.status)


def plan_catalogue(seat: Seat, toml: str) -> Flow[CatalogueChange]:
    """Tell what applying a catalogue would change. Raises RequestRefused, with every problem found."""
    headers = {"Content-Type": TOML_TYPE}
    answer = yield from answered(seat, "POST", path_in(seat, "/catalogue/plan"), headers, _content(toml))
    return change_of(object_of(answer))


def apply_catalogue(
    seat: Seat, toml: str, version: int, description: str | None, *, once: str
) -> Flow[CatalogueChange]:
    """Make a catalogue hold in place of `version`. Raises RequestRefused, with code `version_moved`."""
    headers = {"Content-Type": TOML_TYPE, "If-Match": f'"{version}"'}
    query = f"?{urlencode({'description': description})}" if description else ""
    path = path_in(seat, f"/catalogue{query}")
    return change_of(object_of((yield from answered(seat, "PUT", path, headers, _content(toml), once=once))))


def _content(toml: str) -> bytes:
    if not toml.strip():
        raise InvalidTarget("the catalogue is empty", hint="it would end everything that is declared")
    return toml.encode()
