"""
What went over the wire, written down so that two runs can be compared: byte for byte, but for what is random by design
or told by another clock. Such a value becomes a placeholder that keeps who is who: one value, one placeholder.

A token is opened where it is first seen: its header and claims are written beside the exchange, treated alike; its
signature is not looked at. A length that counts random characters is checked by reading so many, and not written.
"""

import base64
import binascii
import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

_UUID = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b"
#: placeholder and shape of what can be told by its shape
_SHAPES = {
    "uuid": _UUID,
    "operator token": r"\btpo_[\w-]{43}",
    "viewer": r"\btemppass_[0-9a-f]{40}\b",
    "digest": r"\b[0-9a-f]{32}\b",
    "kid": r"(?<=\"kids\":\[\")[0-9a-f]{16}(?=\")|(?<=\",\")[0-9a-f]{16}(?=\"\])",
    "digits": r"(?<=\"subject\":\")[0-9a-f]{8}(?=\")",
}
_TOKEN = r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]+"
#: the base64 of a token, as media tokens are sent
_MEDIA = r"\bZXlK[A-Za-z0-9+/]{40,}=*"
#: members of JSON that are random, and what their values look like
_MEMBERS = {
    "client_secret": r".{32,}",
    "code": r"[A-Z0-9]{7}",
    "jti": r".+",
    "kid": r".+",
    "n": r".+",
    "x": r".+",
    "y": r".+",
}
#: an answer of so many characters is written down only once
_LONG = 10_000


class Exchange(NamedTuple):
    """All bytes of one connection, in both directions. `at_ms` counts from the beginning of the walk."""

    name: str
    at_ms: int
    sent: bytes
    received: bytes


def recording(exchanges: Sequence[Exchange]) -> dict[str, Json]:
    """Answer each exchange by its name, in texts that read well and, joined, are what went over the wire."""
    masks = _Masks()
    written: dict[str, Json] = {}
    first: dict[str, str] = {}
    for name, at_ms, sent, received in exchanges:
        assert name not in written, f"two exchanges are called {name!r}"
        told = received.decode("utf-8", "surrogateescape")
        masks.begin(name)
        masks.learn(told)
        asked, answered = (masks.message(text) for text in (sent.decode("utf-8", "surrogateescape"), told))
        told_before = first.setdefault(answered, name) if len(answered) > _LONG else name
        pieces = _pieces(answered) if told_before == name else [f"<the same as: {told_before}>"]
        written[name] = {"at_ms": at_ms, "sent": _pieces(asked), "received": pieces, **masks.opened()}
    return written


def _pieces(text: str) -> list[str]:
    """Cut a text at its line ends and between the objects of its JSON; of one character very often, tell the number."""
    short = re.sub(r"(.)\1{199,}", lambda run: f"<{len(run[0])} times {run[1]}>", text)
    return re.split(r"(?<=\n)(?=.)|(?<=[}\]],)", short, flags=re.DOTALL)


def pretty(written: Json) -> str:
    return json.dumps(written, indent=1) + "\n"


def differences(recorded: dict[str, Json], walked: dict[str, Json]) -> str:
    """Answer what differs, exchange by exchange, as `diff -u` would; nothing where nothing does."""
    lines: list[str] = []
    for name in [*recorded, *(name for name in walked if name not in recorded)]:
        before, after = (pretty(side.get(name, {})).splitlines() for side in (recorded, walked))
        lines += difflib.unified_diff(before, after, f"recorded: {name}", f"walked: {name}", n=2, lineterm="")
    return "\n".join(lines) or ("" if [*recorded] == [*walked] else "the order differs")


class _Masks:
    """Knows every random value that was seen, where it was seen first, and its placeholder."""

    def __init__(self) -> None:
        #: kind and number in the exchange that it was first seen in, and the name of that
        self._known: dict[str, tuple[str, str]] = {}
        #: of these, what no shape gives away
        self._learnt: set[str] = set()
        self._exchange = ""
        self._counts: Counter[str] = Counter()
        self._opened: Json = {}

    def begin(self, exchange: str) -> None:
        """Number what is new from one on, so that an exchange more or less leaves the others as they are."""
        self._exchange, self._counts, self._opened = exchange, Counter(), {}

    def learn(self, text: str) -> None:
        """Find the values that only their names in JSON give away."""
        for body in text.split("\r\n\r\n"):
            try:
                self._learn_of(json.loads(body))
            except ValueError:
                continue

    def message(self, text: str) -> str:
        """Write down one direction of an exchange."""
        head, end, body = re.sub(r"(?im)^(date): [^\r\n]*", r"\1: <date>", text).partition("\r\n\r\n")
        masked = self._mask(body)
        if "text/plain; version=" in head:  # of the metrics, all but what the walk itself counts up
            masked = re.sub(r"(?m)^(?!#|temppass_\w+_total\b)(.+) \S+$", r"\1 <number>", masked)
        if masked != body:
            head = re.sub(r"(?i)(content-length): \d+", r"\1: <length>", head)
        return self._mask(head) + end + masked

    def opened(self) -> Json:
        """Answer the tokens that this exchange is the first to show."""
        return {"tokens": self._opened} if self._opened else {}

    def _mask(self, text: str) -> str:
        text = re.sub(_MEDIA, lambda found: self._token(found[0], base64.b64decode(found[0]).decode()), text)
        text = re.sub(_TOKEN, lambda found: self._token(found[0], found[0]), text)
        for value in sorted(self._learnt, key=len, reverse=True):  # one may begin as another does
            text = text.replace(value, self._placeholder(value))
        for kind, shape in _SHAPES.items():
            text = re.sub(shape, lambda found, kind=kind: self._named(kind, found[0]), text)  # type: ignore[misc]
        return text

    def _token(self, seen: str, compact: str) -> str:
        """Answer the placeholder of a token, called by its `typ`, and open it if it is new."""
        if seen not in self._known:
            header, claims = (json.loads(_from_base64url(part)) for part in compact.split(".")[:2])
            self._learn_of([header, claims])
            placeholder = self._named(str(header.get("typ")).partition("+")[0], seen)
            self._opened[placeholder] = [self._mask(json.dumps(part)) for part in (header, claims)]
        return self._placeholder(seen)

    def _learn_of(self, value: Any) -> None:
        for name, member in _members(value):
            if isinstance(member, str) and re.fullmatch(_MEMBERS.get(name, r"(?!)"), member):
                self._named(name, member)
                self._learnt.add(member)
                if name == "code":  # is taken in either case
                    self._named("code in lower case", member.lower())
                    self._learnt.add(member.lower())

    def _named(self, kind: str, value: str) -> str:
        if value not in self._known:
            self._counts[kind] += 1
            self._known[value] = f"{kind} {self._counts[kind]}", self._exchange
        return self._placeholder(value)

    def _placeholder(self, value: str) -> str:
        name, exchange = self._known[value]
        return f"<{name}>" if exchange == self._exchange else f"<{name} of: {exchange}>"


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _members(part)


def _from_base64url(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        return b"{}"
