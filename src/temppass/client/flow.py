"""
The conversations of an application with a service, without any I/O: each is a generator that yields what it wants done
(exchange.py) and is sent what came of it. Two thin shells play them (client.py), so nothing is written twice, and a
test plays them by script.

Source: contract §3, §5, §6, §9, §11; RFC 6749 §4.4, RFC 7591 §3.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from temppass.client.errors import CredentialsRefused, InvalidTarget, TempPassError, Unreadable, VaultError
from temppass.client.exchange import (
    Answer,
    Flow,
    Hold,
    Recall,
    Release,
    Remember,
    Send,
    Tell,
    Wait,
    code_of,
    dict_of,
    is_good,
    number_of,
    object_of,
    read,
    refuse,
    sent,
    told_by,
    words,
)
from temppass.client.place import Place
from temppass.client.vault import Held
from temppass.core.identity import IDENTITY_BYTES_MAX, canonical_user_key
from temppass.core.refusal import InvalidIdentity

#: a token is renewed this long before it expires
RENEW_BEFORE_MS = 60_000
#: an access token lives this long where the answer does not say (contract §11 #2)
LIFETIME_S = 21_600
#: an answer that gives a token longer is not believed, in seconds
LIFETIME_S_MAX = 31_536_000
#: while another thread or process renews the token: between two looks, and in all, in seconds
HOLD_PAUSE_S = 0.02
HOLD_WAIT_S = 300.0
#: of a body that should not have come, the beginning that an error repeats
BEGINNING_MAX = 80
#: below it, a moment is in seconds and not in milliseconds (contract §11 #7)
_SECONDS_BELOW = 10**11
#: what a header can carry (RFC 6750 §2.1 allows less)
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")
_COUNT = re.compile(r"[0-9]{1,18}")
_NOT_ASKED = "no token came, so the request was not sent"


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


# --- registration and tokens


def registration(party: Party) -> Flow[Held]:
    """Register and answer new credentials. Raises CredentialsRefused, ServerFault, Unreachable, Throttled."""
    body = json.dumps({"software_statement": party.software_statement}).encode()
    headers = {"Content-Type": "application/json;charset=utf-8", "Accept": "application/json"}
    request = Send("POST", f"{party.place.service}/o/client/register", headers, body)
    answer = yield from sent(request, otherwise=_NOT_ASKED)
    if not is_good(answer):
        _refuse_credentials(answer, "the software statement is not taken", (party.software_statement,))
    fields = object_of(answer)
    client_id, client_secret = fields.get("client_id"), fields.get("client_secret")
    if not isinstance(client_id, str) or not isinstance(client_secret, str) or not client_id or not client_secret:
        raise Unreadable("register answered no credentials", status=answer.status)
    return Held(client_id, client_secret)


def token(party: Party, held: Held) -> Flow[Held]:
    """Exchange credentials for an access token. Raises CredentialsRefused with code `invalid_client`, and others."""
    form = {"grant_type": "client_credentials", "client_id": held.client_id, "client_secret": held.client_secret}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    asked_at = yield Tell()
    request = Send("POST", f"{party.place.service}/o/client/token", headers, urlencode(form).encode())
    answer = yield from sent(request, otherwise=_NOT_ASKED)
    if not is_good(answer):
        _refuse_credentials(answer, "the client credentials are not taken", (held.client_secret,))
    fields = object_of(answer)
    access_token = fields.get("access_token")
    if not isinstance(access_token, str) or not _TOKEN.fullmatch(access_token):
        raise Unreadable("token answered no access_token that a header can carry", status=answer.status)
    lifetime_s = min(number_of(fields.get("expires_in")) or LIFETIME_S, LIFETIME_S_MAX)
    return replace(held, token=access_token, expires_at=asked_at + lifetime_s * 1000)


def access_token(party: Party, *, instead_of: str = "") -> Flow[str]:
    """
    Answer a good token: the one that is kept, or a new one where it is `instead_of`. Raises as registration and token.
    """
    return (yield from _access(party, instead_of=Held("", "", instead_of))).token


def _access(party: Party, *, instead_of: Held | None = None, anew: bool = False) -> Flow[Held]:
    """
    Answer credentials with a good token.

    `instead_of` has a token that was refused; `anew` registers where its credentials are still the ones that are kept.
    Only one of all who find the vault empty goes and asks; the others wait and find what it brought.
    """
    held = yield Recall()
    if (yield from _is_fresh(held, instead_of)):
        return held  # type: ignore[no-any-return]  # what a shell sends for a Recall
    yield from _hold()  # until Release, or until the flow ends in an error
    held = yield Recall()
    if not (yield from _is_fresh(held, instead_of)):
        if held is None or (anew and instead_of is not None and held.client_id == instead_of.client_id):
            held = yield from registration(party)
            yield Remember(held)
        try:
            held = yield from token(party, held)
        except CredentialsRefused as error:
            if error.code != "invalid_client" or anew:
                raise
            yield Remember(None)
            held = yield from registration(party)
            yield Remember(held)
            held = yield from token(party, held)
        yield Remember(held)
    yield Release()
    return held  # type: ignore[no-any-return]  # as above


def _hold() -> Flow[None]:
    """Hold the vault, waiting for whoever holds it. Raises VaultError where that takes too long."""
    waited_s = 0.0
    while (yield Hold()) is False:
        if waited_s >= HOLD_WAIT_S:
            raise VaultError("somebody else has been renewing the token for too long", hint="is a process stuck?")
        yield Wait(HOLD_PAUSE_S)
        waited_s += HOLD_PAUSE_S


def registered(party: Party) -> Flow[str]:
    """Register anew and keep the credentials in place of the old ones; answer the client id. Raises as registration."""
    yield from _hold()
    held = yield from registration(party)
    yield Remember(held)
    yield Release()
    return held.client_id


def key_set(party: Party) -> Flow[dict[str, Any]]:
    """Answer the keys that media tokens are signed with (RFC 7517 §5). The vendor publishes none."""
    answer = yield from sent(Send("GET", f"{party.place.service}/.well-known/jwks.json", dict(_JSON)))
    if not is_good(answer):
        refuse(answer, (), _HINTS)
    keys = object_of(answer)
    if not isinstance(keys.get("keys"), list) or not all(isinstance(key, dict) for key in keys["keys"]):
        raise Unreadable("the key set has no list of keys", status=answer.status)
    return keys


def _is_fresh(held: Held | None, instead_of: Held | None) -> Flow[bool]:
    if held is None or not held.token or (instead_of is not None and held.token == instead_of.token):
        return False
    now: int = yield Tell()
    return now < held.expires_at - RENEW_BEFORE_MS


def spoken(party: Party, request: Send) -> Flow[Answer]:
    """
    Send a request with a token: 401 renews the token once, then the registration once; 403 of the management host
    renews the registration once. Answers a 2xx, of the management host a 204: whatever else answers there (a proxy, a
    page to sign in to a network) has reset nobody. Raises every kind of TempPassError but InvalidTarget.
    """
    of_management = "/reset-tempass/" in request.url
    first = used = yield from _access(party)
    answer = yield from sent(_with_token(request, used))
    if answer.status == 401:
        used = yield from _access(party, instead_of=used)
        answer = yield from sent(_with_token(request, used))
    refused = answer.status == 401 or (
        answer.status == 403 and of_management and code_of(answer) != "insufficient_scope"
    )
    if refused and used.client_id == first.client_id:
        used = yield from _access(party, instead_of=used, anew=True)
        answer = yield from sent(_with_token(request, used))
    secrets = (party.software_statement, used.client_secret, used.token, first.client_secret, first.token)
    if of_management and is_good(answer) and answer.status != 204:
        raise Unreadable(_unexpected(answer, "204", secrets), status=answer.status)
    if is_good(answer):
        return answer
    refuse(answer, secrets, _HINTS)


def _unexpected(answer: Answer, expected: str, secrets: tuple[str, ...]) -> str:
    """Say what came instead; of JSON no part, because it may be somebody's credentials."""
    kind = words(answer.headers.get("content-type", "no content type"), secrets)
    begins = words(answer.body[:65_536].decode(errors="replace"), secrets)[:BEGINNING_MAX]
    told = "without a body" if not begins else "with a body" if "json" in kind else f"which begins {begins!r}"
    return f"instead of {expected} came {answer.status}, {kind}, {told}"


def _with_token(request: Send, held: Held) -> Send:
    return replace(request, headers={**request.headers, "Authorization": f"Bearer {held.token}"})


# --- resets


def reset_device(party: Party, requestor: str, mvpd: str, device_id: str | bytes | Everybody) -> Flow[ResetDone]:
    """Reset one device, or ALL_DEVICES. Raises InvalidTarget before anything is sent."""
    if device_id is ALL_DEVICES:
        return (yield from _reset(party, "", requestor, mvpd, {"device_id": "all"}))
    if not isinstance(device_id, str | bytes) or not device_id:
        raise InvalidTarget("name a device, or ALL_DEVICES", hint="an empty device id would mean everybody")
    if len(_bytes(device_id)) > IDENTITY_BYTES_MAX:
        raise InvalidTarget(f"a device id has at most {IDENTITY_BYTES_MAX} bytes")
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
    query = urlencode({**target, "requestor_id": _bytes(requestor), "mvpd_id": _bytes(mvpd)}, quote_via=quote)
    url = f"{party.place.management}/reset-tempass/v3/reset{path}?{query}"
    answer = yield from spoken(party, Send("DELETE", url, {"Accept": "application/json"}))
    matched = answer.headers.get("temppass-matched", "")
    return ResetDone(
        words(answer.headers.get("temppass-reset-id", "")), int(matched) if _COUNT.fullmatch(matched) else None
    )


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
            if not _TOKEN.fullmatch(self.forwarded_for.replace(" ", "")):
                raise InvalidTarget("forwarded_for is no IP address")
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
    decisions = object_of(answer).get("decisions")
    if not isinstance(decisions, list) or not all(isinstance(decision, dict) for decision in decisions):
        raise Unreadable(f"{call} answered no decisions", status=answer.status)
    verdicts: dict[str, list[Permit | Deny]] = {}
    for verdict in map(_verdict, decisions):
        verdicts.setdefault(verdict.resource, []).append(verdict)
    try:  # in the order of the titles, whatever the order of the answer
        return [verdicts[resource].pop(0) for resource in resources]
    except (KeyError, IndexError):
        raise Unreadable(f"{call} did not answer for every title", status=answer.status) from None


def profile(party: Party, requestor: str, mvpd: str, viewer: Viewer) -> Flow[ProfileState | Deny]:
    """Answer the state of a trial, or why there is none to show. Raises what `spoken` raises."""
    state, _ = yield from profile_and_more(party, requestor, mvpd, viewer)
    return state


def profile_and_more(
    party: Party, requestor: str, mvpd: str, viewer: Viewer
) -> Flow[tuple[ProfileState | Deny, dict[str, str]]]:
    """Answer a profile, and the headers that temppass adds to it. Raises what `spoken` raises."""
    url = _v2(party, requestor, f"profiles/{_segment(mvpd)}")
    try:
        answer = yield from spoken(party, Send("GET", url, {**_JSON, **viewer.headers()}))
    except TempPassError as error:
        if error.code.startswith("temporary_access_"):  # how a profile says no (contract §6.1)
            return Deny("", error.code, error.status or 403, error.action, str(error)), error.told
        raise
    profiles = object_of(answer).get("profiles")
    shown = profiles.get(mvpd) if isinstance(profiles, dict) else None
    if not isinstance(shown, dict):
        raise Unreadable(f"profiles answered nothing of {mvpd}", status=answer.status)
    values = {name: dict_of(entry).get("value") for name, entry in dict_of(shown.get("attributes")).items()}
    used = values.get("used_assets")
    remaining = values.get("remaining_resources")
    state = ProfileState(
        mvpd,
        _moment(shown.get("notBefore")),
        _moment(shown.get("notAfter")),
        str(values.get("userID", "")),
        number_of(remaining) if remaining is not None else None,
        tuple(map(str, used)) if isinstance(used, list) else None,
    )
    return state, told_by(answer)


def configuration(party: Party, requestor: str) -> Flow[dict[str, Any]]:
    """Answer the channel's configuration as the wire has it (contract §6.7)."""
    answer = yield from spoken(party, Send("GET", _v2(party, requestor, "configuration"), dict(_JSON)))
    return object_of(answer)


_JSON = {"Accept": "application/json;charset=utf-8"}


def _v2(party: Party, requestor: str, path: str) -> str:
    return f"{party.place.service}/api/v2/{_segment(requestor)}/{path}"


def _segment(name: str) -> str:
    if not name:
        raise InvalidTarget("name the requestor and the mvpd")
    return quote(_bytes(name), safe="")


def _verdict(decision: dict[str, Any]) -> Permit | Deny:
    resource = str(decision.get("resource", ""))
    if decision.get("authorized") is True:
        media_token = dict_of(decision.get("token"))
        return Permit(
            resource,
            _moment(decision.get("notBefore")),
            _moment(decision.get("notAfter")),
            str(media_token.get("serializedToken", "")),
        )
    error = dict_of(decision.get("error"))
    return Deny(
        resource,
        str(error.get("code", "")),
        number_of(error.get("status")) or 403,
        str(error.get("action", "none")),
        words(error.get("message", "")),
    )


# --- reading answers


def _refuse_credentials(answer: Answer, what: str, secrets: tuple[str, ...]) -> NoReturn:
    if answer.status >= 500:
        refuse(answer, secrets, _HINTS)
    fields = read(answer) or {}
    code = words(code_of(answer), secrets)
    detail = words(fields.get("error_description") or what, secrets)
    raise CredentialsRefused(
        detail, status=answer.status, code=code, action="application-registration", hint=_HINTS.get(code, "")
    )


_HINTS = {
    "invalid_header_identity_for_temporary_access": "the pass knows viewers by user key too: name it (--email, --key)",
    "invalid_parameter_mvpd": "`temppass configuration` lists the passes of the channel",
    "unapproved_software_statement": "the application is unknown there or was revoked; get a new software statement",
    "invalid_software_statement": "is the statement of this environment?",
    "insufficient_scope": "the application needs the scope temporary:passes:owner and the channel, "
    "and may have to leave everybody to an operator",
    "invalid_access_token_service_provider": "the application is not assigned to this channel",
    "invalid_access_token_client_application": "the application needs the scope api:client:v2",
}


def _hashed(user_key: str) -> str:
    try:
        return canonical_user_key(user_key)
    except InvalidIdentity as error:
        raise InvalidTarget(error.detail) from None


def _bytes(value: str | bytes) -> bytes:
    """Raises InvalidTarget for a text that has no UTF-8."""
    try:
        return value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise InvalidTarget("an id is a text in UTF-8", hint="a byte of the command line could not be read") from None


def _moment(value: Any) -> int:
    """Read a moment in seconds or milliseconds, number or text, as milliseconds (contract §11 #7)."""
    number = number_of(value)
    return number * 1000 if 0 < number < _SECONDS_BELOW else number
