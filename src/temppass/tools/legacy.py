"""
What a request of a retired interface is today: takes one of the reset API before v3 or of REST v1, and writes the
request of v3 or REST v2 that takes its place. Nothing is run or sent, and no secret that was read is ever repeated:
only the parts that are named here are carried over.

Source: contract §2, §5.4, §6, §10, §12.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from temppass.client import exchange, flow
from temppass.client.errors import InvalidTarget
from temppass.client.exchange import Send
from temppass.client.flow import ALL_DEVICES, ALL_KEYS, Party
from temppass.client.vault import Held
from temppass.core.identity import IDENTITY_BYTES_MAX
from temppass.tools.curl import ACCESS_TOKEN, CLIENT_ID, CLIENT_SECRET, STATEMENT, request_of
from temppass.tools.forms import hidden_device_id, identity_fields
from temppass.tools.pasted import VENDORS_HOST, NotMigrated, Request, bytes_of, needed, raw, read, text_of, unicode_of
from temppass.tools.viewer import headers_of_v2, unhashed, viewer_of

_FORMAT = re.compile(r"\.(json|xml)$")

SCOPE_RESET, SCOPE_V2 = "temporary:passes:owner", "api:client:v2"
#: stand in the result for what the request did not say; a service refuses them, as it has no such channel or pass
CHANNEL, PASS = "REQUESTOR_ID", "MVPD_ID"


class Migrated(Struct, frozen=True):
    """
    What a request `was` and what takes its place; `is_current` where it was no retired call.

    `scope` is the one that the access token needs, None where none is needed. `notes` say what changed, `warnings`
    what the reader has to look at.
    """

    was: str
    becomes: str
    scope: str | None
    requests: tuple[Send, ...]
    is_current: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def migrate(command: str | Sequence[str]) -> Migrated:
    """
    Answer the present equivalent of a request, given as a text or as the words that a shell made of it.

    Raises InvalidTarget for what is no single curl command line and no URL, NotMigrated for what has no equivalent.
    """
    request = read(command)
    try:
        migrated = _migrated(request)
    except InvalidTarget as error:
        raise NotMigrated(str(error), hint=error.hint) from None
    notes = (*migrated.notes, *_notes(request, migrated))
    return replace(migrated, notes=notes, warnings=(*migrated.warnings, *_warnings(request)))


def _migrated(request: "Request") -> Migrated:
    path = request.path.rstrip("/")
    if not path.startswith("/api/v2/"):
        path = _FORMAT.sub("", path)
    for pattern, migration in _ROUTES:
        if found := re.fullmatch(pattern, path):
            return migration(request, found)
    raise NotMigrated(
        "the path of the URL is none that is known here",
        hint="known are /reset-tempass, /api/v1, /reggie/v1, /api/v2, /o/client and /oauth2/permanent_accesstoken",
    )


def _party(request: Request) -> Party:
    return Party(request.place, STATEMENT)


def _with_more(send: Send, headers: Mapping[str, str]) -> Send:
    return replace(send, headers={**headers, **send.headers}, body=_literal(send.body))


def _literal(document: bytes) -> bytes:
    """Write JSON so that curl.py takes no text in it, such as a title, for the variable of a secret."""
    return document.replace(b"$", rb"\u0024")


# --- resets


def _reset(request: Request, found: re.Match[str]) -> Migrated:
    _check_target(request, "key" if found["generic"] else "device_id")
    pair = needed(request, "requestor_id"), needed(request, "mvpd_id")
    conversation, becomes, warnings = (_reset_of_key if found["generic"] else _reset_of_device)(request, pair)
    version = found["version"]
    notes = ["the method is DELETE"] if request.method not in ("", "DELETE") else []
    narrowing = [name for name in ("appId", "deviceUser") if raw(request, name)]
    warnings += [f"{name} narrowed the reset and is left out: more may be reset than before" for name in narrowing]
    profile = text_of(request, "environment").lower()
    if profile and (profile == "staging") != request.place.name.endswith("-staging"):
        warnings.append("environment and host may not mean the same; only the host counts now, so look at it")
    return Migrated(
        f"reset {version}{' by key' if found['generic'] else ''}",
        becomes,
        SCOPE_RESET,
        (request_of(conversation),),
        version == "v3",
        tuple(notes),
        tuple(warnings),
    )


def _check_target(request: Request, wanted: str) -> None:
    """Refuse a target under a name that no service reads, because it would then reset everybody."""
    alike = {"deviceid", "device", "key", "userkey", "generickey", "genericdata"}
    for name, value in request.parameters:
        if value and name != wanted and re.sub(r"[^a-z]", "", name.lower()) in alike and not raw(request, wanted):
            raise NotMigrated(
                f"the target has another name than {wanted}: a service reads no other, and so would reset everybody",
                hint=f"write {wanted}=... for one, {wanted}=all for everybody",
            )


_Resetting = tuple[exchange.Flow[flow.ResetDone], str, list[str]]


def _reset_of_device(request: Request, pair: tuple[str, str]) -> _Resetting:
    given = raw(request, "device_id")
    if given in (None, "", "all"):
        conversation = flow.reset_device(_party(request), *pair, ALL_DEVICES)
        return conversation, "reset v3 of EVERY device", [_everybody("device_id", given)]
    device_id = bytes_of(given or "")
    if len(device_id) > IDENTITY_BYTES_MAX:
        raise NotMigrated(f"device_id has more than {IDENTITY_BYTES_MAX} bytes")
    warnings = []
    if re.match(r"fingerprint\s", given or "", re.IGNORECASE) or hidden_device_id(given or "") is not None:
        warnings.append("device_id looks like base64, and a reset takes the device id that it holds: see `temppass id`")
    return flow.reset_device(_party(request), *pair, device_id), "reset v3 of one device", warnings


def _reset_of_key(request: Request, pair: tuple[str, str]) -> _Resetting:
    given = raw(request, "key")
    if given in (None, "", "all"):
        conversation = flow.reset_key(_party(request), *pair, ALL_KEYS)
        return conversation, "reset v3 of EVERY user key", [_everybody("key", given)]
    key = unicode_of(given or "", "key")
    if identity_fields(key) is not None:
        raise NotMigrated("key is a whole identity; a reset takes the hash alone", hint="`temppass id` shows the hash")
    return flow.reset_key(_party(request), *pair, key), "reset v3 of one user key", unhashed(key, "key")


def _everybody(name: str, given: str | None) -> str:
    who = "EVERY device" if name == "device_id" else "EVERY user key"
    said = {None: f"it names no {name}", "": f"its {name} is empty"}.get(given, f"it says {name}=all")
    return f"this resets EVERYBODY: {said}, which means {who} of the pass; it is written as {name}=all"


# --- registration and tokens


def _credentials(request: Request, found: re.Match[str]) -> Migrated:
    party = _party(request)
    register = request_of(flow.registration(party))
    ask = request_of(flow.token(party, Held(CLIENT_ID, CLIENT_SECRET)))
    secrets = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    ask = replace(ask, body=urlencode(secrets, safe="$").encode())
    was = found[0].strip("/")
    if was.startswith("o/client"):
        return Migrated(was, was, None, (register if was.endswith("register") else ask,), is_current=True)
    notes = (
        "consumer key and secret are gone: the software statement of a registered application takes their place",
        "register once and keep client_id and client_secret; the token is good for hours and is renewed with them",
    )
    return Migrated(was, "o/client/register and o/client/token", SCOPE_RESET, (register, ask), notes=notes)


# --- REST v1


class _Call(NamedTuple):
    becomes: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


_STARTS = "authorize starts the trial where there is none, which this call did not; preauthorize only asks"
_V1 = {
    "authenticate/freepreview": _Call(
        "profile",
        (
            "no call takes its place: POST .../decisions/authorize/... starts the trial by its first permit",
            "the profile shows what an authorize would find, and starts nothing",
        ),
    ),
    "checkauthn": _Call("profile", ("200 has the state of the trial, 403 says why there is none",)),
    "tokens/authn": _Call("profile", ("no token has to be there first: the profile needs no earlier call",)),
    "tokens/usermetadata": _Call("profile", ("the values are in attributes of the profile",)),
    "authorize": _Call(
        "authorize",
        (
            "no freepreview comes before it: the first permit starts the trial",
            "a deny is a decision in a 200, no longer a 403",
            "the media token is in the decision: token.serializedToken",
        ),
    ),
    "tokens/authz": _Call("authorize", ("no decision is kept to be fetched: authorize each playback",), (_STARTS,)),
    "tokens/media": _Call("authorize", ("the media token is in the decision: token.serializedToken",), (_STARTS,)),
    "preauthorize": _Call("preauthorize", ("the resources are a list in JSON, no longer one text with commas",)),
}
_V1["mediatoken"] = _V1["tokens/media"]


def _v1(request: Request, found: re.Match[str]) -> Migrated:
    name = found["call"]
    call = _V1[name]
    channel, pass_id, missing = _named(request)
    viewer, headers, notes, warnings = viewer_of(request)
    conversation: exchange.Flow[Any]
    if call.becomes == "profile":
        conversation = flow.profile(_party(request), channel, pass_id, viewer)
    else:
        resources = [needed(request, "resource")]
        if call.becomes == "preauthorize":
            resources = [title for title in resources[0].split(",") if title] or resources
        only_ask = call.becomes == "preauthorize"
        conversation = flow.authorize(_party(request), channel, pass_id, viewer, resources, only_ask=only_ask)
    return Migrated(
        f"REST v1 {name}",
        f"REST v2 {'profiles' if call.becomes == 'profile' else f'decisions/{call.becomes}'}",
        SCOPE_V2,
        (_with_more(request_of(conversation), headers),),
        notes=(*call.notes, *notes),
        warnings=(*call.warnings, *missing, *warnings),
    )


def _channel(request: Request) -> tuple[str, list[str]]:
    """Answer the channel, or a stand-in and a warning where the request names none."""
    if channel := text_of(request, "requestor", "requestor_id"):
        return channel, []
    return CHANNEL, [f"the request names no channel: write its id in place of {CHANNEL}"]


def _named(request: Request) -> tuple[str, str, list[str]]:
    """Answer channel and pass, or stand-ins and warnings where the request names none."""
    channel, missing = _channel(request)
    if pass_id := text_of(request, "mso_id", "mvpd", "mvpd_id"):
        return channel, pass_id, missing
    return channel, PASS, [*missing, f"the request names no pass, which REST v2 needs: write its id in place of {PASS}"]


def _config(request: Request, found: re.Match[str]) -> Migrated:
    channel, missing = (unquote(found["channel"]), []) if found["channel"] else _channel(request)
    send = request_of(flow.configuration(_party(request), channel))
    notes = ("the passes are in requestor.mvpds, those with isTempPass",)
    return Migrated("REST v1 config", "REST v2 configuration", SCOPE_V2, (send,), notes=notes, warnings=tuple(missing))


def _logout(request: Request, _found: re.Match[str]) -> Migrated:
    channel, pass_id, missing = _named(request)
    viewer, headers, notes, warnings = viewer_of(request)
    send = _spoken(request, "GET", f"{_segment(channel)}/logout/{_segment(pass_id)}", {**headers, **viewer.headers()})
    notes = [*notes, "a logout neither ends nor renews a trial; to make a viewer new, reset the device"]
    warnings = [*missing, *warnings]
    return Migrated("REST v1 logout", "REST v2 logout", SCOPE_V2, (send,), notes=tuple(notes), warnings=tuple(warnings))


def _by_code(request: Request, found: re.Match[str]) -> Migrated:
    channel, missing = _channel(request)
    send = _spoken(request, "GET", f"{_segment(channel)}/profiles/code/{_segment(unquote(found['code']))}", {})
    notes = ("the device is the session's, so no AP-Device-Identifier is sent",)
    return Migrated(
        "REST v1 checkauthn of a second screen",
        "REST v2 profiles/code",
        SCOPE_V2,
        (send,),
        notes=notes,
        warnings=tuple(missing),
    )


def _regcode(request: Request, found: re.Match[str]) -> Migrated:
    channel = _segment(unquote(found["channel"]))
    notes = ["a Temp Pass needs no session and no code: decisions/authorize is enough"]
    if found["code"]:
        if request.method == "DELETE":
            raise NotMigrated("REST v2 has no call that ends a code", hint="leave it out: a code ends by itself")
        send = _spoken(request, "GET", f"{channel}/sessions/{_segment(unquote(found['code']))}", {})
        return Migrated("REST v1 regcode of a code", "REST v2 sessions", SCOPE_V2, (send,), notes=tuple(notes))
    viewer, headers, told, warnings = viewer_of(request)
    form = {"mvpd": text_of(request, "mvpd", "mso_id"), "domainName": text_of(request, "domain_name", "domainName")}
    send = _spoken(request, "POST", f"{channel}/sessions", {**headers, **viewer.headers(), **_IS_FORM}, _form(form))
    notes = [*notes, *told, "the code is in the answer, unless the pass is named: then the answer says to authorize"]
    return Migrated(
        "REST v1 regcode", "REST v2 sessions", SCOPE_V2, (send,), notes=tuple(notes), warnings=tuple(warnings)
    )


def _no_equivalent(_request: Request, _found: re.Match[str]) -> Migrated:
    raise NotMigrated(
        "this call has no single equivalent: it is of the sign-in with an operator, or of the SDKs",
        hint="a Temp Pass needs POST /api/v2/<channel>/decisions/authorize/<pass> alone",
    )


# --- REST v2, which is current

_IS_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _v2(request: Request, found: re.Match[str]) -> Migrated:
    steps = [unicode_of(unquote(step, errors="surrogateescape"), "the path") for step in found["rest"].split("/")]
    more, warnings = headers_of_v2(request)
    method, body = request.method or "GET", b""
    match steps[1:]:
        case ["decisions", "authorize" | "preauthorize", _]:
            method, body = "POST", _literal(json.dumps({"resources": _resources(request)}).encode())
            more["Content-Type"] = "application/json;charset=utf-8"
            if "AP-Device-Identifier" not in more:
                raise NotMigrated("AP-Device-Identifier is missing", hint="`temppass id` shows how a device is named")
        case ["sessions", *_] if method == "POST":
            form = {name: text_of(request, name) for name in ("mvpd", "domainName", "redirectUrl")}
            if re.search("[@?#]", form["redirectUrl"]):
                warnings.append("redirectUrl is written without what may be a secret in it")
            form["redirectUrl"] = re.sub(r"[?#].*|(?<=//)[^/]*@", "", form["redirectUrl"])
            more, body = {**more, **_IS_FORM}, _form(form)
        case _:
            pass
    send = _spoken(request, method, "/".join(_segment(step) for step in steps), more, body)
    return Migrated("REST v2", "REST v2", SCOPE_V2, (send,), is_current=True, warnings=tuple(warnings))


def _resources(request: Request) -> list[str]:
    try:
        resources = msgspec.json.decode(request.body, type=dict[str, list[str]]).get("resources")
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        resources = None
    if not resources:
        raise NotMigrated("the body is no JSON object with resources", hint='it is {"resources": ["..."]}')
    return resources


def _form(fields: Mapping[str, str]) -> bytes:
    return urlencode({name: value for name, value in fields.items() if value}).encode()


def _segment(name: str) -> str:
    return quote(unicode_of(name, "the path"), safe="")


def _spoken(request: Request, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Send:
    sent = {"Accept": "application/json;charset=utf-8", **headers, "Authorization": f"Bearer {ACCESS_TOKEN}"}
    return Send(method, f"{request.place.service}/api/v2/{path}", sent, body)


# --- what is said of every request

#: parameters that have no place any more, by name in lower case
_GONE = {
    "environment": "environment is gone: the host alone says where",
    "appid": "appId is gone",
    "deviceuser": "deviceUser is gone",
    "devicetype": "deviceType is gone: X-Device-Info says it",
    "domain_name": "domain_name is gone: the registered application has the domains",
    "format": "format is gone: answers are JSON",
}
#: parameters that are carried over
_CARRIED = {
    *("requestor_id", "requestor", "mvpd_id", "mvpd", "mso_id", "device_id", "deviceid", "key", "resource"),
    *("generic_data", "device_info", "deviceinfo", "domainname", "redirecturl"),
}
_CREDENTIALS = {
    *("apikey", "api_key", "access_token", "client_id", "client_secret", "grant_type", "software_statement"),
}


def _notes(request: Request, migrated: Migrated) -> Iterator[str]:
    names = list(dict.fromkeys(name.lower() for name, _ in request.parameters))
    yield from _credentials_gone(request, migrated, names)
    host = urlsplit(migrated.requests[0].url).hostname
    if host != request.host and VENDORS_HOST.fullmatch(request.host):
        yield f"the host is {host} instead of {request.host}"
    if migrated.is_current and "/o/client/" in request.path:
        return
    yield from (_GONE[name] for name in names if name in _GONE)
    if _FORMAT.search(request.path.rstrip("/")) and not request.path.startswith("/api/v2/"):
        yield "the ending of the path is gone: answers are JSON"
    others = sum(name not in _GONE and name not in _CARRIED | _CREDENTIALS for name in names)
    if others:
        yield f"{others} other parameter{'s are' if others > 1 else ' is'} left out"


def _credentials_gone(request: Request, migrated: Migrated, names: Sequence[str]) -> Iterator[str]:
    if migrated.scope is None or not migrated.requests[0].headers.get("Authorization"):
        return
    if "apikey" in request.headers or {"apikey", "api_key"} & set(names):
        yield "the API key is gone: the access token of a registered application takes its place"
    authorization = request.headers.get("authorization", "")
    if authorization and not authorization.lower().startswith("bearer"):
        yield "a signed or Basic Authorization is gone: it is Bearer and an access token"
    elif authorization and not migrated.is_current:
        yield f"the access token is another one: of /o/client/token, for an application with {migrated.scope}"
    if request.has_credentials:
        yield "user and password are left out"


def _warnings(request: Request) -> Iterator[str]:
    if any(re.search(r"\$[A-Za-z_{(]", value) for name, value in request.parameters if name.lower() in _CARRIED):
        yield "a variable of the shell was read as text: put its value into the request first"
    if request.body_is_elsewhere:
        yield "a file that the request names was not read"


_Migration = Callable[[Request, re.Match[str]], Migrated]
_ROUTES: tuple[tuple[str, _Migration], ...] = (
    (r"/reset-tempass/(?P<version>v1|v2|v2\.1|v3)/reset(?P<generic>/generic)?", _reset),
    (r"/oauth2/permanent_accesstoken|/o/client/(register|token)", _credentials),
    (rf"/api/v1/(?P<call>{'|'.join(map(re.escape, _V1))})", _v1),
    (r"/api/v1/config(/(?P<channel>[^/]+))?", _config),
    (r"/api/v1/logout", _logout),
    (r"/api/v1/checkauthn/(?P<code>[^/]+)", _by_code),
    (r"/reggie/v1/(?P<channel>[^/]+)/regcode(/(?P<code>[^/]+))?", _regcode),
    (r"/api/v2/(?P<rest>[^/]+(/[^/]+)+)", _v2),
    (r"/(api/v1|reggie/v1|adobe-services|indiv)(/.*)?", _no_equivalent),
)
