"""
Explains one text of the wire in words, without I/O: software statements, access tokens, media tokens (ours and the
vendor's), and the headers that name a device, a viewer's identity or a device's kind.

What is told is what the text says of itself; only a key set can prove it. An explanation holds neither the text nor its
signature, so it can be shown where the text must not be.

Source: RFC 7515 §3 and §7.1, RFC 7519 §4.1, contract §3.1, §3.4, §6.0, §8 and §11.1.
"""

import html
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from temppass.core.identity import canonical_user_key, decode_base64, device_from_header
from temppass.core.refusal import Refusal
from temppass.tools.claims import ACCEPTED, SECONDS_BELOW, Kind, Unexplained, kind_of, moment_of, read_token, scopes_of
from temppass.tools.proof import INPUT_BYTES_MAX, Proof, proved

#: a claim's value is shown up to so many characters
VALUE_CHARACTERS_MAX = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_ENCRYPTED = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}")
_HEADER = re.compile(r"(?i)(authorization|ap-device-identifier|ap-temppass-identity|x-device-info)[ \t]*:[ \t]*")
_ENCODED = re.compile(r"(?:eyJ|ZXlK|PH[A-Z0-9])[A-Za-z0-9+/=_.-]{16,}")
_object = msgspec.json.Decoder(dict[str, Any])


class Fact(Struct, frozen=True):
    """One thing that a text says: its name there, its value there, and what it means."""

    name: str
    value: Any
    words: str


class Explanation(Struct, frozen=True):
    """`good` is None where nothing was proved or disproved; `signature` says in words what is known of it."""

    kind: Kind
    facts: tuple[Fact, ...]
    signature: str
    good: bool | None


# --- what can be told of any text


def explain(raw: bytes, now_ms: int, proof: Proof | None = None) -> Explanation:
    """
    Say what a text is and what it says.

    `raw` may be a bare value or a whole header line; `now_ms` is Unix milliseconds. With `proof` the explanation is
    good only where the signature is, and the token holds now. Raises Unexplained.
    """
    header, text = _unwrapped(raw)
    if text[:11].lower() == "fingerprint" or header == "ap-device-identifier":
        return _unsigned(Kind.DEVICE, _device(text), proof)
    if text.startswith("<"):
        return _of_xml(text, proof)
    packed = "".join(text.split())
    if _COMPACT.fullmatch(packed):
        return _of_token(packed, now_ms, proof)
    if _ENCRYPTED.fullmatch(packed):
        raise Unexplained("the token is encrypted (RFC 7516), so nobody but its receiver can read it", hint=ACCEPTED)
    try:
        inner = decode_base64(packed).decode().strip()
    except ValueError:
        raise Unexplained("the text is neither a token nor base64 of a text", hint=ACCEPTED) from None
    if inner.startswith("<"):
        return _of_xml(inner, proof)
    if _COMPACT.fullmatch(inner):
        return _of_token(inner, now_ms, proof)
    return _of_object(inner, header, proof)


def looks_secret(text: str) -> bool:
    """Tell whether a text may be a token or an encoded header rather than the name of a file."""
    return bool(_COMPACT.fullmatch(text) or _ENCRYPTED.fullmatch(text) or _ENCODED.search(text)) or any(
        len(part.encode("utf-8", "replace")) > 255  # noqa: PLR2004 - the longest name of a file
        for part in text.split("/")
    )


def _unwrapped(raw: bytes) -> tuple[str, str]:
    """Answer the lower-case name of the header, if the text brings it along, and the value. Raises Unexplained."""
    if len(raw) > INPUT_BYTES_MAX:
        raise Unexplained(f"the text has more than {INPUT_BYTES_MAX} bytes", hint=ACCEPTED)
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise Unexplained("the text is not UTF-8", hint=ACCEPTED) from None
    found = _HEADER.match(text)
    name = found[1].lower() if found else ""
    value = (text[found.end() :] if found else text).strip(" \t\"'")
    value = re.sub(r"(?i)^bearer(?:\s+|$)", "", value)
    if not value:
        raise Unexplained("there is nothing to explain", hint=ACCEPTED)
    return name, value


def _unsigned(kind: Kind, facts: tuple[Fact, ...], proof: Proof | None) -> Explanation:
    return Explanation(kind, facts, "none; anybody can write it", None if proof is None else False)


# --- signed tokens


def moment_words(ms: int) -> str:
    """Write a moment, Unix milliseconds, as RFC 3339 in UTC."""
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return "a moment of no calendar"


def span_words(ms: int) -> str:
    """Write a length of time in its two largest units."""
    seconds = max(0, ms) // 1000
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, seconds = divmod(seconds, size)
        if amount or (unit == "s" and not parts):
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2])


def _of_token(compact: str, now_ms: int, proof: Proof | None) -> Explanation:
    token = read_token(compact)
    kind = kind_of(token)
    facts = [
        *(Fact(name, value, _HEADS[name](value)) for name, value in token.header.items() if name in _HEADS),
        *(Fact(name, value, _claim(kind, name, token.claims, now_ms)) for name, value in token.claims.items()),
    ]
    if proof is None:
        return Explanation(kind, tuple(facts), "not checked", None)
    good, signature = proved(compact, token, kind, proof, now_ms)
    return Explanation(kind, tuple(facts), signature, good)


_ALGORITHMS = {
    "RS256": "RSA with SHA-256",
    "ES256": "ECDSA on P-256 with SHA-256",
    "none": "no signature at all; nobody should take it",
}
_HEADS: dict[str, Callable[[Any], str]] = {
    "alg": lambda value: _ALGORITHMS.get(str(value), "an algorithm that this service does not sign with"),
    "kid": lambda _value: "the key that signed it, by its name in the key set",
    "typ": lambda _value: "what kind of token it is",
}

_SCOPES = {
    "api:client:v2": "REST v2",
    "temporary:passes:owner": "resets",
    "decisions:owner": "degradation",
    "analytics:client": "metrics",
}
_CLAIMS = {
    "iss": "who issued it",
    "aud": "the environment it is for",
    "jti": "its own id",
    "app": "the application that it was issued to",
    "epoch": "how often the application had come, left or been revoked before",
    "software_id": "the software",
    "client_name": "what the client is called",
    "requestor": "the channel",
    "mvpd": "the pass",
    "resource": "the title that may be played",
}
_SUBJECTS = {
    Kind.STATEMENT: "the application",
    Kind.ACCESS: "the client id",
    Kind.MEDIA: "the viewer's device, as the user id of its trial",
}


def _claim(kind: Kind, name: str, claims: Mapping[str, Any], now_ms: int) -> str:
    """Say what a claim means."""
    at = moment_of(claims, name)
    match name:
        case "sub":
            return _SUBJECTS.get(kind, "whom it is about")
        case "scopes" | "scope":
            told = [f"{scope} ({_SCOPES[scope]})" if scope in _SCOPES else scope for scope in scopes_of(claims) or ()]
            return "may: " + (", ".join(told) or "nothing")
        case "iat" if at is not None:
            return f"issued {moment_words(at)}, {_from_now(at, now_ms)}"
        case "nbf" if at is not None:
            return f"good from {moment_words(at)}, {_from_now(at, now_ms)}"
        case "exp" if at is not None:
            word = "expires" if at > now_ms else "expired"
            return f"{word} {moment_words(at)}, {_from_now(at, now_ms)}"
        case "ttl" if isinstance(claims[name], int):
            return f"good for {span_words(claims[name])}"
    return _CLAIMS.get(name, "not known here")


def _from_now(at: int, now_ms: int) -> str:
    return f"in {span_words(at - now_ms)}" if at > now_ms else f"{span_words(now_ms - at)} ago"


# --- the vendor's media token


#: the elements that a media token of the vendor is known to have (contract §8)
_ELEMENTS = {
    "sessionGUID": "the viewer, as a hashed id",
    "requestorID": "the channel",
    "resourceID": "the title that may be played",
    "ttl": "how long it is good",
    "issueTime": "when it was issued, as the vendor writes it",
    "mvpdId": "the pass or operator",
    "proxyMvpdId": "the operator behind a proxy",
}


def _of_xml(text: str, proof: Proof | None) -> Explanation:
    """
    Explain the vendor's media token: its elements are looked for by name, and no entity is ever expanded.

    Raises Unexplained for any other XML.
    """
    if "<shortAuthorizationToken" not in text and "<signatureInfo" not in text:
        raise Unexplained("the text is XML, and no media token of the vendor", hint=ACCEPTED)
    facts = []
    for name, words in _ELEMENTS.items():
        value = _element(text, name)
        if value is not None:
            is_span = name == "ttl" and re.fullmatch(r"[0-9]{1,15}", value)
            facts.append(Fact(name, value, f"good for {span_words(int(value))}" if is_span else words))
    signature = "not checked; only the vendor's verifier can"
    return Explanation(Kind.VENDOR_MEDIA, tuple(facts), signature, None if proof is None else False)


def _element(text: str, name: str) -> str | None:
    opening = re.search(rf"<{name}(?:\s[^<>]*)?>", text)
    end = text.find(f"</{name}", opening.end()) if opening else -1
    if opening is None or end < 0:
        return None
    value = text[opening.end() : end].strip()
    return value[9:-3] if value.startswith("<![CDATA[") and value.endswith("]]>") else html.unescape(value)


# --- headers


_HASHES = {56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
#: keys of `X-Device-Info` that are required, and those that may be there (contract §11.1)
_INFO_REQUIRED = ("model", "version", "osName", "osVersion", "connectionType")
_INFO = {
    **dict.fromkeys(_INFO_REQUIRED, "required"),
    **dict.fromkeys(
        (
            "primaryHardwareType", "manufacturer", "vendor", "osFamily", "osVendor", "browserName", "browserVendor",
            "browserVersion", "userAgent", "displayWidth", "displayHeight", "displayPpi", "diagonalScreenSize",
            "connectionIp", "connectionPort", "connectionSecure", "applicationId",
        ),
        "optional",
    ),
}  # fmt: skip


def _of_object(inner: str, header: str, proof: Proof | None) -> Explanation:
    """Explain the base64 of a JSON object; its keys tell which header it is, where its name is not given."""
    try:
        fields = _object.decode(inner)
    except (ValueError, RecursionError) as error:
        about = str(error) if isinstance(error, msgspec.DecodeError) else "it is nested too deeply"
        raise Unexplained(f"the text is base64, and no JSON object inside: {about}", hint=ACCEPTED) from None
    if header == "x-device-info" or (header != "ap-temppass-identity" and _INFO.keys() & fields.keys()):
        return _unsigned(Kind.DEVICE_INFO, _device_info(fields), proof)
    return _unsigned(Kind.IDENTITY, _identity(fields), proof)


def _device(text: str) -> tuple[Fact, ...]:
    try:
        device_id = device_from_header(text)
    except Refusal as refused:
        raise Unexplained(refused.detail, hint="the header is: fingerprint <base64 of the device id>") from None
    try:
        return (Fact("device_id", device_id.decode(), "the device id: what a reset and `--device` take"),)
    except UnicodeDecodeError:
        return (Fact("device_id", device_id.hex(), "the device id in hex: it is no text in UTF-8"),)


def _identity(fields: dict[str, Any]) -> tuple[Fact, ...]:
    facts = []
    for name, value in fields.items():
        if not isinstance(value, str) or not value:
            continue
        try:
            canonical = canonical_user_key(value)
        except Refusal as refused:
            raise Unexplained(refused.detail, hint="send the SHA-256 of what the viewer gave") from None
        words = f"the user key, by {_HASHES[len(canonical)]}: what a reset takes as `key`"
        if canonical != value.lower():
            words = "the user key that the service makes of it (SHA-256); the header has it in the clear: hash it first"
        facts.append(Fact(name, canonical, words))
    if not facts:
        raise Unexplained("the JSON object names no user key", hint='an identity is {"email": "<hash>"} in base64')
    return tuple(facts)


def _device_info(fields: dict[str, Any]) -> tuple[Fact, ...]:
    missing = [Fact(name, None, "missing, though required") for name in _INFO_REQUIRED if name not in fields]
    return (*(Fact(name, value, _INFO.get(name, "not known here")) for name, value in fields.items()), *missing)


# --- showing


def value_words(value: Any) -> str:
    """
    Write a value for a terminal: one line of bounded length, without anything that steers the terminal.
    """
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    short = text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}… ({len(text)} characters)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)


def read_moment(text: str) -> int:
    """Read a moment, RFC 3339 with its offset or Unix time, as Unix milliseconds. Raises Unexplained."""
    try:
        if re.fullmatch(r"[0-9]{1,15}", text):
            return int(text) if int(text) >= SECONDS_BELOW else int(text) * 1000
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        pass
    raise Unexplained("the moment cannot be read", hint="write it as 2026-01-31T20:00:00Z, or as Unix seconds")
