"""
Dynamic client registration, the client credentials grant and introspection, values in, values out.

Source: RFC 7591 §3, RFC 6749 §4.4 and §5, RFC 7662 §2, contract §3.2-3.3, design decisions 8.10-8.12 and 8.23.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from temppass.core.catalogue import Application
from temppass.core.model import GRAIN_MS, Client
from temppass.core.refusal import (
    InvalidClient,
    InvalidRedirect,
    InvalidRequest,
    InvalidStatement,
    InvalidToken,
    MissingScope,
    RevokedApplication,
    UnauthorizedClient,
    UnsupportedGrant,
)
from temppass.core.tokens import Grant, access_claims, hash_client_secret, read_statement, same
from temppass.core.world import World

GRANT_TYPE = "client_credentials"
#: longer values of a token request cannot be ours
FIELD_CHARACTERS_MAX = 256
URL_CHARACTERS_MAX = 2048

#: RFC 6749 appendix A.1, A.2 and A.10; a store need not be able to look up anything else
_FIELD = re.compile(rf"[\x20-\x7e]{{1,{FIELD_CHARACTERS_MAX}}}")


class RegistrationRequest(Struct, frozen=True):
    software_statement: str
    redirect_uri: str | None


class Registration(Struct, frozen=True):
    """What register answers. `issued_at` is in milliseconds."""

    client_id: str
    client_secret: str
    issued_at: int
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]


class IntrospectionRequest(Struct, frozen=True):
    client_id: str
    client_secret: str
    token: str


class Introspected(Struct, frozen=True):
    """What an access token opens now; `claims` are all that it says."""

    client_id: str
    scopes: tuple[str, ...]
    claims: dict[str, Any]


class TokenRequest(Struct, frozen=True):
    """`scopes` are those it names; a request that names none asks for all that its application has."""

    client_id: str
    client_secret: str
    scopes: frozenset[str]


def read_registration(fields: Mapping[str, Any]) -> RegistrationRequest:
    """
    Read what a registration request names; unknown fields are ignored (contract §3.2).

    Refuses: InvalidRequest.
    """
    statement, redirect_uri = fields.get("software_statement"), fields.get("redirect_uri")
    if not isinstance(statement, str) or not statement:
        raise InvalidRequest("Send software_statement as a text.")
    if redirect_uri is not None and not isinstance(redirect_uri, str):
        raise InvalidRequest("Send redirect_uri as a text, or leave it out.")
    return RegistrationRequest(statement, redirect_uri)


def register(
    world: World, request: RegistrationRequest, now: int, *, client_id: str, client_secret: str
) -> tuple[Registration, Client]:
    """
    Hand out credentials to the holder of a software statement.

    Refuses: InvalidStatement, UnapprovedStatement, InvalidRedirect.
    """
    if world.keyring is None:
        raise InvalidStatement("Send a software statement that this environment issued.")
    statement = read_statement(world.keyring, request.software_statement, world.name, now // 1000)
    application = world.approve(statement, now)
    if request.redirect_uri is None:
        redirect_uris = tuple(f"https://{domain}" for domain in application.domains)
    elif leads_to(request.redirect_uri, application.domains, ("https",)):
        redirect_uris = (request.redirect_uri,)
    else:
        raise InvalidRedirect("redirect_uri is not an https URL on one of the application's domains.")
    secret_hash = hash_client_secret(client_secret, world.client_key)
    client = Client(client_id, application.id, statement.epoch, secret_hash, now, statement.id)
    return Registration(client_id, client_secret, now, redirect_uris, application.scopes), client


def read_token_request(fields: Mapping[str, Any]) -> TokenRequest:
    """Refuses: InvalidRequest before UnsupportedGrant (design decision 8.11)."""
    client_id, client_secret = _field(fields, "client_id"), _field(fields, "client_secret")
    if not isinstance(fields.get("grant_type"), str) or not fields["grant_type"]:
        raise InvalidRequest("Send grant_type as a text.")
    if fields["grant_type"] != GRANT_TYPE:
        raise UnsupportedGrant(f"The only grant_type is {GRANT_TYPE}.")
    scope = fields.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise InvalidRequest("Send scope as a text, or leave it out.")
    return TokenRequest(client_id, client_secret, frozenset((scope or "").split()))


def read_introspection(fields: Mapping[str, Any]) -> IntrospectionRequest:
    """Read whose token is asked about, and by whom; a hint what it is changes nothing. Refuses: InvalidRequest."""
    client_id, client_secret = _field(fields, "client_id"), _field(fields, "client_secret")
    token = fields.get("token")
    if not isinstance(token, str) or not token:
        raise InvalidRequest("Send token as a text, in the body.")
    return IntrospectionRequest(client_id, client_secret, token)


def _field(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not _FIELD.fullmatch(value):
        raise InvalidRequest(f"Send {name} as a text of printable ASCII.")
    return value


def grant(world: World, client: Client | None, request: TokenRequest, now: int, lifetime_ms: int) -> Grant:
    """
    Decide what the access token of a client may say.

    It has the scopes that the request names and the application has. Where these are none it has all of the
    application's, as if the parameter were missing: the vendor ignores it, and a known client sends names of its own
    (RFC 6749 §3.3, design decision 8.23).

    Refuses: InvalidClient (unknown, wrong secret, revoked), UnauthorizedClient (its application has no scope at all).
    """
    client, application = _authenticated(world, client, request.client_secret, now)
    if not application.scopes:
        raise UnauthorizedClient("The application has no scope, so there is nothing to grant.")
    scopes = request.scopes.intersection(application.scopes) or frozenset(application.scopes)
    expires_at = min(now + lifetime_ms, world.ends_at(client.statement_id) or now + lifetime_ms)
    return Grant(client.id, application.id, client.epoch, scopes, expires_at, client.statement_id)


def last_use(client: Client, now: int) -> int | None:
    """
    Answer the last use that is to be kept of a client that asks for a token now; None where what is kept says as much.

    It is the use, or before it by less than GRAIN_MS. The grains are counted from the registration, or all clients
    would have to be written on one day of the month.
    """
    grain = client.issued_at + max(0, now - client.issued_at) // GRAIN_MS * GRAIN_MS
    return grain if grain > client.used_at else None


def introspect(world: World, client: Client | None, request: IntrospectionRequest, now: int) -> Introspected | None:
    """
    Answer what an access token of the client's own application opens now; None for whatever opens nothing, or is
    another's, so that nobody learns more of those than that.

    Refuses: InvalidClient, as `grant`. Source: RFC 7662 §2.2, §4.
    """
    _, application = _authenticated(world, client, request.client_secret, now)
    try:
        found = world.read_token(request.token, now)
    except InvalidToken:
        return None
    if found.application_id != application.id:
        return None
    scopes = tuple(scope for scope in sorted(found.scopes) if _opens(world, found, scope, now))
    return Introspected(found.client_id, scopes, access_claims(request.token)) if scopes else None


def _opens(world: World, found: Grant, scope: str, now: int) -> bool:
    """Tell whether a token is admitted where a scope is needed: by the rule that every call is held against."""
    try:
        world.admit(found, scope, now)
    except (InvalidToken, RevokedApplication, MissingScope):
        return False
    return True


def _authenticated(world: World, client: Client | None, client_secret: str, now: int) -> tuple[Client, Application]:
    """
    Answer a client that is who it says, and its application. The same time passes for an unknown client and a wrong
    secret. Refuses: InvalidClient.
    """
    offered = hash_client_secret(client_secret, world.client_key)
    genuine = same(offered, client.secret_hash if client is not None else bytes(len(offered)))
    application = world.application(client, now) if client is not None else None
    if client is None or not genuine or application is None:
        raise InvalidClient("Unknown client, wrong secret, or revoked; register again.")
    return client, application


def leads_to(url: str, domains: Collection[str], schemes: Collection[str]) -> bool:
    """
    Tell whether `url` is absolute, of one of `schemes`, and on one of `domains` or a sub-domain of one.

    Credentials, a fragment (RFC 6749 §3.1.2), a backslash or anything unprintable is never right.
    """
    if len(url) > URL_CHARACTERS_MAX or not url.isprintable() or not url.isascii() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    host = parts.hostname
    return (
        parts.scheme in schemes
        and host is not None
        and "@" not in parts.netloc
        and "#" not in url
        and port_fits
        and is_within(host, domains)
    )


def is_within(host: str, domains: Collection[str]) -> bool:
    """Tell whether `host` is one of `domains` or below one."""
    return host in domains or any(host.endswith(f".{domain}") for domain in domains)
