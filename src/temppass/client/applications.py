"""
The conversations of an operator about what applications are given, and what comes of them. They are as those of
control.py, without any I/O.

Source: docs/reference.md (control).
"""

from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from temppass.client.answers import moment, objects, text, texts
from temppass.client.control import Seat, asked, path_in, segment
from temppass.client.exchange import Flow, number_of

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
    """A client of an application: one installation, and when it registered, in Unix milliseconds."""

    id: str
    registered_at: int


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


def clients(seat: Seat, application: str, after: str = "") -> Flow[tuple[list[Registration], str]]:
    """Answer a page of an application's clients, and what the next one is after, "" after the last."""
    query = urlencode({"limit": PAGE_CLIENTS_MAX, **({"after": after} if after else {})})
    fields = yield from asked(seat, "GET", path_in(seat, f"/applications/{segment(application)}/clients?{query}"))
    found = [Registration(text(each, "id"), moment(each.get("registered_at"))) for each in objects(fields, "clients")]
    return found, text(fields, "next") if fields.get("next") is not None else ""


def mint_statement(seat: Seat, application: str, reason: str | None, *, once: str) -> Flow[NewStatement]:
    """Mint a statement. Raises RequestRefused, with code `answered_once` where the answer with it was lost."""
    path = path_in(seat, f"/applications/{segment(application)}/statements")
    fields = yield from asked(seat, "POST", path, {"reason": reason} if reason is not None else {}, once=once)
    return NewStatement(text(fields, "id"), text(fields, "statement"), moment(fields.get("ends_at")))


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
