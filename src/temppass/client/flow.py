"""
The conversations with a service, without any I/O: each is a generator that yields what it wants done (send this, wait
so long, recall, remember, hold the vault) and is sent what came of it. Two thin shells play them (client.py), so
nothing is written twice, and a test plays them by script.

Source: contract §3, §5, §6, §9, §11; RFC 6749 §4.4, RFC 7591 §3.
"""

import base64
import json
import random
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from temppass.client.errors import (
    AccessDenied,
    CredentialsRefused,
    InvalidTarget,
    NotPermitted,
    RequestRefused,
    ServerFault,
    TempPassError,
    Throttled,
    Unreachable,
    Unreadable,
)
from temppass.client.place import Place
from temppass.client.vault import Held
from temppass.core.identity import IDENTITY_BYTES_MAX, canonical_user_key
from temppass.core.refusal import InvalidIdentity

T = TypeVar("T")

#: a token is renewed this long before it expires
RENEW_BEFORE_MS = 60_000
#: an access token lives this long where the answer does not say (contract §11 #2)
LIFETIME_S = 21_600
#: after a 429: tries in all, and the least wait (contract §11 #5)
TRIES_MAX = 4
WAIT_S = 1.0
#: a server that asks for more patience than this is not waited for
WAIT_S_MAX = 30.0
#: below it, a moment is in seconds and not in milliseconds (contract §11 #7)
_SECONDS_BELOW = 10**11


# --- what a flow asks for


class Send(Struct, frozen=True):
    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""


class Wait(Struct, frozen=True):
    seconds: float


class Recall(Struct, frozen=True): ...


class Remember(Struct, frozen=True):
    held: Held | None


class Hold(Struct, frozen=True):
    """Hold the vault until Release or the end of the flow; others who want it wait."""


class Release(Struct, frozen=True): ...


class Tell(Struct, frozen=True):
    """Ask for the time, in Unix milliseconds."""


# --- what comes of it


class Answer(Struct, frozen=True):
    """`headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Struct, frozen=True):
    """No answer came; `sent` is False where the request cannot have reached the service."""

    reason: str
    sent: bool


Effect = Send | Wait | Recall | Remember | Hold | Release | Tell
Flow = Generator[Effect, Any, T]


# --- everybody is spelled out


class Everybody:
    """A target that means all devices, or all keys, of a pass."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ALL_DEVICES = Everybody("ALL_DEVICES")
ALL_KEYS = Everybody("ALL_KEYS")


# --- answers


class Permit(Struct, frozen=True):
    """A title may be watched. Moments are Unix milliseconds; `media_token` is "" from preauthorize."""

    resource: str
    not_before: int = 0
    not_after: int = 0
    media_token: str = ""


class Deny(Struct, frozen=True):
    """A title may not be watched, and why: the vendor's words."""

    resource: str
    code: str
    status: int
    action: str
    message: str


class ProfileState(Struct, frozen=True):
    """The state of a trial; `remaining` and `used` are None for a basic pass."""

    pass_id: str
    not_before: int
    not_after: int
    user_id: str
    remaining: int | None = None
    used: tuple[str, ...] | None = None


class ResetDone(Struct, frozen=True):
    """`reset_id` and `matched` are told by temppass only; the vendor says nothing."""

    reset_id: str = ""
    matched: int | None = None


# --- who speaks, and for what


class Party(Struct, frozen=True):
    """The place, and the software statement that opens it."""

    place: Place
    software_statement: str
    scope: str = ""


# --- registration and tokens


def registration(party: Party) -> Flow[Held]:
    """Register and answer new credentials. Raises CredentialsRefused, ServerFault, Unreachable, Throttled."""
    body = json.dumps({"software_statement": party.software_statement}).encode()
    headers = {"Content-Type": "application/json;charset=utf-8", "Accept": "application/json"}
    answer = yield from _sent(Send("POST", f"{party.place.service}/o/client/register", headers, body))
    if not _is_good(answer):
        _refuse_credentials(answer, "the software statement is not taken")
    fields = _object(answer)
    if not isinstance(fields.get("client_id"), str) or not isinstance(fields.get("client_secret"), str):
        raise Unreadable("register answered no credentials", status=answer.status)
    return Held(fields["client_id"], fields["client_secret"])


def token(party: Party, held: Held) -> Flow[Held]:
    """Exchange credentials for an access token. Raises CredentialsRefused with code `invalid_client`, and others."""
    form = {"grant_type": "client_credentials", "client_id": held.client_id, "client_secret": held.client_secret}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    asked_at = yield Tell()
    answer = yield from _sent(Send("POST", f"{party.place.service}/o/client/token", headers, urlencode(form).encode()))
    if not _is_good(answer):
        _refuse_credentials(answer, "the client credentials are not taken")
    fields = _object(answer)
    access_token = fields.get("access_token")
    if not isinstance(access_token, str) or not access_token:
        raise Unreadable("token answered no access_token", status=answer.status)
    lifetime_s = _number(fields.get("expires_in")) or LIFETIME_S
    return replace(held, token=access_token, expires_at=asked_at + lifetime_s * 1000)


def access_token(party: Party, *, instead_of: str = "", anew: bool = False) -> Flow[str]:
    """
    Answer a good token: the one that is kept, or a new one.

    `instead_of` is a token that was refused; `anew` registers even where there are credentials. Only one of all who
    find the vault empty goes and asks; the others wait and find what it brought.
    """
    held = yield Recall()
    if (yield from _is_fresh(held, instead_of)):
        return str(held.token)
    yield Hold()  # until Release, or until the flow ends in an error
    held = yield Recall()
    if not (yield from _is_fresh(held, instead_of)):
        if held is None or anew:
            held = yield from registration(party)
            yield Remember(held)
        try:
            held = yield from token(party, held)
        except CredentialsRefused as error:
            if error.code != "invalid_client":
                raise
            yield Remember(None)
            held = yield from token(party, (yield from registration(party)))
        yield Remember(held)
    yield Release()
    return str(held.token)


def registered(party: Party) -> Flow[str]:
    """Register anew and keep the credentials in place of the old ones; answer the client id. Raises as registration."""
    yield Hold()
    held = yield from registration(party)
    yield Remember(held)
    yield Release()
    return held.client_id


def key_set(party: Party) -> Flow[dict[str, Any]]:
    """Answer the keys that media tokens are signed with (RFC 7517 §5). The vendor publishes none."""
    answer = yield from _sent(Send("GET", f"{party.place.service}/.well-known/jwks.json", dict(_JSON)))
    if not _is_good(answer):
        _refuse(answer)
    keys = _object(answer)
    if not isinstance(keys.get("keys"), list) or not all(isinstance(key, dict) for key in keys["keys"]):
        raise Unreadable("the key set has no list of keys", status=answer.status)
    return keys


def _is_fresh(held: Held | None, instead_of: str) -> Flow[bool]:
    if held is None or not held.token or held.token == instead_of:
        return False
    now: int = yield Tell()
    return now < held.expires_at - RENEW_BEFORE_MS


def spoken(party: Party, request: Send) -> Flow[Answer]:
    """
    Send a request with a token: 401 renews the token once, then the registration once; 403 of the management host
    renews the registration once. Answers a 2xx. Raises every kind of TempPassError but InvalidTarget.
    """
    of_management = "/reset-tempass/" in request.url
    used = yield from access_token(party)
    answer = yield from _sent(_with_token(request, used))
    if answer.status == 401:
        used = yield from access_token(party, instead_of=used)
        answer = yield from _sent(_with_token(request, used))
    if answer.status == 401 or (answer.status == 403 and of_management and _code(answer) != "insufficient_scope"):
        used = yield from access_token(party, instead_of=used, anew=True)
        answer = yield from _sent(_with_token(request, used))
    if _is_good(answer):
        return answer
    _refuse(answer)


def _with_token(request: Send, access_token: str) -> Send:
    return replace(request, headers={**request.headers, "Authorization": f"Bearer {access_token}"})


def _sent(request: Send) -> Flow[Answer]:
    """Send, and wait and send again while the answer is 429. Raises Throttled, Unreachable."""
    for attempt in range(1, TRIES_MAX + 1):
        answer = yield request
        if isinstance(answer, Lost):
            told = "it may have been applied" if answer.sent else "nothing was sent"
            raise Unreachable(f"{_host(request)}: {answer.reason}; {told}", maybe_applied=answer.sent)
        if answer.status != 429:
            return answer  # type: ignore[no-any-return]  # what a shell sends for a Send
        pause_s = max(WAIT_S, float(_number(answer.headers.get("retry-after")) or 0))
        if attempt == TRIES_MAX or pause_s > WAIT_S_MAX:
            break
        yield Wait(pause_s * 2 ** (attempt - 1) * random.uniform(1, 1.25))  # noqa: S311 - spreads the load, keeps no secret
    raise Throttled(f"{_host(request)} still answers 429", status=429, action="retry", hint="ask less often")


# --- resets


def reset_device(party: Party, requestor: str, mvpd: str, device_id: str | bytes | Everybody) -> Flow[ResetDone]:
    """Reset one device, or ALL_DEVICES. Raises InvalidTarget before anything is sent."""
    if device_id is ALL_DEVICES:
        return (yield from _reset(party, "", requestor, mvpd, {"device_id": "all"}))
    if not isinstance(device_id, str | bytes) or not 0 < len(_bytes(device_id)) <= IDENTITY_BYTES_MAX:
        raise InvalidTarget("name a device, or ALL_DEVICES", hint="an empty device id would mean everybody")
    if _bytes(device_id) == b"all":
        raise InvalidTarget("the wire cannot name a device that is called 'all'", hint="use ALL_DEVICES for everybody")
    return (yield from _reset(party, "", requestor, mvpd, {"device_id": device_id}))


def reset_key(party: Party, requestor: str, mvpd: str, user_key: str | Everybody) -> Flow[ResetDone]:
    """Reset one user key (a hash, or what it is the hash of), or ALL_KEYS. Raises InvalidTarget."""
    if user_key is ALL_KEYS:
        return (yield from _reset(party, "/generic", requestor, mvpd, {"key": "all"}))
    if not isinstance(user_key, str) or not user_key:
        raise InvalidTarget("name a user key, or ALL_KEYS", hint="an empty key would mean everybody")
    return (yield from _reset(party, "/generic", requestor, mvpd, {"key": _hashed(user_key)}))


def _reset(party: Party, path: str, requestor: str, mvpd: str, target: dict[str, str | bytes]) -> Flow[ResetDone]:
    if not requestor or not mvpd:
        raise InvalidTarget("name the requestor and the mvpd")
    query = urlencode({**target, "requestor_id": requestor, "mvpd_id": mvpd}, quote_via=quote)
    url = f"{party.place.management}/reset-tempass/v3/reset{path}?{query}"
    answer = yield from spoken(party, Send("DELETE", url, {"Accept": "application/json"}))
    matched = answer.headers.get("temppass-matched")
    return ResetDone(answer.headers.get("temppass-reset-id", ""), _number(matched) if matched is not None else None)


# --- decisions and profiles


class Viewer(Struct, frozen=True):
    """Whose trial it is. `user_key` is a hash, or what it is the hash of; `identity_key` is the pass's, e.g. email."""

    device_id: str | bytes
    user_key: str | None = None
    identity_key: str = "email"
    #: the viewer's address, for a server that speaks for its viewers
    forwarded_for: str | None = None

    def headers(self) -> dict[str, str]:
        """Raises InvalidTarget for an empty device id or key."""
        if not self.device_id or self.user_key == "":
            raise InvalidTarget("a viewer has a device id, and a user key that is not empty")
        headers = {"AP-Device-Identifier": f"fingerprint {base64.b64encode(_bytes(self.device_id)).decode()}"}
        if self.user_key is not None:
            identity = json.dumps({self.identity_key: _hashed(self.user_key)}, separators=(",", ":"))
            headers["AP-TempPass-Identity"] = base64.b64encode(identity.encode()).decode()
        if self.forwarded_for is not None:
            headers["X-Forwarded-For"] = self.forwarded_for
        return headers


def authorize(
    party: Party, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str], *, only_ask: bool = False
) -> Flow[list[Permit | Deny]]:
    """Decide titles; `only_ask` preauthorizes. Raises InvalidTarget, and what `spoken` raises."""
    if isinstance(resources, str) or not resources or not all(resources):
        raise InvalidTarget("name the titles as a list that is not empty")
    call = "preauthorize" if only_ask else "authorize"
    headers = {**_JSON, **viewer.headers(), "Content-Type": "application/json;charset=utf-8"}
    body = json.dumps({"resources": list(resources)}).encode()
    url = _v2(party, requestor, f"decisions/{call}/{_segment(mvpd)}")
    answer = yield from spoken(party, Send("POST", url, headers, body))
    decisions = _object(answer).get("decisions")
    if not isinstance(decisions, list) or not all(isinstance(decision, dict) for decision in decisions):
        raise Unreadable(f"{call} answered no decisions", status=answer.status)
    return [_verdict(decision) for decision in decisions]


def profile(party: Party, requestor: str, mvpd: str, viewer: Viewer) -> Flow[ProfileState | Deny]:
    """Answer the state of a trial, or why there is none to show. Raises what `spoken` raises."""
    url = _v2(party, requestor, f"profiles/{_segment(mvpd)}")
    try:
        answer = yield from spoken(party, Send("GET", url, {**_JSON, **viewer.headers()}))
    except TempPassError as error:
        if error.code.startswith("temporary_access_"):  # how a profile says no (contract §6.1)
            return Deny("", error.code, error.status or 403, error.action, str(error))
        raise
    profiles = _object(answer).get("profiles")
    shown = profiles.get(mvpd) if isinstance(profiles, dict) else None
    if not isinstance(shown, dict):
        raise Unreadable(f"profiles answered nothing of {mvpd}", status=answer.status)
    values = {name: _dict(entry).get("value") for name, entry in _dict(shown.get("attributes")).items()}
    used = values.get("used_assets")
    remaining = values.get("remaining_resources")
    return ProfileState(
        mvpd,
        _moment(shown.get("notBefore")),
        _moment(shown.get("notAfter")),
        str(values.get("userID", "")),
        _number(remaining) if remaining is not None else None,
        tuple(map(str, used)) if isinstance(used, list) else None,
    )


def configuration(party: Party, requestor: str) -> Flow[dict[str, Any]]:
    """Answer the channel's configuration as the wire has it (contract §6.7)."""
    answer = yield from spoken(party, Send("GET", _v2(party, requestor, "configuration"), dict(_JSON)))
    return _object(answer)


_JSON = {"Accept": "application/json;charset=utf-8"}


def _v2(party: Party, requestor: str, path: str) -> str:
    return f"{party.place.service}/api/v2/{_segment(requestor)}/{path}"


def _segment(name: str) -> str:
    if not name:
        raise InvalidTarget("name the requestor and the mvpd")
    return quote(name, safe="")


def _verdict(decision: dict[str, Any]) -> Permit | Deny:
    resource = str(decision.get("resource", ""))
    if decision.get("authorized") is True:
        media_token = _dict(decision.get("token"))
        return Permit(
            resource,
            _moment(decision.get("notBefore")),
            _moment(decision.get("notAfter")),
            str(media_token.get("serializedToken", "")),
        )
    error = _dict(decision.get("error"))
    return Deny(
        resource,
        str(error.get("code", "")),
        _number(error.get("status")) or 403,
        str(error.get("action", "none")),
        str(error.get("message", "")),
    )


# --- reading answers


def _is_good(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _object(answer: Answer) -> dict[str, Any]:
    fields = _read(answer)
    if fields is None:
        raise Unreadable("the body is not a JSON object", status=answer.status)
    return fields


def _read(answer: Answer) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _code(answer: Answer) -> str:
    fields = _read(answer) or {}
    code = fields.get("code") or fields.get("error")
    return code if isinstance(code, str) else ""


def _refuse_credentials(answer: Answer, what: str) -> NoReturn:
    if answer.status >= 500:
        _refuse(answer)
    fields = _read(answer) or {}
    code = _code(answer)
    detail = fields.get("error_description") or what
    raise CredentialsRefused(
        str(detail), status=answer.status, code=code, action="application-registration", hint=_HINTS.get(code, "")
    )


def _refuse(answer: Answer) -> NoReturn:
    fields = _read(answer) or {}
    code = _code(answer)
    message = str(fields.get("message") or fields.get("error_description") or f"the service answered {answer.status}")
    kind: type[TempPassError]
    match answer.status:
        case 401:
            kind = AccessDenied
        case 403 if not code.startswith("temporary_access_") and code != "too_many_resources":
            kind = NotPermitted
        case status if status >= 500:
            kind = ServerFault
        case _:
            kind = RequestRefused
    action = str(fields.get("action") or ("retry" if answer.status >= 500 else "none"))
    raise kind(message, status=answer.status, code=code, action=action, hint=_HINTS.get(code, ""))


_HINTS = {
    "unapproved_software_statement": "the application is unknown there or was revoked; get a new software statement",
    "invalid_software_statement": "is the statement of this environment?",
    "insufficient_scope": "the application needs the scope temporary:passes:owner and the channel",
    "invalid_access_token_service_provider": "the application is not assigned to this channel",
    "invalid_access_token_client_application": "the application needs the scope api:client:v2",
}


def _host(request: Send) -> str:
    return request.url.partition("//")[2].partition("/")[0]


def _hashed(user_key: str) -> str:
    try:
        return canonical_user_key(user_key)
    except InvalidIdentity as error:
        raise InvalidTarget(error.detail) from None


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _dict(value: Any) -> dict[str, Any]:
    """Take an object of foreign JSON; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    """Read a number or a numeric text; 0 for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _moment(value: Any) -> int:
    """Read a moment in seconds or milliseconds, number or text, as milliseconds (contract §11 #7)."""
    number = _number(value)
    return number * 1000 if 0 < number < _SECONDS_BELOW else number
