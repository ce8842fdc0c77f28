"""
Where a chain begins whose oldest records are forgotten: at an anchor, the place of the last of them, under the key of
the chain. Nobody without it can make one or move it, so what was cut off is told from what was forgotten.

Source: docs/design.md (the beginning of a chain).
"""

import hmac
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from temppass.core.act import NO_LINK, Link, Sealed, sealed

#: so that no anchor can be taken for a link, whose hash is made under the same key
_PURPOSE = b"anchor"


class Anchor(Struct, frozen=True):
    """The last record that was forgotten: its place, and its moment in Unix milliseconds; `proof` is keyed."""

    link: Link
    at: int
    proof: bytes


#: of a chain of which nothing is forgotten
NO_ANCHOR = Anchor(NO_LINK, 0, b"")


class _Moment(Struct):
    at: int


_moment = msgspec.json.Decoder(_Moment).decode


def anchored(key: bytes, link: Link, at: int) -> Anchor:
    return Anchor(link, at, _proof(key, link, at))


def is_good(key: bytes, anchor: Anchor) -> bool:
    """Tell whether an anchor was left by who has the key, or is none."""
    return anchor == NO_ANCHOR or hmac.compare_digest(anchor.proof, _proof(key, anchor.link, anchor.at))


def forgotten(key: bytes, before: int, anchor: Anchor, chain: Iterable[Sealed]) -> Anchor | None:
    """
    Answer where a chain is to begin that is not to hold records of before a moment: behind the part of `chain`, which
    follows `anchor`, that is older; None where nothing of it is.

    What was meddled with is not forgotten, nor what follows it: it has to be found.
    """
    if not is_good(key, anchor):
        return None
    last = anchor
    for entry in chain:
        if [entry.link] != sealed(key, last.link, [entry.document]):
            break
        at = _moment(entry.document).at
        if at >= before:
            break
        last = Anchor(entry.link, at, b"")
    return anchored(key, last.link, last.at) if last is not anchor else None


def _proof(key: bytes, link: Link, at: int) -> bytes:
    numbers = link.sequence.to_bytes(8, "big") + at.to_bytes(8, "big", signed=True)
    return hmac.digest(key, _PURPOSE + numbers + link.hash, "sha256")
