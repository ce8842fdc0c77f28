"""
The conversations of an operator about signing keys. They are as those of control.py, without any I/O.

Source: docs/reference.md (control).
"""

from msgspec import Struct

from temppass.client.answers import moment, objects, text, texts
from temppass.client.control import Seat, asked, path_in
from temppass.client.exchange import Flow


class SigningKey(Struct, frozen=True):
    """
    A key of the key set: `kind` is RSA or EC, `state` next, signing or verifying. Moments are Unix milliseconds, 0
    where nobody knows; `until` is when it verifies no token any more, 0 while it may sign.
    """

    kid: str
    kind: str
    alg: str
    state: str
    made_at: int = 0
    signs_from: int = 0
    until: int = 0


class MintAnew(Struct, frozen=True):
    """A statement that ended with its key; no `id` ("") means all that were minted before ids were kept."""

    application: str
    id: str = ""


class KeysRotated(Struct, frozen=True):
    """
    New signing keys, by their ids, and the moment from which they sign. Where the old ones were compromised,
    `mint_anew` tells which statements ended with them.
    """

    id: str
    kids: tuple[str, ...]
    signs_from: int
    mint_anew: tuple[MintAnew, ...] = ()


def keys(seat: Seat) -> Flow[list[SigningKey]]:
    """Answer the signing keys, those that sign first."""
    answer = yield from asked(seat, "GET", path_in(seat, "/keys"))
    return [
        SigningKey(
            text(each, "kid"),
            text(each, "kind"),
            text(each, "alg"),
            text(each, "state"),
            moment(each.get("made_at")),
            moment(each.get("signs_from")),
            moment(each.get("until")),
        )
        for each in objects(answer, "keys")
    ]


def rotate_keys(seat: Seat, reason: str | None, *, compromised: bool, once: str) -> Flow[KeysRotated]:
    """Make the next signing keys. Raises RequestRefused, with code `already_so` while others wait."""
    body = {"compromised": compromised, **({"reason": reason} if reason is not None else {})}
    fields = yield from asked(seat, "POST", path_in(seat, "/keys/rotate"), body, once=once)
    anew = tuple(
        MintAnew(text(each, "application"), text(each, "id") if each.get("id") is not None else "")
        for each in objects(fields, "mint_anew")
    )
    return KeysRotated(text(fields, "id"), texts(fields.get("kids")), moment(fields.get("signs_from")), anew)
