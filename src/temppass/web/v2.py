"""
REST API v2 as far as it concerns Temp Pass: decisions, profiles, sessions, configuration, logout.

The central rule: on decisions a trial's limits are item-level errors inside HTTP 200, on profiles they are the whole
body with the error's own status (contract §6.1). Checks run in the order of contract §6.2.
"""

import re
from typing import Any, assert_never
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from temppass import wire
from temppass.core import refusal as r
from temppass.core.catalogue import RESOURCE_BYTES_MAX, Channel, Pass
from temppass.core.identity import device_from_header
from temppass.core.model import Deny, Device, Permit, Profile, Session, Spent, Standing
from temppass.core.refusal import InvalidCode, InvalidResources, Refusal
from temppass.core.world import SCOPE_V2
from temppass.service import Service
from temppass.service.context import Caller, given
from temppass.service.decisions import Shown, TitlesAsked, Viewer
from temppass.service.sessions import Opened, SessionForm
from temppass.store import StoreBusy, StoreUnavailable
from temppass.web.device import read_device, shape
from temppass.web.openapi import (
    FORM_TYPE,
    JSON_TYPE,
    READING,
    STRING,
    GuardedRoute,
    Operation,
    body_of,
    object_of,
    ref,
)
from temppass.web.problems import CODES, EXECUTION_TIME, JSON, V2_SURFACE, Endpoint, enhanced_error
from temppass.web.request import Headers, attempt, field_text, query_bytes, read_body

#: the titles that a profile's header names; `used` beside them counts all
TITLES_BYTES_MAX = 4096
#: a text that a session's form gives
SESSION_TEXT_MAX = 2048
#: a longer name of a domain is none (RFC 1035 §2.3.4)
DOMAIN_BYTES_MAX = 253

_CODE = re.compile(r"[A-Z0-9]{6,8}")
_JSON_HEADER = (b"content-type", JSON.encode())
_decode_resources = msgspec.json.Decoder(wire.AuthorizeBody).decode


_TITLES = body_of(ref("schemas", wire.AuthorizeBody.__name__), JSON_TYPE, required=True)
_SESSION = body_of(
    object_of(mvpd=STRING, domainName=STRING, domain=STRING, redirectUrl=STRING), FORM_TYPE, required=False
)
_TOKEN = (r.InvalidToken, r.RevokedApplication, r.MissingScope, r.UnknownChannel, r.UnassignedChannel)
_PASS = (r.UnknownPass, r.InactiveIntegration)
_DEVICE = ("AP-Device-Identifier", "X-Device-Info", "X-Forwarded-For", "AP-Visitor-Identifier")
_VIEWER = (*_DEVICE, "AP-TempPass-Identity")
_TRIAL = ("TempPass-Trial", "TempPass-Titles")


def _operation(
    name: str,
    description: str,
    answer: type[msgspec.Struct],
    parameters: tuple[str, ...],
    *refusals: type[Refusal],
    **more: Any,
) -> Operation:
    return Operation(name, description, 200, answer, parameters, (*_TOKEN, *refusals), scope=SCOPE_V2, **more)


def _decides(name: str, description: str) -> Operation:
    refusals = (r.InvalidDeviceIdentifier, InvalidResources, *_PASS, r.TooManyResources)
    return _operation(name, description, wire.Decisions, _VIEWER, *refusals, body=_TITLES, plain=READING)


def _opens(
    name: str, description: str, parameters: tuple[str, ...], plain: tuple[int, ...], *refusals: type[Refusal]
) -> Operation:
    refusals = (*refusals, *_PASS, r.InvalidRedirect)
    return _operation(name, description, wire.SessionAnswer, parameters, *refusals, body=_SESSION, plain=plain)


# fmt: off
_AUTHORIZE = _decides("authorize", "Decide titles; the first permit begins the trial.")
_PREAUTHORIZE = _decides("preauthorize", "Judge titles for a catalogue page; begin and consume nothing.")
_PROFILE = _operation(
    "profile", "Show a trial, or the one that an authorize would begin now.",
    wire.Profiles, _VIEWER, r.InvalidDeviceIdentifier, *_PASS, spent=True, headers=_TRIAL,
)
_PROFILE_OF_CODE = _operation(
    "profile_of_code", "Show the trial of the device that opened an authentication session, to a second screen.",
    wire.Profiles, ("AP-TempPass-Identity",), InvalidCode, r.UnknownSession, *_PASS, spent=True, headers=_TRIAL,
)
_PROFILES = _operation(
    "profiles", "List the profiles of operators; Temp Pass is never among them (contract §6.6).",
    wire.Profiles, _DEVICE, r.InvalidDeviceIdentifier,
)
_CONFIGURATION = _operation(
    "configuration", "List what a channel offers: its enabled integrations.", wire.Configuration, ("X-Device-Info",),
)
_CREATE_SESSION = _opens(
    "create_session", "Create an authentication session, or send the application straight to authorize.",
    _DEVICE, (*READING, 429), r.InvalidDeviceIdentifier,
)
_RESUME_SESSION = _opens(
    "resume_session", "Add what was missing to an authentication session.", (), READING, InvalidCode, r.UnknownSession,
)
_SHOW_SESSION = _operation(
    "session", "Tell a second screen what an authentication session has and lacks.",
    wire.SessionState, (), InvalidCode, r.UnknownSession,
)
_AUTHENTICATE = Operation(
    "authenticate", "Send a browser back where it came from: Temp Pass needs no operator.", 302,
    refusals=(r.UnknownChannel, InvalidCode, r.UnknownSession, *_PASS, r.InvalidRedirect),
    headers=("Location", "Cache-Control"),
)
_LOGOUT_OF_ALL = _operation(
    "logout_of_all", "Log out of every operator: of none, here.",
    wire.Logouts, (*_DEVICE, "redirectUrl"), r.InvalidDeviceIdentifier,
)
_LOGOUT = _operation(
    "logout", "Say that there is nothing to log out of; the trial stays as it is.",
    wire.Logouts, (*_DEVICE, "redirectUrl"), r.InvalidDeviceIdentifier, *_PASS,
)
# fmt: on


class RestV2:
    def __init__(self, service: Service) -> None:
        self._decisions = service.decisions
        self._sessions = service.sessions

    def routes(self) -> list[GuardedRoute]:
        """Answer every route, the busiest first; aliases as contract §6 and §12 #24 have them."""

        def route(path: str, endpoint: Endpoint, method: str, operation: Operation) -> GuardedRoute:
            return GuardedRoute(V2_SURFACE, "/api/v2" + path, endpoint, [method], operation)

        channel = "/{service_provider:id}"
        return [
            route(channel + "/decisions/authorize/{mvpd:id}", self.authorize, "POST", _AUTHORIZE),
            route(channel + "/decisions/preauthorize/{mvpd:id}", self.preauthorize, "POST", _PREAUTHORIZE),
            route(channel + "/profiles/code/{code:id}", self.profile_of_code, "GET", _PROFILE_OF_CODE),
            route(channel + "/profiles", self.profiles, "GET", _PROFILES),
            route(channel + "/profiles/", self.profiles, "GET", _PROFILES),
            route(channel + "/profiles/{mvpd:id}", self.profile, "GET", _PROFILE),
            route(channel + "/profiles/{mvpd:id}/{code}", self.profile_of_code, "GET", _PROFILE_OF_CODE),
            route(channel + "/configuration", self.configuration, "GET", _CONFIGURATION),
            route(channel + "/sessions", self.create_session, "POST", _CREATE_SESSION),
            route(channel + "/sessions/", self.create_session, "POST", _CREATE_SESSION),
            route(channel + "/sessions/{code:id}", self.resume_session, "POST", _RESUME_SESSION),
            route(channel + "/sessions/{code:id}", self.session, "GET", _SHOW_SESSION),
            route("/sessions" + channel + "/{code:id}", self.resume_session, "POST", _RESUME_SESSION),
            route("/sessions" + channel + "/{code:id}", self.session, "GET", _SHOW_SESSION),
            route("/authenticate" + channel + "/{code:id}", self.authenticate, "GET", _AUTHENTICATE),
            route(channel + "/authenticate/{code:id}", self.authenticate, "GET", _AUTHENTICATE),
            route(channel + "/logout", self.logout_of_all, "GET", _LOGOUT_OF_ALL),
            route(channel + "/logout/", self.logout_of_all, "GET", _LOGOUT_OF_ALL),
            route(channel + "/logout/{mvpd:id}", self.logout, "GET", _LOGOUT),
            route("/logout" + channel + "/{mvpd:id}", self.logout, "GET", _LOGOUT),
        ]

    # --- decisions

    async def authorize(self, request: Request) -> Response:
        caller, pass_id, asked = await _decision(request)
        channel_id = caller.channel_id
        try:
            decided = await self._decisions.authorize(caller, pass_id, asked)
        except StoreUnavailable as error:
            return _not_in_time(request, channel_id, pass_id, asked, error)
        decisions = []
        for verdict, token in decided.verdicts:
            match verdict:
                case Permit(resource, _, expires_at):
                    assert token is not None
                    media = wire.MediaTokenShape(decided.now, decided.now + decided.media_token_ms, token)
                    decisions.append(
                        wire.DecisionShape(
                            resource, channel_id, pass_id, "temppass", True, media, decided.now, expires_at
                        )
                    )
                case Deny(resource, code):
                    decisions.append(_denied(request, channel_id, pass_id, resource, code.value))
                case _:
                    assert_never(verdict)
        return _ok(wire.Decisions(decisions))

    async def preauthorize(self, request: Request) -> Response:
        caller, pass_id, asked = await _decision(request)
        channel_id = caller.channel_id
        try:
            verdicts = await self._decisions.preauthorize(caller, pass_id, asked)
        except StoreUnavailable as error:
            return _not_in_time(request, channel_id, pass_id, asked, error)
        return _ok(
            wire.Decisions(
                [
                    wire.DecisionShape(verdict.resource, channel_id, pass_id, "temppass", True)
                    if isinstance(verdict, Permit)
                    else _denied(request, channel_id, pass_id, verdict.resource, verdict.code.value)
                    for verdict in verdicts
                ]
            )
        )

    # --- profiles

    async def profile(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        viewer = attempt(_viewer, headers)
        return _profile(request, await self._decisions.profile(_caller(request, headers), _pass_id(request), viewer))

    async def profile_of_code(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        identity = headers.get(b"ap-temppass-identity")
        shown = await self._sessions.profile(_caller(request, headers), _code_of(request), identity)
        return _profile(request, shown) if shown is not None else _ok(wire.Profiles({}))

    async def profiles(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        await self._decisions.log_out(_caller(request, headers), attempt(_viewer, headers))
        return _ok(wire.Profiles({}))

    # --- configuration and logout

    async def configuration(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        channel, offered = await self._decisions.configuration(_caller(request, headers))
        info = headers.device_info

        def told(*keys: str) -> str | None:
            return next((text for key in keys if (text := field_text(info.get(key)))), None)

        type_, system = told("primaryHardwareType"), told("osName", "osVersion")
        return _ok(
            wire.Configuration(
                _requestor(channel, offered),
                type_.lower() if type_ else msgspec.UNSET,
                "html5" if told("browserName", "browserVersion") else msgspec.UNSET,
                system.partition(" ")[0] if system else msgspec.UNSET,
            )
        )

    async def logout(self, request: Request) -> Response:
        headers, pass_id = Headers(request.scope["headers"]), _pass_id(request)
        await self._decisions.log_out(_caller(request, headers), attempt(_viewer, headers), pass_id)
        return _ok(wire.Logouts({pass_id: wire.LogoutAction("complete", "none", pass_id)}))

    async def logout_of_all(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        await self._decisions.log_out(_caller(request, headers), attempt(_viewer, headers))
        return _ok(wire.Logouts({}))

    # --- sessions

    async def create_session(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        form = _session_form(await read_body(request, headers))
        caller = _caller(request, headers)

        def describe() -> Device:
            return read_device(headers.device_info, headers.get(b"user-agent"))

        opened = await self._sessions.create(caller, attempt(_viewer, headers), form, describe)
        return _opened(caller.channel_id, form, opened, "resume")

    async def resume_session(self, request: Request) -> Response:
        headers = Headers(request.scope["headers"])
        form = _session_form(await read_body(request, headers))
        caller = _caller(request, headers)
        opened = await self._sessions.resume(caller, _code_of(request), form)
        return _opened(caller.channel_id, form, opened, "retry")

    async def session(self, request: Request) -> Response:
        found = await self._sessions.find(_caller(request, Headers(request.scope["headers"])), _code_of(request))
        existing = {
            "mvpd": found.pass_id,
            "domain": found.domain,
            "domainName": found.domain,
            "redirectUrl": found.redirect_url,
            "serviceProvider": found.channel_id,
        }
        return _ok(
            wire.SessionState(
                {name: value for name, value in existing.items() if value is not None},
                shape(found.screen),
                str(found.started_at),
                str(found.expires_at),
                _missing(found) or msgspec.UNSET,
            )
        )

    async def authenticate(self, request: Request) -> Response:
        channel_id = request.path_params["service_provider"]
        url = await self._sessions.destination(request.scope["environment"], channel_id, _code_of(request))
        return RedirectResponse(url, 302, {"Cache-Control": "no-store"})


# --- reading: what cannot be read is handed on as its refusal, which is due only after the token's and the channel's


async def _decision(request: Request) -> tuple[Caller, str, TitlesAsked | Refusal]:
    headers = Headers(request.scope["headers"])
    body = await read_body(request, headers)
    return _caller(request, headers), _pass_id(request), attempt(_titles_asked, headers, body)


def _caller(request: Request, headers: Headers) -> Caller:
    return Caller(request.scope["environment"], headers.token, request.path_params["service_provider"])


def _pass_id(request: Request) -> str:
    pass_id: str = request.path_params["mvpd"]
    return pass_id


def _viewer(headers: Headers) -> Viewer:
    """Refuses: InvalidDeviceIdentifier."""
    device_id = device_from_header(headers.get(b"ap-device-identifier"))
    return Viewer(device_id, headers.get(b"ap-temppass-identity"), headers.app_id)


def _titles_asked(headers: Headers, body: bytes) -> tuple[Viewer, list[str]]:
    """Refuses: InvalidDeviceIdentifier, InvalidResources."""
    return _viewer(headers), _titles(body)


def _titles(body: bytes) -> list[str]:
    try:
        resources = _decode_resources(body).resources
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidResources('Send a JSON body such as {"resources":["R1"]}.') from None
    if not resources:
        raise InvalidResources("Name at least one resource.")
    for resource in resources:
        if not resource or len(resource) > RESOURCE_BYTES_MAX or not _fits(resource):
            raise InvalidResources(f"A resource is a text of 1 to {RESOURCE_BYTES_MAX} bytes of UTF-8.")
    return resources


def _fits(resource: str) -> bool:
    try:
        return len(resource.encode()) <= RESOURCE_BYTES_MAX
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _code_of(request: Request) -> str | Refusal:
    code = request.path_params["code"].upper()
    return code if _CODE.fullmatch(code) else InvalidCode("An authentication code has 7 letters and digits.")


def _session_form(body: bytes) -> SessionForm:
    """
    Read what a session's form says; what it does not say, or says empty, is missing (contract §6.8), as is a domain
    that cannot be one.

    One character over the bound is kept of a text that is too long: enough to be unknown or refused.
    """
    fields = {
        name: value.decode(errors="replace")[: SESSION_TEXT_MAX + 1]
        for name, value in query_bytes(body.strip())
        if value
    }
    domain = fields.get("domainName") or fields.get("domain")
    return SessionForm(
        fields.get("mvpd"),
        domain if domain is not None and domain.isprintable() and len(domain.encode()) <= DOMAIN_BYTES_MAX else None,
        fields.get("redirectUrl"),
    )


# --- answering


class _Ok(Response):
    """A 200 with a JSON body: its headers need not be found out one by one."""

    def __init__(self, body: bytes) -> None:
        self.status_code, self.background, self.body = 200, None, body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON_HEADER]


def _ok(answer: msgspec.Struct) -> Response:
    return _Ok(wire.encode(answer))


def _denied(request: Request, channel_id: str, pass_id: str, resource: str, code: str) -> wire.DecisionShape:
    error = enhanced_error(request, code)
    return wire.DecisionShape(resource, channel_id, pass_id, "temppass", authorized=False, error=error)


def _not_in_time(
    request: Request, channel_id: str, pass_id: str, asked: TitlesAsked | Refusal, error: StoreUnavailable
) -> Response:
    """Say on every title that no decision was possible (contract §7.1); a full queue is the whole server's answer."""
    if isinstance(error, StoreBusy):
        raise error
    _, titles = given(asked)
    return _ok(wire.Decisions([_denied(request, channel_id, pass_id, title, EXECUTION_TIME) for title in titles]))


def _opened(channel_id: str, form: SessionForm, opened: Opened, otherwise: str) -> Response:
    """Say what is to be done next: authorize where a pass is chosen, else `otherwise`."""
    session = opened.session
    pass_id = form.pass_id or (session.pass_id if session else None)
    if pass_id is not None:
        url = f"/api/v2/{channel_id}/decisions/authorize/{pass_id}"
        return _ok(
            wire.SessionAnswer("authorize", "direct", "temporary", url, opened.session_id, channel_id, mvpd=pass_id)
        )
    assert session is not None
    return _ok(
        wire.SessionAnswer(
            otherwise,
            "direct",
            "none",
            f"/api/v2/{channel_id}/sessions/{session.code}",
            session.id,
            channel_id,
            _missing(session),
            session.code,
            not_before=str(session.started_at),
            not_after=str(session.expires_at),
        )
    )


def _profile(request: Request, shown: Shown) -> Response:
    match shown.state:
        case Profile() as profile:
            profiles = wire.Profiles({shown.pass_id: _profile_shape(profile, shown.user_id)})
            return Response(wire.encode(profiles), 200, _standing(shown.standing), JSON)
        case Spent(code):
            error = enhanced_error(request, code.value)
            return Response(wire.encode(error), CODES[code.value].status, _standing(shown.standing), JSON)
        case _:
            assert_never(shown.state)


def _standing(standing: Standing | None) -> dict[str, str]:
    """Tell in headers of our own where a trial stands: the vendor's body has no window once it is over."""
    if standing is None:
        return {}
    told = f"state={standing.state}; started_at={standing.started_at}; expires_at={standing.expires_at}"
    if standing.resources_max is None:
        return {"TempPass-Trial": told}
    titles = ""
    for title in standing.used:
        longer = f"{titles}, {quote(title, safe='')}" if titles else quote(title, safe="")
        if len(longer) > TITLES_BYTES_MAX:
            break
        titles = longer
    told += f"; used={len(standing.used)}; resources_max={standing.resources_max}"
    return {"TempPass-Trial": told, "TempPass-Titles": titles}


def _profile_shape(profile: Profile, user_id: str) -> wire.ProfileShape:
    values: dict[str, Any] = {}
    if profile.remaining is not None:
        values |= {"remaining_resources": profile.remaining, "used_assets": list(profile.used)}
    values |= {"expiration_date": profile.expires_at, "userID": user_id}
    attributes = {name: wire.Attribute(value) for name, value in values.items()}
    return wire.ProfileShape(profile.started_at, profile.expires_at, "Adobe", "temporary", attributes)


def _requestor(channel: Channel, offered: list[Pass]) -> wire.Requestor:
    mvpds = [
        wire.Mvpd(entry.id, entry.name, entry.logo_url, auth_per_aggregator=True, is_temp_pass=True)
        for entry in offered
    ]
    domains = [wire.Domain(domain, mvpd_initiated=False) for domain in channel.domains]
    return wire.Requestor(channel.id, channel.name, domains, mvpds)


def _missing(session: Session) -> list[str]:
    parts = {"mvpd": session.pass_id, "domain": session.domain, "redirectUrl": session.redirect_url}
    return [name for name, value in parts.items() if value is None]
