"""
What was done, over HTTP: searched for page by page, taken away as a file, heard as it happens.

A file goes out page by page, so that it takes no more memory than one.

Source: docs/design.md (acts are told as they happen); RFC 4180 (CSV), jsonlines.org, HTML §9.2 (server-sent events).
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from temppass import wire, wire_control
from temppass.core import refusal as r
from temppass.core.act import Wanted
from temppass.core.identity import canonical_user_key, device_from_text, digest_from_hex
from temppass.core.operator import Role
from temppass.core.refusal import InvalidRequest
from temppass.core.world import HOUSE
from temppass.service import Service
from temppass.service.acts import Acts, Entry, Search
from temppass.service.desk import Call
from temppass.service.events import Heard, TooManyListen
from temppass.web.desk import (
    IN,
    LIMITED,
    call_of,
    counters_shape,
    decode,
    environment_of,
    moment_of,
    operation,
    read,
    route,
)
from temppass.web.openapi import GuardedRoute
from temppass.web.problems import CONTROL_HEADERS, FAULTS, JSON, RETRY_AFTER, problem
from temppass.web.request import Headers, attempt

#: values of one member of a search
VALUES_MAX = 100
SUBJECTS_MAX = 1_000
CSV, LINES, EVENTS = "text/csv", "application/jsonl", "text/event-stream"

_SEARCHING = (*LIMITED, r.InvalidIdentity, r.InvalidDeviceIdentifier)
_SEARCH = operation(
    "search_acts",
    "Find what was done, the newest first; as a file, the oldest first.",
    wire_control.ActsShape,
    Role.VIEWER,
    refusals=_SEARCHING,
    body=wire_control.ActsBody,
    parameters=("Accept",),
)._replace(also=(CSV, LINES))
_ACT = operation(
    "act", "Tell one act, sealed or not.", wire_control.ActShape, Role.VIEWER, refusals=(*LIMITED, r.NotThere)
)
_SEARCH_HOUSE = _SEARCH._replace(
    name="search_house_acts", description="The same for what was done to operators.", role=Role.ADMIN,
    refusals=(*_SEARCHING, r.RoleMissing),
)  # fmt: skip
_HOUSE_ACT = operation(
    "house_act", "The same for what was done to operators.", wire_control.ActShape, Role.ADMIN,
    refusals=(*LIMITED, r.NotThere),
)  # fmt: skip
_EVENTS = operation(
    "events",
    "Hear what is done: `event: act`, its sequence as `id`, its record as `data`; and every five seconds what was "
    "counted: `event: counters`, as `data` the points of the present minute and of the one before.",
    wire_control.ActShape,
    Role.VIEWER,
    parameters=("Last-Event-ID",),
)._replace(answer=EVENTS)


_Write = Callable[[Sequence[Entry]], str]


class ActFiles:
    """Files of all that is looked for, page by page; and whatever else is written of acts, a page at a time."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._turn = asyncio.Lock()

    async def answer(
        self, call: Call, asked: Search | r.Refusal, media_type: str, headers: Mapping[str, str] = CONTROL_HEADERS
    ) -> Response:
        """Answer a file, CSV or LINES, the oldest act first. Refuses: as Acts.all."""
        pages = self._acts.all(call, asked)
        first = await anext(pages)  # who may not is refused before anything is said
        return StreamingResponse(self._written(first, pages, _WRITE[media_type]), 200, headers, media_type)

    async def in_turn(self, write: _Write, page: Sequence[Entry]) -> str:
        """Write one page at a time, whoever reads: however many read much, nobody waits for more than one page."""
        async with self._turn:
            await asyncio.sleep(0)  # the others first
            return write(page)

    async def _written(
        self, first: Sequence[Entry], pages: AsyncIterator[Sequence[Entry]], write: _Write
    ) -> AsyncIterator[str]:
        if write is _rows:
            yield _table([_COLUMNS])
        yield await self.in_turn(write, first)
        async for page in pages:
            yield await self.in_turn(write, page)


class ActsDoors:
    def __init__(self, service: Service) -> None:
        self._acts = service.acts
        self._events = service.events
        self._files = ActFiles(service.acts)

    def routes(self) -> list[GuardedRoute]:
        return [
            route(f"{IN}/acts/search", self.search, "POST", _SEARCH),
            route(f"{IN}/acts/{{act:id}}", self.act, "GET", _ACT),
            route(f"{IN}/events", self.events, "GET", _EVENTS),
            route("/acts/search", self.search, "POST", _SEARCH_HOUSE),
            route("/acts/{act:id}", self.act, "GET", _HOUSE_ACT),
        ]

    async def search(self, request: Request) -> Response:
        raw, call = await read(request, _place(request))
        asked = attempt(_search, raw)
        media_type = _file(Headers(request.scope["headers"]).get(b"accept") or "")
        if media_type is not None:
            return await self._files.answer(call, asked, media_type)
        page = await self._acts.search(call, asked)
        told = {
            "records": [wire_control.act_shape(*entry) for entry in page.entries],
            "next": page.next,
            "kept_since": wire_control.moment(page.kept_since) if page.kept_since is not None else None,
        }
        return Response(wire.encode(told), 200, CONTROL_HEADERS, JSON)

    async def act(self, request: Request) -> Response:
        entry = await self._acts.one(call_of(request, _place(request)), request.path_params["act"])
        return Response(wire.encode(wire_control.act_shape(*entry)), 200, CONTROL_HEADERS, JSON)

    async def events(self, request: Request) -> Response:
        after = attempt(_last_event_id, Headers(request.scope["headers"]))
        try:
            heard = await self._events.listen(call_of(request, environment_of(request)), after)
        except TooManyListen as error:
            return problem(503, FAULTS[503], str(error), RETRY_AFTER)
        if request.method == "HEAD":
            await heard.aclose()
            return Response(None, 200, CONTROL_HEADERS, EVENTS)
        request.scope["endless"] = True  # for connection.py
        return StreamingResponse(self._told(heard), 200, CONTROL_HEADERS, EVENTS)

    async def _told(self, heard: AsyncIterator[Heard]) -> AsyncIterator[str]:
        yield ":\n\n"  # so that the head goes out at once
        async for news in heard:
            if news.acts:
                yield await self._files.in_turn(_acts, news.acts)
            if news.points is not None:  # without an id: the next one tells of the whole minute, so none is missed
                yield f"event: counters\ndata: {wire.encode(counters_shape('1m', news.points)).decode()}\n\n"


def _place(request: Request) -> str:
    return environment_of(request) if "environment" in request.path_params else HOUSE


# --- reading


def _search(raw: bytes) -> Search:
    """Refuses: as search_of; InvalidRequest for what does not fit."""
    return search_of(decode(wire_control.ActsBody, raw or b"{}"))


def search_of(body: wire_control.ActsBody) -> Search:
    """Answer what is looked for. Refuses: InvalidRequest, InvalidIdentity, InvalidDeviceIdentifier."""
    for name in ("actors", "kinds", "channels"):
        if len(getattr(body, name)) > VALUES_MAX:
            raise InvalidRequest(f"{name} has at most {VALUES_MAX} values.")
    if len(body.subjects) > SUBJECTS_MAX:
        raise InvalidRequest(f"subjects has at most {SUBJECTS_MAX} digests.")
    if "" in (body.device, body.email, body.key):
        raise InvalidRequest("What names a viewer is empty; leave it out, or say whom you mean.")
    pass_id = body.pass_ if body.pass_ is not UNSET else None
    if any("\0" in text for text in (*body.actors, *body.kinds, *body.channels, pass_id or "")):
        raise InvalidRequest("No name has a character of value 0.")
    wanted = Wanted(
        moment_of(body.since, "since") if body.since is not UNSET else None,
        moment_of(body.until, "until") if body.until is not UNSET else None,
        body.kinds,
        body.actors,
        body.channels,
        pass_id,
        tuple(digest_from_hex(each) for each in body.subjects),
    )
    return Search(
        wanted,
        device_from_text(body.device) if body.device is not UNSET else None,
        tuple(canonical_user_key(key) for key in (body.email, body.key) if key is not UNSET),
        body.limit,
        body.after,
    )


def _last_event_id(headers: Headers) -> int | None:
    """Refuses: InvalidRequest."""
    text = headers.get(b"last-event-id")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - so it fits every database
        raise InvalidRequest("Last-Event-ID is the id of an event, a number.")
    return int(text)


# --- files


def _file(accept: str) -> str | None:
    """Answer as what kind of file the acts are wanted, None where as a page; the first that is named counts."""
    for part in accept.lower().split(","):
        media_type = part.partition(";")[0].strip()
        if media_type in _WRITE:
            return media_type
    return None


def _lines(entries: Sequence[Entry]) -> str:
    return "".join(f"{wire.encode(wire_control.act_shape(*entry)).decode()}\n" for entry in entries)


_COLUMNS = (
    "id", "sequence", "at", "kind", "actor_kind", "actor", "reason", "channel", "pass", "matched", "subjects", "more",
)  # fmt: skip


def _rows(entries: Sequence[Entry]) -> str:
    return _table(map(_cells, entries))


def _cells(entry: Entry) -> list[object]:
    """Answer the cells of a record: in the last one what only this kind of act has, as JSON."""
    told = wire_control.act_shape(*entry)
    actor: dict[str, str | None] = told.pop("actor")  # type: ignore[assignment]
    told["actor_kind"], told["actor"] = actor["kind"], actor["name"]
    subjects: list[str] = told.pop("subjects", [])  # type: ignore[assignment]
    told["subjects"] = " ".join(subjects)
    more = {name: value for name, value in told.items() if name not in _COLUMNS}
    return [*(told[name] for name in _COLUMNS[:-1]), wire.encode(more).decode() if more else ""]


def _table(rows: Iterable[Sequence[object]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([_defused(cell) for cell in row] for row in rows)
    return written.getvalue()


def _defused(cell: object) -> str:
    """Answer a cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


_WRITE: dict[str, _Write] = {CSV: _rows, LINES: _lines}


# --- events


def _acts(entries: Sequence[Entry]) -> str:
    return "".join(map(_event, entries))


def _event(entry: Entry) -> str:
    data = wire.encode(wire_control.act_shape(*entry)).decode()
    return f"id: {entry.sequence}\nevent: act\ndata: {data}\n\n"
