"""
Reads requests: headers, bodies and query strings, each within its bounds and each only once.

A repeated header is joined with a comma (RFC 9110 §5.3), so that no second value can slip in unseen.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from temppass.core.identity import decode_base64
from temppass.core.refusal import InvalidRequest, Refusal

A = TypeVar("A")
B = TypeVar("B", bytes, bytearray)

BODY_BYTES_MAX = 65_536
#: a body that is not here by then is not awaited any longer, in seconds; `connection` bounds the wait for its beginning
BODY_WAIT_S = 10
FIELD_CHARACTERS_MAX = 256
#: fields of a form in parts
PARTS_MAX = 32
_BOUNDARY = re.compile(r"""multipart/form-data\s*;\s*boundary="?([0-9A-Za-z'()+_,./:=?-]{1,70})"?\s*""", re.IGNORECASE)
_PART_NAME = re.compile(rb'content-disposition:\s*form-data;\s*name="([^"]*)"', re.IGNORECASE)

Pairs = list[tuple[str, str]]
_object = msgspec.json.Decoder(dict[str, Any])


def attempt(read: Callable[..., A], *arguments: Any) -> A | Refusal:
    """Answer what `read` makes of `arguments`, or the refusal that it raises, for the use case to raise in its turn."""
    try:
        return read(*arguments)
    except Refusal as refusal:
        return refusal


class Headers:
    """The headers of one request, by lower-case name."""

    __slots__ = ("_values",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._values = dict(raw)
        if len(self._values) != len(raw):
            together: dict[bytes, list[bytes]] = {}
            for name, value in raw:
                together.setdefault(name, []).append(value)
            self._values = {name: b", ".join(values) for name, values in together.items()}

    def get(self, name: bytes) -> str | None:
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def token(self) -> str | None:
        """The access token of `Authorization: Bearer …` (RFC 6750 §2.1), None where there is none."""
        value = self._values.get(b"authorization")
        if value is None or value[:7].lower() != b"bearer ":
            return None
        return value[7:].strip().decode("latin-1") or None

    @property
    def device_info(self) -> dict[str, Any]:
        """`X-Device-Info` as far as it can be read: it never fails a request (contract §6.0)."""
        value = self.get(b"x-device-info")
        if not value:
            return {}
        try:
            return _object.decode(decode_base64(value))
        except (ValueError, RecursionError):
            return {}

    @property
    def app_id(self) -> str | None:
        """`applicationId` of `X-Device-Info`, or None."""
        if b"x-device-info" not in self._values:
            return None
        return field_text(self.device_info.get("applicationId"))


def field_text(value: Any) -> str | None:
    """Answer a text or number of `X-Device-Info` as text; None for anything else, and for what is too long."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= FIELD_CHARACTERS_MAX else None


async def read_body(request: Request, headers: Headers, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """
    Read the whole body; `headers` are the request's.

    Raises HTTPException 413 over `bytes_max`, at the first byte too many, and 408 where it does not arrive.
    """
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdecimal() and int(declared[:20]) > bytes_max:
        raise _too_large(bytes_max)
    message = await request.receive()
    if not message.get("more_body") and message["type"] == "http.request":  # nearly every body comes in one piece
        whole: bytes = message.get("body", b"")
        return _within_bounds(whole, bytes_max)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                _within_bounds(body, bytes_max)
                if not message.get("more_body"):
                    return bytes(body)
                message = await request.receive()
    except TimeoutError:
        raise HTTPException(408, "The body did not arrive in time.", {"Connection": "close"}) from None


def _within_bounds(body: B, bytes_max: int) -> B:
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


def _too_large(bytes_max: int) -> HTTPException:
    return HTTPException(413, f"A body has at most {bytes_max} bytes.", {"Connection": "close"})


def query_bytes(query: bytes) -> list[tuple[str, bytes]]:
    """Split a query string; values stay bytes, because a device id is bytes. `+` is a space (design decision 8.14)."""
    pairs = (part.partition(b"=") for part in query.split(b"&") if part)
    return [
        (
            unquote_to_bytes(name.replace(b"+", b" ")).decode(errors="replace"),
            unquote_to_bytes(value.replace(b"+", b" ")),
        )
        for name, _, value in pairs
    ]


def form_pairs(raw: bytes) -> Pairs:
    """Split a form or query string into texts. Refuses: InvalidRequest where one is not UTF-8."""
    try:
        return [(name, value.decode()) for name, value in query_bytes(raw)]
    except UnicodeDecodeError:
        raise InvalidRequest("Send texts as percent-encoded UTF-8.") from None


def multipart_pairs(raw: bytes, content_type: str) -> Pairs:
    """
    Split a form in parts, in which files come, into texts; what a file is called is not asked.

    Refuses: InvalidRequest for what browsers do not send, and for a text that is not UTF-8.
    Source: RFC 7578; HTML, multipart form data (a name has no quotation mark and no end of a line).
    """
    boundary = _BOUNDARY.fullmatch(content_type)
    if boundary is None:
        raise InvalidRequest("Send the form as multipart/form-data with a boundary.")
    before, *parts = (b"\r\n" + raw).split(b"\r\n--" + boundary[1].encode(), PARTS_MAX + 1)
    if before or not parts or not parts.pop().startswith(b"--"):
        raise InvalidRequest(f"The form is not whole, or has more than {PARTS_MAX} parts.")
    pairs = []
    for part in parts:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _PART_NAME.search(head)
        if name is None:
            raise InvalidRequest("A part of the form has no name.")
        try:
            pairs.append((name[1].decode(), value.decode()))
        except UnicodeDecodeError:
            raise InvalidRequest("A file is a text in UTF-8; save it as CSV UTF-8, and send it again.") from None
    return pairs


def single(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses: InvalidRequest where a name stands twice."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidRequest(f"Send {name[:64]!r} only once.")
        fields[name] = value
    return fields
