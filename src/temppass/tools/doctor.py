"""
Walks the chain that every call hangs on, link by link, and names the first broken one with its remedy; without I/O.

A walk asks the service for no more than any command does: it registers only where no credentials are kept or the kept
ones are refused, and asks for a token only where none is kept or the kept one lacks a scope. It resets nothing: the
management host is asked by a GET that names no channel and no pass. It consumes nothing: preauthorize begins no trial.

Source: contract §2, §3, §5.3, §6.3, §6.7, §7.1 and §11.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import Struct

from temppass.client import flow
from temppass.client.errors import (
    AccessDenied,
    CredentialsRefused,
    NotPermitted,
    RequestRefused,
    ServerFault,
    TempPassError,
    Throttled,
    Unreachable,
    Unreadable,
)
from temppass.client.exchange import Answer, Flow, Lost, Send, Tell
from temppass.client.flow import Deny, Party, Viewer
from temppass.client.place import ENVIRONMENTS, Place
from temppass.client.vault import Held
from temppass.tools.claims import Kind, Unexplained, claims_of, kind_of, moment_of, read_token, scopes_of
from temppass.tools.inspection import moment_words, value_words

T = TypeVar("T")

#: the chain, in the order of the walk
LINKS = ("statement", "place", "register", "token", "scope", "channel", "pass", "decision", "reset")
#: what a token has to be allowed: all of REST v2, and resets
DECISIONS, RESETS = "api:client:v2", "temporary:passes:owner"
#: the title that is asked about; it need not exist
TITLE = "temppass-doctor"


class State(StrEnum):
    OK = "ok"
    #: it holds, and something beside it does not
    WARNING = "warning"
    FAILED = "failed"
    NOT_TRIED = "not tried"


class Link(Struct, frozen=True):
    """One link of the chain: what was found there and, where it is not well, what to do."""

    name: str
    state: State
    found: str = ""
    remedy: str = ""


class Checkup(Struct, frozen=True):
    """Every link in order; `error` is what broke the first broken one, None where none is."""

    links: tuple[Link, ...]
    error: TempPassError | None

    @property
    def broken(self) -> Link | None:
        return next((link for link in self.links if link.state is State.FAILED), None)


def checkup(party: Party, requestor: str, mvpd: str, device_id: str) -> Flow[Checkup]:
    """
    Walk the chain of a channel and a pass; `device_id` is whom the decision is asked for, best somebody never seen.

    Raises nothing that the chain can be blamed for.
    """
    walk = _Walk(party.place)
    try:
        yield from walk.followed(_walked(walk, party, requestor, mvpd, device_id))
    except TempPassError as error:
        return walk.ended_by(error)
    return walk.ended()


def requests(party: Party, requestor: str, mvpd: str, device_id: str, held: Held) -> tuple[Flow[Any], ...]:
    """Answer the conversations of a walk that keeps nothing yet, one request each, to be shown and not played."""
    return (
        _sent(_at_service(party.place)),
        flow.registration(party),
        flow.token(party, held),
        flow.configuration(party, requestor),
        flow.authorize(party, requestor, mvpd, Viewer(device_id), [TITLE], only_ask=True),
        _sent(_at_management(party.place, held.token)),
    )


#: requests that belong to a link of their own, whichever call sent them
_REGISTERING = {"POST /o/client/register": "register", "POST /o/client/token": "token"}


class _Walk:
    """Where a walk is, and what it found; it watches the requests, which tell whose fault an error is."""

    def __init__(self, place: Place) -> None:
        self._found: dict[str, Link] = {}
        self._place = place
        self._at = LINKS[0]
        self._sent: list[str] = []

    def enter(self, name: str) -> None:
        self._at = name
        self._sent.clear()

    def well(self, found: str) -> None:
        self._found[self._at] = Link(self._at, State.OK, found)

    def warn(self, found: str, remedy: str) -> None:
        self._found[self._at] = Link(self._at, State.WARNING, found, remedy)

    def has_asked(self, call: str) -> bool:
        """Tell whether /o/client/`call` was sent since the present link was entered."""
        return f"POST /o/client/{call}" in self._sent

    def registered(self) -> None:
        self.well("registered now" if self.has_asked("register") else "credentials are kept from before")

    def followed(self, conversation: Flow[T]) -> Flow[T]:
        came: Any = None
        while True:
            try:
                effect = conversation.send(came)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a Flow[T] ends with a T
            if isinstance(effect, Send):
                self._sent.append(f"{effect.method} {effect.url.removeprefix(self._place.service)}")
            came = yield effect

    def ended(self) -> Checkup:
        return Checkup(self._links(), None)

    def ended_by(self, error: TempPassError) -> Checkup:
        """Blame the link whose request failed: a call may renew a token or register before it is refused."""
        blamed = _REGISTERING.get(self._sent[-1] if self._sent else "", self._at)
        if (self._at, blamed) == ("register", "token"):
            self.registered()
        later = LINKS[LINKS.index(blamed) :]
        self._found = {name: link for name, link in self._found.items() if name not in later}
        told = f" ({error.status}{f' {error.code}' if error.code else ''})" if error.status else ""
        found = value_words(f"{error}{told}")  # it may quote what a stranger answered
        self._found[blamed] = Link(blamed, State.FAILED, found, _remedy(blamed, error))
        return Checkup(self._links(), error)

    def _links(self) -> tuple[Link, ...]:
        return tuple(self._found.get(name, Link(name, State.NOT_TRIED)) for name in LINKS)


def _walked(walk: _Walk, party: Party, requestor: str, mvpd: str, device_id: str) -> Flow[None]:
    now: int = yield Tell()
    _judge_statement(walk, party, now)

    walk.enter("place")
    _judge_place(walk, party.place, (yield from _sent(_at_service(party.place))))

    walk.enter("register")
    token = yield from flow.access_token(party)
    is_new = walk.has_asked("token")
    walk.registered()

    walk.enter("token")
    if not is_new and _lacking(token):
        token, is_new = (yield from flow.access_token(party, instead_of=token)), True
    walk.well(_token_words(token, is_new=is_new))

    walk.enter("scope")
    _judge_scopes(walk, token)

    if _lacking(token) != [DECISIONS]:  # else it is an application that may only reset
        yield from _walked_to_decision(walk, party, requestor, mvpd, device_id)

    walk.enter("reset")
    token = yield from flow.access_token(party)  # a call above may have renewed it
    _judge_management(walk, party.place, token, (yield from _sent(_at_management(party.place, token))))


def _walked_to_decision(walk: _Walk, party: Party, requestor: str, mvpd: str, device_id: str) -> Flow[None]:
    walk.enter("channel")
    channel = _channel(requestor, (yield from flow.configuration(party, requestor)))
    walk.well(_named(requestor, channel.get("name")))

    walk.enter("pass")
    _judge_pass(walk, channel, mvpd)

    walk.enter("decision")
    asked = flow.authorize(party, requestor, mvpd, Viewer(device_id), [TITLE], only_ask=True)
    _judge_verdicts(walk, (yield from asked))


# --- statement


def _judge_statement(walk: _Walk, party: Party, now: int) -> None:
    """Read the statement before it is sent anywhere: it is a secret of one place. Raises CredentialsRefused."""
    try:
        statement = read_token(party.software_statement)
    except Unexplained as error:
        raise CredentialsRefused(f"it is no software statement: {error}", hint=_GET_STATEMENT) from None
    claims, kind = statement.claims, kind_of(statement)
    ends_at, begins_at = moment_of(claims, "exp"), moment_of(claims, "nbf")
    meant, place = claims.get("aud"), party.place
    if kind is not Kind.STATEMENT and not (kind is Kind.TOKEN and ends_at is None):
        raise CredentialsRefused(f"it is no software statement; it looks like: {kind}", hint=_GET_STATEMENT)
    if ends_at is not None and ends_at <= now:
        raise CredentialsRefused(f"it expired at {moment_words(ends_at)}", hint=_GET_STATEMENT)
    if place.name in ENVIRONMENTS and isinstance(meant, str) and meant != place.name:
        hint = f"use --environment {meant}, or a statement of {place.name}"
        raise CredentialsRefused(f"it is for {meant}, and the place is {place.name}; it was not sent", hint=hint)
    issued_at = moment_of(claims, "iat")
    issued = f", issued {moment_words(issued_at)}" if issued_at is not None else ""
    found = value_words(f"for {meant}" if isinstance(meant, str) else "names no environment") + issued
    if begins_at is not None and begins_at > now + 60_000:
        walk.warn(f"{found}; good from {moment_words(begins_at)}", "is the clock of this machine right?")
    elif place.name in ENVIRONMENTS and "typ" in statement.header:
        walk.warn(f"{found}; it looks minted by temppass", "the vendor takes only the statements of its dashboard")
    else:
        walk.well(found)


_GET_STATEMENT = (
    "give the file of a software statement: `temppass statement mint`, or the vendor's dashboard, makes one"
)


# --- place and management host


def _at_service(place: Place) -> Send:
    return Send("GET", f"{place.service}/o/client/register", {"Accept": "application/json"})


def _at_management(place: Place, token: str) -> Send:
    """Ask by a GET without parameters: a reset is a DELETE, and one without channel and pass is refused."""
    headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
    return Send("GET", f"{place.management}/reset-tempass/v3/reset", headers)


def _sent(request: Send) -> Flow[Answer | Lost]:
    came: Answer | Lost = yield request
    return came


def _judge_place(walk: _Walk, place: Place, came: Answer | Lost) -> None:
    """Take any answer for a sign of life, but one that shows another kind of server. Raises TempPassError."""
    status = _alive(place.service, came)
    if status == 404 and place.name not in ENVIRONMENTS:  # noqa: PLR2004 - RFC 9110 §15.5.5
        raise RequestRefused(
            f"{place.service} answers, and has no /o/client/register",
            status=status,
            hint="is that the base URL of the service, without a path?",
        )
    walk.well(f"{place.service} answers")


def _judge_management(walk: _Walk, place: Place, token: str, came: Answer | Lost) -> None:
    status, host = _alive(place.management, came), place.management
    match status:
        case 401:
            hint = "is the management host of the same environment as the service?"
            raise AccessDenied(f"{host} does not take the token", status=status, hint=hint)
        case 404 | 410:
            hint = "the management host and the host of decisions differ at the vendor: use --environment"
            raise RequestRefused(f"{host} answers, and has no reset API", status=status, hint=hint)
        case 429:
            raise Throttled(f"{host} answers 429", status=status)
    if RESETS in _lacking(token):
        walk.warn(f"{host} answers, but would refuse a reset: the token lacks {RESETS}", _ADD_SCOPE)
    elif status == 403:  # noqa: PLR2004 - RFC 9110 §15.5.4
        walk.warn(f"{host} answers 403 to a GET", "a reset of one test device will tell whether it is let in")
    else:
        walk.well(f"{host} answers; nothing was reset")


def _alive(url: str, came: Answer | Lost) -> int:
    """Answer the status. Raises Unreachable, ServerFault, and RequestRefused for a redirect."""
    if isinstance(came, Lost):
        raise Unreachable(f"{url} cannot be reached: {came.reason}", maybe_applied=False)
    if 300 <= came.status < 400:  # noqa: PLR2004 - RFC 9110 §15.4
        found = re.match(r"https?://[A-Za-z0-9.:\[\]-]+", came.headers.get("location", ""))
        hint = "redirects are not followed, as they would carry secrets elsewhere: use the URL where it leads"
        raise RequestRefused(
            f"{url} redirects to {found[0] if found else 'another path'}", status=came.status, hint=hint
        )
    if came.status >= 500:  # noqa: PLR2004 - RFC 9110 §15.6
        raise ServerFault(f"{url} answers, and cannot serve", status=came.status, action="retry")
    return came.status


# --- token and scopes


def _token_words(token: str, *, is_new: bool) -> str:
    ends_at = moment_of(claims_of(token), "exp")
    words = "issued now" if is_new else "kept from before"
    return f"{words}, good until {moment_words(ends_at)}" if ends_at is not None else words


def _lacking(token: str) -> list[str]:
    """Answer which of the two scopes a token tells that it lacks; none where it does not tell."""
    scopes = scopes_of(claims_of(token))
    return [scope for scope in (DECISIONS, RESETS) if scopes is not None and scope not in scopes]


def _judge_scopes(walk: _Walk, token: str) -> None:
    scopes, lacking = scopes_of(claims_of(token)), _lacking(token)
    has = value_words(", ".join(scopes or ()) or "none")
    if lacking == [DECISIONS]:
        walk.warn(f"{has}; {DECISIONS} is missing, so only resets are allowed", _ADD_SCOPE)
    elif lacking == [DECISIONS, RESETS]:
        raise NotPermitted(f"the token lacks {DECISIONS}; it has: {has}", hint=_ADD_SCOPE)
    elif lacking:
        walk.warn(f"{has}; {RESETS} is missing, so resets would be refused", _ADD_SCOPE)
    elif scopes is None:
        walk.warn("the token does not tell its scopes", "go on; what is missing shows at the links that need it")
    else:
        walk.well(has)


_ADD_SCOPE = "add the scope to the application, in its catalogue or at the vendor's dashboard"


# --- channel, pass, decision


def _channel(requestor: str, configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer the part of a configuration that is about the channel (contract §6.7). Raises Unreadable."""
    channel = configuration.get("requestor")
    if not isinstance(channel, dict) or not isinstance(channel.get("mvpds"), list):
        raise Unreadable(f"the configuration of {requestor} lists no mvpds")
    return channel


def _named(identifier: str, name: object) -> str:
    return value_words(f"{identifier}: {name}" if isinstance(name, str) and name else identifier)


def _judge_pass(walk: _Walk, channel: Mapping[str, Any], mvpd: str) -> None:
    listed = {
        entry["id"]: entry for entry in channel["mvpds"] if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    passes = [name for name, entry in listed.items() if entry.get("isTempPass") is True]
    has = value_words(", ".join(passes) or "none")
    if mvpd in passes:
        walk.well(_named(mvpd, listed[mvpd].get("displayName")))
        return
    if mvpd in listed:
        raise RequestRefused(f"{mvpd} is an operator and no temporary pass", hint=f"the channel's passes are: {has}")
    hint = f"the channel's passes are: {has}; ids are case-sensitive, and a disabled integration is not listed"
    raise RequestRefused(f"the channel does not offer {mvpd}", hint=hint)


def _judge_verdicts(walk: _Walk, verdicts: list[flow.Permit | Deny]) -> None:
    """Take every answer about the viewer for a sign of health; one about the pass is none. Raises TempPassError."""
    if not verdicts:
        raise Unreadable("preauthorize decided nothing")
    match verdicts[0]:
        case Deny(code="invalid_header_identity_for_temporary_access"):
            walk.well("answered; the pass is promotional and wants the viewer's identity")
        case Deny(
            code="temporary_access_duration_limit_exceeded" | "temporary_access_resources_limit_exceeded" as code
        ):
            walk.well(f"answered: the trial of this device is over ({code})")
        case Deny(_, code, status, action, message):
            raise RequestRefused(f"preauthorize denies: {message}", status=status, code=code, action=action)
        case _:
            walk.well("answered: this device would be let in; no trial was begun")


# --- remedies

#: what to do about a code of the wire, by the link that met it
_REMEDIES = {
    ("register", "unapproved_software_statement"):
        "the application is unknown there or was revoked: get a new software statement",
    ("register", "invalid_software_statement"):
        "the service did not issue it: is it a statement of this place and environment, whole and unchanged?",
    ("token", "invalid_client"): "the client was revoked: run this again, and it registers anew",
    ("token", "unauthorized_client"): "the application may not ask for tokens: give the application a scope",
    ("channel", "invalid_access_token_service_provider"):
        "assign the channel to the application, in its catalogue or at the vendor's dashboard",
    ("channel", "invalid_access_token_client_application"):
        f"the application needs {DECISIONS}, and a statement of this environment that is not revoked",
    ("channel", "invalid_parameter_service_provider"):
        "check --requestor, upper and lower case too; or the channel is declared in another environment only",
    ("decision", "invalid_parameter_mvpd"): "check --mvpd, upper and lower case too",
    ("decision", "invalid_integration"): "enable the integration of channel and pass",
    ("decision", "invalid_configuration_temporary_access"):
        "complete the pass: it needs a TTL and, if promotional, a number of titles and an identity key",
}  # fmt: skip

#: what the reason of a request without an answer contains, and what to do
_LOST = (
    (("name or service", "name resolution", "nodename", "getaddrinfo", "no address associated"),
     "its name is not known to DNS: check its spelling, and that this machine resolves names"),
    (("refused",), "nothing listens there: is the service running, and is the port right?"),
    (("timed out", "timeout"), "check the address, and that no firewall or proxy is in between"),
    (("certificate", "ssl", "tls"),
     "TLS fails: check http or https, the port, and that this machine trusts the certificate"),
)  # fmt: skip


def _remedy(link: str, error: TempPassError) -> str:
    """Answer what to do next: the code's remedy, else the error's own hint, else that of its kind."""
    found = _REMEDIES.get((link, error.code)) or error.hint
    if found:
        return found
    reason = str(error).lower()
    match error:
        case Unreachable():
            return next((remedy for words, remedy in _LOST if any(word in reason for word in words)), "try again")
        case Throttled():
            return "wait a minute, and ask less often"
        case ServerFault():
            return "the service itself is not well: look at its log, or try again later"
        case Unreadable():
            return "does something else than the service answer there, such as a proxy?"
        case AccessDenied():
            return "are the service and the statement of the same environment?"
    return "read what the service says; its log may tell more"
