"""
The conversations of an operator about what applications are given, and what comes of them. They are as those of
control.py, without any I/O.

Source: docs/reference.md (control).
"""

from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from temppass.client.answers import Receipt, actor_of, moment, objects, receipt_of, rfc3339, text, texts
from temppass.client.control import Seat, asked, path_in, segment
from temppass.client.errors import InvalidTarget
from temppass.client.exchange import Flow, number_of

#: the id of all that an application was given before statements were listed
OLDER = "older"
#: clients in one page
PAGE_CLIENTS_MAX = 500


class Application(Struct, frozen=True):
    """
    Who may speak for channels. No `channels` (None) are all of them; `clients` counts those that may ask for tokens,
    10,000 at most; what it was given until `revoked_at`, in Unix milliseconds, has ended; 0 where that never was.
    """

    id: str
    name: str
    channels: tuple[str, ...] | None
    scopes: tuple[str, ...]
    domains: tuple[str, ...]
    clients: int
    revoked_at: int = 0


class Registration(Struct, frozen=True):
    """
    A client of an application: one installation. It registered at a moment in Unix milliseconds, with the statement of
    an id, or of before statements were listed (OLDER), and asked for a token last on the day `used_on` (2026-01-31), to
    30 days; "" where it never did, or nobody knows.
    """

    id: str
    registered_at: int
    statement: str = OLDER
    used_on: str = ""


class Statement(Struct, frozen=True):
    """
    A software statement of an application that was not revoked, by its id; or, OLDER, all that it was given before
    statements were listed, of which nobody knows when or by whom.

    Moments are Unix milliseconds, 0 for none; `minted_by` is written `kind:name`, as the actor of an act; `used_on` is
    the day (2026-01-31) when a client registered with it, or asked for a token, last, "" for none; `clients` counts
    1,000 at most.
    """

    id: str
    minted_at: int = 0
    minted_by: str = ""
    ends_at: int = 0
    used_on: str = ""
    clients: int = 0


class NewStatement(Struct, frozen=True):
    """
    A software statement that was just minted, which is shown once. `id` names it, and the act; it ends at a moment in
    Unix milliseconds, 0 for never.
    """

    id: str
    statement: str
    ends_at: int = 0

    def __repr__(self) -> str:
        return f"NewStatement({self.id!r}, ends_at={self.ends_at})"


def applications(seat: Seat) -> Flow[list[Application]]:
    """Answer the applications that speak for a channel which one may see."""
    answer = yield from asked(seat, "GET", path_in(seat, "/applications"))
    return [_application(each) for each in objects(answer, "applications")]


def clients(
    seat: Seat, application: str, after: str = "", statement: str | None = None
) -> Flow[tuple[list[Registration], str]]:
    """
    Answer a page of an application's clients, of one statement alone where it is named, and what the next page is
    after, "" after the last.
    """
    if statement == "":
        raise InvalidTarget("the statement is empty", hint="is a variable unset?")
    named = {"after": after or None, "statement": statement}
    query = urlencode({"limit": PAGE_CLIENTS_MAX, **{name: value for name, value in named.items() if value}})
    fields = yield from asked(seat, "GET", path_in(seat, f"/applications/{segment(application)}/clients?{query}"))
    found = [
        Registration(
            text(each, "id"),
            moment(each.get("registered_at")),
            _said(each, "statement") or OLDER,
            _said(each, "used_on"),
        )
        for each in objects(fields, "clients")
    ]
    return found, text(fields, "next") if fields.get("next") is not None else ""


def statements(seat: Seat, application: str) -> Flow[list[Statement]]:
    """Answer the statements of an application that were not revoked, OLDER first and then the oldest."""
    fields = yield from asked(seat, "GET", path_in(seat, f"/applications/{segment(application)}/statements"))
    return [
        Statement(
            text(each, "id"),
            moment(each.get("minted_at")),
            actor_of(each.get("minted_by")),
            moment(each.get("ends_at")),
            _said(each, "used_on"),
            number_of(each.get("clients")),
        )
        for each in objects(fields, "statements")
    ]


def mint_statement(
    seat: Seat, application: str, ends_at: int | None, reason: str | None, *, once: str
) -> Flow[NewStatement]:
    """Mint a statement. Raises RequestRefused, with code `answered_once` where the answer with it was lost."""
    path = path_in(seat, f"/applications/{segment(application)}/statements")
    until = {"ends_at": rfc3339(ends_at)} if ends_at is not None else {}
    why = {"reason": reason} if reason is not None else {}
    fields = yield from asked(seat, "POST", path, {**until, **why}, once=once)
    return NewStatement(text(fields, "id"), text(fields, "statement"), moment(fields.get("ends_at")))


def revoke_statement(seat: Seat, statement: str, *, once: str) -> Flow[Receipt]:
    """End one statement by its id. Raises RequestRefused, with code `not_found` for one that there is not."""
    path = path_in(seat, f"/statements/{segment(statement)}")
    return receipt_of((yield from asked(seat, "DELETE", path, once=once)))


def revoke_statements(seat: Seat, application: str, *, older: bool, once: str) -> Flow[Receipt]:
    """End all that an application was given, or (`older`) what it was given before statements were listed."""
    path = f"/applications/{segment(application)}/statements{f'/{OLDER}' if older else ''}"
    return receipt_of((yield from asked(seat, "DELETE", path_in(seat, path), once=once)))


def revoke_client(seat: Seat, client: str, *, once: str) -> Flow[Receipt]:
    """End one client. Raises RequestRefused, with code `not_found` for one that there is not."""
    path = path_in(seat, f"/clients/{segment(client)}")
    return receipt_of((yield from asked(seat, "DELETE", path, once=once)))


def _said(fields: dict[str, Any], name: str) -> str:
    """Answer a text that may be missing."""
    return text(fields, name) if fields.get(name) is not None else ""


def _application(fields: dict[str, Any]) -> Application:
    channels = fields.get("channels")
    return Application(
        text(fields, "id"),
        text(fields, "name"),
        texts(channels) if channels is not None else None,
        texts(fields.get("scopes")),
        texts(fields.get("domains")),
        number_of(fields.get("clients")),
        moment(fields.get("revoked_at")),
    )
